//! A small world, in which one step follows another as a path says.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{
    BroadcastOptions, Command, CommandError, CommandId, Config, Engine, Event, Lane, LinkState, LocalSocket,
    NodeId, Packet, Payload, Reply, Ticket, Time,
};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};

use super::scenario::{Call, Scenario};

const NSP: &str = "/";

/// The server's clock at the beginning, in milliseconds.
const WALL: u64 = 1_700_000_000_000;

/// The time in which everything comes right after the last fault.
const CALM: Duration = Duration::from_secs(60);

/// Something that can happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A node's application makes the next call of its script.
    Call { node: usize },
    /// The server executes the first command on a connection.
    Execute { node: usize, lane: Lane },
    /// The first reply or message on a connection reaches the node.
    Deliver { node: usize, lane: Lane },
    /// A connection is lost, with everything on it.
    Cut { node: usize, lane: Lane },
    /// A lost connection is there again.
    Restore { node: usize, lane: Lane },
    /// The server executes a command of a lost connection.
    Late,
    /// The next time-out happens.
    Tick,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Call { node } => write!(f, "node {node}: the application calls"),
            Step::Execute { node, lane } => {
                write!(f, "node {node}: the server executes a command of the {lane}")
            }
            Step::Deliver { node, lane } => write!(f, "node {node}: the {lane} receives"),
            Step::Cut { node, lane } => write!(f, "node {node}: the {lane} is cut"),
            Step::Restore { node, lane } => write!(f, "node {node}: the {lane} is there again"),
            Step::Late => f.write_str("a command of a lost connection is executed"),
            Step::Tick => f.write_str("a time-out"),
        }
    }
}

/// Something on its way to a node.
#[derive(Debug)]
enum Mail {
    Reply(CommandId, Result<Reply, CommandError>),
    Push(ByteString, Bytes),
}

/// A connection.
#[derive(Debug, Default)]
struct Link {
    /// The server's side, or `None` if the connection is lost.
    client: Option<ClientId>,
    to_server: VecDeque<(CommandId, Command)>,
    /// The read that the server answers when there is something.
    blocked: Option<CommandId>,
    to_node: VecDeque<Mail>,
}

impl Link {
    /// Returns `true` if something is on its way, or awaited.
    fn is_used(&self) -> bool {
        !self.to_server.is_empty() || !self.to_node.is_empty() || self.blocked.is_some()
    }
}

#[derive(Debug)]
struct Node {
    engine: Engine,
    dead: bool,
    links: BTreeMap<Lane, Link>,
    script: VecDeque<Call>,
    /// The number of the next broadcast.
    next: u64,
    /// The broadcasts whose fates are not known.
    calls: BTreeMap<Ticket, u64>,
    asked: Vec<Ticket>,
    /// The nodes that have answered, for each question that was answered completely.
    complete: Vec<Vec<NodeId>>,
    published: Vec<u64>,
    /// The broadcasts that were delivered here, with the node that sent them.
    heard: Vec<(usize, u64)>,
    /// A broken rule.
    wrong: Option<String>,
    /// `true` from the first `Close` on: then this node need not hear everything.
    was_closed: bool,
}

/// The world.
#[derive(Debug)]
pub(super) struct Small {
    redis: RedisModel,
    now: Time,
    nodes: Vec<Node>,
    late: VecDeque<Command>,
    cuts: usize,
    may_be_late: bool,
    ticks: usize,
    forgets: bool,
}

