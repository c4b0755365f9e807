//! Hard circumstances: connections that are down for a day, and sockets that are broadcast to all
//! the time.

use core::time::Duration;

use bytestring::ByteString;

use super::{Go, Trial, ms};
use crate::fault::{Fault, Lanes};
use crate::oracle::Fate;
use crate::plan::{Call, Kind, Target};

/// After so long without a connection everything has its end; what would still wait then would wait
/// forever.
const LONG: Duration = Duration::from_secs(600);

impl Trial<'_> {
    /// Returns `true` if some hosts could not open what others have: then not everybody hears
    /// everything.
    pub(super) fn is_parted(&self) -> bool {
        self.world.watch().oracle.hosts.iter().any(|host| !host.refused.is_empty())
    }

    /// Connections of one host are down for very long. What it asks, says, and leaves has its end
    /// all the same.
    pub(super) fn a_day_without(&mut self, lanes: Lanes) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let Some(&host) = ours.first() else { return Ok(()) };
        self.open_all(host);
        self.run_for(ms(3_000))?;
        let lasts = LONG + Duration::from_secs(60);
        self.world.inflict(&Fault::Cut { host, lanes, executed: 0, late: Duration::ZERO, lasts });
        let to = Target::default;
        for nsp in self.plan.namespaces.clone() {
            for call in [
                Call::ServerCount,
                Call::FetchSockets { to: to() },
                Call::EmitWithAck,
                Call::BroadcastWithAck { to: to() },
            ] {
                let _ = self.ask(host, &nsp, &call);
            }
            let _ = self.publish(host, &nsp, &Call::Broadcast { to: to(), kind: Kind::Plain, times: 1 });
            self.close(host, &nsp);
        }
        self.run_for(LONG)?;
        let now = self.world.now();
        let oracle = &self.world.watch().oracle;
        let view = &oracle.hosts[host];
        let asked = view.asks.open().next().map(|(ticket, asked)| format!("{ticket}, {:?}", asked.ask));
        let closing = view.closing.first().map(|nsp| format!("{nsp} is being closed"));
        let life = view.life;
        let said = oracle.deeds.iter().position(|deed| deed.is_open_at(host, life));
        let said = said.map(|call| format!("call {call}"));
        if let Some(what) = asked.or(closing).or(said) {
            let details = format!("host {host}, without {lanes:?}: {what}, at {now}");
            self.oracle().fail("something never ends without a connection", details);
        }
        self.verdict()?;
        self.open_all(host);
        let view = &self.world.watch().oracle.hosts[host];
        let is_open = |nsp: &&ByteString| view.open.contains_key(*nsp) || view.refused.contains(*nsp);
        if let Some(nsp) = self.plan.namespaces.iter().find(|nsp| !is_open(nsp)) {
            self.oracle().fail("a namespace can't be opened again", format!("host {host}: {nsp}"));
        }
        self.verdict()?;
        self.run_for(Duration::from_secs(120))
    }

    /// Everybody broadcasts all the time. Nodes must still know each other.
    pub(super) fn chatter(&mut self, lasts: Duration) -> Go {
        let pace = self.plan.hosts[0].config.heartbeat_interval.mul_f64(0.6);
        let end = self.world.now() + lasts;
        let say = Call::Broadcast { to: Target::default(), kind: Kind::Plain, times: 1 };
        while self.world.now() < end {
            let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
            for host in ours {
                for nsp in self.plan.namespaces.clone() {
                    let _ = self.publish(host, &nsp, &say);
                }
            }
            self.run_for(pace)?;
        }
        if self.is_parted() {
            return Ok(());
        }
        // On a stream that keeps few entries a heartbeat may be trimmed before it is read. Then the
        // next one tells, which is due only when a node has said nothing for a while.
        let keeps_few = self.plan.hosts.iter().any(|host| host.config.max_len < 1_000);
        let patience = if keeps_few { self.longest_wait() } else { self.exchange() + ms(500) };
        self.check_members(patience)?;
        let settled =
            |trial: &mut Self| trial.world.watch().oracle.deeds.iter().all(|deed| deed.fate != Fate::Open);
        self.run_until_holds(Duration::from_secs(20), "a call without an end", settled)
    }
}
