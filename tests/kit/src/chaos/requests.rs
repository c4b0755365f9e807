//! Requests, as clients send them: arrays of strings.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request(Vec<Vec<u8>>);

impl Request {
    /// Returns `true` if the request begins with the words of this command.
    pub(super) fn is(&self, command: &str) -> bool {
        let is_next = |(at, word): (usize, &str)| {
            self.0.get(at).is_some_and(|name| name.eq_ignore_ascii_case(word.as_bytes()))
        };
        command.split(' ').enumerate().all(is_next)
    }

    /// The number of bytes of its arguments.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Leaves out an option and its value.
    pub(super) fn strip(&mut self, option: &str) {
        let is_it = |word: &Vec<u8>| word.eq_ignore_ascii_case(option.as_bytes());
        // A word in the place of the names of streams is no option.
        if self.is("XREAD")
            && let Some(at) = self.0.iter().take(5).position(is_it).filter(|at| at + 1 < self.0.len())
        {
            self.0.drain(at..at + 2);
        }
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = format!("*{}\r\n", self.0.len()).into_bytes();
        for word in &self.0 {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

/// Reads requests.
pub(super) struct Requests(BufReader<TcpStream>);

impl Requests {
    pub(super) fn new(client: TcpStream) -> Self {
        Requests(BufReader::new(client))
    }

    /// Returns `true` if a part of the next request has been read.
    pub(super) fn has_begun(&self) -> bool {
        !self.0.buffer().is_empty()
    }

    /// The next; nothing when the client has closed the connection.
    pub(super) fn next(&mut self) -> io::Result<Option<Request>> {
        let Some(count) = self.number('*')? else { return Ok(None) };
        let mut words = Vec::new();
        for _ in 0..count {
            let length = self.number('$')?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut word = vec![0; length + 2];
            self.0.read_exact(&mut word)?;
            word.truncate(length);
            words.push(word);
        }
        Ok(Some(Request(words)))
    }

    fn number(&mut self, mark: char) -> io::Result<Option<usize>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let number = line.trim_end().strip_prefix(mark).and_then(|number| number.parse().ok());
        number.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line))
    }
}
