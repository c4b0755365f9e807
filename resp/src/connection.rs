//! A connection for the engine's commands, without I/O.

use core::fmt;
use std::collections::VecDeque;

use bytes::BufMut;
use sio_streams_core::{ByteString, Bytes, Command, CommandError, CommandId, Reply};

use crate::limits::ReadLimits;
use crate::login::{Handshake, Login, Protocol};
use crate::pipeline::{Came, Pipeline, PipelineError};
use crate::reply::Expected;
use crate::request::Request;

/// One of an engine's connections to Redis, without I/O: the engine's commands go in, and become
/// bytes to write; bytes that were read go in, and become replies and messages.
///
/// The connection logs in first. Commands wait meanwhile. It has no time limits: one that is silent
/// for too long is the caller's to give up. [`Connection::ping`] asks for a sign of life.
///
/// `I` is how the caller tells commands apart, the engine's [`CommandId`] for example.
///
/// ```
/// use sio_streams_resp::sio_streams_core::Command;
/// use sio_streams_resp::{Connection, Incoming, Login, Protocol, ReadLimits, Reply};
///
/// let mut connection = Connection::new(&Login::default(), Protocol::Resp3, ReadLimits::default());
/// connection.send(7, Command::GetDel { key: "k".into() });
/// let mut received = Vec::new();
/// for from_server in ["%1\r\n+proto\r\n:3\r\n", "$1\r\nv\r\n"] {
///     let count = connection.output().len(); // write it, and read what comes
///     connection.written(count);
///     connection.feed(from_server.as_bytes());
///     while let Some(incoming) = connection.poll().unwrap() {
///         received.push(incoming);
///     }
/// }
/// assert_eq!(received, [Incoming::Ready, Incoming::Reply(7, Ok(Reply::Value(Some("v".into()))))]);
/// ```
pub struct Connection<I = CommandId> {
    pipeline: Pipeline,
    /// The commands of the login that are still to come.
    handshake: Option<Handshake>,
    /// The commands that wait for the login.
    waiting: VecDeque<(I, Command)>,
    under_way: VecDeque<UnderWay<I>>,
    /// The answers that are known without asking the server.
    known: VecDeque<Incoming<I>>,
}

/// Something that was sent.
#[derive(Debug)]
enum UnderWay<I> {
    Login,
    Ping,
    Command {
        id: I,
        expected: Expected,
        /// The stream of an XINFO STREAM in its full form.
        stream: Option<ByteString>,
    },
    Change {
        id: I,
    },
}

/// Something that has come over a [`Connection`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming<I = CommandId> {
    /// The server has let this connection in. It comes once, before the first reply.
    Ready,
    /// The result of a command.
    Reply(I, Result<Reply, CommandError>),
    /// A Pub/Sub message.
    Message {
        /// The channel on which it came.
        channel: ByteString,
        /// The message itself.
        payload: Bytes,
    },
}

