//! Outgoing messages: the way and the encoding that a dialect has for each of them.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::CallError;
use crate::command::{Command, Fields};
use crate::config::{Config, Dialect};
use crate::event::Answer;
use crate::id::{NodeId, RequestId};
use crate::message::Body;
use crate::payload::{Encoding, Payload, PayloadError};
use crate::wire::classic::{self, Request, Response};
use crate::wire::{entry, pubsub};

/// A message that is ready to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The message goes into the namespace's stream.
    Entry { stream: ByteString, fields: Arc<Fields> },
    /// The message goes through a channel.
    Push { channel: ByteString, payload: Bytes },
}

impl Content {
    /// Returns the size of the message, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Content::Entry { fields, .. } => fields.size(),
            Content::Push { channel, payload } => channel.len() + payload.len(),
        }
    }

    pub(crate) fn into_command(self, config: &Config) -> Command {
        match self {
            Content::Entry { stream, fields } => Command::XAdd { stream, max_len: config.max_len, fields },
            Content::Push { channel, payload } => {
                Command::Publish { channel, payload, sharded: config.sharded() }
            }
        }
    }
}

impl Config {
    /// Encodes a message to all the other nodes.
    pub(crate) fn content(&self, uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Content, CallError> {
        let asks = match body {
            Body::Broadcast { request_id, .. } => request_id.is_some(),
            Body::FetchSockets { .. } | Body::ServerSideEmit { request_id: Some(_), .. } => true,
            _ => false,
        };
        match self.dialect {
            Dialect::Streams03 if asks => Ok(self.push(nsp, body, pubsub::write(uid, nsp, body)?)),
            Dialect::Streams02 | Dialect::Streams03 | Dialect::Bridge => self.entry(uid, nsp, body),
            Dialect::Sharded => Ok(self.push(nsp, body, pubsub::write_sharded(uid, nsp, body)?)),
            Dialect::Classic => Ok(self.push(nsp, body, self.classic(uid, nsp, body)?)),
        }
    }

    /// Encodes a message that goes into the stream.
    fn entry(&self, uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Content, CallError> {
        let binary = |payload: &Payload| payload.encoding() == Encoding::MsgPack;
        if self.only_plaintext && entry::payloads(body).any(binary) {
            return Err(CallError::Binary);
        }
        let mut shared = Arc::new(Fields::new());
        let fields = Arc::make_mut(&mut shared);
        entry::write_into(fields, uid, nsp, body)?;
        let beat = matches!(body, Body::InitialHeartbeat | Body::Heartbeat);
        if beat && self.dialect == Dialect::Bridge {
            fields.push(entry::BRIDGE_FIELD, "1");
        }
        Ok(Content::Entry { stream: self.stream_of(nsp), fields: shared })
    }

    fn push(&self, nsp: &ByteString, body: &Body, payload: Bytes) -> Content {
        Content::Push { channel: self.channel_for(nsp, body), payload }
    }

    fn classic(&self, uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Bytes, PayloadError> {
        match body {
            Body::Broadcast { packet, opts, request_id: None } => {
                Ok(self.parsed(classic::encode_broadcast(uid, nsp, packet, opts)?))
            }
            body => self.classic_request(uid, nsp, &Request::Common(body.clone())),
        }
    }

    fn classic_request(
        &self,
        uid: &NodeId,
        nsp: &ByteString,
        request: &Request,
    ) -> Result<Bytes, PayloadError> {
        Ok(self.parsed(classic::encode_request(uid, nsp, request)?))
    }

    /// Encodes a request that only the classic adapter has.
    pub(super) fn classic_content(
        &self,
        uid: &NodeId,
        nsp: &ByteString,
        request: &Request,
    ) -> Result<Content, PayloadError> {
        let payload = self.classic_request(uid, nsp, request)?;
        Ok(Content::Push { channel: self.request_channel(nsp), payload })
    }

    /// Encodes an answer, which goes by the way that the question came.
    pub(super) fn answer(
        &self,
        uid: &NodeId,
        nsp: &ByteString,
        to: &NodeId,
        by_stream: bool,
        request_id: RequestId,
        answer: Answer,
    ) -> Result<Content, CallError> {
        let response = match answer {
            Answer::Sockets(sockets) => Response::Common(Body::FetchSocketsResponse { request_id, sockets }),
            Answer::Emit(packet) => Response::Common(Body::ServerSideEmitResponse { request_id, packet }),
            Answer::ClientCount(client_count) => {
                Response::Common(Body::BroadcastClientCount { request_id, client_count })
            }
            Answer::Ack(packet) => Response::Common(Body::BroadcastAck { request_id, packet }),
            Answer::SocketIds(sockets) => Response::SocketIds { request_id, sockets },
            Answer::Rooms(rooms) => Response::Rooms { request_id, rooms },
            Answer::Done => Response::Done { request_id },
        };
        let payload = match (self.dialect, response) {
            (Dialect::Classic, response) => self.parsed(classic::encode_response(&response)?),
            (dialect, Response::Common(body)) => match dialect {
                _ if by_stream => return self.entry(uid, nsp, &body),
                Dialect::Sharded => pubsub::write_sharded(uid, nsp, &body)?,
                _ => pubsub::write(uid, nsp, &body)?,
            },
            // No other dialect asks for these answers.
            (_, _) => return Err(PayloadError::NoRequest.into()),
        };
        Ok(Content::Push { channel: self.response_channel(nsp, to.as_str()), payload })
    }

    /// Encodes a payload with the parser that the application has chosen, unless the payload is
    /// JSON.
    fn parsed(&self, payload: Bytes) -> Bytes {
        match &self.parser {
            Some(parser) if payload.first() != Some(&b'{') => parser.codec().encode(payload),
            _ => payload,
        }
    }

    /// Does the reverse of `parsed`.
    pub(super) fn unparsed(&self, payload: &Bytes) -> Result<Bytes, String> {
        match &self.parser {
            Some(parser) if payload.first() != Some(&b'{') => parser.codec().decode(payload),
            _ => Ok(payload.clone()),
        }
    }
}
