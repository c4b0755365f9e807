//! No client crate: bytes are written on a socket, and replies counted.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::bare::{Connect, Read, TIME, Words, Write};
use crate::peers::Result;

pub(super) struct Client(String);

impl Client {
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Client(url.strip_prefix("redis://").ok_or("a URL begins with redis://")?.to_owned()))
    }

    async fn socket(&self) -> Result<TcpStream> {
        let socket = TcpStream::connect(&self.0).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

impl Connect for Client {
    type Writer = Writer;
    type Reader = Reader;

    async fn writer(&self) -> Result<Writer> {
        let (replies, out) = self.socket().await?.into_split();
        let (expect, expected) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            if let Err(error) = count(replies, expected).await {
                super::complain(&error);
            }
        });
        Ok(Writer { out: Arc::new(Mutex::new(out)), expect })
    }

    async fn reader(&self) -> Result<Reader> {
        Ok(Reader { socket: self.socket().await?, buffer: Vec::new(), at: 0 })
    }
}

/// The number of replies that are waited for, and the waiting task.
type Expected = (usize, oneshot::Sender<()>);

pub(super) struct Writer {
    out: Arc<Mutex<OwnedWriteHalf>>,
    expect: mpsc::UnboundedSender<Expected>,
}

impl Write for Writer {
    async fn pipeline(&self, commands: Vec<Words>) -> Result<()> {
        let mut bytes = Vec::new();
        for words in &commands {
            pack(words, &mut bytes);
        }
        let (done, all) = oneshot::channel();
        let mut out = self.out.lock().await;
        self.expect.send((commands.len(), done))?;
        out.write_all(&bytes).await?;
        drop(out);
        Ok(all.await?)
    }
}

fn pack(words: &Words, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// The reply to XADD is a bulk string. Nothing in it but its head is a `$`.
async fn count(mut replies: OwnedReadHalf, mut expected: mpsc::UnboundedReceiver<Expected>) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut surplus = 0;
    while let Some((mut left, done)) = expected.recv().await {
        while surplus < left {
            left -= surplus;
            let read = replies.read(&mut buffer).await?;
            let fresh = &buffer[..read];
            if read == 0 || fresh.starts_with(b"-ERR") {
                return Err(format!("no reply: {}", String::from_utf8_lossy(fresh)).into());
            }
            surplus = fresh.iter().filter(|byte| **byte == b'$').count();
        }
        surplus -= left;
        // The waiting task may be gone.
        let _ = done.send(());
    }
    Ok(())
}

pub(super) struct Reader {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Up to here the buffer has been understood.
    at: usize,
}

impl Reader {
    /// Reads more, until `parse` finds what it looks for.
    async fn until<T>(&mut self, parse: impl Fn(&[u8], &mut usize) -> Option<T>) -> Result<(T, usize)> {
        loop {
            let mut at = self.at;
            if let Some(found) = parse(&self.buffer, &mut at) {
                let from = core::mem::replace(&mut self.at, at);
                return Ok((found, from));
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            self.buffer.reserve(64 << 10);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection was closed".into());
            }
        }
    }
}

impl Read for Reader {
    async fn read(&mut self, words: Words, mut each: impl FnMut(&[u8], &[u8]) + Send) -> Result<()> {
        let mut bytes = Vec::new();
        pack(&words, &mut bytes);
        self.socket.write_all(&bytes).await?;
        let (streams, _) = self.until(|buffer, at| head(buffer, at, b'*')).await?;
        if streams != 1 {
            return Ok(());
        }
        let entries = |buffer: &[u8], at: &mut usize| {
            head(buffer, at, b'*')?;
            bulk(buffer, at)?;
            head(buffer, at, b'*')
        };
        let (count, _) = self.until(entries).await?;
        for _ in 0..count {
            let (entry, _) = self.until(entry).await?;
            let [id, time] = entry;
            each(&self.buffer[id.0..id.1], &self.buffer[time.0..time.1]);
        }
        Ok(())
    }
}

/// The beginning and the end of something.
type Span = (usize, usize);

/// An entry's id and time.
fn entry(buffer: &[u8], at: &mut usize) -> Option<[Span; 2]> {
    head(buffer, at, b'*')?;
    let id = bulk(buffer, at)?;
    let words = head(buffer, at, b'*')?;
    let mut time = (0, 0);
    for word in 0..words {
        let span = bulk(buffer, at)?;
        if word == TIME as i64 {
            time = span;
        }
    }
    Some([id, time])
}

/// The number behind the sign. That a reply has another sign is an error of the server's: its text
/// is no number, and comes out as 0.
fn head(buffer: &[u8], at: &mut usize, sign: u8) -> Option<i64> {
    let line = buffer.get(*at..)?;
    let end = line.iter().position(|byte| *byte == b'\r')?;
    // The line feed is there too.
    line.get(end + 1)?;
    *at += end + 2;
    let text = core::str::from_utf8(&line[1..end]).ok()?;
    Some(if line[0] == sign { text.parse().unwrap_or_default() } else { 0 })
}

fn bulk(buffer: &[u8], at: &mut usize) -> Option<Span> {
    let length = usize::try_from(head(buffer, at, b'$')?).ok()?;
    let span = (*at, *at + length);
    *at = span.1 + 2;
    (buffer.len() >= *at).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_when_all_of_it_is_there() {
        let mut reply = b"*2\r\n$3\r\n1-0\r\n*10\r\n".to_vec();
        (0..10).for_each(|word| reply.extend_from_slice(format!("$1\r\n{word}\r\n").as_bytes()));
        for end in 0..reply.len() {
            assert_eq!(entry(&reply[..end], &mut 0), None, "{end} bytes");
        }
        let mut at = 0;
        let [id, time] = entry(&reply, &mut at).unwrap();
        assert_eq!((&reply[id.0..id.1], &reply[time.0..time.1]), (&b"1-0"[..], &b"9"[..]));
        assert_eq!(at, reply.len());
    }

    #[test]
    fn nothing_new_is_no_stream() {
        assert_eq!(head(b"*-1\r\n", &mut 0, b'*'), Some(-1));
        assert_eq!(head(b"-ERR no\r\n", &mut 0, b'*'), Some(0));
    }
}
