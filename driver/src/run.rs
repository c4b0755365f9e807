//! The loop that carries a node.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use sio_streams_core::{
    CallError, Command, CommandError, Engine, Event as CoreEvent, Lane, LinkState, Reply, RoomOwner, Ticket,
    Time,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::admission::Admission;
use crate::askers::Askers;
use crate::backend::{Backend, PushReceiver, PushSender};
use crate::call::{Call, WeakCalls};
use crate::error::Error;
use crate::event::Event;
use crate::lane::Report;
use crate::lanes::Lanes;
use crate::links::Links;
use crate::observe::{self, Counts, Gauges};
use crate::opening::Openings;
use crate::options::Options;
use crate::queue::{Teller, Told};
use crate::waiting::{Waiter, Waiting};

/// The gauges are set once in this time, at most.
const OBSERVE: Duration = Duration::from_secs(1);

/// The number of calls that are taken in one go, at most.
const CALLS_AT_ONCE: usize = 256;

/// The engine, and the other state of a node.
pub(crate) struct Run {
    engine: Engine,
    started: Instant,
    waiting: Waiting,
    askers: Askers,
    openings: Openings,
    /// The reasons that connections are down or refused, in the server's words.
    troubles: BTreeMap<Lane, String>,
    /// The way back to this loop, for the events that the application answers.
    calls: WeakCalls,
    events: Teller,
    links: Links,
    counts: Counts,
    gauges: Gauges,
    /// The time at which a closing node stops waiting for its last messages.
    deadline: Option<Instant>,
    closed: Vec<oneshot::Sender<()>>,
    options: Options,
    admission: Arc<Admission>,
    /// The weight of messages that have been taken and not been released yet.
    taken: usize,
}

impl Run {
    pub(crate) fn new(
        engine: Engine,
        options: Options,
        calls: WeakCalls,
        events: Teller,
        admission: Arc<Admission>,
    ) -> Self {
        let started = Instant::now();
        Run {
            gauges: Gauges::new(engine.uid()),
            engine,
            started,
            askers: Askers::new(started),
            waiting: Waiting::default(),
            openings: Openings::default(),
            troubles: BTreeMap::new(),
            calls,
            events,
            links: Links::default(),
            counts: Counts::default(),
            deadline: None,
            closed: Vec::new(),
            options,
            admission,
            taken: 0,
        }
    }

