//! The calls of the hosts' applications, on their nodes and in the oracle's records.

use bytestring::ByteString;
use sio_streams_core::{Body, CallError, Packet, Payload, RequestId, Ticket};

use super::Trial;
use crate::app::Node;
use crate::oracle::{Ask, RoomModel};
use crate::peer::Question;
use crate::plan::{Call, HOSTS_ROOMS, HostKind, Kind, Target, room_name, socket_name};
use crate::responder::Responder;
use crate::trace::{Kind as Mark, Place};

impl Trial<'_> {
    /// Opens what is not open on a node of ours.
    pub(super) fn open_all(&mut self, host: usize) {
        for nsp in &self.plan.namespaces {
            self.open(host, nsp);
        }
    }

    fn open(&mut self, host: usize, nsp: &ByteString) {
        if !self.is_ours(host) {
            return;
        }
        let count = self.plan.hosts[host].sockets;
        self.world.act(host, |node, eyes, _| {
            match node.engine.open_namespace(node.now, nsp) {
                Ok(()) => {}
                Err(CallError::Overlap(..)) => return eyes.oracle.namespace_refused(host, nsp),
                Err(_) => return,
            }
            node.app.rooms.opened(node.engine, nsp);
            let rooms = eyes.oracle.namespace_opened(host, nsp);
            for socket in 0..count {
                let name = socket_name(host, socket);
                rooms.add(&name);
                let _ = node.app.rooms.add(node.engine, nsp, name.into());
            }
        });
    }

    /// The names of rooms.
    fn rooms(&self) -> impl Fn(u8) -> ByteString + use<> {
        let hosts: Vec<ByteString> =
            self.world.watch().oracle.hosts.iter().map(|host| ByteString::from(host.uid.as_str())).collect();
        move |room: u8| {
            let host = room.checked_sub(HOSTS_ROOMS).and_then(|host| hosts.get(usize::from(host)));
            host.cloned().unwrap_or_else(|| room_name(room))
        }
    }

    /// The name of a room.
    pub(super) fn room(&self, room: u8) -> ByteString {
        self.rooms()(room)
    }

    pub(super) fn perform(&mut self, host: usize, nsp: usize, call: &Call) {
        if !self.plan.hosts[host].present || !self.world.runs(host) {
            return;
        }
        let now = self.world.now();
        let nsp = self.plan.namespaces[nsp].clone();
        let watch = self.world.watch_mut();
        watch.tracer.note(now, Place::Host(host), Mark::Call, || format!("{nsp} {call}"));
        match self.plan.hosts[host].kind {
            HostKind::Ours => self.perform_ours(host, &nsp, call),
            HostKind::Peer(_) => self.perform_peer(host, &nsp, call),
        }
    }

    fn perform_peer(&mut self, host: usize, nsp: &str, call: &Call) {
        let name_of = self.rooms();
        match call {
            Call::Broadcast { to, times, .. } => {
                let opts = to.options(&name_of);
                for _ in 0..*times {
                    let data = packet("peer", self.questions, Kind::Plain).into_data();
                    self.questions += 1;
                    self.world.call_peer(host, |peer, _| peer.broadcast(nsp, data, opts.clone()));
                }
            }
            Call::Join { to, room } => {
                let (opts, rooms) = (to.options(&name_of), vec![name_of(*room)]);
                self.world.call_peer(host, |peer, _| peer.join(nsp, opts, rooms));
            }
            Call::FetchSockets { to } => {
                _ = self.ask_peer(host, nsp, Question::FetchSockets(to.options(&name_of)))
            }
            Call::EmitWithAck => {
                let question = Question::Emit(payload("ask", self.questions));
                self.ask_peer(host, nsp, question);
            }
            Call::BroadcastWithAck { to } => {
                let question = Question::Broadcast(payload("peer", self.questions), to.options(&name_of));
                self.ask_peer(host, nsp, question);
            }
            _ => {}
        }
    }

    pub(super) fn ask_peer(&mut self, host: usize, nsp: &str, question: Question) -> u64 {
        self.questions += 1;
        let number = self.questions;
        self.world.call_peer(host, |peer, now| peer.ask(now, nsp, number, question));
        number
    }

    fn perform_ours(&mut self, host: usize, nsp: &ByteString, call: &Call) {
        let name_of = self.rooms();
        match call {
            Call::Client { client, does } => self.client_does(usize::from(*client), *does, host, nsp),
            Call::Broadcast { times, .. } | Call::Emit { times } => {
                for _ in 0..*times {
                    let _ = self.publish(host, nsp, call);
                }
            }
            Call::Join { .. } | Call::Leave { .. } | Call::Disconnect { .. } => {
                let _ = self.publish(host, nsp, call);
            }
            Call::FetchSockets { .. }
            | Call::EmitWithAck
            | Call::BroadcastWithAck { .. }
            | Call::ServerCount => {
                let _ = self.ask(host, nsp, call);
            }
            Call::OpenNamespace => self.open(host, nsp),
            Call::CloseNamespace => self.close(host, nsp),
            Call::AddSocket { socket } => {
                let name = socket_name(host, usize::from(*socket));
                self.touch(host, nsp, |node, rooms| {
                    rooms.add(&name);
                    let _ = node.app.rooms.add(node.engine, nsp, name.into());
                });
            }
            Call::RemoveSocket { socket } => {
                let name = socket_name(host, usize::from(*socket));
                self.touch(host, nsp, |node, rooms| {
                    rooms.remove(&name);
                    let _ = node.app.rooms.remove(node.engine, nsp, &name);
                });
            }
            Call::LocalJoin { socket, room } => {
                let (name, room) = (socket_name(host, usize::from(*socket)), name_of(*room));
                self.touch(host, nsp, |node, rooms| {
                    if node.app.rooms.join(node.engine, nsp, &name, core::slice::from_ref(&room)).is_ok() {
                        rooms.join(&name, &[room]);
                    }
                });
            }
            Call::LocalLeave { socket, room } => {
                let (name, room) = (socket_name(host, usize::from(*socket)), name_of(*room));
                self.touch(host, nsp, |node, rooms| {
                    rooms.leave(&name, core::slice::from_ref(&room));
                    let _ = node.app.rooms.leave(node.engine, nsp, &name, core::slice::from_ref(&room));
                });
            }
        }
    }

    /// Changes the sockets of a host, here and in the oracle's records.
    pub(super) fn touch(
        &mut self,
        host: usize,
        nsp: &str,
        action: impl FnOnce(&mut Node<'_, Responder>, &mut RoomModel),
    ) {
        self.world.act(host, |node, eyes, _| {
            if let Some(rooms) = eyes.oracle.hosts[host].open.get_mut(nsp) {
                action(node, rooms);
            }
        });
    }

    pub(super) fn close(&mut self, host: usize, nsp: &str) {
        self.world.act(host, |node, eyes, _| {
            if node.engine.close_namespace(node.now, nsp).is_ok() {
                node.app.rooms.closed(nsp);
                eyes.oracle.namespace_closed(host, nsp);
            }
        });
    }

    /// Has a node publish something.
    pub(super) fn publish(
        &mut self,
        host: usize,
        nsp: &ByteString,
        call: &Call,
    ) -> Option<Result<Ticket, CallError>> {
        let name_of = self.rooms();
        self.world.act(host, |node, eyes, world_now| {
            let oracle = &mut eyes.oracle;
            oracle.now = world_now;
            let (now, engine) = (node.now, &mut *node.engine);
            let number = oracle.next_deed();
            let marked = |to: &Target| to.options(&name_of).except(format!("#{number}"));
            let mut local = false;
            let (result, body) = match call {
                Call::Broadcast { to, kind, .. } => {
                    let mut opts = to.options(&name_of);
                    if *kind == Kind::Volatile {
                        opts = opts.volatile();
                    }
                    if *kind == Kind::Local {
                        opts = opts.local();
                        local = true;
                    }
                    let packet = packet("said", number, *kind);
                    let body =
                        Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: None };
                    (engine.broadcast(now, nsp, packet, opts), body)
                }
                Call::Join { to, room } => {
                    let (opts, rooms) = (marked(to), vec![name_of(*room)]);
                    let body = Body::SocketsJoin { opts: opts.clone(), rooms: rooms.clone() };
                    (engine.sockets_join(now, nsp, opts, rooms), body)
                }
                Call::Leave { to, room } => {
                    let (opts, rooms) = (marked(to), vec![name_of(*room)]);
                    let body = Body::SocketsLeave { opts: opts.clone(), rooms: rooms.clone() };
                    (engine.sockets_leave(now, nsp, opts, rooms), body)
                }
                Call::Disconnect { to } => {
                    let opts = marked(to);
                    let body = Body::DisconnectSockets { opts: opts.clone(), close: number % 2 == 0 };
                    (engine.disconnect_sockets(now, nsp, opts, number % 2 == 0), body)
                }
                _ => {
                    let event = payload("news", number);
                    let body = Body::ServerSideEmit { packet: event.clone(), request_id: None };
                    (engine.server_side_emit(now, nsp, event), body)
                }
            };
            match &result {
                Ok(ticket) => oracle.did(host, nsp, body, local, *ticket),
                Err(error) => oracle.refused(host, nsp, error),
            }
            result
        })
    }

    /// Has a node ask something.
    pub(super) fn ask(
        &mut self,
        host: usize,
        nsp: &ByteString,
        call: &Call,
    ) -> Option<Result<Ticket, CallError>> {
        let timeout = self.plan.hosts[host].config.request_timeout;
        let name_of = self.rooms();
        self.world.act(host, |node, eyes, world_now| {
            let oracle = &mut eyes.oracle;
            oracle.now = world_now;
            let (now, engine) = (node.now, &mut *node.engine);
            let number = oracle.next_question();
            let itself = RequestId::new("");
            let (result, ask, here) = match call {
                Call::FetchSockets { to } => {
                    let opts = to.options(&name_of);
                    let here = Body::FetchSockets { opts: opts.clone(), request_id: itself };
                    (engine.fetch_sockets(now, nsp, opts), Ask::Sockets, Some(here))
                }
                Call::EmitWithAck => {
                    let result = engine.server_side_emit_with_ack(now, nsp, payload("ask", number));
                    (result, Ask::Emit { value: number }, None)
                }
                Call::BroadcastWithAck { to } => {
                    let (opts, packet) = (to.options(&name_of), packet("ask", number, Kind::Plain));
                    let here = Body::Broadcast {
                        packet: packet.clone(),
                        opts: opts.clone(),
                        request_id: Some(itself),
                    };
                    let result = engine.broadcast_with_ack(now, nsp, packet, opts);
                    (result, Ask::Broadcast { call: number }, Some(here))
                }
                _ => (engine.server_count(now, nsp), Ask::Count, None),
            };
            match &result {
                Ok(ticket) => oracle.asks(host, nsp, ask, timeout, *ticket, here),
                Err(error) => oracle.refused(host, nsp, error),
            }
            result
        })
    }
}

/// `[name, number]`.
pub(super) fn payload(name: &str, number: u64) -> Payload {
    // A text and a number can be carried.
    Payload::encode(&(name, number)).unwrap_or(Payload::null())
}

fn packet(name: &str, number: u64, kind: Kind) -> Packet {
    let data = match kind {
        Kind::Binary => {
            let bytes = [0x91, number as u8, 0xc1];
            Payload::encode(&(name, number, serde_bytes::Bytes::new(&bytes)))
        }
        Kind::Large => Payload::encode(&(name, number, "x".repeat(2_000))),
        Kind::Plain | Kind::Volatile | Kind::Local => Payload::encode(&(name, number)),
    };
    let data = data.expect("texts, numbers and bytes can be carried");
    Packet::new(data).expect("the plan's names can be used")
}
