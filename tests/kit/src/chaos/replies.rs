//! The replies and pushes of a server, each as a whole.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// A reader of replies.
pub(super) struct Replies {
    server: BufReader<TcpStream>,
    whole: Vec<u8>,
}

impl Replies {
    pub(super) fn new(server: TcpStream) -> Self {
        Replies { server: BufReader::new(server), whole: Vec::new() }
    }

    /// Returns the next reply, or `None` if the server has closed the connection. If the reply has
    /// more than `most` bytes, reading stops, and the part that has been read is returned.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Option<&[u8]>> {
        self.whole.clear();
        let mut values = 1_u64;
        while values > 0 && self.whole.len() <= most {
            let start = self.whole.len();
            if self.server.read_until(b'\n', &mut self.whole)? == 0 {
                return if self.whole.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            values -= 1;
            let line = &self.whole[start..];
            let mark = line.first().copied().unwrap_or_default();
            let number = str::from_utf8(&line[1..]).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
            // A negative length stands for a value that is absent. Nothing follows it.
            match (mark, number) {
                (b'$' | b'=' | b'!', Some(length)) => {
                    let rest = (length + 2).min(most as u64 + 1);
                    (&mut self.server).take(rest).read_to_end(&mut self.whole)?;
                }
                (b'*' | b'~' | b'>', Some(length)) => values += length,
                (b'%', Some(length)) => values += 2 * length,
                (b'|', Some(length)) => values += 2 * length + 1,
                _ => {}
            }
        }
        Ok(Some(&self.whole))
    }
}