impl Small {
    /// Makes a world in which every node is ready.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let now = Time::ZERO;
        let node = |(index, script): (usize, &Vec<Call>)| {
            let config = Config { dialect: scenario.dialect, ..Config::default() };
            let mut engine = Engine::new(config, 1 + index as u64, now).expect("the options fit");
            engine.open_namespace(now, NSP).expect("it is the first");
            engine.add_socket(NSP, format!("socket{index}")).expect("the namespace is open");
            Node {
                engine,
                dead: false,
                links: BTreeMap::new(),
                script: script.iter().copied().collect(),
                next: 0,
                calls: BTreeMap::new(),
                asked: Vec::new(),
                complete: Vec::new(),
                published: Vec::new(),
                heard: Vec::new(),
                wrong: None,
                was_closed: false,
            }
        };
        let nodes = scenario.scripts.iter().enumerate().map(node).collect();
        let Scenario { cuts, late: may_be_late, ticks, forgets, .. } = *scenario;
        let (redis, late) = (RedisModel::new(), VecDeque::new());
        let mut world = Small { redis, now, nodes, late, cuts, may_be_late, ticks, forgets };
        (0..world.nodes.len()).for_each(|node| world.pump(node));
        world.settle();
        world
    }

    /// Two worlds of which this is the same are the same.
    pub(super) fn print(&self) -> String {
        format!("{self:?}")
    }

    /// Returns everything that can happen next, in a fixed order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let living = || self.nodes.iter().enumerate().filter(|(_, node)| !node.dead);
        let callers = living().filter(|(_, node)| !node.script.is_empty());
        let mut steps: Vec<Step> = callers.map(|(node, _)| Step::Call { node }).collect();
        steps.extend(self.under_way());
        if !self.late.is_empty() {
            steps.push(Step::Late);
        }
        // A cut of an idle world, and time alone, lead nowhere.
        if steps.is_empty() && self.nodes.iter().all(|node| node.calls.is_empty()) {
            return steps;
        }
        if self.cuts > 0 {
            let links =
                living().flat_map(|(node, it)| it.links.iter().map(move |(lane, link)| (node, lane, link)));
            let used = links.filter(|(_, _, link)| link.client.is_some() && link.is_used());
            steps.extend(used.map(|(node, lane, _)| Step::Cut { node, lane: lane.clone() }));
        }
        if self.ticks > 0 && self.next_time().is_some() {
            steps.push(Step::Tick);
        }
        steps
    }

    /// Returns what happens by itself: on each connection the next thing, and lost ones come back.
    fn under_way(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (node, links) in self.nodes.iter().map(|node| &node.links).enumerate() {
            for (lane, link) in links {
                let lane = || lane.clone();
                if link.client.is_none() {
                    steps.push(Step::Restore { node, lane: lane() });
                } else if !link.to_server.is_empty() && link.blocked.is_none() {
                    steps.push(Step::Execute { node, lane: lane() });
                }
                if !link.to_node.is_empty() {
                    steps.push(Step::Deliver { node, lane: lane() });
                }
            }
        }
        steps
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Call { node } => self.call(*node),
            Step::Execute { node, lane } => self.execute(*node, lane),
            Step::Deliver { node, lane } => self.deliver(*node, lane),
            Step::Cut { node, lane } => {
                self.cuts -= 1;
                self.cut(*node, lane);
            }
            Step::Restore { node, lane } => self.restore(*node, lane),
            Step::Late => {
                let client = self.redis.connect();
                if let Some(command) = self.late.pop_front() {
                    let _ = self.redis.execute(self.wall(), client, &command);
                }
                self.redis.disconnect(client);
                self.wake();
            }
            Step::Tick => {
                self.ticks -= 1;
                self.tick();
            }
        }
    }

    fn wall(&self) -> u64 {
        WALL + self.now.as_micros() / 1_000
    }

    fn call(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let all = BroadcastOptions::all;
        match node.script.pop_front() {
            Some(Call::Broadcast) => {
                let packet = Packet::event("number", &(index, node.next)).expect("numbers can be carried");
                match node.engine.broadcast(now, NSP, packet, all()) {
                    Ok(ticket) => drop(node.calls.insert(ticket, node.next)),
                    Err(error) => node.wrong = Some(format!("a broadcast is refused: {error}")),
                }
                node.next += 1;
            }
            Some(Call::Fetch) => match node.engine.fetch_sockets(now, NSP, all()) {
                Ok(ticket) => node.asked.push(ticket),
                Err(error) => node.wrong = Some(format!("a question is refused: {error}")),
            },
            Some(Call::Close) => {
                node.was_closed = true;
                let _ = node.engine.close_namespace(now, NSP);
            }
            // While it is being closed, it can't be opened: the application tries again.
            Some(Call::Open) if node.engine.open_namespace(now, NSP).is_err() => {
                node.script.push_front(Call::Open);
            }
            Some(Call::Open) | None => {}
            Some(Call::Die) => {
                node.dead = true;
                let links = core::mem::take(&mut node.links);
                links
                    .into_values()
                    .filter_map(|link| link.client)
                    .for_each(|client| self.redis.disconnect(client));
                return;
            }
        }
        self.pump(index);
    }

    /// Takes everything that an engine has to say.
    fn pump(&mut self, index: usize) {
        let now = self.now;
        let names: Vec<_> = self.nodes.iter().map(|node| node.engine.uid().clone()).collect();
        let node = &mut self.nodes[index];
        loop {
            let mut idle = true;
            while let Some(event) = node.engine.poll_event() {
                idle = false;
                node.saw(now, event, |name| names.iter().position(|other| other == name));
            }
            while let Some((id, command)) = node.engine.poll_command() {
                idle = false;
                if let Command::Release { lane } = &command {
                    if let Some(client) = node.links.remove(lane).and_then(|link| link.client) {
                        self.redis.disconnect(client);
                    }
                    node.engine.handle_reply(now, id, Ok(Reply::Done));
                    continue;
                }
                let link = node
                    .links
                    .entry(command.lane())
                    .or_insert_with(|| Link { client: Some(self.redis.connect()), ..Link::default() });
                link.to_server.push_back((id, command));
            }
            if idle {
                return;
            }
        }
    }

    fn execute(&mut self, index: usize, lane: &Lane) {
        let wall = self.wall();
        let Some(link) = self.nodes[index].links.get_mut(lane) else { return };
        let (Some(client), Some((id, command))) = (link.client, link.to_server.pop_front()) else { return };
        match self.redis.execute(wall, client, &command) {
            Executed::Reply(reply) => {
                if let (Ok(Reply::Added(entry)), Command::XAdd { stream, fields, .. }, true) =
                    (&reply, &command, self.forgets)
                    && fields.get("type").is_some_and(|kind| kind == "3")
                {
                    self.forgets = false;
                    self.redis.delete(stream, *entry);
                }
                link.to_node.push_back(Mail::Reply(id, reply));
            }
            Executed::Blocked => link.blocked = Some(id),
        }
        self.wake();
    }

    /// Puts what the server has to say on its way.
    fn wake(&mut self) {
        let mut mails = Vec::new();
        while let Some((client, reply)) = self.redis.poll_wakeup() {
            mails.push((client, Err(reply)));
        }
        while let Some((client, channel, payload)) = self.redis.poll_push() {
            mails.push((client, Ok(Mail::Push(channel, payload))));
        }
        for (client, mail) in mails {
            let mut links = self.nodes.iter_mut().flat_map(|node| node.links.values_mut());
            let Some(link) = links.find(|link| link.client == Some(client)) else { continue };
            match mail {
                Ok(push) => link.to_node.push_back(push),
                Err(reply) => link.to_node.extend(link.blocked.take().map(|id| Mail::Reply(id, reply))),
            }
        }
    }

    fn deliver(&mut self, index: usize, lane: &Lane) {
        let now = self.now;
        let node = &mut self.nodes[index];
        match node.links.get_mut(lane).and_then(|link| link.to_node.pop_front()) {
            Some(Mail::Reply(id, reply)) => node.engine.handle_reply(now, id, reply),
            Some(Mail::Push(channel, payload)) => node.engine.handle_push(now, &channel, &payload),
            None => {}
        }
        self.pump(index);
    }

    fn cut(&mut self, index: usize, lane: &Lane) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let Some(link) = node.links.get_mut(lane) else { return };
        let Link { client, to_server, blocked, to_node } = core::mem::take(link);
        client.into_iter().for_each(|client| self.redis.disconnect(client));
        node.engine.handle_link(now, lane, LinkState::down("cut"));
        let answered = to_node.into_iter().filter_map(|mail| match mail {
            Mail::Reply(id, _) => Some(id),
            Mail::Push(..) => None,
        });
        let unanswered = answered.chain(blocked).chain(to_server.iter().map(|(id, _)| *id));
        for id in unanswered {
            node.engine.handle_reply(now, id, Err(CommandError::Lost("cut".into())));
        }
        if self.may_be_late {
            self.late.extend(
                to_server
                    .into_iter()
                    .map(|(_, command)| command)
                    .filter(|command| matches!(command, Command::XAdd { .. } | Command::Publish { .. })),
            );
        }
        self.pump(index);
    }

    fn restore(&mut self, index: usize, lane: &Lane) {
        let node = &mut self.nodes[index];
        if let Some(link) = node.links.get_mut(lane) {
            link.client = Some(self.redis.connect());
            node.engine.handle_link(self.now, lane, LinkState::Up);
        }
        self.pump(index);
    }

    fn next_time(&self) -> Option<Time> {
        let server = self.redis.poll_timeout().map(|wall| Time::from_millis(wall.saturating_sub(WALL)));
        let living = self.nodes.iter().filter(|node| !node.dead);
        living.filter_map(|node| node.engine.poll_timeout()).chain(server).min()
    }

    fn tick(&mut self) {
        let Some(due) = self.next_time() else { return };
        self.now = due.max(self.now);
        self.redis.handle_timeout(self.wall());
        self.wake();
        for index in 0..self.nodes.len() {
            if !self.nodes[index].dead {
                self.nodes[index].engine.handle_timeout(self.now);
                self.pump(index);
            }
        }
    }

    /// Executes and delivers until nothing more is under way.
    fn settle(&mut self) {
        loop {
            let under_way = self.under_way();
            if under_way.is_empty() {
                return;
            }
            under_way.iter().for_each(|step| self.take(step));
        }
    }

    /// Lets everything come right, and looks at the rules. Returns the broken one.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.settle();
        let end = self.now + CALM;
        while self.next_time().is_some_and(|due| due <= end) {
            self.tick();
            self.settle();
        }
        if let Some(wrong) = self.nodes.iter().find_map(|node| node.wrong.clone()) {
            return Err(wrong);
        }
        let living: Vec<&NodeId> =
            self.nodes.iter().filter(|node| !node.dead).map(|node| node.engine.uid()).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let lacks = |answered: &&Vec<NodeId>| living.iter().any(|name| !answered.contains(name));
            if node.complete.iter().any(|answered| lacks(&answered)) {
                return Err(format!("node {index} was told that all had answered, and a living one had not"));
            }
        }
        let written = self.written();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.dead) {
            if !node.calls.is_empty() || !node.asked.is_empty() {
                return Err(format!("node {index} was not told the fate of a call"));
            }
            let of = |author: usize| {
                written.iter().filter(move |(from, _)| *from == author).map(|(_, number)| *number)
            };
            if let Some(number) =
                node.published.iter().find(|number| !of(index).any(|other| other == **number))
            {
                return Err(format!(
                    "broadcast {number} of node {index} was published, and is not in the stream"
                ));
            }
            for author in 0..self.nodes.len() {
                let heard: Vec<u64> = node
                    .heard
                    .iter()
                    .filter(|(from, _)| *from == author)
                    .map(|(_, number)| *number)
                    .collect();
                if !heard.is_sorted_by(|one, two| one < two) {
                    return Err(format!("node {index} was told {heard:?} of node {author}"));
                }
                let missing = self.nodes[author].published.iter().find(|number| !heard.contains(number));
                if let (Some(number), false, false) = (missing, node.was_closed, author == index) {
                    return Err(format!("node {index} was not told broadcast {number} of node {author}"));
                }
            }
        }
        Ok(())
    }

    /// Returns the broadcasts in the stream, with the nodes that sent them.
    fn written(&self) -> Vec<(usize, u64)> {
        let entries = self.redis.entries("socket.io").filter_map(|entry| {
            let message = sio_streams_core::wire::entry::decode(&entry.fields).ok()?;
            let sio_streams_core::Body::Broadcast { packet, .. } = message.body else { return None };
            packet.data().decode::<(String, usize, u64)>().ok().map(|(_, node, number)| (node, number))
        });
        entries.collect()
    }
}

