//! The loop that carries a node.

use core::time::Duration;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sio_streams_core::{
    Answer, ByteString, CallError, Command, CommandError, CommandId, Engine, EntryId, Event as CoreEvent,
    Lane, NodeId, NotRecovered, Outcome, Payload, RemoteSocket, Reply, Restored, Ticket, Time,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::acceptance::Acceptance;
use crate::backend::{Backend, PushReceiver, PushSender};
use crate::event::{AckReply, Broadcast, EmitReply, Event, SocketsReply, Told};
use crate::lane::{self, BATCH, Batch, LaneTask, Report};
use crate::line::Line;
use crate::links::Links;
use crate::node::{Error, Fate, Responses, Sockets, WeakNode};
use crate::observe::{Counts, Gauges};
use crate::opening::Comings;
use crate::queue::Teller;
use crate::remote::Names;
use crate::{Options, observe};

/// Something to be done between two looks at the outside.
pub(crate) type Call = Box<dyn FnOnce(&mut Run) + Send>;

/// How often the gauges are set, at most.
const OBSERVE: Duration = Duration::from_secs(1);

/// Calls that are taken in one go, at most.
const CALLS_AT_ONCE: usize = 256;

/// Who waits for what becomes of a ticket.
pub(crate) enum Waiting {
    Published(oneshot::Sender<Fate>),
    Sockets { found: Vec<RemoteSocket>, done: oneshot::Sender<Sockets> },
    Responses { responses: Vec<(NodeId, Payload)>, done: oneshot::Sender<Responses> },
    Acks { values: mpsc::UnboundedSender<Payload>, done: oneshot::Sender<Outcome> },
    Names { found: BTreeSet<ByteString>, done: oneshot::Sender<Names> },
    Order { obeyed: bool, done: oneshot::Sender<(bool, Outcome)> },
    Count(oneshot::Sender<Result<u64, CommandError>>),
    Saved(oneshot::Sender<Result<(), CommandError>>),
    Restored(Acceptance),
}

/// The node's state, as calls find it.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    started: Instant,
    pub(crate) waiting: FxHashMap<Ticket, Waiting>,
    /// How many of them wait for the fate of a message.
    publishing: usize,
    pub(crate) comings: Comings,
    /// The streams that the server lets be read.
    pub(crate) readable: BTreeSet<ByteString>,
    /// What is wrong with the connections, in the server's words.
    troubles: BTreeMap<Lane, String>,
    node: WeakNode,
    events: Teller,
    links: Links,
    counts: Counts,
    gauges: Gauges,
    /// When a closing node stops waiting for its farewells.
    deadline: Option<Instant>,
    closed: Vec<oneshot::Sender<()>>,
    options: Options,
    line: Arc<Line>,
    /// What has been taken out of the line, and has not been told there.
    taken: usize,
}

impl Run {
    pub(crate) fn new(
        engine: Engine,
        options: Options,
        node: WeakNode,
        events: Teller,
        line: Arc<Line>,
    ) -> Self {
        Run {
            gauges: Gauges::new(engine.uid()),
            engine,
            started: Instant::now(),
            waiting: FxHashMap::default(),
            publishing: 0,
            comings: Comings::default(),
            readable: BTreeSet::new(),
            troubles: BTreeMap::new(),
            node,
            events,
            links: Links::default(),
            counts: Counts::default(),
            deadline: None,
            closed: Vec::new(),
            options,
            line,
            taken: 0,
        }
    }