    fn now(&self) -> Time {
        let micros = self.started.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn instant(&self, time: Time) -> Instant {
        later(self.started, time.since(Time::ZERO))
    }

    /// Returns the likely reasons that a namespace does not open.
    fn troubles(&self) -> String {
        let troubles = self.troubles.iter().map(|(lane, reason)| format!("{lane}: {reason}"));
        match troubles.collect::<Vec<_>>() {
            none if none.is_empty() => "Redis has not answered yet".to_owned(),
            some => some.join("; "),
        }
    }

    fn perform(&mut self, call: Call) {
        let now = self.now();
        match call {
            Call::Ask(ask) => ask(&mut self.engine, now),
            Call::Start { start, waiter, started } => {
                let ticket = self.start(|engine| start(engine, now));
                // Here, as below, the caller may have lost interest.
                let _ = started.send(ticket.map(|ticket| self.waiting.insert(ticket, waiter)));
            }
            Call::Publish { start, weight, fate } => {
                self.taken += weight;
                match self.start(|engine| start(engine, now)) {
                    Ok(ticket) => self.waiting.insert(ticket, Waiter::Published(fate)),
                    Err(error) => {
                        if let Err(Err(error)) = fate.send(Err(error)) {
                            observe::refused(&error);
                        }
                    }
                }
            }
            Call::PutBack { nsp, session, saved, untaken } => {
                let removed = self.engine.remove_socket(&nsp, &session.sid);
                let stored = removed.and_then(|_| self.engine.persist_session(now, &nsp, &session));
                let stored = stored.map(|ticket| self.waiting.insert(ticket, Waiter::Saved(saved)));
                let _ = untaken.send(stored.map(|()| self.events.untaken()).map_err(Error::from));
            }
            Call::Open { nsp, token, done } => self.openings.open(&mut self.engine, now, nsp, token, done),
            Call::Abandon { nsp, token, why } => {
                let _ = why.send(self.troubles());
                self.openings.abandon(&mut self.engine, now, &nsp, &token);
            }
            Call::CloseNamespace { nsp, done } => self.openings.close(&mut self.engine, now, nsp, done),
            Call::Close { done } => {
                self.close();
                self.closed.push(done);
            }
        }
    }

    /// Starts something in the engine, unless too many events have not been taken.
    fn start(
        &mut self,
        start: impl FnOnce(&mut Engine) -> Result<Ticket, CallError>,
    ) -> Result<Ticket, Error> {
        let (excess, buffer) = (self.events.excess(), self.options.event_buffer);
        match excess >= buffer {
            true => Err(Error::EventsNotTaken(excess + buffer)),
            false => Ok(start(&mut self.engine)?),
        }
    }

    fn close(&mut self) {
        self.engine.close(self.now());
        self.deadline.get_or_insert(later(Instant::now(), self.options.timing.response));
    }

    /// Returns `true` if a closing node has left the cluster and knows the fate of all its
    /// messages, or if its time for that is up.
    fn is_over(&self) -> bool {
        let is_done = || self.engine.is_closed() && self.waiting.publishing() == 0;
        self.deadline.is_some_and(|deadline| is_done() || deadline <= Instant::now())
    }

    fn end(&mut self) {
        self.waiting.end();
        self.gauges.end();
    }

    /// Dispatches all events of the engine. New entries are looked at only while the application
    /// takes its events.
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
        let Run { engine, waiting, askers, openings, .. } = self;
        match event {
            CoreEvent::Ready { nsp } => openings.ready(engine, &nsp),
            CoreEvent::Closed { nsp } => {
                askers.closed(&nsp);
                let now = self.now();
                self.openings.closed(&mut self.engine, now, &nsp);
            }
            CoreEvent::Published { ticket, entry } => waiting.published(ticket, Ok(entry)),
            CoreEvent::PublishFailed { ticket, error } => waiting.published(ticket, Err(error)),
            CoreEvent::ServerCount { ticket, count } => waiting.counted(ticket, count),
            CoreEvent::SessionSaved { ticket, result } => waiting.saved(ticket, result),
            // Broadcasts that are told before this action must not be taken for the socket that is
            // here again.
            CoreEvent::Restored(restored) => {
                let act = waiting.restored(restored.ticket, Ok(restored));
                act.into_iter().for_each(|act| self.events.tell(Told::Act(act)));
            }
            CoreEvent::NotRecovered { ticket, reason } => {
                let act = waiting.restored(ticket, Err(reason));
                act.into_iter().for_each(|act| self.events.tell(Told::Act(act)));
            }
            CoreEvent::Answer { ticket, from, answer } => waiting.answered(ticket, from, answer),
            CoreEvent::RequestDone { ticket, outcome } => waiting.request_done(ticket, outcome),
            other => {
                if let CoreEvent::Refused { lane, error, .. } = &other {
                    self.troubles.insert(lane.clone(), error.to_string());
                }
                // An application that only publishes need not take events. So events that concern
                // none of this node's sockets never fill the queue.
                let dispensable =
                    |event: &Event| engine.config().room_owner == RoomOwner::Engine && concerns_nobody(event);
                if let Some(event) = Event::from_core(other, engine, &self.calls, askers)
                    && !(self.events.is_half_full() && dispensable(&event))
                {
                    self.events.tell(Told::Event(event));
                }
            }
        }
    }

    /// Tells the application about a connection. Without room the news is held back: connections
    /// come and go whether or not events are taken.
    fn tell_link(&mut self, lane: Lane, link: LinkState) {
        match &link {
            LinkState::Down { reason, .. } => drop(self.troubles.insert(lane.clone(), reason.to_string())),
            _ => drop(self.troubles.remove(&lane)),
        }
        match self.events.is_full() {
            true => self.links.hold(lane, link),
            false => self.events.tell(Told::Event(Event::Link { lane, link })),
        }
    }
}

/// Returns `true` if the event is an order to sockets, and this node has none of them.
fn concerns_nobody(event: &Event) -> bool {
    match event {
        Event::Broadcast(broadcast) => broadcast.sockets.is_empty(),
        Event::SocketsJoin(moved) | Event::SocketsLeave(moved) => moved.sockets.is_empty(),
        Event::DisconnectSockets { sockets, .. } => sockets.is_empty(),
        _ => false,
    }
}

