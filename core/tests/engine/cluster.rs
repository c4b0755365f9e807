//! A cluster under virtual time: engines, a Redis in memory, and links that can be cut. There is no
//! clock and no thread, so a test always sees the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sio_streams_core::{
    Answer, BroadcastOptions, Bytes, Command, CommandError, CommandId, Config, Delivery, Dialect, Engine,
    EntryId, Event, Lane, LinkState, LocalDelivery, LocalSocket, Outcome, Packet, Payload, Recovery,
    RemoteSocket, Reply, RoomChange, RoomOwner, Rooms, StreamInfo, Ticket, Time,
};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};

/// The start of the simulated server's clock, in milliseconds.
const WALL: u64 = 1_700_000_000_000;

pub(crate) struct Cluster {
    pub(crate) store: RedisModel,
    pub(crate) millis: u64,
    pub(crate) nodes: Vec<Node>,
    /// The commands that are on their way over connections that were lost.
    late: Vec<Command>,
    /// The commands that wait in the server's sockets while it hangs, or `None` if it does not
    /// hang.
    hung: Option<Vec<(usize, CommandId, Command)>>,
    /// The messages that came over channels to clients that are no nodes.
    pub(crate) overheard: Vec<Bytes>,
}

pub(crate) struct Node {
    pub(crate) engine: Engine,
    /// The events that a test has not taken.
    pub(crate) events: Vec<Event>,
    clients: BTreeMap<Lane, ClientId>,
    blocked: BTreeMap<ClientId, CommandId>,
    down: BTreeSet<Lane>,
    /// The fates of the replies to the next commands that write, in order.
    pub(crate) lost: VecDeque<LostReply>,
    unanswered: Vec<CommandId>,
    /// The commands that the node has asked for, if they are recorded.
    pub(crate) noted: Option<Vec<Command>>,
    /// `true` if the node hangs or is dead. It does nothing, but its connections may live on.
    pub(crate) stopped: bool,
    /// `true` if its application answers requests.
    pub(crate) answers: bool,
    /// The sockets in `/` and their rooms, if they are the application's.
    pub(crate) own: Option<Rooms>,
    /// `true` if its application takes what the node has read.
    pub(crate) takes: bool,
}

/// The fate of a reply to an XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostReply {
    /// The reply arrives.
    No,
    /// The reply is lost after the command was executed.
    After,
    /// The command is lost before it arrives.
    Before,
    /// The command is on its way, and arrives when [`Cluster::arrive_late`] is called.
    Late,
    /// The command was executed, but its reply can't be understood.
    Unusable,
    /// The command was executed, and a proxy replies with an error code of its own.
    Foreign,
}

pub(crate) fn config(dialect: Dialect) -> Config {
    Config { dialect, ..Config::default() }
}

/// Returns a configuration with connection state recovery.
pub(crate) fn recovering(dialect: Dialect) -> Config {
    let recovery = Some(Recovery::default());
    Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..config(dialect) }
}

pub(crate) fn packet(text: &str) -> Packet {
    Packet::event("event", &(text,)).unwrap()
}

/// Returns an engine that has been told that its stream does not exist yet. Everything else is left
/// to the test.
pub(crate) fn located(now: Time) -> Engine {
    let mut engine = Engine::new(config(Dialect::Streams02), 1, now).unwrap();
    engine.open_namespace(now, "/").unwrap();
    let (id, _) = engine.poll_command().unwrap();
    engine.handle_reply(now, id, Ok(Reply::Stream(None)));
    engine
}

/// Returns the state of a stream with the entries from 1-1 to this one.
pub(crate) fn stream_up_to(seq: u64) -> StreamInfo {
    StreamInfo {
        length: seq,
        last_generated_id: EntryId { ms: 1, seq },
        entries_added: Some(seq),
        max_deleted_entry_id: Some(EntryId::ZERO),
        first_entry_id: Some(EntryId { ms: 1, seq: 1 }),
    }
}

