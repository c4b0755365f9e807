//! Nothing goes wrong any more: everything heals, and everything works.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::{
    BroadcastOptions, CallError, Config, Dialect, EntryId, NodeId, Outcome, SubscriptionMode, Ticket,
};

use super::calls::payload;
use super::{Broken, Go, Trial, ms};
use crate::oracle::Fate;
use crate::oracle::channels::is_channels_only;
use crate::peer::{Generation, Question};
use crate::plan::{Call, HostKind, Kind, Target};
use crate::watch::PeerNote;

/// A way to call something; nothing comes of it if the host is dead or stopped.
type Try<T> = fn(&mut T, usize, &ByteString, &Call) -> Option<Result<Ticket, CallError>>;

impl Trial<'_> {
    /// Nothing goes wrong any more: everything heals, and everything works.
    pub(super) fn calm(&mut self) -> Go {
        let longest = self.longest_wait();
        self.world.understand_all();
        if let Some(lanes) = self.plan.calm.day_without {
            self.a_day_without(lanes)?;
        }
        if let Some(end) = self.oracle().nothing_is_withheld_at() {
            self.run_until(end)?;
        }
        self.run_for(longest)?;
        self.run_until_holds(Duration::from_secs(120), "never at rest", Self::at_rest)?;
        for host in 0..self.plan.hosts.len() {
            self.world.call(host, |node| {
                node.app.mute = 0;
                node.app.think = Duration::ZERO;
            });
            self.open_all(host);
        }
        self.run_until_holds(Duration::from_secs(20), "never ready again", Self::all_ready)?;
        match self.plan.calm.chatter {
            true => self.chatter(longest)?,
            false => self.run_for(longest)?,
        }
        self.final_checks()?;
        if self.is_parted() {
            return Ok(());
        }
        self.everything_works()?;
        self.clients_recover()?;
        if self.plan.calm.death {
            self.somebody_dies()?;
        }
        self.final_checks()?;
        if self.plan.calm.farewell {
            self.everybody_leaves()?;
        }
        Ok(())
    }

    /// After so long without faults everything is known that can be known.
    pub(super) fn longest_wait(&self) -> Duration {
        let config = &self.plan.hosts[0].config;
        config.heartbeat_timeout * 2
            + self.plan.network.backoff_max * 2
            + self.plan.network.notice.1
            + ms(1_500)
    }

    fn at_rest(&mut self) -> bool {
        let hosts = 0..self.world.hosts();
        let dead = |host: usize| !self.world.watch().oracle.hosts[host].alive;
        let linked =
            hosts.clone().all(|host| dead(host) || (self.world.runs(host) && self.world.is_linked(host)));
        let oracle = &self.world.watch().oracle;
        let settled = oracle.deeds.iter().all(|deed| deed.fate != Fate::Open);
        let answered = oracle.hosts.iter().all(|host| host.asks.open().next().is_none());
        let closed = oracle.hosts.iter().all(|host| host.closing.is_empty());
        linked
            && settled
            && answered
            && closed
            && oracle.clients_have_arrived()
            && oracle.behind_the_end(&self.first_entries()).is_none()
    }

    /// The first entry that each stream still has.
    fn first_entries(&self) -> BTreeMap<ByteString, EntryId> {
        let redis = self.world.redis();
        let first = |stream: ByteString| Some((stream.clone(), redis.stream_info(&stream)?.first_entry_id?));
        self.world.streams().into_iter().filter_map(first).collect()
    }

    fn final_checks(&mut self) -> Go {
        for host in 0..self.world.hosts() {
            let (node, eyes) = self.world.node_and_watch(host);
            if let Some((engine, app)) = node {
                let count = |nsp: &str| app.rooms.socket_count(engine, nsp);
                eyes.oracle.check_rooms(host, count, |nsp, socket| app.rooms.rooms(engine, nsp, socket));
            }
        }
        let first = self.first_entries();
        let oracle = self.oracle();
        oracle.check_reading(&first);
        oracle.check_fates();
        oracle.check_requests();
        for host in self.living() {
            let really = self.world.subscriptions(host);
            self.oracle().check_subscriptions(host, &really);
        }
        self.verdict()
    }

    /// Returns `true` if answers come in time: not if entries are read one by one, or hardly
    /// anything may be in flight.
    pub(super) fn is_brisk(&self) -> bool {
        let brisk = |config: &Config| config.read_count >= 100 && config.limits.in_flight >= 40;
        self.plan.hosts.iter().all(|host| brisk(&host.config))
    }

    /// Returns `true` if peers may miss entries. Nobody reports entries that are trimmed before a
    /// peer has read them, not even the peer.
    fn may_deafen_peers(&self) -> bool {
        self.plan.hosts.iter().any(|host| host.kind != HostKind::Ours && host.config.max_len < 1_000)
    }

    /// Everyone does everything, one after the other.
    pub(super) fn everything_works(&mut self) -> Go {
        self.check_members(self.longest_wait())?;
        let to = Target::default;
        let deeds = [
            Call::Broadcast { to: to(), kind: Kind::Plain, times: 1 },
            Call::Join { to: to(), room: 0 },
            Call::Emit { times: 1 },
        ];
        let asks = [
            Call::FetchSockets { to: to() },
            Call::EmitWithAck,
            Call::BroadcastWithAck { to: to() },
            Call::ServerCount,
        ];
        for host in self.living() {
            for nsp in self.plan.namespaces.clone() {
                if !self.is_ours(host) {
                    self.peer_works(host, &nsp)?;
                    continue;
                }
                for call in &deeds {
                    self.accepted(host, &nsp, call, Self::publish)?;
                    self.run_until_holds(ms(5_000), "a call without an end", |trial| {
                        trial.world.watch().oracle.deeds.iter().all(|deed| deed.fate != Fate::Open)
                    })?;
                    self.comes_to_all(host)?;
                }
                for call in &asks {
                    let ticket = self.accepted(host, &nsp, call, Self::ask)?;
                    self.answered_by_all(host, &nsp, call, ticket)?;
                }
            }
        }
        Ok(())
    }

    /// Without streams: what was just published comes to everybody else, now that all links are up.
    fn comes_to_all(&mut self, host: usize) -> Go {
        if !is_channels_only(self.plan.hosts[host].config.dialect) {
            return Ok(());
        }
        let others: Vec<usize> = self.living().into_iter().filter(|other| *other != host).collect();
        let call = self.world.watch().oracle.next_deed() - 1;
        self.run_until_holds(ms(5_000), "a message never came", |trial| {
            others.iter().all(|other| trial.world.watch().oracle.was_told(*other, call))
        })
    }

    /// A call is taken: at once, or as soon as what is in flight has its fate, where hardly
    /// anything may be in flight. Answers to others are, too.
    pub(super) fn accepted(
        &mut self,
        host: usize,
        nsp: &ByteString,
        call: &Call,
        tries: Try<Self>,
    ) -> Result<Ticket, Broken> {
        let end = self.world.now() + ms(5_000);
        loop {
            let result = tries(self, host, nsp, call);
            match result {
                Some(Ok(ticket)) => return Ok(ticket),
                Some(Err(CallError::Full { .. })) if self.world.step(end) => self.verdict()?,
                other => {
                    let details = format!("host {host}, {call}: {other:?}");
                    self.oracle().fail("a call is refused in the calm", details);
                    return Err(Broken);
                }
            }
        }
    }

    pub(super) fn answered_by_all(&mut self, host: usize, nsp: &str, call: &Call, ticket: Ticket) -> Go {
        let patience = self.plan.hosts[host].config.request_timeout + ms(1_000);
        let gaps = self.world.watch().oracle.gaps;
        self.run_until_holds(patience, "a request without an end", |trial| {
            let asks = &trial.world.watch().oracle.hosts[host].asks;
            asks.open().all(|(other, _)| *other != ticket)
        })?;
        let living = self.living();
        let mut expected: BTreeSet<NodeId> = living.iter().map(|other| self.name(*other)).collect();
        if *call == Call::EmitWithAck {
            expected.remove(&self.name(host));
        }
        let asked = self.world.watch().oracle.hosts[host].asks.asked.get(&ticket);
        let problem = match asked.map(|asked| (&asked.outcome, &asked.servers)) {
            Some((_, Some(servers))) => {
                let right = *servers == Ok(living.len() as u64);
                (!right).then(|| format!("{servers:?} servers, really {}", living.len()))
            }
            Some((Some(outcome), _)) => {
                // Some answers bear no names.
                let named = outcome.answered.len() as u64;
                let all = named + outcome.answered_unnamed == expected.len() as u64;
                let right = outcome.is_complete()
                    && all
                    && outcome.answered.iter().all(|node| expected.contains(node));
                (!right).then(|| format!("{outcome:?}, expected {expected:?}"))
            }
            _ => Some("no outcome".to_owned()),
        };
        // A room with the name of a node that is gone has the channel that the node had. Nobody can
        // tell whether the node still subscribes.
        let config = &self.plan.hosts[host].config;
        let rooms_are_channels =
            config.dialect == Dialect::Sharded && config.subscription_mode != SubscriptionMode::Static;
        let has_namesake = rooms_are_channels && self.plan.has_rooms_named_like_nodes();
        let only_the_gone_are_missing = |outcome: &Outcome| {
            let answered: BTreeSet<_> = outcome.answered.iter().cloned().collect();
            answered == expected && outcome.missing_unnamed == 0
        };
        let outcome = asked.and_then(|asked| asked.outcome.as_ref());
        let problem = problem.filter(|_| !(has_namesake && outcome.is_some_and(only_the_gone_are_missing)));
        // An answer that was trimmed before it was read is a loss that was reported.
        if let Some(problem) = problem
            && gaps == self.world.watch().oracle.gaps
            && self.is_brisk()
            && !self.may_deafen_peers()
        {
            let details = format!("host {host}, {nsp} {call}: {problem}");
            self.oracle().fail("not everyone has answered", details);
        }
        self.verdict()
    }

    /// A peer's questions are answered too, as far as its generation hears the answers.
    fn peer_works(&mut self, host: usize, nsp: &str) -> Go {
        let HostKind::Peer(generation) = self.plan.hosts[host].kind else { return Ok(()) };
        let others = self.living().into_iter().filter_map(|other| match self.plan.hosts[other].kind {
            HostKind::Peer(generation) => Some(generation),
            HostKind::Ours => None,
        });
        // Peers of 0.2 take those of 0.3 for nodes, and never hear their answers.
        if generation == Generation::Streams02
            && others.into_iter().any(|other| other == Generation::Streams03)
        {
            return Ok(());
        }
        let all = BroadcastOptions::all;
        for question in [
            Question::FetchSockets(all()),
            Question::Emit(payload("ask", self.questions)),
            Question::Broadcast(payload("ask", self.questions), all()),
        ] {
            let text = format!("{question:?}");
            let gaps = self.world.watch().oracle.gaps;
            let number = self.ask_peer(host, nsp, question);
            let patience = self.plan.hosts[host].config.request_timeout + ms(1_000);
            self.run_until_holds(patience, "a peer's question without an end", |trial| {
                trial.world.watch().oracle.peer_answers.contains_key(&number)
            })?;
            let answer = self.world.watch().oracle.peer_answers.get(&number).cloned();
            let excused =
                self.may_deafen_peers() || !self.is_brisk() || gaps != self.world.watch().oracle.gaps;
            if !excused && !matches!(answer, Some(PeerNote::Answered { .. })) {
                let details = format!("host {host}, {nsp} {text}: {answer:?}");
                self.oracle().fail("a peer is not answered", details);
            }
            self.verdict()?;
        }
        Ok(())
    }
}
