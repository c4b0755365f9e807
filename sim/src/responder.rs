//! The application of the simulator's own nodes: it answers all questions.

use core::time::Duration;
use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_streams_core::{AckResponder, EmitResponder, Event, LocalSocket, Payload, SocketsResponder};

use crate::adapter::Rooms;
use crate::app::{App, Hand};
use crate::own_rooms::OwnRooms;

/// An answer that is due.
#[derive(Debug)]
enum Answer {
    Sockets(ByteString, Vec<ByteString>, SocketsResponder),
    Emit(EmitResponder, u64),
    Ack(AckResponder, ByteString),
}

/// Answers: after a while, or, one time out of some, never.
#[derive(Debug)]
pub(crate) struct Responder {
    pub(crate) think: Duration,
    pub(crate) mute: u64,
    pub(crate) rooms: OwnRooms,
    asked: u64,
    due: BTreeMap<u64, Answer>,
}

impl Responder {
    pub(crate) fn new(think: Duration, mute: u64, rooms: Rooms) -> Self {
        Responder { think, mute, rooms: OwnRooms::new(rooms), asked: 0, due: BTreeMap::new() }
    }

    fn answer(&mut self, node: &mut Hand<'_>, answer: Answer) {
        self.asked += 1;
        if self.mute > 0 && self.asked.is_multiple_of(self.mute) {
            return;
        }
        if self.think.is_zero() {
            self.give(node, answer);
        } else {
            self.due.insert(self.asked, answer);
            node.alarm(self.think, self.asked);
        }
    }

    /// A namespace that was closed meanwhile, and a full queue, are no concern of who answers.
    fn give(&self, node: &mut Hand<'_>, answer: Answer) {
        let now = node.now;
        match answer {
            Answer::Sockets(nsp, sockets, responder) => {
                if !self.rooms.has(node.engine, &nsp) {
                    return;
                }
                let is_here = |socket: &ByteString| self.rooms.rooms(node.engine, &nsp, socket).is_some();
                let here: Vec<ByteString> = sockets.into_iter().filter(is_here).collect();
                let of = here.len();
                let described = here.into_iter().enumerate().map(|(index, id)| LocalSocket {
                    id,
                    handshake: Payload::null(),
                    // Numbers can be carried.
                    data: Payload::encode(&(of, index)).unwrap_or(Payload::null()),
                });
                let described = described.collect();
                let _ = self.rooms.answer(node.engine, now, responder, &nsp, described);
            }
            Answer::Emit(responder, value) => {
                let value = Payload::encode(&value).unwrap_or(Payload::null());
                let _ = node.engine.respond_emit(now, responder, value);
            }
            Answer::Ack(responder, socket) => {
                let value = Payload::encode(&*socket).unwrap_or(Payload::null());
                let _ = node.engine.respond_ack(now, &responder, value);
            }
        }
    }
}

impl App for Responder {
    fn complete(&mut self, node: &mut Hand<'_>, event: &mut Event) {
        self.rooms.follow(node.engine, event);
    }

    fn event(&mut self, node: &mut Hand<'_>, event: Event) {
        match event {
            Event::FetchSockets { nsp, sockets, responder, .. } => {
                self.answer(node, Answer::Sockets(nsp, sockets, responder));
            }
            Event::ServerSideEmit { packet, responder: Some(responder), .. } => {
                let value = packet.decode::<(String, u64)>().map_or(0, |(_, value)| value);
                self.answer(node, Answer::Emit(responder, value));
            }
            Event::Broadcast(delivery) => {
                let Some(sockets) = self.rooms.addressees(node.engine, &delivery) else { return };
                let Some(responder) = delivery.responder else { return };
                self.rooms.count_clients(node.engine, node.now, &responder, sockets.len());
                for socket in sockets {
                    self.answer(node, Answer::Ack(responder.clone(), socket));
                }
            }
            Event::DisconnectSockets { nsp, sockets, .. } => {
                for socket in sockets {
                    let _ = self.rooms.remove(node.engine, &nsp, &socket);
                }
            }
            _ => {}
        }
    }

    fn take_sent(&mut self) -> Option<Vec<ByteString>> {
        self.rooms.take_sent()
    }

    fn alarm(&mut self, node: &mut Hand<'_>, alarm: u64) {
        if let Some(answer) = self.due.remove(&alarm) {
            self.give(node, answer);
        }
    }

    fn reborn(&self) -> Self {
        Responder::new(self.think, self.mute, self.rooms.owner())
    }
}
