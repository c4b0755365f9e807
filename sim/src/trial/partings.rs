//! Departures: one node dies without a word, and comes back; or all leave.

use core::time::Duration;

use sio_streams_core::Config;

use super::{Go, Trial, ms};
use crate::fault::Fault;
use crate::plan::{Call, Target};

impl Trial<'_> {
    /// One of ours dies without a word. The others notice in time. Then it comes back, and is known
    /// at once.
    pub(super) fn somebody_dies(&mut self) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let (Some(&victim), true) = (ours.last(), ours.len() > 1) else { return Ok(()) };
        let config: &Config = &self.plan.hosts[victim].config;
        let timeout = config.heartbeat_timeout;
        let back_after = if self.plan.calm.newcomer { Some(timeout * 2 + ms(2_000)) } else { None };
        let latency = self.plan.network.latency.1 * 10;
        self.world.inflict(&Fault::Crash { host: victim, back_after });
        // Its last words may still be under way, and a clock may be slow.
        self.run_for((timeout + latency).mul_f64(1.03) + self.plan.network.notice.1)?;
        // Silence is not taken for death before a word of one's own has made its way; it may be a
        // second until that is tried again.
        let brisk = ms(1_100) + self.exchange();
        let slow = if self.is_brisk() { brisk } else { timeout * 3 + ms(3_000) };
        self.check_members(slow)?;
        let asker = ours[0];
        for nsp in self.plan.namespaces.clone() {
            for call in [Call::FetchSockets { to: Target::default() }, Call::ServerCount] {
                let ticket = self.accepted(asker, &nsp, &call, Self::ask)?;
                self.answered_by_all(asker, &nsp, &call, ticket)?;
            }
        }
        if back_after.is_some() {
            let patience = timeout * 2 + ms(2_000);
            self.run_until_holds(patience, "nobody comes back", |trial| {
                trial.world.watch().oracle.hosts[victim].alive
            })?;
            self.open_all(victim);
            self.run_until_holds(Duration::from_secs(5), "never ready", Self::all_ready)?;
            // Long before anybody's next heartbeat: the first one is answered.
            let interval = self.plan.hosts[victim].config.heartbeat_interval;
            let exchange = self.exchange();
            let patience = if self.is_brisk() && exchange < interval * 2 / 3 { exchange } else { timeout };
            self.check_members(patience)?;
            self.everything_works()?;
        }
        Ok(())
    }

    pub(super) fn everybody_leaves(&mut self) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let exchange = self.exchange();
        for &host in &ours {
            for nsp in self.plan.namespaces.clone() {
                self.close(host, &nsp);
            }
            self.gone.insert(host);
            // A node that says goodbye is not waited for.
            if self.is_brisk() && exchange < self.plan.hosts[host].config.heartbeat_timeout / 2 {
                self.check_members(exchange)?;
            }
        }
        self.run_until_holds(Duration::from_secs(5), "never closed", |trial| {
            ours.iter().all(|host| {
                let closed = trial.world.engine(*host).is_some_and(sio_streams_core::Engine::is_closed);
                closed && trial.world.outstanding(*host) == 0
            })
        })?;
        for host in ours {
            let heard = self.world.subscriptions(host);
            let heard = self.oracle().heard_for_nothing(host, &heard);
            let heard = heard.map(|heard| format!("a subscription: {heard:?}"));
            let left = self.world.engine(host).and_then(left_behind).or(heard);
            if let Some(left) = left {
                self.oracle().fail("something is left behind", format!("host {host}: {left}"));
            }
        }
        self.verdict()
    }
}

/// The state that an engine still holds when it has left everything. Its debugging form shows all
/// that it has.
fn left_behind(engine: &sio_streams_core::Engine) -> Option<String> {
    if let Some(at) = engine.poll_timeout() {
        return Some(format!("an alarm at {at}"));
    }
    let shown = format!("{engine:?}");
    let empty = [
        "namespaces: {}",
        "channels: {}",
        "closing: {}",
        "readers: {}",
        "queues: {}",
        "attempts: {}, by_namespace: ByNamespace({})",
        "saves: {}",
        "requests: Requests { open: {}, by_id: {}, by_namespace: ByNamespace({}), by_node: {}",
        "counts: {}, checks: {}",
        "hashed: {}",
        "eager: {}",
        "in_flight: {}",
        "messages: 0, bytes: 0,",
        "settled: []",
        "pending: []",
        "events: []",
    ];
    let part = empty.iter().find(|part| !shown.contains(**part))?;
    let name = part.split(':').next().unwrap_or_default();
    let at = shown.find(&format!(" {name}: ")).unwrap_or_default();
    Some(shown[at..].chars().take(300).collect())
}
