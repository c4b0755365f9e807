//! A blocking RESP2 client, just large enough for tests to inject entries and to look inside the server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// `-ERR ...`, without the dash.
    Error(String),
    /// `:1`.
    Int(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// A list of replies.
    Array(Vec<Reply>),
    /// No value: a nil string or a nil list.
    Nil,
}

impl Reply {
    /// The text of a simple or bulk reply, if it is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, if the reply is one, or a text that reads as one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            other => other.as_str()?.parse().ok(),
        }
    }

    /// The elements of a list; none for any other reply.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The value that follows `key` in a flat list of keys and values, as `XINFO STREAM` or an entry's fields.
    pub fn field(&self, key: &str) -> Option<&Reply> {
        let mut pairs = self.items().chunks_exact(2);
        pairs.find(|pair| pair[0].as_str() == Some(key)).map(|pair| &pair[1])
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects. Later reads and writes fail after 60 seconds.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let bound = Duration::from_secs(60);
        let stream = TcpStream::connect_timeout(&addr, bound)?;
        stream.set_read_timeout(Some(bound))?;
        stream.set_write_timeout(Some(bound))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one command and reads its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = arg.as_ref();
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&out)?;
        self.read_reply()
    }

    /// Reads one reply that nobody asked for just now, as the messages of a subscription.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let kind = line.chars().next().ok_or_else(|| garbled(line))?;
        let rest = &line[kind.len_utf8()..];
        Ok(match kind {
            '+' => Reply::Simple(rest.to_owned()),
            '-' => Reply::Error(rest.to_owned()),
            ':' => Reply::Int(number(rest)?),
            '$' => match usize::try_from(number(rest)?) {
                Ok(length) => Reply::Bulk(self.read_bulk(length)?),
                Err(_) => Reply::Nil,
            },
            '*' => match usize::try_from(number(rest)?) {
                Ok(length) => {
                    Reply::Array((0..length).map(|_| self.read_reply()).collect::<io::Result<_>>()?)
                }
                Err(_) => Reply::Nil,
            },
            _ => return Err(garbled(line)),
        })
    }

    fn read_bulk(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| garbled(text))
}

fn garbled(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a RESP2 reply: {line:?}"))
}