/// The connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server has refused the login.
    #[error("the server does not let this connection in: {0}")]
    Refused(CommandError),
    /// Something has come that does not belong there.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl<I> Connection<I> {
    /// Creates a connection over a stream of bytes that has just been opened. It can carry
    /// any command; the engine's [lanes](sio_streams_core::Lane) tell which ones belong together.
    pub fn new(login: &Login, protocol: Protocol, limits: ReadLimits) -> Self {
        let mut connection = Connection {
            pipeline: Pipeline::new(limits, false),
            handshake: Some(login.begin(protocol)),
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            known: VecDeque::new(),
        };
        connection.log_in();
        connection
    }

    /// Sends the next command of the login, or what has waited for its end.
    fn log_in(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        if let Some(args) = handshake.next_command() {
            self.under_way.push_back(UnderWay::Login);
            return self.pipeline.ask(&args);
        }
        self.handshake = None;
        self.known.push_back(Incoming::Ready);
        for (id, command) in core::mem::take(&mut self.waiting) {
            self.start(id, command);
        }
    }

    /// Sends a command. Its result comes by [`Connection::poll`], once, or by [`Connection::end`].
    pub fn send(&mut self, id: I, command: Command) {
        match self.handshake {
            Some(_) => self.waiting.push_back((id, command)),
            None => self.start(id, command),
        }
    }

    fn start(&mut self, id: I, command: Command) {
        let stream = match &command {
            Command::XInfoStream { stream } => Some(stream.clone()),
            _ => None,
        };
        match Request::of(command) {
            Request::Plain(args, expected) => {
                self.under_way.push_back(UnderWay::Command { id, expected, stream });
                self.pipeline.ask(&args);
            }
            Request::Subscription(change) => {
                // RESP2 does not mark messages.
                self.pipeline.set_subscriber(true);
                self.under_way.push_back(UnderWay::Change { id });
                self.pipeline.change(&change);
            }
            Request::Nothing => self.known.push_back(Incoming::Reply(id, Ok(Reply::Done))),
            Request::Unknown => {
                let unusable = CommandError::Unusable("this version does not know the command".into());
                self.known.push_back(Incoming::Reply(id, Err(unusable)));
            }
        }
    }

    /// Sends a `PING`. Its reply is not reported, but it is one of [`Connection::replies`].
    pub fn ping(&mut self) {
        if self.handshake.is_none() {
            self.under_way.push_back(UnderWay::Ping);
            self.pipeline.ask(&[Bytes::from_static(b"PING")].into());
        }
    }

    /// Returns the bytes that are still to be written.
    pub fn output(&self) -> &[u8] {
        self.pipeline.output()
    }

    /// Notes that this many bytes of the output have been written, or may have been.
    pub fn written(&mut self, bytes: usize) {
        self.pipeline.written(bytes);
    }

    /// Takes bytes that were read. They are copied once.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pipeline.feed(bytes);
    }

    /// Returns room for bytes that are read, for sources that can write to it.
    pub fn space(&mut self) -> impl BufMut + '_ {
        self.pipeline.space()
    }

    /// Returns the next thing that has come, or `None` if more bytes are needed. There may be more
    /// output afterwards.
    ///
    /// # Errors
    ///
    /// If the connection is of no use any more. Call [`Connection::end`] then.
    pub fn poll(&mut self) -> Result<Option<Incoming<I>>, ConnectionError> {
        loop {
            if let Some(known) = self.known.pop_front() {
                return Ok(Some(known));
            }
            let Some(came) = self.pipeline.poll()? else { return Ok(None) };
            let value = match came {
                Came::Message { channel, payload } => {
                    return Ok(Some(Incoming::Message { channel, payload }));
                }
                Came::Changed(result) => {
                    if let Some(UnderWay::Change { id }) = self.under_way.pop_front() {
                        return Ok(Some(Incoming::Reply(id, result.map(|()| Reply::Done))));
                    }
                    continue;
                }
                Came::Reply(value) => value,
            };
            match self.under_way.pop_front() {
                Some(UnderWay::Command { id, expected, stream }) => {
                    let result = expected.parse(value);
                    match (stream, &result) {
                        (Some(stream), Err(CommandError::Server { code, .. })) if code == "ERR" => {
                            self.under_way.push_back(UnderWay::Command { id, expected, stream: None });
                            self.pipeline.ask(&Request::short_info(stream));
                        }
                        _ => return Ok(Some(Incoming::Reply(id, result))),
                    }
                }
                Some(UnderWay::Login) => {
                    if let Some(handshake) = &mut self.handshake {
                        handshake.answered(value).map_err(ConnectionError::Refused)?;
                    }
                    self.log_in();
                }
                Some(UnderWay::Ping | UnderWay::Change { .. }) | None => {}
            }
        }
    }

    /// Returns `true` if something was sent that is not answered yet.
    pub fn is_waiting(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Returns the number of replies and confirmations that have come so far.
    pub fn replies(&self) -> u64 {
        self.pipeline.replies()
    }

    /// Ends the connection, and returns the results of the commands that have none yet. What was
    /// certainly not sent is [`CommandError::NotSent`]; all else is [`CommandError::Lost`].
    pub fn end(self, why: &str) -> Vec<(I, Result<Reply, CommandError>)> {
        let sent = self.under_way.len().saturating_sub(self.pipeline.unsent());
        let mut results = Vec::with_capacity(self.under_way.len() + self.waiting.len());
        for known in self.known {
            if let Incoming::Reply(id, result) = known {
                results.push((id, result));
            }
        }
        for (number, under_way) in self.under_way.into_iter().enumerate() {
            if let UnderWay::Command { id, .. } | UnderWay::Change { id } = under_way {
                let error = if number < sent { CommandError::Lost } else { CommandError::NotSent };
                results.push((id, Err(error(why.to_owned()))));
            }
        }
        results
            .extend(self.waiting.into_iter().map(|(id, _)| (id, Err(CommandError::NotSent(why.to_owned())))));
        results
    }
}

impl<I> fmt::Debug for Connection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("pipeline", &self.pipeline)
            .field("handshake", &self.handshake)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