impl Node {
    fn saw(&mut self, now: Time, event: Event, place: impl Fn(&NodeId) -> Option<usize>) {
        match event {
            Event::Published { ticket, .. } => {
                let number = self.calls.remove(&ticket);
                self.published.extend(number);
            }
            Event::PublishFailed { ticket, .. } => drop(self.calls.remove(&ticket)),
            Event::Broadcast(delivery) => {
                let number =
                    delivery.packet.data().decode::<(String, usize, u64)>().map(|(_, _, number)| number);
                if let (Some(from), Ok(number)) = (delivery.from.as_ref().and_then(place), number) {
                    self.heard.push((from, number));
                }
            }
            Event::FetchSockets { sockets, responder, .. } => {
                let data = Payload::empty_object;
                let socket = |id| LocalSocket { id, handshake: data(), data: data() };
                let _ =
                    self.engine.respond_sockets(now, responder, sockets.into_iter().map(socket).collect());
            }
            Event::RequestDone { ticket, outcome } => {
                self.asked.retain(|other| *other != ticket);
                if outcome.is_complete() {
                    self.complete.push(outcome.answered);
                }
            }
            Event::Gap { .. } | Event::Rewound { .. } => {
                self.wrong = Some(format!("a loss is told, and there was none: {event:?}"));
            }
            _ => {}
        }
    }
}
