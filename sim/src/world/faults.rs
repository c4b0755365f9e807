//! Inflicts faults.

use core::time::Duration;

use super::lane::Link;
use super::server::Change;
use super::{Due, World};
use crate::app::App;
use crate::fault::{Data, Fault, Lanes};
use crate::watch::{Happening, Watch};
use sio_streams_core::Command;

impl<A: App, W: Watch> World<A, W> {
    /// Inflicts a fault now.
    pub fn inflict(&mut self, fault: &Fault) {
        if fault.host().is_some_and(|host| host >= self.hosts.len()) {
            return;
        }
        self.watch.saw(self.now, &Happening::Fault(fault));
        match *fault {
            Fault::Cut { host, lanes, executed, late, lasts } => {
                let until = self.now + lasts;
                self.each_lane(host, lanes, |world, slot| {
                    if let Some(lane) = &mut world.hosts[host].lanes[slot] {
                        lane.refused_until = lane.refused_until.max(until);
                    }
                    world.lose(host, slot, "cut", executed, late);
                });
                self.schedule(until, Due::Healed(Some(host), "connections can be opened again"));
            }
            Fault::Stall { host, lanes, lasts } => {
                let until = self.now + lasts;
                self.each_lane(host, lanes, |world, slot| {
                    if let Some(lane) = &mut world.hosts[host].lanes[slot] {
                        lane.stalled_until = lane.stalled_until.max(until);
                    }
                });
                self.schedule(until, Due::Healed(Some(host), "connections are not silent any more"));
            }
            Fault::Pause { host, lasts } => self.pause(host, lasts),
            Fault::SlowApp { host, lasts } => self.slow_app(host, lasts),
            Fault::ClockJump { host, by } => {
                let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                self.hosts[host].clock.jump(micros);
                // Its alarms are set by another clock.
                if self.hosts[host].runs() {
                    self.set_clock_right(host);
                }
            }
            Fault::Crash { host, back_after } => self.crash(host, back_after),
            Fault::Restart { data, away, loading } => {
                self.change_server(Change::Down { data, away, loading })
            }
            Fault::Failover { lost, demoted, away } => {
                self.refuse(crate::Refusal::ReadOnly, demoted);
                self.demote();
                let data = if lost == 0 { Data::Kept } else { Data::TailLost(lost) };
                let change = Change::Down { data, away, loading: Duration::ZERO };
                self.schedule(self.now + demoted, Due::Server(change));
            }
            Fault::TwoMasters { lost, ref entries, lasts, away } => {
                self.promote_another(lost, entries);
                self.schedule(self.now + lasts, Due::Server(Change::Switch { away }));
            }
            Fault::Refuse { refusal, lasts } => self.refuse(refusal, lasts),
            Fault::Withhold { ref channels, lasts } => self.withhold(channels, lasts),
            Fault::Falter { refusal, commands, lasts } => {
                self.server.set_faltering(refusal, commands, self.now + lasts);
            }
            Fault::Freeze { lasts } => self.freeze(lasts),
            Fault::KillClients => self.close_all(),
            Fault::ServerClockJump { millis } => self.jump_server_clock(millis),
            Fault::Trim { ref stream, length } => self.trim(stream, length),
            Fault::Noise { ref channel, ref payload, sharded } => {
                let (channel, payload) = (channel.clone(), payload.clone());
                self.do_foreign(&Command::Publish { channel, payload, sharded });
            }
            Fault::Garble { host, replies } => self.hosts[host].garbled += replies,
            Fault::Forged { host, ref stream, ref nsp, number } => self.forge(host, stream, nsp, number),
            Fault::FalseAnswer { who } => self.answer_falsely(who),
            Fault::Foreign { ref stream, ref fields } => self.write_foreign(stream, fields),
        }
    }

    fn each_lane(&mut self, host: usize, lanes: Lanes, mut action: impl FnMut(&mut Self, usize)) {
        for slot in 0..self.hosts[host].lanes.len() {
            let lane = self.hosts[host].lanes[slot].as_ref();
            if lane.is_some_and(|lane| lanes.contains(&lane.lane)) {
                action(self, slot);
            }
        }
    }

    /// Returns `true` if no connection of a host is lost or silent.
    pub fn is_linked(&self, host: usize) -> bool {
        let lanes = self.hosts.get(host).map_or(&[][..], |host| &host.lanes[..]);
        lanes.iter().flatten().all(|lane| {
            let open = match lane.link {
                Link::Open(id) => {
                    self.conns.get(&id).is_some_and(|conn| self.server.redis.is_connected(conn.client))
                }
                Link::Opening => false,
            };
            open && lane.stalled_until <= self.now
        })
    }
}
