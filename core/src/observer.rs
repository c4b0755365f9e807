//! Asking a cluster without being a member of it.

use bytes::Bytes;
use bytestring::ByteString;

use crate::channel::escape_glob;
use crate::command::{Command, Fields};
use crate::config::{Config, ConfigError, Dialect};
use crate::error::CallError;
use crate::id::{NodeId, RequestId};
use crate::message::{Body, Message};
use crate::packet::{BroadcastOptions, Packet, RemoteSocket};
use crate::payload::Payload;
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

/// A node's statement about a broadcast with acknowledgements: see [`Observer::broadcast_with_ack`].
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedAck {
    /// The id of the broadcast.
    pub request_id: RequestId,
    /// The node that says it. In the classic dialect answers bear no name.
    pub node: Option<NodeId>,
    /// The statement itself.
    pub says: AckSays,
}

/// The two things that a node says of a broadcast with acknowledgements.
#[derive(Clone, Debug, PartialEq)]
pub enum AckSays {
    /// So many of its clients will be asked. Each node says this once.
    Clients(u64),
    /// One of its clients has answered with this value.
    Answer(Payload),
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

    /// Returns the keys of all streams that the nodes of a cluster with these options read, if the
    /// dialect has streams.
    pub fn streams(&self) -> Vec<ByteString> {
        match (self.config.dialect.has_streams(), self.config.stream_count) {
            (false, _) => Vec::new(),
            (true, 1) => vec![self.config.stream_name.clone()],
            (true, count) => (0..count).map(|index| self.config.numbered(index.into())).collect(),
        }
    }

    /// Returns the key of the stream to which Node servers write the namespace although none of
    /// them reads it: if there are several streams, and the namespace's hash is negative.
    pub fn lost_stream(&self, nsp: &str) -> Option<ByteString> {
        self.config.dialect.has_streams().then(|| self.config.lost_stream_of(nsp)).flatten()
    }

    /// Returns the channel to which every node of the namespace subscribes, and which
    /// [`count`](Self::count) counts. Returns `None` if nodes do not subscribe.
    pub fn channel(&self, nsp: &str) -> Option<ByteString> {
        self.config.dialect.subscribes().then(|| self.config.request_channel(nsp))
    }

    /// Returns the common prefix of the channels that single nodes of the namespace have, each for
    /// itself: the node's name and `#` follow. In [`Dialect::Sharded`], channels of rooms have the
    /// same form. Returns `None` if nodes do not subscribe.
    pub fn private_channels(&self, nsp: &str) -> Option<ByteString> {
        self.config.dialect.subscribes().then(|| self.config.response_prefix(nsp))
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

    /// Returns the command that sends an event to the clients that `opts` match, and asks them for
    /// an answer. Clients wait for `opts.flags.timeout`, or for the time that their server sets.
    /// [`read_ack`](Self::read_ack) and [`read_ack_entry`](Self::read_ack_entry) read what comes
    /// back. The id must be one that nobody else draws.
    ///
    /// # Errors
    ///
    /// [`CallError::InvalidNamespace`], [`CallError::Payload`], [`CallError::Binary`].
    pub fn broadcast_with_ack(
        &self,
        nsp: &str,
        packet: Packet,
        opts: BroadcastOptions,
        request_id: RequestId,
    ) -> Result<Command, CallError> {
        if !nsp.starts_with('/') {
            return Err(CallError::InvalidNamespace(nsp.into()));
        }
        let request_id = Some(request_id);
        self.config.message(&NodeId::EMITTER, &nsp.into(), &Body::Broadcast { packet, opts, request_id })
    }

    /// Reads a message that came over a channel. Returns `None` if it says nothing of a broadcast
    /// with acknowledgements.
    ///
    /// # Errors
    ///
    /// If no message of the dialect can be read from it.
    pub fn read_ack(&self, payload: &Bytes) -> Result<Option<ObservedAck>, WireError> {
        Ok(self.message(payload, Asked::Acks)?.and_then(|(node, body)| observed_ack(node, body)))
    }

    /// Does the same with an entry of the [stream](Self::stream).
    ///
    /// # Errors
    ///
    /// If no message can be read from it.
    pub fn read_ack_entry(&self, fields: &Fields) -> Result<Option<ObservedAck>, WireError> {
        let Message { uid, body, .. } = entry::decode(fields)?;
        Ok(observed_ack(uid.named(), body))
    }

    /// Reads a message that came over a channel. Returns `None` if it answers no such question.
    ///
    /// # Errors
    ///
    /// If no message of the dialect can be read from it.
    pub fn read(&self, payload: &Bytes) -> Result<Option<Observed>, WireError> {
        let message = match self.config.dialect {
            Dialect::Classic => {
                let Some((_, body)) = self.message(payload, Asked::Sockets)? else { return Ok(None) };
                return Ok(match body {
                    Body::FetchSocketsResponse { request_id, sockets } => {
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

    /// Reads the sender and the content. In the classic dialect an answer can be read only by what
    /// was asked, and does not say whose it is; one to another kind of question is `None`.
    fn message(&self, payload: &Bytes, asked: Asked) -> Result<Option<(Option<NodeId>, Body)>, WireError> {
        let Message { uid, body, .. } = match self.config.dialect {
            Dialect::Classic => {
                let payload = self.config.unparsed(payload).map_err(WireError::Codec)?;
                return Ok(match decode_response(&payload, asked) {
                    Ok(Response::Common(body)) => Some((None, body)),
                    _ => None,
                });
            }
            Dialect::Sharded => pubsub::decode_sharded(payload)?,
            _ => pubsub::decode(payload)?,
        };
        Ok(Some((uid.named(), body)))
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

fn observed_ack(node: Option<NodeId>, body: Body) -> Option<ObservedAck> {
    let (request_id, says) = match body {
        Body::BroadcastClientCount { request_id, client_count } => {
            (request_id, AckSays::Clients(client_count))
        }
        Body::BroadcastAck { request_id, packet } => (request_id, AckSays::Answer(packet)),
        _ => return None,
    };
    Some(ObservedAck { request_id, node, says })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer(dialect: Dialect, stream_count: u32) -> Observer {
        Observer::new(Config { dialect, stream_count, ..Config::default() }).unwrap()
    }

    #[test]
    fn the_places_of_a_cluster_are_those_of_its_nodes() {
        let one = observer(Dialect::Streams02, 1);
        assert_eq!(one.streams(), ["socket.io"]);
        assert_eq!((one.channel("/"), one.private_channels("/")), (None, None));
        assert_eq!(one.lost_stream("/notifications"), None);
        let several = observer(Dialect::Streams03, 3);
        assert_eq!(several.streams(), ["socket.io-0", "socket.io-1", "socket.io-2"]);
        assert_eq!(several.channel("/chat").as_deref(), Some("socket.io#/chat#"));
        assert_eq!(several.lost_stream("/"), None);
        let lost = several.lost_stream("/notifications").unwrap();
        assert!(lost.starts_with("socket.io--"), "{lost}");
        let classic = observer(Dialect::Classic, 1);
        assert_eq!(classic.streams(), [""; 0]);
        assert_eq!(classic.channel("/").as_deref(), Some("socket.io-request#/#"));
        assert_eq!(classic.private_channels("/").as_deref(), Some("socket.io-response#/#"));
    }
}