/// Adds a time to an instant. A sum that can't be represented becomes an instant that is never
/// reached.
pub(crate) fn later(instant: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    instant.checked_add(time).unwrap_or_else(|| instant + FAR)
}

/// The loop: it feeds the engine with what comes from outside, and carries out what the engine
/// wants.
pub(crate) struct Loop<B: Backend> {
    run: Run,
    calls: mpsc::UnboundedReceiver<Call>,
    pushes: PushReceiver,
    reports: mpsc::UnboundedReceiver<Report>,
    lanes: Lanes<B>,
}

impl<B: Backend> Loop<B> {
    pub(crate) fn new(run: Run, backend: B, calls: mpsc::UnboundedReceiver<Call>) -> Self {
        let Options { timing, push_buffer, push_buffer_bytes, .. } = run.options;
        let (push_sender, pushes) = PushSender::bounded(push_buffer, push_buffer_bytes);
        let (report_sender, reports) = mpsc::unbounded_channel();
        let lanes = Lanes::new(backend, timing, push_sender, report_sender);
        Loop { run, calls, pushes, reports, lanes }
    }

    pub(crate) async fn run(mut self) {
        let mut calls = Vec::new();
        let mut observed = Instant::now();
        loop {
            self.run.take_events();
            if observed.elapsed() >= OBSERVE {
                observed = Instant::now();
                self.run.gauges.set(self.run.engine.lags(), self.run.waiting.publishing());
            }
            while let Some((id, command)) = self.run.engine.poll_command() {
                if let Command::Release { lane } = command {
                    self.release(lane);
                    let now = self.run.now();
                    self.run.engine.handle_reply(now, id, Ok(Reply::Done));
                } else if self.lanes.gather(id, command) {
                    self.hand_over();
                }
            }
            self.hand_over();
            // A lane that was just released may have been the last thing to wait for.
            self.run.take_events();
            if self.run.is_over() {
                break;
            }
            // The gauges are set even if nothing happens.
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
                        self.run.close();
                    }
                    for call in calls.drain(..) {
                        self.run.perform(call);
                    }
                    self.run.admission.release(core::mem::take(&mut self.run.taken));
                }
                Some(push) = self.pushes.recv(), if !crowded => {
                    let now = self.run.now();
                    self.run.engine.handle_push(now, &push.channel, &push.payload);
                }
                () = self.run.events.room(), if crowded => {}
                Some(()) = self.lanes.ended() => {}
                () = sleep_until(waker.unwrap_or_else(Instant::now)), if waker.is_some() => {
                    let now = self.run.now();
                    self.run.engine.handle_timeout(now);
                }
            }
        }
        self.run.end();
        // The callers that wait for the end find all connections closed. A backend that does not
        // let go can't delay it.
        let _ = timeout(self.run.options.timing.response, self.lanes.shutdown()).await;
        for done in self.run.closed.drain(..) {
            let _ = done.send(());
        }
    }

    fn report(&mut self, report: Report) {
        let now = self.run.now();
        match report {
            Report::Link { lane, instance, link } => {
                let Some(changed) = self.lanes.link(&lane, instance, link.is_up()) else { return };
                observe::link(&lane, &link, changed);
                // The events that the engine had by then are told first.
                self.run.take_events();
                self.run.engine.handle_link(now, &lane, link.clone());
                // The engine's own event does not tell the first connection.
                self.run.tell_link(lane, link);
            }
            Report::Readable { lane, instance, readable } => {
                if self.lanes.is_current(&lane, instance)
                    && let Lane::Reader(stream) = lane
                {
                    self.run.openings.readable(&self.run.engine, stream, readable);
                }
            }
            Report::Replies { ids, results } => {
                for (id, reply) in ids.into_iter().zip(results) {
                    self.run.engine.handle_reply(now, id, reply);
                }
            }
        }
    }

    fn release(&mut self, lane: Lane) {
        self.lanes.release(&lane);
        self.run.troubles.remove(&lane);
        if let Lane::Reader(stream) = lane {
            self.run.openings.forget(&stream);
        }
    }

    /// Hands the lanes the commands that were gathered for them.
    fn hand_over(&mut self) {
        for id in self.lanes.hand_over() {
            let gone = CommandError::Lost("the connection's task is gone".into());
            let now = self.run.now();
            self.run.engine.handle_reply(now, id, Err(gone));
        }
    }
}
