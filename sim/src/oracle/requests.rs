//! Each request ends in time; a node that is said to have answered has answered.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::{Answer, Body, CommandError, Dialect, Message, NodeId, Outcome, Ticket, Time};
use std::rc::Rc;

use super::{Fate, HostView, Oracle};

/// In this time
const LIST_INTERVAL: Duration = Duration::from_millis(500);

/// so many lists of channels may be asked for, of each namespace: one, and some that were late.
const LISTS: usize = 4;

/// The question of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Fetches sockets, all of them or those that match.
    Sockets,
    Emit {
        value: u64,
    },
    Broadcast {
        call: u64,
    },
    Count,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    nsp: String,
    at: Time,
    timeout: Duration,
    /// The nodes that were known to be there, by name.
    pub(super) names: BTreeSet<NodeId>,
    /// `true` if nobody else was there by his subscription when it ended.
    alone: bool,
    answered: BTreeSet<NodeId>,
    /// The number of answers without a name.
    unnamed: u64,
    acks: BTreeMap<NodeId, u64>,
    clients: BTreeMap<NodeId, u64>,
    local: bool,
    pub(crate) outcome: Option<Outcome>,
    /// The fate of the question, if that was not known when the request ended.
    fate: Option<bool>,
    pub(crate) servers: Option<Result<u64, CommandError>>,
}

impl Asked {
    /// The question's number, if its message bears one.
    fn number(&self) -> Option<u64> {
        match self.ask {
            Ask::Broadcast { call: number } | Ask::Emit { value: number } => Some(number),
            Ask::Sockets | Ask::Count => None,
        }
    }
}

/// The requests of a host.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    pub(crate) asked: BTreeMap<Ticket, Asked>,
}

impl Asks {
    /// The requests that have not ended.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&Ticket, &Asked)> {
        self.asked.iter().filter(|(_, asked)| asked.outcome.is_none() && asked.servers.is_none())
    }
}

impl Oracle {
    /// A node was asked to ask the others. `here`: what that means for the node itself.
    pub(crate) fn asks(
        &mut self,
        host: usize,
        nsp: &str,
        ask: Ask,
        timeout: Duration,
        ticket: Ticket,
        here: Option<Body>,
    ) {
        let now = self.now;
        let uid = self.name_of(host);
        let view = &mut self.hosts[host];
        let names = view.members.get(nsp).cloned().unwrap_or_default();
        let asked = Asked {
            ask,
            nsp: nsp.to_owned(),
            at: now,
            timeout,
            names,
            alone: false,
            answered: BTreeSet::new(),
            unnamed: 0,
            acks: BTreeMap::new(),
            clients: BTreeMap::new(),
            local: false,
            outcome: None,
            fate: None,
            servers: None,
        };
        view.asks.asked.insert(ticket, asked);
        let open = view.asks.open().filter(|(_, asked)| asked.ask != Ask::Count).count();
        let limit = view.config.limits.requests;
        if let Some(body) = here {
            self.due_here(host, Rc::new(Message { uid, nsp: nsp.into(), body }), None);
        }
        if open > limit {
            self.fail("more requests than allowed", format!("host {host}: {open} of {limit}"));
        }
    }

    pub(super) fn clients_asked(&mut self, call: u64, node: NodeId, clients: u64) {
        let asks = self.hosts.iter_mut().flat_map(|host| host.asks.asked.values_mut());
        for asked in asks.filter(|asked| asked.ask == Ask::Broadcast { call }) {
            asked.clients.insert(node.clone(), clients);
        }
    }

