//! Nodes know each other, and no living node is declared dead.

use bytestring::ByteString;
use sio_streams_core::{DownReason, NodeId};

use super::{HostView, Oracle};
use crate::watch::PeerNote;

impl Oracle {
    pub(super) fn node_up(&mut self, host: usize, nsp: &ByteString, node: &NodeId) {
        self.look(host);
        let key = (nsp.clone(), node.clone());
        let mut heard = self.hosts[host].heard.contains_key(&key);
        if !heard && self.is_settled(host, None, None) {
            self.look(host);
            heard = self.hosts[host].heard.contains_key(&key);
        }
        if !heard {
            return self.fail("a node that was never heard", format!("host {host}, {nsp}: {node}"));
        }
        if !self.hosts[host].members.entry(nsp.clone()).or_default().insert(node.clone()) {
            self.fail("a node came twice", format!("host {host}, {nsp}: {node}"));
        }
    }

    pub(super) fn node_down(&mut self, host: usize, nsp: &ByteString, node: &NodeId, reason: DownReason) {
        self.look(host);
        let key = (nsp.clone(), node.clone());
        let has_left = |view: &HostView| view.heard.get(&key).is_some_and(|(_, closed)| *closed);
        if reason == DownReason::Closed && !has_left(&self.hosts[host]) && self.is_settled(host, None, None) {
            self.look(host);
        }
        let wrong = (reason == DownReason::Silent).then(|| self.wrongly_silent(host, nsp, node)).flatten();
        if let Some((rule, details)) = wrong {
            self.fail(rule, details);
        }
        let view = &mut self.hosts[host];
        if !view.members.get_mut(nsp).is_some_and(|members| members.remove(node)) {
            return self.fail("a node went that was not there", format!("host {host}, {nsp}: {node}"));
        }
        // A node that was not asked before is not asked any more.
        view.asks.asked.values_mut().for_each(|asked| asked.names.retain(|name| name != node));
        let Some((at, closed)) = view.heard.get(&(nsp.clone(), node.clone())) else { return };
        // The clock may have jumped or drift; what came while the process stood still was heard
        // later.
        let steady = view.disturbed.is_none_or(|disturbed| disturbed < *at);
        let silent = self.now.since(*at).mul_f64(1.03);
        match reason {
            DownReason::Closed if !closed => {
                self.fail("a node is said to have left", format!("host {host}, {nsp}: {node}"));
            }
            DownReason::Silent if steady && silent <= view.config.heartbeat_timeout => {
                let details = format!("host {host}, {nsp}: {node} was heard {silent:?} ago");
                self.fail("a node is said to be silent", details);
            }
            _ => {}
        }
    }

    /// Checks that a host knows just these nodes. Returns those that it knows if not.
    pub(crate) fn wrong_members(&self, host: usize, nsp: &str, expected: &[NodeId]) -> Option<String> {
        let known = self.hosts[host].members.get(nsp).cloned().unwrap_or_default();
        let right = known.iter().eq(expected);
        (!right).then(|| format!("host {host}, {nsp}: {known:?}, really {expected:?}"))
    }

    pub(super) fn noted(&mut self, _: usize, note: &PeerNote) {
        if let PeerNote::Answered { question } | PeerNote::TimedOut { question, .. } = note {
            self.peer_answers.insert(*question, note.clone());
        }
    }
}
