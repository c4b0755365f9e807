//! The loop that carries a node.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sio_streams_core::{
    Answer, ByteString, CallError, Command, CommandError, CommandId, Engine, EntryId, Event as CoreEvent,
    Lane, NodeId, NotRecovered, Outcome, Payload, RemoteSocket, Reply, Restored, Ticket, Time,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::backend::{Backend, PushReceiver, PushSender};
use crate::event::{AckReply, Broadcast, EmitReply, Event, SocketsReply, Told};
use crate::lane::{BATCH, Batch, LaneTask, Report};
use crate::line::Line;
use crate::node::{Error, Fate, Responses, Sockets, WeakNode};
use crate::observe::Counts;
use crate::queue::Teller;
use crate::remote::Names;
use crate::{Options, observe};

/// Something to be done between two looks at the outside.
pub(crate) type Call = Box<dyn FnOnce(&mut Run) + Send>;

/// How often the gauges are set, at most.
const OBSERVE: std::time::Duration = std::time::Duration::from_secs(1);

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
    Restored(OnRestored),
}

/// What is done when a session was restored, or not, in its place among the events.
pub(crate) type OnRestored = Box<dyn FnOnce(Result<Restored, NotRecovered>) + Send>;

type Opening = oneshot::Sender<Result<(), CallError>>;

/// The node's state, as calls find it.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    started: Instant,
    pub(crate) waiting: FxHashMap<Ticket, Waiting>,
    pub(crate) opening: HashMap<ByteString, Vec<Opening>>,
    pub(crate) closing: HashMap<ByteString, Vec<Opening>>,
    node: WeakNode,
    events: Teller,
    counts: Counts,
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
            engine,
            started: Instant::now(),
            waiting: FxHashMap::default(),
            opening: HashMap::new(),
            closing: HashMap::new(),
            node,
            events,
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
        self.started + time.since(Time::ZERO)
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
            Ok(ticket) => drop(self.waiting.insert(ticket, Waiting::Published(fate))),
            Err(error) => {
                if let Err(Err(error)) = fate.send(Err(error)) {
                    observe::refused(&error);
                }
            }
        }
    }

    pub(crate) fn close(&mut self, done: Option<oneshot::Sender<()>>) {
        self.engine.close(self.now());
        self.deadline.get_or_insert(Instant::now() + self.options.timing.response);
        self.closed.extend(done);
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.engine.is_closed() || deadline <= Instant::now())
    }

    /// Hands on everything that has happened. Entries are looked at only while the application takes what comes of them.
    fn take_events(&mut self) {
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
            CoreEvent::Ready { nsp } => answer_all(self.opening.remove(&nsp)),
            CoreEvent::Closed { nsp } => {
                answer_all(self.closing.remove(&nsp));
                // It was closed before it was ready.
                self.opening.remove(&nsp);
            }
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
                if let Some(event) = self.for_application(other) {
                    self.tell(event);
                }
            }
        }
    }

    // Who waits for an answer may have lost interest: that a send fails means nothing.

    fn published(&mut self, ticket: Ticket, result: Result<Option<EntryId>, CommandError>) {
        if let Some(Waiting::Published(done)) = self.waiting.remove(&ticket) {
            let _ = done.send(result.map_err(Error::from));
        }
    }

    fn restored(&mut self, ticket: Ticket, result: Result<Restored, NotRecovered>) {
        if let Some(Waiting::Restored(done)) = self.waiting.remove(&ticket) {
            match result {
                // Broadcasts that are told before this must not be taken for the socket that is here again.
                Ok(restored) => self.put(Told::Act(Box::new(move || done(Ok(restored))))),
                Err(reason) => done(Err(reason)),
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
        self.put(Told::Event(event));
    }

    fn put(&mut self, told: Told) {
        self.events.tell(told);
    }
}

fn answer_all(waiting: Option<Vec<Opening>>) {
    for answer in waiting.into_iter().flatten() {
        let _ = answer.send(Ok(()));
    }
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
        let (push_sender, pushes) = PushSender::channel(run.options.push_buffer);
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
                self.run.engine.lags().for_each(|(stream, lag)| observe::lag(stream, &lag));
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
            let waker =
                [self.run.engine.poll_timeout().map(|time| self.run.instant(time)), self.run.deadline];
            let waker = waker.into_iter().flatten().min();
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
                () = sleep_until(waker.unwrap_or_else(Instant::now)), if waker.is_some() => {
                    let now = self.run.now();
                    self.run.engine.handle_timeout(now);
                }
            }
        }
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
                self.run.tell(Event::Link { lane, up, reason });
            }
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
            // The lane's task has died of a panic in the backend.
            self.lanes.remove(&lane);
            for id in unsent.ids {
                let gone = CommandError::Lost("the connection's task is gone".into());
                engine.handle_reply(now, id, Err(gone));
            }
        }
    }
}
