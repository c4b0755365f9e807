//! Outgoing messages: the command and the encoding that a dialect has for each of them.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::command::{Command, Fields};
use crate::config::{Config, Dialect};
use crate::error::CallError;
use crate::event::{Answer, Asker, Way};
use crate::id::NodeId;
use crate::message::Body;
use crate::payload::{Encoding, Payload, PayloadError};
use crate::wire::classic::{self, Request, Response};
use crate::wire::{entry, pubsub};

/// Event names on which Node's namespaces fail if they are used between servers. The namespaces
/// refuse to send the first three, and throw on the last one unless there is a listener.
const RESERVED_BETWEEN_SERVERS: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

/// Returns an error if the servers can't be sent this event.
pub(crate) fn check_server_event(packet: &Payload) -> Result<(), CallError> {
    match packet.event_name() {
        None => Err(PayloadError::NotAnEvent.into()),
        Some(name) if RESERVED_BETWEEN_SERVERS.contains(&name.as_str()) => {
            Err(CallError::ReservedEvent(name))
        }
        Some(_) => Ok(()),
    }
}

impl Config {
    /// Encodes a message to all the other nodes, as the command that publishes it.
    pub(crate) fn message(&self, uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Command, CallError> {
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
    fn entry(&self, uid: &NodeId, nsp: &ByteString, body: &Body) -> Result<Command, CallError> {
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
        Ok(Command::XAdd { stream: self.stream_of(nsp), max_len: self.max_len, fields: shared })
    }

    fn push(&self, nsp: &ByteString, body: &Body, payload: Bytes) -> Command {
        self.publish(self.channel_for(nsp, body), payload)
    }

    fn publish(&self, channel: ByteString, payload: Bytes) -> Command {
        Command::Publish { channel, payload, sharded: self.sharded() }
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
    pub(crate) fn classic_message(
        &self,
        uid: &NodeId,
        nsp: &ByteString,
        request: &Request,
    ) -> Result<Command, PayloadError> {
        let payload = self.classic_request(uid, nsp, request)?;
        Ok(self.publish(self.request_channel(nsp), payload))
    }

    /// Encodes an answer, which goes by the way that the question came.
    pub(crate) fn answer(&self, uid: &NodeId, asker: &Asker, answer: Answer) -> Result<Command, CallError> {
        let Asker { nsp, node: to, request_id, way, .. } = asker;
        let request_id = request_id.clone();
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
                _ if *way == Way::Stream => return self.entry(uid, nsp, &body),
                Dialect::Sharded => pubsub::write_sharded(uid, nsp, &body)?,
                _ => pubsub::write(uid, nsp, &body)?,
            },
            // No other dialect asks for these answers.
            (_, _) => return Err(PayloadError::NoRequest.into()),
        };
        Ok(self.publish(self.response_channel(nsp, to.as_str()), payload))
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
    pub(crate) fn unparsed(&self, payload: &Bytes) -> Result<Bytes, String> {
        match &self.parser {
            Some(parser) if payload.first() != Some(&b'{') => parser.codec().decode(payload),
            _ => Ok(payload.clone()),
        }
    }
}