    pub(super) fn answered(&mut self, host: usize, ticket: Ticket, from: Option<&NodeId>, answer: &Answer) {
        let ours = from.is_some_and(|from| self.ours_named(from).is_some());
        let Some(asked) = self.hosts[host].asks.asked.get_mut(&ticket) else {
            return self.fail("an answer to nothing", format!("host {host}, {ticket}"));
        };
        if asked.outcome.is_some() {
            return self.fail("an answer behind the end", format!("host {host}, {ticket}"));
        }
        let problem = match (&asked.ask, answer) {
            (Ask::Broadcast { .. }, Answer::Ack(_)) => {
                *asked.acks.entry(from.cloned().unwrap_or(NodeId::UNNAMED)).or_default() += 1;
                return;
            }
            (Ask::Broadcast { .. }, Answer::ClientCount(count)) => {
                let really = from.and_then(|from| asked.clients.get(from));
                (ours && really != Some(count)).then(|| format!("{count} clients, really {really:?}"))
            }
            (Ask::Emit { value }, Answer::Emit(told)) => {
                let told = told.decode::<u64>().ok();
                (told != Some(*value)).then(|| format!("{told:?} instead of {value}"))
            }
            (Ask::Sockets, Answer::Sockets(sockets)) => {
                let all = sockets.iter().enumerate().all(|(index, socket)| {
                    socket.data.decode::<(usize, usize)>().ok() == Some((sockets.len(), index))
                        && socket.rooms.contains(&socket.id)
                });
                (!all).then(|| format!("{sockets:?}"))
            }
            _ => Some("another kind of answer".to_owned()),
        };
        // Without a name nobody can tell who answers.
        asked.unnamed += u64::from(from.is_none());
        let again = from.is_some_and(|from| !asked.answered.insert(from.clone()));
        if let Some(problem) = problem {
            self.fail("a wrong answer", format!("host {host}, {ticket}, from {from:?}: {problem}"));
        } else if again {
            self.fail("a node answered twice", format!("host {host}, {ticket}, {from:?}"));
        }
    }

    pub(super) fn request_done(&mut self, host: usize, ticket: Ticket, outcome: &Outcome) {
        let now = self.now;
        let uid = self.name_of(host);
        let truth = self.hosts[host].asks.asked.get(&ticket).map(|asked| {
            let there = self.there_since(host, &asked.nsp, asked.at);
            (there.is_empty(), self.contradicts(host, asked, outcome, &there))
        });
        let (alone, truth) = truth.unwrap_or_default();
        let view = &mut self.hosts[host];
        let dialect = view.config.dialect;
        let Some(asked) = view.asks.asked.get_mut(&ticket) else {
            return self.fail("an end of nothing", format!("host {host}, {ticket}"));
        };
        if asked.outcome.is_some() {
            return self.fail("a request ended twice", format!("host {host}, {ticket}"));
        }
        asked.outcome = Some(outcome.clone());
        asked.alone = alone && dialect != Dialect::Streams02;
        let steady = view.disturbed.is_none_or(|disturbed| disturbed < asked.at);
        let took = now.since(asked.at);
        let broadcast = matches!(asked.ask, Ask::Broadcast { .. });
        let itself = !matches!(asked.ask, Ask::Emit { .. });
        let mut problem = truth;
        if steady && took > asked.timeout.mul_f64(1.03) + Duration::from_millis(5) {
            problem = Some(("a request took too long", format!("{took:?}")));
        }
        if outcome.timed_out && steady && took.mul_f64(1.03) < asked.timeout {
            problem = Some(("a request timed out too early", format!("{took:?}")));
        }
        for node in &outcome.answered {
            let acks = asked.acks.get(node).copied().unwrap_or_default();
            let clients = asked.clients.get(node).copied();
            if !asked.answered.contains(node) {
                problem = Some(("answered, it says", format!("{node}")));
            }
            if broadcast && clients.is_some_and(|clients| acks < clients) {
                problem = Some(("acknowledged, it says", format!("{node}: {acks} of {clients:?}")));
            }
        }
        if outcome.answered_unnamed > asked.unnamed {
            problem = Some(("answered, it says", format!("{} without a name", outcome.answered_unnamed)));
        }
        let acks: u64 = asked.acks.values().sum();
        if broadcast && (outcome.acks != acks || acks > outcome.clients && outcome.is_complete()) {
            problem = Some(("acknowledgements are counted wrong", format!("{} of {acks}", outcome.acks)));
        }
        let ended_early = !view.open.contains_key(asked.nsp.as_str());
        if !outcome.is_complete()
            && !outcome.timed_out
            && !outcome.pending
            && outcome.error.is_none()
            && !ended_early
        {
            // A missing node is known to be gone.
            if outcome.missing.is_empty() && outcome.missing_unnamed == 0 {
                problem = Some(("incomplete for no reason", format!("{outcome:?}")));
            }
        }
        if outcome.is_complete() && !asked.local && !ended_early {
            let answered: BTreeSet<NodeId> = outcome.answered.iter().cloned().collect();
            let by_name = matches!(dialect, Dialect::Streams02 | Dialect::Bridge);
            if by_name && !asked.names.is_subset(&answered) && self.violation.is_none() {
                problem = Some(("complete, it says", format!("{answered:?} of {:?}", asked.names)));
            }
            if itself && !answered.contains(&uid) {
                problem = Some(("complete without itself", format!("{answered:?}")));
            }
        }
        if let Some((rule, details)) = problem {
            self.fail(rule, format!("host {host}, {ticket}: {details}"));
        }
    }