    pub(crate) fn now(&self) -> Time {
        let micros = self.started.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn instant(&self, time: Time) -> Instant {
        later(self.started, time.since(Time::ZERO))
    }

    /// What may be the reason that something takes so long.
    pub(crate) fn troubles(&self) -> String {
        let troubles = self.troubles.iter().map(|(lane, reason)| format!("{lane}: {reason}"));
        match troubles.collect::<Vec<_>>() {
            none if none.is_empty() => "Redis has not answered yet".to_owned(),
            some => some.join("; "),
        }
    }

    /// How many events are not taken.
    pub(crate) fn untaken(&self) -> usize {
        self.events.untaken()
    }

    /// How many events are not taken, if they are too many for more calls.
    pub(crate) fn backlog(&self) -> Option<usize> {
        let (excess, buffer) = (self.events.excess(), self.options.event_buffer);
        (excess >= buffer).then_some(excess + buffer)
    }

    /// Makes a call that ends with a message's fate. In line it weighed so much.
    pub(crate) fn publish(
        &mut self,
        weight: usize,
        fate: oneshot::Sender<Fate>,
        call: impl FnOnce(&mut Run) -> Result<Ticket, CallError>,
    ) {
        self.taken += weight;
        let taken = match self.backlog() {
            Some(backlog) => Err(Error::EventsNotTaken(backlog)),
            None => call(self).map_err(Error::from),
        };
        match taken {
            Ok(ticket) => {
                self.publishing += 1;
                self.waiting.insert(ticket, Waiting::Published(fate));
            }
            Err(error) => {
                if let Err(Err(error)) = fate.send(Err(error)) {
                    observe::refused(&error);
                }
            }
        }
    }

    pub(crate) fn close(&mut self, done: Option<oneshot::Sender<()>>) {
        self.engine.close(self.now());
        self.deadline.get_or_insert(later(Instant::now(), self.options.timing.response));
        self.closed.extend(done);
    }

    /// Whether a node that is to be closed has nothing left to do: it has taken its leave, and what it had said before is published; or that takes
    /// too long.
    fn is_over(&self) -> bool {
        let is_done = || self.engine.is_closed() && self.publishing == 0;
        self.deadline.is_some_and(|deadline| is_done() || deadline <= Instant::now())
    }

    /// It is over. What was said and not published by now may have been published all the same.
    fn end(&mut self) {
        for waiting in core::mem::take(&mut self.waiting).into_values() {
            if let Waiting::Published(fate) = waiting {
                let error = CommandError::Lost("the node was closed before Redis had answered".into());
                let _ = fate.send(Err(error.into()));
            }
        }
        self.publishing = 0;
        self.gauges.end();
    }

    /// Hands on everything that has happened. Entries are looked at only while the application takes what comes of them.
    fn take_events(&mut self) {
        if !self.events.is_full() {
            self.links.let_go().for_each(|event| self.events.tell(Told::Event(event)));
        }
        loop {
            let event = match self.events.is_full() {
                false => self.engine.poll_event(),
                true => self.engine.poll_pending_event(),
            };
            match event {
                Some(event) => {
                    self.counts.event(&event);
                    self.dispatch(event);
                }
                None => break,
            }
        }
        self.events.hand_over();
        self.counts.flush();
    }

    fn dispatch(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::Ready { nsp } => self.is_heard(&nsp),
            CoreEvent::Closed { nsp } => self.is_left(&nsp),
            CoreEvent::Published { ticket, entry } => self.published(ticket, Ok(entry)),
            CoreEvent::PublishFailed { ticket, error } => self.published(ticket, Err(error)),
            CoreEvent::ServerCount { ticket, count } => {
                if let Some(Waiting::Count(done)) = self.waiting.remove(&ticket) {
                    let _ = done.send(count);
                }
            }
            CoreEvent::SessionSaved { ticket, result } => {
                if let Some(Waiting::Saved(done)) = self.waiting.remove(&ticket) {
                    let _ = done.send(result);
                }
            }
            CoreEvent::Restored(restored) => self.restored(restored.ticket, Ok(restored)),
            CoreEvent::NotRecovered { ticket, reason } => self.restored(ticket, Err(reason)),
            CoreEvent::Answer { ticket, from, answer } => self.answered(ticket, from, answer),
            CoreEvent::RequestDone { ticket, outcome } => self.request_done(ticket, outcome),
            other => {
                if let CoreEvent::Refused { lane, error } = &other {
                    self.troubles.insert(lane.clone(), error.to_string());
                }
                // Who takes no events has at least nothing put aside that concerns none of its clients.
                if let Some(event) = self.for_application(other)
                    && !(self.events.is_full() && concerns_nobody(&event))
                {
                    self.tell(event);
                }
            }
        }
    }

    // Who waits for an answer may have lost interest: that a send fails means nothing.