impl Cluster {
    pub(crate) fn with_configs(configs: impl IntoIterator<Item = Config>) -> Self {
        let mut cluster = Cluster {
            store: RedisModel::new(),
            millis: 0,
            nodes: Vec::new(),
            late: Vec::new(),
            hung: None,
            overheard: Vec::new(),
        };
        for config in configs {
            cluster.add(config);
        }
        cluster
    }

    /// Creates a cluster in which every node is ready in `/` and has a socket `s0`, `s1`, ….
    pub(crate) fn ready(dialects: &[Dialect]) -> Self {
        Self::ready_with(dialects.iter().map(|&dialect| config(dialect)))
    }

    /// Does the same as [`Cluster::ready`], with these configurations.
    pub(crate) fn ready_with(configs: impl IntoIterator<Item = Config>) -> Self {
        let mut cluster = Self::with_configs(configs);
        for index in 0..cluster.nodes.len() {
            cluster.open(index, "/");
        }
        cluster
    }

    pub(crate) fn add(&mut self, config: Config) -> usize {
        self.add_with_seed(config, 1_000 + self.nodes.len() as u64)
    }

    pub(crate) fn add_with_seed(&mut self, config: Config, seed: u64) -> usize {
        let own = (config.room_owner == RoomOwner::Application).then(|| Rooms::new([7; 16]));
        self.nodes.push(Node {
            engine: Engine::new(config, seed, self.now()).unwrap(),
            events: Vec::new(),
            clients: BTreeMap::new(),
            blocked: BTreeMap::new(),
            down: BTreeSet::new(),
            lost: VecDeque::new(),
            unanswered: Vec::new(),
            noted: None,
            stopped: false,
            answers: true,
            own,
            takes: true,
        });
        self.nodes.len() - 1
    }

