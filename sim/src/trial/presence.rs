//! Checks that the hosts know who is there.

use core::time::Duration;

use sio_streams_core::{Dialect, NodeId};

use super::{Broken, Go, Trial};
use crate::peer::Generation;
use crate::plan::HostKind;

/// Returns `true` if the nodes of a dialect are known by their heartbeats.
fn beats(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Streams02 | Dialect::Bridge)
}

impl Trial<'_> {
    /// The hosts that are there, ours or not.
    pub(super) fn living(&self) -> Vec<usize> {
        let alive = |host: &usize| self.world.watch().oracle.hosts[*host].alive && !self.gone.contains(host);
        (0..self.world.hosts()).filter(alive).collect()
    }

    pub(super) fn name(&self, host: usize) -> NodeId {
        self.world.watch().oracle.hosts[host].uid.clone()
    }

    /// The others that a host must know by their heartbeats.
    fn beating(&self, but: usize) -> Vec<NodeId> {
        let is_beating = |host: &usize| {
            let plan = &self.plan.hosts[*host];
            match plan.kind {
                HostKind::Ours => beats(plan.config.dialect),
                HostKind::Peer(generation) => generation == Generation::Streams02,
            }
        };
        let mut names: Vec<NodeId> = self
            .living()
            .into_iter()
            .filter(is_beating)
            .filter(|host| *host != but)
            .map(|host| self.name(host))
            .collect();
        names.sort();
        names
    }

    /// Describes a wrong belief of a host about who is there.
    fn wrong_members(&self) -> Option<String> {
        let oracle = &self.world.watch().oracle;
        self.living().into_iter().find_map(|host| {
            if !self.is_ours(host) || !beats(self.plan.hosts[host].config.dialect) {
                return None;
            }
            let expected = self.beating(host);
            self.plan.namespaces.iter().find_map(|nsp| oracle.wrong_members(host, nsp, &expected))
        })
    }

    /// Time enough for a word in every namespace, and for the answers: each waits for the command
    /// or the read that is under way.
    pub(super) fn exchange(&self) -> Duration {
        let hops = 10 + 10 * self.plan.namespaces.len() as u32;
        self.plan.network.latency.1 * hops
    }

    /// Within this time everybody knows who is there. If a gap was reported meanwhile, somebody's
    /// word may be missing. Then everybody knows after the next heartbeats.
    pub(super) fn check_members(&mut self, patience: Duration) -> Go {
        let gaps = self.world.watch().oracle.gaps;
        let mut end = self.world.now() + patience;
        let at_latest = self.world.now() + self.longest_wait();
        while let Some(wrong) = self.wrong_members() {
            let more = self.world.step(end);
            self.verdict()?;
            if !more && self.world.watch().oracle.gaps > gaps && end < at_latest {
                end = at_latest;
            } else if !more {
                self.oracle().fail("the wrong nodes are known", wrong);
                return Err(Broken);
            }
        }
        Ok(())
    }
}