    fn published(&mut self, ticket: Ticket, result: Result<Option<EntryId>, CommandError>) {
        if let Some(Waiting::Published(done)) = self.waiting.remove(&ticket) {
            self.publishing -= 1;
            let _ = done.send(result.map_err(Error::from));
        }
    }

    fn restored(&mut self, ticket: Ticket, result: Result<Restored, NotRecovered>) {
        if let Some(Waiting::Restored(acceptance)) = self.waiting.remove(&ticket) {
            // Broadcasts that are told before this must not be taken for the socket that is here again.
            if let Some(act) = acceptance.settle(result) {
                self.events.tell(Told::Act(act));
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, from: NodeId, answer: Answer) {
        match (self.waiting.get_mut(&ticket), answer) {
            (Some(Waiting::Sockets { found, .. }), Answer::Sockets(sockets)) => found.extend(sockets),
            (Some(Waiting::Responses { responses, .. }), Answer::Emit(value)) => {
                responses.push((from, value))
            }
            (Some(Waiting::Acks { values, .. }), Answer::Ack(value)) => drop(values.send(value)),
            (Some(Waiting::Names { found, .. }), Answer::SocketIds(names) | Answer::Rooms(names)) => {
                found.extend(names);
            }
            (Some(Waiting::Order { obeyed, .. }), Answer::Done) => *obeyed = true,
            _ => {}
        }
    }

    fn request_done(&mut self, ticket: Ticket, outcome: Outcome) {
        match self.waiting.remove(&ticket) {
            Some(Waiting::Sockets { found, done }) => drop(done.send(Sockets { sockets: found, outcome })),
            Some(Waiting::Responses { responses, done }) => drop(done.send(Responses { responses, outcome })),
            Some(Waiting::Acks { done, .. }) => drop(done.send(outcome)),
            Some(Waiting::Names { found, done }) => {
                drop(done.send(Names { names: found.into_iter().collect(), outcome }));
            }
            Some(Waiting::Order { obeyed, done }) => drop(done.send((obeyed, outcome))),
            _ => {}
        }
    }

    fn for_application(&self, event: CoreEvent) -> Option<Event> {
        let node = || self.node.clone();
        Some(match event {
            CoreEvent::Broadcast(delivery) => Event::Broadcast(Broadcast {
                sockets: self
                    .engine
                    .rooms(&delivery.nsp)
                    .map(|rooms| rooms.matching(&delivery.opts))
                    .unwrap_or_default(),
                acks: delivery.responder.map(|responder| AckReply { responder, node: node() }),
                nsp: delivery.nsp,
                packet: delivery.packet,
                opts: delivery.opts,
                offset: delivery.offset,
                from: delivery.from,
            }),
            CoreEvent::SocketsJoin(moved) => Event::SocketsJoin(moved),
            CoreEvent::SocketsLeave(moved) => Event::SocketsLeave(moved),
            CoreEvent::DisconnectSockets { nsp, sockets, close } => {
                Event::DisconnectSockets { nsp, sockets, close }
            }
            CoreEvent::FetchSockets { nsp, sockets, responder } => {
                Event::FetchSockets { nsp, sockets, reply: SocketsReply { responder, node: node() } }
            }
            CoreEvent::ServerSideEmit { nsp, packet, from, responder } => {
                let reply = responder.map(|responder| EmitReply { responder, node: node() });
                Event::ServerSideEmit { nsp, packet, from, reply }
            }
            CoreEvent::NodeUp { nsp, node } => Event::NodeUp { nsp, node },
            CoreEvent::NodeDown { nsp, node, reason } => Event::NodeDown { nsp, node, reason },
            CoreEvent::Skipped { source, reason } => Event::Skipped { source, reason: reason.to_string() },
            CoreEvent::Rewound { stream, cursor, last, lost } => {
                Event::Rewound { stream, cursor, last, lost }
            }
            CoreEvent::Gap { stream, after, until, lost } => Event::Gap { stream, after, until, lost },
            CoreEvent::Repeated { stream, id, from } => Event::Repeated { stream, id, from },
            CoreEvent::NameTaken { stream, id } => Event::NameTaken { stream, id },
            CoreEvent::NoticeFailed { stream, error } => Event::NoticeFailed { stream, error },
            CoreEvent::Refused { lane, error } => Event::Refused { lane, error },
            _ => return None,
        })
    }

    fn tell(&mut self, event: Event) {
        self.events.tell(Told::Event(event));
    }

    /// Tells of a connection, or has it wait until there is room. A connection comes and goes whether events are taken or not.
    fn tell_link(&mut self, lane: Lane, up: bool, reason: String) {
        match up {
            true => drop(self.troubles.remove(&lane)),
            false => drop(self.troubles.insert(lane.clone(), reason.clone())),
        }
        match self.events.is_full() {
            true => self.links.hold(lane, up, reason),
            false => self.tell(Event::Link { lane, up, reason }),
        }
    }
}

fn concerns_nobody(event: &Event) -> bool {
    matches!(event, Event::Broadcast(broadcast) if broadcast.sockets.is_empty())
}

/// The end of time is a day off, at least: a point in time that can't be represented is as good as any that is never reached.
fn later(instant: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    instant.checked_add(time).unwrap_or_else(|| instant + FAR)
}

/// What the loop holds of a lane's task.
struct LaneHandle {
    instance: u64,
    /// A lane counts as up until it is reported down.
    up: bool,
    /// What it is to be given.
    batch: Batch,
    inbox: mpsc::UnboundedSender<Batch>,
    task: AbortHandle,
}

impl LaneHandle {
    /// Gives the lane what was gathered; what could not be given is returned.
    fn hand_over(&mut self) -> Option<Batch> {
        if self.batch.ids.is_empty() {
            return None;
        }
        let batch = self.batch.take();
        self.inbox.send(batch).err().map(|unsent| unsent.0)
    }
}

/// The loop's hands: what it needs beside the state that calls see.
pub(crate) struct Loop<B: Backend> {
    run: Run,
    backend: std::sync::Arc<B>,
    calls: mpsc::UnboundedReceiver<Call>,
    pushes: PushReceiver,
    push_sender: PushSender,
    reports: mpsc::UnboundedReceiver<Report>,
    report_sender: mpsc::UnboundedSender<Report>,
    lanes: BTreeMap<Lane, LaneHandle>,
    /// Those for which something was gathered.
    gathered: Vec<Lane>,
    instances: u64,
    tasks: JoinSet<()>,
}

impl<B: Backend> Loop<B> {
    pub(crate) fn new(run: Run, backend: B, calls: mpsc::UnboundedReceiver<Call>) -> Self {
        let (push_sender, pushes) =
            PushSender::bounded(run.options.push_buffer, run.options.push_buffer_bytes);
        let (report_sender, reports) = mpsc::unbounded_channel();
        Loop {
            run,
            backend: std::sync::Arc::new(backend),
            calls,
            pushes,
            push_sender,
            reports,
            report_sender,
            lanes: BTreeMap::new(),
            gathered: Vec::new(),
            instances: 0,
            tasks: JoinSet::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut calls = Vec::new();
        let mut observed = Instant::now();
        loop {
            self.run.take_events();
            if observed.elapsed() >= OBSERVE {
                observed = Instant::now();
                self.run.gauges.set(self.run.engine.lags(), self.run.publishing);
            }
            while let Some((id, command)) = self.run.engine.poll_command() {
                self.send(id, command);
            }
            self.hand_over();
            // What was just released may have been the last thing to wait for.
            self.run.take_events();
            if self.run.is_over() {
                break;
            }
            // The gauges tell of standstill, too.
            let observe = Some(later(observed, OBSERVE));
            let due = self.run.engine.poll_timeout().map(|time| self.run.instant(time));
            let waker = [due, self.run.deadline, observe].into_iter().flatten().min();
            let crowded = self.run.events.is_full();
            tokio::select! {
                Some(report) = self.reports.recv() => {
                    self.report(report);
                    while let Ok(report) = self.reports.try_recv() {
                        self.report(report);
                    }
                }
                count = self.calls.recv_many(&mut calls, CALLS_AT_ONCE), if self.run.deadline.is_none() => {
                    if count == 0 {
                        // The last handle is gone.
                        self.run.close(None);
                    }
                    for call in calls.drain(..) {
                        call(&mut self.run);
                    }
                    self.run.line.leave(core::mem::take(&mut self.run.taken));
                }
                Some(push) = self.pushes.recv(), if !crowded => {
                    let now = self.run.now();
                    self.run.engine.handle_push(now, &push.channel, &push.payload);
                }
                () = self.run.events.room(), if crowded => {}
                // What has ended is not kept.
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(waker.unwrap_or_else(Instant::now)), if waker.is_some() => {
                    let now = self.run.now();
                    self.run.engine.handle_timeout(now);
                }
            }
        }
        self.run.end();
        // Whoever waits for the end finds all connections closed. A backend that does not let go can't hold it up.
        let _ = timeout(self.run.options.timing.response, self.tasks.shutdown()).await;
        for done in self.run.closed.drain(..) {
            let _ = done.send(());
        }
    }

    fn report(&mut self, report: Report) {
        let now = self.run.now();
        match report {
            Report::Link { lane, instance, up, reason } => {
                let current = self.lanes.get_mut(&lane).filter(|current| current.instance == instance);
                let Some(current) = current else { return };
                current.batch.ups += u64::from(up);
                let changed = core::mem::replace(&mut current.up, up) != up;
                observe::link(&lane, up, &reason, changed);
                // What had come by then is told first.
                self.run.take_events();
                self.run.engine.handle_link(now, &lane, up);
                // The engine's own event of this has no reason: it is not told one.
                self.run.tell_link(lane, up, reason);
            }
            Report::Readable { lane: Lane::Reader(stream), instance, readable } => {
                let lane = Lane::Reader(stream.clone());
                if self.lanes.get(&lane).is_none_or(|current| current.instance != instance) {
                    return;
                }
                match readable {
                    true => drop(self.run.readable.insert(stream)),
                    false => drop(self.run.readable.remove(&stream)),
                }
                self.run.tell_the_opened();
            }
            Report::Readable { .. } => {}
            Report::Replies { ids, results } => {
                for (id, reply) in ids.into_iter().zip(results) {
                    self.run.engine.handle_reply(now, id, reply);
                }
            }
        }
    }

    fn send(&mut self, id: CommandId, command: Command) {
        if let Command::Release { lane } = &command {
            if let Some(handle) = self.lanes.remove(lane) {
                handle.task.abort();
            }
            self.run.troubles.remove(lane);
            if let Lane::Reader(stream) = lane {
                self.run.readable.remove(stream);
            }
            let now = self.run.now();
            return self.run.engine.handle_reply(now, id, Ok(Reply::Done));
        }
        let handle = match self.lanes.entry(command.lane()) {
            Entry::Occupied(open) => {
                if open.get().batch.ids.is_empty() {
                    self.gathered.push(open.key().clone());
                }
                open.into_mut()
            }
            Entry::Vacant(new) => {
                self.gathered.push(new.key().clone());
                let (sender, inbox) = mpsc::unbounded_channel();
                self.instances += 1;
                let instance = self.instances;
                let task = LaneTask {
                    lane: new.key().clone(),
                    instance,
                    backend: self.backend.clone(),
                    timing: self.run.options.timing,
                    pushes: self.push_sender.clone(),
                    inbox,
                    reports: self.report_sender.clone(),
                    state: lane::State::new(&self.run.options.timing),
                };
                let task = self.tasks.spawn(task.run());
                new.insert(LaneHandle { instance, up: true, batch: Batch::default(), inbox: sender, task })
            }
        };
        handle.batch.ids.push(id);
        handle.batch.commands.push(command);
        if handle.batch.ids.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Gives the lanes what was gathered for them.
    fn hand_over(&mut self) {
        let now = self.run.now();
        let engine = &mut self.run.engine;
        for lane in self.gathered.drain(..) {
            let Some(unsent) = self.lanes.get_mut(&lane).and_then(LaneHandle::hand_over) else { continue };
            // The lane's task is gone, with its runtime.
            self.lanes.remove(&lane);
            for id in unsent.ids {
                let gone = CommandError::Lost("the connection's task is gone".into());
                engine.handle_reply(now, id, Err(gone));
            }
        }
    }
}