    pub(crate) fn open(&mut self, index: usize, nsp: &str) {
        let now = self.now();
        self.nodes[index].engine.open_namespace(now, nsp).unwrap();
        match &mut self.nodes[index].own {
            Some(rooms) => drop(rooms.add(format!("s{index}").into())),
            None => drop(self.nodes[index].engine.add_socket(nsp, format!("s{index}")).unwrap()),
        }
        self.settle();
        assert!(self.take(index, |event| matches!(event, Event::Ready { .. })).is_some(), "not ready");
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.millis)
    }

    fn wall(&self) -> u64 {
        WALL + self.millis
    }

    /// Runs until nothing more happens at this moment.
    pub(crate) fn settle(&mut self) {
        let mut busy = true;
        while busy {
            busy = self.deliver();
            for index in 0..self.nodes.len() {
                busy |= self.turn(index);
            }
        }
    }

    /// Returns the commands that a node hands out while so many milliseconds pass.
    pub(crate) fn noted_while(&mut self, index: usize, millis: u64) -> Vec<Command> {
        self.nodes[index].noted = Some(Vec::new());
        self.pass(millis);
        self.nodes[index].noted.take().unwrap_or_default()
    }

    /// Lets time pass, from one due timer to the next.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        self.settle();
        while self.millis < end {
            let engines =
                self.nodes.iter().filter(|node| !node.stopped).filter_map(|node| node.engine.poll_timeout());
            let engines = engines.map(|time| time.as_micros().div_ceil(1_000));
            let next = engines.chain(self.store.poll_timeout().map(|wall| wall - WALL)).min().unwrap_or(end);
            self.millis = next.clamp(self.millis + 1, end);
            if self.hung.is_none() {
                self.store.handle_timeout(self.wall());
            }
            let now = self.now();
            for node in self.nodes.iter_mut().filter(|node| !node.stopped) {
                node.engine.handle_timeout(now);
            }
            self.settle();
        }
    }

    fn turn(&mut self, index: usize) -> bool {
        if self.nodes[index].stopped {
            return false;
        }
        let mut any = false;
        let now = self.now();
        let node = &mut self.nodes[index];
        // Runs the timers that have become due through the latest inputs.
        if node.engine.poll_timeout().is_some_and(|due| due <= now) {
            any = true;
            node.engine.handle_timeout(now);
        }
        while let Some(event) = match &mut self.nodes[index] {
            Node { engine, takes: true, .. } => engine.poll_event(),
            Node { engine, .. } => engine.poll_pending_event(),
        } {
            any = true;
            self.react(index, event);
        }
        while let Some((id, command)) = self.nodes[index].engine.poll_command() {
            any = true;
            self.execute(index, id, &command);
        }
        self.lose_replies(index);
        any
    }

    /// Runs one turn of one node: events first, then the commands that it asked for.
    pub(crate) fn settle_and_tell(&mut self, index: usize) -> Vec<Command> {
        self.deliver();
        while let Some(event) = self.nodes[index].engine.poll_event() {
            self.react(index, event);
        }
        let mut asked = Vec::new();
        while let Some((id, command)) = self.nodes[index].engine.poll_command() {
            asked.push((id, command));
        }
        for (id, command) in &asked {
            self.execute(index, *id, command);
        }
        asked.into_iter().map(|(_, command)| command).collect()
    }

    /// Reports the replies that are lost.
    fn lose_replies(&mut self, index: usize) {
        let now = self.now();
        let node = &mut self.nodes[index];
        for id in core::mem::take(&mut node.unanswered) {
            node.engine.handle_reply(now, id, Err(CommandError::Lost("cut".into())));
        }
    }

    /// Executes the commands that the engines ask for, without taking events.
    pub(crate) fn settle_commands(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some((id, command)) = self.nodes[index].engine.poll_command() {
                self.execute(index, id, &command);
            }
            self.lose_replies(index);
        }
        self.deliver();
    }

    /// Answers an event as an application would.
    fn react(&mut self, index: usize, event: Event) {
        let now = self.now();
        let node = &mut self.nodes[index];
        let uid = node.engine.uid().to_string();
        if let Some(rooms) = &mut node.own {
            follow(&mut node.engine, rooms, now, &event);
        }
        match event {
            Event::FetchSockets { opts, responder, .. } if node.answers && node.own.is_some() => {
                let rooms = node.own.as_ref().unwrap();
                let found = rooms.matching(&opts).into_iter().map(|id| RemoteSocket {
                    rooms: rooms.of(&id).unwrap(),
                    id,
                    handshake: Payload::from_json("{}").unwrap(),
                    data: Payload::null(),
                });
                node.engine.respond_sockets_in_rooms(now, responder, found.collect()).unwrap();
            }
            Event::FetchSockets { sockets, responder, .. } if node.answers => {
                let details = sockets.into_iter().map(|id| LocalSocket {
                    id,
                    handshake: Payload::from_json("{}").unwrap(),
                    data: Payload::null(),
                });
                node.engine.respond_sockets(now, responder, details.collect()).unwrap();
            }
            Event::ServerSideEmit { responder: Some(responder), .. } if node.answers => {
                let value = Payload::encode(&uid).unwrap();
                node.engine.respond_emit(now, responder, value).unwrap();
            }
            Event::Broadcast(delivery) => {
                if let (Some(responder), true) = (&delivery.responder, node.answers) {
                    let rooms = node.own.as_ref().or_else(|| node.engine.rooms(&delivery.nsp));
                    for socket in rooms.unwrap().matching(&delivery.opts) {
                        let value = Payload::encode(&*socket).unwrap();
                        node.engine.respond_ack(now, responder, value).unwrap();
                    }
                }
                node.events.push(Event::Broadcast(delivery));
            }
            other => node.events.push(other),
        }
    }

    fn execute(&mut self, index: usize, id: CommandId, command: &Command) {
        let (now, wall) = (self.now(), self.wall());
        let node = &mut self.nodes[index];
        let lane = command.lane();
        if let Some(noted) = &mut node.noted {
            noted.push(command.clone());
        }
        if let Command::Release { lane } = command {
            if let Some(client) = node.clients.remove(lane) {
                self.store.disconnect(client);
            }
            return node.engine.handle_reply(now, id, Ok(Reply::Done));
        }
        if node.down.contains(&lane) {
            return node.engine.handle_reply(now, id, Err(CommandError::NotSent("down".into())));
        }
        if let Some(waiting) = &mut self.hung {
            return waiting.push((index, id, command.clone()));
        }
        let client = *node.clients.entry(lane).or_insert_with(|| self.store.connect());
        let lost = match command {
            Command::XAdd { .. } | Command::Publish { .. } => node.lost.pop_front().unwrap_or(LostReply::No),
            _ => LostReply::No,
        };
        if lost != LostReply::No {
            match lost {
                LostReply::After => drop(self.store.execute(wall, client, command)),
                LostReply::Late => self.late.push(command.clone()),
                LostReply::Before | LostReply::No => {}
                LostReply::Unusable | LostReply::Foreign => {
                    drop(self.store.execute(wall, client, command));
                    let foreign =
                        || CommandError::Server { code: "upstream".into(), message: "failure".into() };
                    let reply = match lost {
                        LostReply::Foreign => Err(foreign()),
                        _ => Ok(Reply::Counts(vec![1])),
                    };
                    return node.engine.handle_reply(now, id, reply);
                }
            }
            return node.unanswered.push(id);
        }
        match self.store.execute(wall, client, command) {
            Executed::Reply(reply) => node.engine.handle_reply(now, id, reply),
            Executed::Blocked => drop(node.blocked.insert(client, id)),
        }
    }

    /// Makes the server hang.
    pub(crate) fn hang(&mut self) {
        self.hung = Some(Vec::new());
    }

    /// Lets the server continue. It serves its connections in this order.
    pub(crate) fn go_on(&mut self, nodes: &[usize]) {
        let waiting = self.hung.take().unwrap_or_default();
        self.store.handle_timeout(self.wall());
        // All commands in its sockets come before those that follow from their replies.
        for &node in nodes {
            for (index, id, command) in waiting.iter().filter(|(index, ..)| *index == node) {
                self.execute(*index, *id, command);
            }
        }
        self.settle();
    }

    /// Lets the commands that were on their way arrive.
    pub(crate) fn arrive_late(&mut self) {
        let client = self.store.connect();
        for command in core::mem::take(&mut self.late) {
            let wall = self.wall();
            assert!(matches!(self.store.execute(wall, client, &command), Executed::Reply(Ok(_))));
        }
        self.settle();
    }

    /// Delivers the server's replies and pushes to the nodes.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        let now = self.now();
        while let Some((client, reply)) = self.store.poll_wakeup() {
            any = true;
            for node in &mut self.nodes {
                if let Some(id) = node.blocked.remove(&client) {
                    node.engine.handle_reply(now, id, reply.clone());
                }
            }
        }
        while let Some((client, channel, payload)) = self.store.poll_push() {
            any = true;
            if !self.nodes.iter().any(|node| node.clients.get(&Lane::Subscriber) == Some(&client)) {
                self.overheard.push(payload.clone());
            }
            for node in self.nodes.iter_mut().filter(|node| !node.stopped) {
                if node.clients.get(&Lane::Subscriber) == Some(&client) {
                    node.engine.handle_push(now, &channel, &payload);
                }
            }
        }
        any
    }

    pub(crate) fn cut(&mut self, index: usize, lane: &Lane) {
        let now = self.now();
        let node = &mut self.nodes[index];
        node.down.insert(lane.clone());
        node.engine.handle_link(now, lane, LinkState::down("cut"));
        if let Some(client) = node.clients.remove(lane) {
            self.store.disconnect(client);
            if let Some(id) = node.blocked.remove(&client) {
                node.engine.handle_reply(now, id, Err(CommandError::Lost("cut".into())));
            }
        }
        self.settle();
    }

    /// Makes the server lose a connection without the node's knowledge.
    pub(crate) fn sever(&mut self, index: usize, lane: &Lane) {
        if let Some(client) = self.nodes[index].clients.remove(lane) {
            self.store.disconnect(client);
        }
    }

    pub(crate) fn mend(&mut self, index: usize, lane: &Lane) {
        self.connect(index, lane);
        self.settle();
    }

    /// Restores the link. Nothing has come over it yet.
    pub(crate) fn connect(&mut self, index: usize, lane: &Lane) {
        let now = self.now();
        self.nodes[index].down.remove(lane);
        self.nodes[index].engine.handle_link(now, lane, LinkState::Up);
    }

    /// Kills the node: its connections are gone, and it does nothing any more.
    pub(crate) fn kill(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.stopped = true;
        for client in core::mem::take(&mut node.clients).into_values() {
            self.store.disconnect(client);
        }
    }

    pub(crate) fn broadcast(&mut self, index: usize, text: &str) -> Ticket {
        let ticket = self.broadcast_to(index, text, BroadcastOptions::all());
        self.settle();
        ticket
    }

    pub(crate) fn broadcast_to(&mut self, index: usize, text: &str, opts: BroadcastOptions) -> Ticket {
        let now = self.now();
        self.nodes[index].engine.broadcast(now, "/", packet(text), opts).unwrap()
    }

    /// Takes the first event that matches.
    pub(crate) fn take(&mut self, index: usize, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let events = &mut self.nodes[index].events;
        let at = events.iter().position(wanted)?;
        Some(events.remove(at))
    }

    /// Takes the texts of all broadcasts that were delivered.
    pub(crate) fn heard(&mut self, index: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(Event::Broadcast(delivery)) =
            self.take(index, |event| matches!(event, Event::Broadcast(_)))
        {
            heard.push(delivery.packet.data().decode::<(String, String)>().unwrap().1);
        }
        heard
    }

    /// Takes the outcome of a request, and the answers before it.
    pub(crate) fn outcome(&mut self, index: usize, wanted: Ticket) -> Option<(Vec<Answer>, Outcome)> {
        let done = |event: &Event| matches!(event, Event::RequestDone { ticket, .. } if *ticket == wanted);
        let Event::RequestDone { outcome, .. } = self.take(index, done)? else { unreachable!() };
        let mut answers = Vec::new();
        let answer = |event: &Event| matches!(event, Event::Answer { ticket, .. } if *ticket == wanted);
        while let Some(Event::Answer { answer, .. }) = self.take(index, answer) {
            answers.push(answer);
        }
        Some((answers, outcome))
    }

    pub(crate) fn count(&mut self, index: usize) -> u64 {
        let now = self.now();
        self.nodes[index].engine.server_count(now, "/").unwrap();
        self.settle();
        match self.take(index, |event| matches!(event, Event::ServerCount { .. })) {
            Some(Event::ServerCount { count, .. }) => count.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn uid(&self, index: usize) -> sio_streams_core::NodeId {
        self.nodes[index].engine.uid().clone()
    }
}

/// Does what an application does that owns the rooms.
fn follow(engine: &mut Engine, rooms: &mut Rooms, now: Time, event: &Event) {
    let changes: Vec<RoomChange> = match event {
        Event::Broadcast(Delivery { responder: Some(responder), opts, .. }) => {
            let clients = rooms.count_matching(opts) as u64;
            return engine.respond_client_count(now, responder, clients).unwrap();
        }
        Event::SocketsJoin(moved) => rooms.join_matching(&moved.opts, &moved.rooms),
        Event::SocketsLeave(moved) => rooms.leave_matching(&moved.opts, &moved.rooms),
        _ => return,
    };
    for (room, occupied) in changes.iter().filter_map(RoomChange::occupancy) {
        engine.set_rooms_occupied("/", [room.clone()], occupied).unwrap();
    }
}

/// Returns the ids of the sockets in answers.
pub(crate) fn sockets(answers: &[Answer]) -> Vec<String> {
    let mut ids: Vec<String> = answers
        .iter()
        .flat_map(|answer| match answer {
            Answer::Sockets(sockets) => sockets.iter().map(|socket| socket.id.to_string()).collect(),
            _ => Vec::new(),
        })
        .collect();
    ids.sort();
    ids
}
