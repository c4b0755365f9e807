//! Strangers: programs that write arbitrary messages, in anybody's name.

use bytestring::ByteString;
use sio_streams_core::wire::entry::{self, SEQUENCE_FIELD};
use sio_streams_core::wire::pubsub;
use sio_streams_core::{Body, Command, Message, NodeId, Payload};
use sio_streams_redis_model::Executed;

use super::World;
use crate::app::App;
use crate::fault::{Forgery, Impostor};
use crate::watch::{Happening, Watch};

impl<A: App, W: Watch> World<A, W> {
    /// Somebody writes in the name of a host.
    pub(super) fn forge(&mut self, host: usize, stream: &ByteString, nsp: &ByteString, number: Forgery) {
        let number = match number {
            Forgery::Highest => Some(u64::MAX),
            Forgery::Behind => Some(0),
            Forgery::Plausible => Some((self.server.wall(self.now) << 20) - 1),
            Forgery::None => None,
        };
        let data = r#"{"packet":{"type":2,"data":["forged"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
        let fields = [("uid", self.hosts[host].uid()), ("nsp", nsp.to_string()), ("type", "3".into())];
        let number = number.map(|number| (SEQUENCE_FIELD, number.to_string()));
        let fields = fields.into_iter().chain([("data", data.to_owned())]).chain(number);
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
        self.write_foreign(stream, &fields);
    }

    /// Every reply is understood again.
    pub(crate) fn understand_all(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.garbled = 0);
    }

    /// Somebody answers who was not asked.
    pub(super) fn answer_falsely(&mut self, who: Impostor) {
        let uid = match who {
            Impostor::Nobody => NodeId::new(""),
            Impostor::Stranger => NodeId::new("5112a4633e51d0e5"),
            Impostor::Parrot => {
                let is_answer = |command: &&Command| message_of(command).is_some_and(|said| is_answer(&said));
                let answer = self.server.said.iter().rev().find(is_answer).cloned();
                return answer.into_iter().for_each(|answer| self.do_foreign(&answer));
            }
        };
        let question = self.server.said.iter().rev().find_map(|command| {
            let asked = message_of(command)?;
            Some((command.clone(), answer_to(&asked)?, asked))
        });
        let Some((command, body, Message { uid: asker, nsp, .. })) = question else { return };
        let answer = Message { uid, nsp, body };
        match command {
            Command::XAdd { stream, .. } => {
                if let Ok(fields) = entry::encode(&answer) {
                    self.write_foreign(&stream, &fields);
                }
            }
            Command::Publish { channel, sharded, .. } => {
                if let Ok(payload) = pubsub::encode(&answer) {
                    let channel = format!("{channel}{asker}#").into();
                    self.do_foreign(&Command::Publish { channel, payload, sharded });
                }
            }
            _ => {}
        }
    }

    pub(super) fn write_foreign(&mut self, stream: &ByteString, fields: &sio_streams_core::Fields) {
        self.do_foreign(&Command::XAdd {
            stream: stream.clone(),
            max_len: u64::MAX >> 1,
            fields: fields.clone().into(),
        });
    }

    /// Executes a foreign program's command, as soon as the server executes anything.
    pub(super) fn do_foreign(&mut self, command: &Command) {
        if self.server.keeps(self.now, command) {
            return;
        }
        let wall = self.server.wall(self.now);
        // A stranger who writes through a client of his own is refused like everyone else.
        let client = self.server.redis.connect();
        if self.server.is_up()
            && let Executed::Reply(reply) = self.server.redis.execute(wall, client, command)
        {
            let host = usize::MAX;
            self.watch.saw(self.now, &Happening::Executed { host, command, reply: &reply });
        }
        self.server.redis.disconnect(client);
        self.spread();
    }
}

/// The message of a command, if it is one of the protocol's. The classic adapter's are not decoded.
fn message_of(command: &Command) -> Option<Message> {
    match command {
        Command::XAdd { fields, .. } => entry::decode(fields).ok(),
        Command::Publish { payload, .. } => pubsub::decode(payload).ok(),
        _ => None,
    }
}

fn is_answer(message: &Message) -> bool {
    matches!(
        message.body,
        Body::FetchSocketsResponse { .. }
            | Body::ServerSideEmitResponse { .. }
            | Body::BroadcastClientCount { .. }
            | Body::BroadcastAck { .. }
    )
}

/// An answer that somebody without sockets could give.
fn answer_to(question: &Message) -> Option<Body> {
    match &question.body {
        Body::FetchSockets { request_id, .. } => {
            Some(Body::FetchSocketsResponse { request_id: request_id.clone(), sockets: Vec::new() })
        }
        Body::ServerSideEmit { packet, request_id: Some(request_id) } => {
            let (_, value) = packet.decode::<(String, u64)>().ok()?;
            let packet = Payload::encode(&value).ok()?;
            Some(Body::ServerSideEmitResponse { request_id: request_id.clone(), packet })
        }
        Body::Broadcast { request_id: Some(request_id), .. } => {
            Some(Body::BroadcastClientCount { request_id: request_id.clone(), client_count: 0 })
        }
        _ => None,
    }
}
