//! An engine, its small environment, and the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{
    AckResponder, BroadcastOptions, ByteString, Bytes, CallError, Codec, Command, CommandId, Config, Dialect,
    EmitResponder, Engine, EntryId, Event, Lane, LinkState, NodeId, RequestId, RoomChange, Rooms,
    SocketsResponder, Ticket, Time,
};

use super::commands::Commands;
use super::host_rooms::HostRooms;
use super::plan::{Call, Reversed, Setup, Step, To, Value, Which, Wire};
use super::redis::{Redis, StreamState};
use super::restored::{Clients, STREAM, key_of, session};
use super::tickets::{Kind, Tickets};
use super::trace::Trace;
use crate::wire::fields;

/// The largest number of rounds of time until everything that can be done is done.
const ROUNDS: usize = 40;

/// The right to answer something.
enum Right {
    /// With the namespace, and the sockets that are meant, by their options and by the engine's rooms.
    Sockets(SocketsResponder, (ByteString, BroadcastOptions, Vec<ByteString>)),
    Emit(EmitResponder),
    Ack(AckResponder),
}

pub(super) struct World {
    engine: Engine,
    config: Config,
    now: Time,
    trace: Trace,
    tickets: Tickets,
    commands: Commands,
    redis: Redis,
    /// `true` if the server has done nothing yet that costs entries, or that no server does.
    honest: bool,
    open: BTreeSet<&'static str>,
    /// The number of times that a namespace was closed without the event that says so.
    closing: BTreeMap<&'static str, usize>,
    rights: Vec<Right>,
    asked: Vec<RequestId>,
    lanes: BTreeSet<Lane>,
    clients: Clients,
    host_rooms: HostRooms,
    /// The last offset that came out in a namespace.
    delivered: BTreeMap<ByteString, EntryId>,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let config = setup.config();
        let now = Time::from_millis(1);
        let engine = match Engine::new(config.clone(), setup.seed, now) {
            Ok(engine) => engine,
            Err(error) => panic!("{error}: {config:?}"),
        };
        let mut world = World {
            commands: Commands::new(&config, engine.uid().clone()),
            engine,
            config,
            now,
            trace: Trace::new(),
            tickets: Tickets::default(),
            redis: Redis::new(setup.counts, setup.others()),
            honest: setup.counts,
            clients: Clients::default(),
            host_rooms: HostRooms::default(),
            open: BTreeSet::new(),
            closing: BTreeMap::new(),
            rights: Vec::new(),
            asked: Vec::new(),
            lanes: BTreeSet::from([Lane::Writer, Lane::Subscriber]),
            delivered: BTreeMap::new(),
        };
        // Others may write before this node is there.
        world.redis.know(&ByteString::from_static(STREAM));
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Open(nsp) => self.open(nsp.namespace()),
            Step::Close(nsp) => {
                let nsp = nsp.namespace();
                let closed = self.engine.close_namespace(now, nsp);
                assert_eq!(closed.is_ok(), self.open.remove(nsp));
                if closed.is_ok() {
                    self.host_rooms.closed(nsp);
                    *self.closing.entry(nsp).or_default() += 1;
                }
            }
            Step::CloseAll => self.close_all(),
            Step::AddSocket(nsp, socket) => {
                let added = self.engine.add_socket(nsp.namespace(), socket.name());
                let added = self.change(nsp.namespace(), added, |rooms| rooms.add(socket.name()));
                self.expect_open(nsp.namespace(), &added);
            }
            Step::RemoveSocket(nsp, socket) => {
                let removed = self.engine.remove_socket(nsp.namespace(), &socket.name());
                let removed = self.change(nsp.namespace(), removed, |rooms| rooms.remove(&socket.name()));
                self.expect_open(nsp.namespace(), &removed);
            }
            Step::Join(nsp, socket, rooms) => {
                let names = || rooms.iter().map(|room| room.name());
                let joined = self.engine.join(nsp.namespace(), &socket.name(), names());
                let joined =
                    self.change(nsp.namespace(), joined, |rooms| rooms.join(&socket.name(), names()));
                self.expect_open(nsp.namespace(), &joined);
            }
            Step::Leave(nsp, socket, rooms) => {
                let rooms: Vec<ByteString> = rooms.iter().map(|room| room.name()).collect();
                let names = || rooms.iter().cloned();
                let left = self.engine.leave(nsp.namespace(), &socket.name(), names());
                let left = self.change(nsp.namespace(), left, |rooms| rooms.leave(&socket.name(), names()));
                self.expect_open(nsp.namespace(), &left);
            }
            Step::Call(call, nsp, to) => self.call(call, nsp.namespace(), to),
            Step::Events(count) => drop(self.take_events((*count).into(), Engine::poll_event)),
            Step::PendingEvents(count) => drop(self.take_events((*count).into(), Engine::poll_pending_event)),
            Step::Respond(which, value) => self.respond(*which, *value),
            Step::Commands(count) => drop(self.take_commands((*count).into())),
            Step::Reply(which, how) => {
                if let Some((id, command)) = self.commands.answer(*which) {
                    self.honest &= how.is_honest();
                    for reply in self.redis.replies(&command, how) {
                        self.engine.handle_reply(now, id, reply);
                    }
                }
            }
            Step::Append(stream, wire) => {
                let (uid, bridge) =
                    (self.engine.uid().clone(), matches!(wire, Wire::Message { bridge: true, .. }));
                let Some(fields) = wire.entry(&uid, &self.asked) else { return };
                self.clients.saw_foreign(&fields);
                self.redis.append(*stream, fields, bridge);
            }
            Step::Reset(stream, lower) => {
                self.redis.reset(*stream, *lower);
                self.honest = false;
                self.delivered.clear();
            }
            Step::Trim(stream, count) => {
                self.redis.trim(*stream, *count);
                self.honest = false;
            }
            Step::Store(pid, stored) => {
                if let Some(value) = stored.value(&pid.pid()) {
                    self.redis.store(key_of(&pid.pid()), value);
                }
            }
            Step::Nodes(count) => self.redis.set_others(count % 4),
            Step::Serve => self.serve(),
            Step::Push(channel, wire) => self.push(*channel, wire),
            Step::Link(lane, up) => {
                let lanes: Vec<Lane> = self.lanes.iter().cloned().collect();
                if let Some(lane) = lane.of(&lanes) {
                    let link = if *up { LinkState::Up } else { LinkState::down("cut") };
                    self.engine.handle_link(now, lane, link);
                }
            }
            Step::Pass(millis) => self.pass(now + Duration::from_millis((*millis).into())),
            Step::PassUntilDue => {
                if let Some(due) =
                    self.engine.poll_timeout().filter(|due| *due < now + Duration::from_secs(3_600))
                {
                    self.pass(due);
                }
            }
        }
    }

    fn open(&mut self, nsp: &'static str) {
        match self.engine.open_namespace(self.now, nsp) {
            Ok(()) => {
                assert!(nsp.starts_with('/') && self.open.insert(nsp));
                assert!(self.open.len() <= self.config.limits.namespaces);
                self.host_rooms.opened(&self.engine, nsp);
                self.delivered.clear();
            }
            Err(CallError::Overlap(..)) => {}
            Err(CallError::InvalidNamespace(_)) => assert!(!nsp.starts_with('/')),
            Err(CallError::NamespaceInUse(_)) => {
                assert!(self.open.contains(nsp) || self.closing.contains_key(nsp), "{nsp} is free");
            }
            Err(CallError::Full { limit, .. }) => assert_eq!(self.open.len(), limit),
            Err(error) => panic!("{error}"),
        }
    }

    fn close_all(&mut self) {
        self.engine.close(self.now);
        for nsp in std::mem::take(&mut self.open) {
            self.host_rooms.closed(nsp);
            *self.closing.entry(nsp).or_default() += 1;
        }
    }

    /// Makes a change of rooms itself if the engine has left it to the application.
    fn change(
        &mut self,
        nsp: &str,
        result: Result<Vec<RoomChange>, CallError>,
        change: impl FnOnce(&mut Rooms) -> Vec<RoomChange>,
    ) -> Result<Vec<RoomChange>, CallError> {
        self.host_rooms.change(&mut self.engine, nsp, result, change)
    }

    fn expect_open<T>(&self, nsp: &str, result: &Result<T, CallError>) {
        match result {
            Ok(_) => assert!(self.open.contains(nsp), "{nsp} is not open"),
            Err(CallError::UnknownNamespace(_)) => assert!(!self.open.contains(nsp), "{nsp} is open"),
            Err(_) => {}
        }
    }

    fn call(&mut self, call: &Call, nsp: &str, to: &To) {
        let (now, opts, engine) = (self.now, to.opts(), &mut self.engine);
        let names = |rooms: &[Which]| rooms.iter().map(|room| room.name()).collect::<Vec<_>>();
        let packet = |value: &Value| sio_streams_core::Packet::new(value.payload());
        let (kind, ticket): (Kind, Result<Ticket, CallError>) = match call {
            Call::Broadcast(value) => {
                let Ok(packet) = packet(value) else { return };
                (Kind::Publish, engine.broadcast(now, nsp, packet, opts))
            }
            Call::BroadcastWithAck(value) => {
                let Ok(packet) = packet(value) else { return };
                (Kind::Request, engine.broadcast_with_ack(now, nsp, packet, opts))
            }
            Call::SocketsJoin(rooms) => (Kind::Publish, engine.sockets_join(now, nsp, opts, names(rooms))),
            Call::SocketsLeave(rooms) => (Kind::Publish, engine.sockets_leave(now, nsp, opts, names(rooms))),
            Call::Disconnect(close) => (Kind::Publish, engine.disconnect_sockets(now, nsp, opts, *close)),
            Call::FetchSockets => (Kind::Request, engine.fetch_sockets(now, nsp, opts)),
            Call::Emit(value) => (Kind::Publish, engine.server_side_emit(now, nsp, value.payload())),
            Call::EmitWithAck(value) => {
                (Kind::Request, engine.server_side_emit_with_ack(now, nsp, value.payload()))
            }
            Call::ServerCount => (Kind::Count, engine.server_count(now, nsp)),
            Call::Sockets(rooms) => (Kind::Request, engine.sockets(now, nsp, names(rooms))),
            Call::AllRooms => (Kind::Request, engine.all_rooms(now, nsp)),
            Call::RemoteJoin(socket, room) => {
                (Kind::Request, engine.remote_join(now, nsp, socket.name(), room.name()))
            }
            Call::RemoteLeave(socket, room) => {
                (Kind::Request, engine.remote_leave(now, nsp, socket.name(), room.name()))
            }
            Call::RemoteDisconnect(socket, close) => {
                (Kind::Request, engine.remote_disconnect(now, nsp, socket.name(), *close))
            }
            Call::Persist(pid, rooms, value) => {
                (Kind::Save, engine.persist_session(now, nsp, &session(pid.pid(), rooms, *value)))
            }
            Call::Restore(pid, offset) => {
                let offset = match *offset {
                    u8::MAX => "latest".to_owned(),
                    offset => format!("1-{offset}"),
                };
                let ticket = engine.restore_session(now, nsp, &pid.pid(), &offset);
                if let Ok(ticket) = &ticket {
                    self.clients.asked(*ticket, &offset);
                }
                (Kind::Restore, ticket)
            }
        };
        self.expect_open(nsp, &ticket);
        if let Ok(ticket) = ticket {
            self.tickets.opened(ticket, kind);
        }
    }

    fn respond(&mut self, which: Which, value: Value) {
        if self.rights.is_empty() {
            return;
        }
        let right = self.rights.remove(usize::from(which.0) % self.rights.len());
        let (now, value) = (self.now, value.payload());
        // It may be refused: the namespace may be closed, the queue full.
        let _ = match right {
            Right::Sockets(responder, meant) => {
                self.host_rooms.answer(&mut self.engine, now, responder, meant, &value)
            }
            Right::Emit(responder) => self.engine.respond_emit(now, responder, value),
            Right::Ack(responder) => self.engine.respond_ack(now, &responder, value),
        };
    }

    fn push(&mut self, channel: Which, wire: &Wire) {
        let Some(channel) = channel.of(self.commands.channels()) else { return };
        let uid = self.engine.uid().clone();
        if let Some(payload) = wire.packed(&self.config, &uid, &self.asked) {
            self.engine.handle_push(self.now, channel, &payload);
        }
    }

    fn pass(&mut self, to: Time) {
        self.now = self.now.max(to);
        self.engine.handle_timeout(self.now);
        assert!(self.engine.poll_timeout().is_none_or(|due| due > self.now), "what was due is due again");
    }

    /// Takes events; how many there were.
    fn take_events(&mut self, count: usize, poll: fn(&mut Engine) -> Option<Event>) -> usize {
        for taken in 0..count {
            match poll(&mut self.engine) {
                Some(event) => self.saw(event),
                None => return taken,
            }
        }
        count
    }

    fn saw(&mut self, event: Event) {
        self.trace.note(&event);
        self.tickets.saw(&event);
        if self.honest {
            assert!(!matches!(event, Event::Gap { .. } | Event::Rewound { .. }), "a false alarm: {event:?}");
        }
        self.host_rooms.follow(&mut self.engine, self.now, &event);
        match event {
            Event::Closed { nsp } => {
                let Some(awaited) = self.closing.get_mut(&*nsp) else { panic!("{nsp} was not being closed") };
                *awaited -= 1;
                if *awaited == 0 {
                    self.closing.remove(&*nsp);
                }
            }
            Event::Broadcast(delivery) => {
                if let Some(offset) = delivery.offset {
                    assert!(self.config.recovery.is_some() && delivery.entry == Some(offset));
                }
                if let (Some(entry), 1) = (delivery.entry, self.config.stream_count)
                    && delivery.from.as_ref() != Some(self.engine.uid())
                {
                    let before = self.delivered.insert(delivery.nsp, entry);
                    assert!(before < Some(entry), "{entry} after {before:?}");
                }
                self.rights.extend(delivery.responder.map(Right::Ack));
            }
            Event::FetchSockets { nsp, opts, sockets, responder } => {
                self.rights.push(Right::Sockets(responder, (nsp, opts, sockets)));
            }
            Event::ServerSideEmit { responder, from, .. } => {
                assert_ne!(from.as_ref(), Some(self.engine.uid()));
                self.rights.extend(responder.map(Right::Emit));
            }
            Event::Restored(restored) if self.honest && self.config.stream_count == 1 => {
                // Packets that are delivered from now on come behind the replay, and packets that
                // were delivered do not.
                let before = self.delivered.insert(restored.nsp.clone(), restored.position);
                assert!(before <= Some(restored.position), "{before:?} came before {restored:?}");
                self.clients.restored(&restored, &self.redis);
            }
            Event::Rewound { .. } => self.delivered.clear(),
            Event::NodeUp { node, .. } => assert!(node != *self.engine.uid() && node != NodeId::EMITTER),
            _ => {}
        }
    }

    /// Takes commands; how many there were.
    fn take_commands(&mut self, count: usize) -> usize {
        for taken in 0..count {
            let Some((id, command)) = self.engine.poll_command() else { return taken };
            self.took(id, command);
        }
        count
    }

    fn took(&mut self, id: CommandId, command: Command) {
        self.trace.note(&(id, &command));
        self.lanes.insert(command.lane());
        if let Some(stream) = StreamState::of(&command) {
            self.redis.know(stream);
        }
        self.asked.extend(self.commands.took(id, command));
    }

    /// Lets everything end: requests although nobody answers, the rest once links and server are
    /// there again, and at last the engine.
    pub(super) fn end(mut self) -> Trace {
        self.pass(self.now + Duration::from_secs(70));
        self.take_events(usize::MAX, Engine::poll_event);
        assert_eq!(self.tickets.of(Kind::Request), 0, "a request did not end in time");
        self.recover();
        assert!(self.tickets.is_empty(), "{:?}", self.tickets);
        self.close_all();
        self.recover();
        assert!(self.engine.is_closed() && self.closing.is_empty(), "{:?}", self.closing);
        assert_eq!(self.engine.poll_timeout(), None, "closed, and yet something will be due");
        self.trace
    }

    /// All links are there, the server does what it should, time passes.
    fn recover(&mut self) {
        for lane in self.lanes.clone() {
            self.engine.handle_link(self.now, &lane, LinkState::Up);
        }
        for _ in 0..ROUNDS {
            self.serve();
            self.pass(self.now + Duration::from_millis(250));
        }
    }

    /// The server answers until it has nothing more to say.
    fn serve(&mut self) {
        loop {
            let taken = self.take_commands(usize::MAX);
            let events = self.take_events(usize::MAX, Engine::poll_event);
            let mut answered = 0;
            for (id, command) in self.commands.all() {
                match self.redis.right(&command) {
                    Some(reply) => {
                        answered += 1;
                        self.engine.handle_reply(self.now, id, Ok(reply));
                    }
                    None => self.commands.put_back(id, command),
                }
            }
            if taken + events + answered == 0 {
                break;
            }
        }
    }
}

impl Wire {
    fn entry(&self, own: &NodeId, asked: &[RequestId]) -> Option<sio_streams_core::Fields> {
        match self {
            Wire::Bytes(bytes) => Some(fields(bytes)),
            Wire::Message { node, nsp, body, .. } => {
                entry::encode(&body.message(own, *node, *nsp, asked)).ok()
            }
        }
    }

    fn packed(&self, config: &Config, own: &NodeId, asked: &[RequestId]) -> Option<Bytes> {
        let Wire::Message { node, nsp, body, .. } = self else {
            let Wire::Bytes(bytes) = self else { return None };
            return Some(bytes.clone().into());
        };
        let message = body.message(own, *node, *nsp, asked);
        let encoded = match config.dialect {
            Dialect::Classic => body.classic(&message, asked).map(|payload| parsed(config, payload)),
            Dialect::Sharded => pubsub::encode_sharded(&message),
            _ => pubsub::encode(&message),
        };
        encoded.ok()
    }
}

/// As the application's codec has it, if there is one. JSON stays as it is.
fn parsed(config: &Config, payload: Bytes) -> Bytes {
    match payload.first() {
        Some(b'{') => payload,
        _ if config.parser.is_some() => Reversed.encode(payload),
        _ => payload,
    }
}