    /// The fate of a question is told after its request has ended, once, and is true. Whether it is
    /// one.
    pub(super) fn question_settled(&mut self, host: usize, ticket: Ticket, fate: &Fate) -> bool {
        let Some(asked) = self.hosts[host].asks.asked.get_mut(&ticket) else { return false };
        let pending = asked.outcome.as_ref().is_some_and(|outcome| outcome.pending);
        let again = asked.fate.replace(matches!(fate, Fate::Published(_))).is_some();
        let number = asked.number();
        let executed = number.is_none_or(|number| self.questions_executed.contains(&number));
        let lost = matches!(fate, Fate::Failed(CommandError::Lost(_)));
        let published = matches!(fate, Fate::Published(_));
        let details = format!("host {host}, {ticket}: {fate:?}");
        if !pending || again {
            self.fail("a question's fate is told that was not open", details);
        } else if number.is_some() && published != executed && !lost {
            self.fail("a question's fate is not what it says", details);
        }
        true
    }

    /// The other nodes of a namespace that are known by their subscriptions, and have been
    /// subscribed without a break since then.
    fn there_since(&self, host: usize, nsp: &str, since: Time) -> Vec<&HostView> {
        let config = &self.hosts[host].config;
        let kind = if config.dialect == Dialect::Classic { "-request" } else { "" };
        let channel = format!("{}{kind}#{nsp}#", config.channel_prefix);
        let is_there = |view: &HostView| {
            view.alive
                && (!view.ours || view.open.contains_key(nsp))
                && view.hears.get(channel.as_str()).is_some_and(|heard| *heard <= since)
        };
        let others = self.hosts.iter().enumerate().filter(|(other, _)| *other != host);
        others.map(|(_, view)| view).filter(|view| is_there(view)).collect()
    }

    /// Finds what an outcome says wrongly about who is there.
    fn contradicts(
        &self,
        host: usize,
        asked: &Asked,
        outcome: &Outcome,
        there: &[&HostView],
    ) -> Option<(&'static str, String)> {
        let view = &self.hosts[host];
        if !view.open.contains_key(asked.nsp.as_str()) {
            return None;
        }
        let unanswered: Vec<&NodeId> =
            there.iter().map(|other| &other.uid).filter(|uid| !outcome.answered.contains(uid)).collect();
        let unnamed = if view.config.dialect == Dialect::Classic { outcome.answered_unnamed } else { 0 };
        if outcome.is_complete() && unanswered.len() as u64 > unnamed {
            return Some(("complete without somebody who is there", format!("{unanswered:?}")));
        }
        let named = outcome.answered.iter().chain(&outcome.missing).chain([&view.uid]);
        if let Some(stranger) = named.into_iter().find(|name| !self.names.contains(*name)) {
            return Some(("an outcome names nobody", format!("{stranger:?} in {outcome:?}")));
        }
        // Nodes that send heartbeats are checked elsewhere.
        let by_number = !matches!(view.config.dialect, Dialect::Streams02 | Dialect::Bridge);
        let gone = !outcome.missing.is_empty() || outcome.missing_unnamed > 0;
        if by_number && gone && !outcome.timed_out && outcome.error.is_none() {
            let living = outcome.missing.iter().find(|name| there.iter().any(|other| other.uid == **name));
            if let Some(living) = living {
                return Some(("somebody is said to be gone who is there", format!("{living:?}")));
            }
            if self.heard_less < asked.at {
                return Some(("somebody is said to be gone, and nobody is", format!("{outcome:?}")));
            }
        }
        None
    }

    /// A host asks which channels there are. It needs no more than a list in each interval, however
    /// many requests are open.
    pub(super) fn asks_for_list(&mut self, host: usize, pattern: &ByteString) {
        let now = self.now;
        let view = &mut self.hosts[host];
        let lists = view.lists.entry(pattern.clone()).or_default();
        lists.retain(|at| now.since(*at) < LIST_INTERVAL);
        lists.push_back(now);
        let steady = view.disturbed.is_none_or(|disturbed| now.since(disturbed) > LIST_INTERVAL * 2);
        if lists.len() > LISTS && steady {
            let details = format!("host {host}: {pattern}, {} times in {LIST_INTERVAL:?}", lists.len());
            self.fail("channels are listed again and again", details);
        }
    }

