//! Asking a cluster without being a member of it.

use bytes::Bytes;
use bytestring::ByteString;

use crate::channel::escape_glob;
use crate::command::{Command, Fields};
use crate::config::{Config, ConfigError, Dialect};
use crate::error::CallError;
use crate::id::{NodeId, RequestId};
use crate::message::{Body, Message};
use crate::packet::{BroadcastOptions, RemoteSocket};
use crate::wire::classic::{Asked, Response, decode_response};
use crate::wire::{WireError, entry, pubsub};

/// Makes the commands that ask the nodes of a cluster for their sockets, and reads the answers, for
/// programs that only look.
///
/// An observer is no node: nobody counts it, waits for it, or hears of it. It asks under the name
/// that emitters have, and knows its own answers by the ids of its questions, which must therefore
/// be unique. It has no state. The caller executes [`listen`](Self::listen), if there is something
/// to subscribe to, then [`count`](Self::count) and [`fetch_sockets`](Self::fetch_sockets), and
/// gives the messages or the entries that follow to [`read`](Self::read) or
/// [`read_entry`](Self::read_entry).
///
/// ```
/// use sio_streams_core::{BroadcastOptions, Command, Config, Observer, RequestId};
///
/// // The options must be those of the cluster.
/// let observer = Observer::new(Config::default()).unwrap();
/// assert!(matches!(observer.listen("/chat"), Some(Command::PSubscribe { .. })));
/// let id = RequestId::new("1f6c0de1a2b3c4d5");
/// let question = observer.fetch_sockets("/chat", BroadcastOptions::all(), id).unwrap();
/// assert!(matches!(question, Command::Publish { channel, .. } if channel == "socket.io#/chat#"));
/// ```
#[derive(Clone, Debug)]
pub struct Observer {
    config: Config,
}

/// The answer of one node to an [`Observer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The id of the question.
    pub request_id: RequestId,
    /// The node that answers. In the classic dialect answers bear no name.
    pub node: Option<NodeId>,
    /// The namespace, as the answer has it. In the classic dialect answers do not say it.
    pub nsp: Option<ByteString>,
    /// The sockets that the question matched on this node.
    pub sockets: Vec<RemoteSocket>,
}

impl Observer {
    /// Creates an observer of a cluster with these options. [`Dialect::Bridge`] asks the nodes that
    /// subscribe, as [`Dialect::Streams03`] does: nodes of version 0.2 do not answer it.
    ///
    /// # Errors
    ///
    /// Returns an error if the options conflict.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let dialect = match config.dialect {
            Dialect::Bridge => Dialect::Streams03,
            dialect => dialect,
        };
        Ok(Observer { config: Config { dialect, ..config } })
    }

    /// Returns the command that subscribes to the answers. Questions must follow it on the same
    /// server. Returns `None` if the answers come by the [stream](Self::stream).
    ///
    /// Except with sharded Pub/Sub, it subscribes by a pattern, which is counted nowhere.
    pub fn listen(&self, nsp: &str) -> Option<Command> {
        let config = &self.config;
        Some(match config.dialect {
            Dialect::Streams02 => return None,
            Dialect::Classic => {
                let prefix = escape_glob(&config.response_prefix(nsp));
                Command::PSubscribe { patterns: vec![format!("{prefix}*").into()] }
            }
            _ => {
                let channel = config.private_channel(nsp, NodeId::EMITTER.as_str());
                match config.sharded() {
                    true => Command::Subscribe { channels: vec![channel], sharded: true },
                    false => Command::PSubscribe { patterns: vec![escape_glob(&channel).into()] },
                }
            }
        })
    }

    /// Returns the command that counts the nodes of the namespace: its reply is
    /// [`Reply::Counts`](crate::Reply::Counts) with one number. Returns `None` if nodes do not
    /// subscribe; their heartbeats in the [stream](Self::stream) show them.
    pub fn count(&self, nsp: &str) -> Option<Command> {
        self.config.dialect.subscribes().then(|| Command::PubSubNumSub {
            channels: vec![self.config.request_channel(nsp)],
            sharded: self.config.sharded(),
        })
    }

    /// Returns the key of the stream that has the namespace's messages, if the dialect has streams.
    pub fn stream(&self, nsp: &str) -> Option<ByteString> {
        self.config.dialect.has_streams().then(|| self.config.stream_of(nsp))
    }

    /// Returns the command that asks all nodes for the sockets that `opts` match. The id must be
    /// one that nobody else draws. In [`Dialect::Streams02`] the question is an entry of the stream,
    /// as are the answers.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`].
    pub fn fetch_sockets(
        &self,
        nsp: &str,
        opts: BroadcastOptions,
        request_id: RequestId,
    ) -> Result<Command, CallError> {
        if !nsp.starts_with('/') {
            return Err(CallError::InvalidNamespace(nsp.into()));
        }
        self.config.message(&NodeId::EMITTER, &nsp.into(), &Body::FetchSockets { opts, request_id })
    }

    /// Reads a message that came over a channel. Returns `None` if it answers no such question.
    ///
    /// # Errors
    ///
    /// If no message of the dialect can be read from it.
    pub fn read(&self, payload: &Bytes) -> Result<Option<Observed>, WireError> {
        let message = match self.config.dialect {
            Dialect::Classic => {
                let payload = self.config.unparsed(payload).map_err(WireError::Codec)?;
                // An answer to another kind of question has no sockets.
                return Ok(match decode_response(&payload, Asked::Sockets) {
                    Ok(Response::Common(Body::FetchSocketsResponse { request_id, sockets })) => {
                        Some(Observed { request_id, node: None, nsp: None, sockets })
                    }
                    _ => None,
                });
            }
            Dialect::Sharded => pubsub::decode_sharded(payload)?,
            _ => pubsub::decode(payload)?,
        };
        Ok(observed(message))
    }

    /// Reads an entry of the [stream](Self::stream). Returns `None` if it answers no such question.
    ///
    /// # Errors
    ///
    /// If no message can be read from it.
    pub fn read_entry(&self, fields: &Fields) -> Result<Option<Observed>, WireError> {
        entry::decode(fields).map(observed)
    }
}

fn observed(message: Message) -> Option<Observed> {
    match message.body {
        Body::FetchSocketsResponse { request_id, sockets } => {
            Some(Observed { request_id, node: message.uid.named(), nsp: Some(message.nsp), sockets })
        }
        _ => None,
    }
}