    /// Notes the subscriptions of a host.
    pub(super) fn hears(&mut self, host: usize, channels: &BTreeSet<ByteString>, less: Option<Time>) {
        let now = self.now;
        self.heard_less = self.heard_less.max(less.unwrap_or_default());
        let hears = &mut self.hosts[host].hears;
        hears.retain(|channel, _| channels.contains(channel));
        for channel in channels {
            hears.entry(channel.clone()).or_insert(now);
        }
    }

    pub(super) fn counted(&mut self, host: usize, ticket: Ticket, count: &Result<u64, CommandError>) {
        let missed = self.hosts[host].asks.asked.get(&ticket).and_then(|asked| {
            let there = self.there_since(host, &asked.nsp, asked.at).len() as u64 + 1;
            let said = count.as_ref().ok().filter(|said| **said < there)?;
            Some(format!("host {host}, {}: {said} of at least {there}", asked.nsp))
        });
        if let Some(missed) = missed {
            self.fail("servers are counted that are fewer", missed);
        }
        if let Some(more) = self.counted_twice(host, ticket, count) {
            self.fail("servers are counted that are more", more);
        }
        let Some(asked) = self.hosts[host].asks.asked.get_mut(&ticket) else {
            return self.fail("a number for nothing", format!("host {host}, {ticket}"));
        };
        if asked.servers.replace(count.clone()).is_some() {
            self.fail("counted twice", format!("host {host}, {ticket}"));
        }
    }

    /// A bridge knows other nodes by their heartbeats, by their subscriptions, or by both. It counts
    /// each of them once. Returns the details, if it has counted more.
    fn counted_twice(
        &self,
        host: usize,
        ticket: Ticket,
        count: &Result<u64, CommandError>,
    ) -> Option<String> {
        let view = &self.hosts[host];
        let asked = view.asks.asked.get(&ticket)?;
        let said = *count.as_ref().ok()?;
        if view.config.dialect != Dialect::Bridge || self.heard_less >= asked.at {
            return None;
        }
        let channel = format!("{}#{}#", view.config.channel_prefix, asked.nsp);
        let subscribes = |other: &&HostView| other.hears.contains_key(channel.as_str());
        let mut there: BTreeSet<&NodeId> =
            self.hosts.iter().filter(subscribes).map(|other| &other.uid).collect();
        there.extend(asked.names.iter().chain(view.members.get(asked.nsp.as_str()).into_iter().flatten()));
        there.insert(&view.uid);
        // In sharded channels, its own subscription may be counted while it is being made.
        let own = u64::from(view.config.use_sharded_pub_sub);
        (said > there.len() as u64 + own)
            .then(|| format!("host {host}, {}: {said}, and there are {there:?}", asked.nsp))
    }

    /// Everything has come to rest.
    pub(crate) fn check_requests(&mut self) {
        let open = self.hosts.iter().enumerate().find_map(|(host, view)| {
            let (ticket, asked) = view.asks.open().next()?;
            Some(format!("host {host}, {ticket}: {:?}", asked.ask))
        });
        if let Some(open) = open {
            self.fail("a request never ended", open);
        }
        // An application's message is published, even if nobody may answer.
        let unsaid = self.hosts.iter().enumerate().find_map(|(host, view)| {
            let complete = |asked: &&Asked| asked.outcome.as_ref().is_some_and(Outcome::is_complete);
            let mut unsaid = view.asks.asked.values().filter(complete).filter(|asked| match asked.ask {
                // If nobody but the asker is subscribed, nobody would hear it.
                Ask::Emit { .. } if asked.alone => false,
                _ => asked.number().is_some_and(|number| !self.questions_executed.contains(&number)),
            });
            unsaid
                .next()
                .map(|asked| format!("host {host}, {}: {:?}, asked at {}", asked.nsp, asked.ask, asked.at))
        });
        if let Some(unsaid) = unsaid {
            self.fail("complete, and never published", unsaid);
        }
        let untold = self.hosts.iter().enumerate().find_map(|(host, view)| {
            let untold = |asked: &Asked| {
                asked.fate.is_none() && asked.outcome.as_ref().is_some_and(|outcome| outcome.pending)
            };
            let (ticket, _) = view.asks.asked.iter().find(|(_, asked)| untold(asked))?;
            Some(format!("host {host}, {ticket}"))
        });
        if let Some(untold) = untold {
            self.fail("a question's fate was never told", untold);
        }
    }
}
