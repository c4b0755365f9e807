//! Clients that drop, and come back.

use core::time::Duration;

use bytestring::ByteString;
use sio_streams_core::{Payload, Session};

use super::{Broken, Go, Trial, ms};
use crate::Node;
use crate::oracle::clients::Whereabouts;
use crate::plan::{Call, Doing, Kind, Target};
use crate::responder::Responder;

impl Trial<'_> {
    /// A client does something: where it is, or at `host`, if it comes there.
    pub(super) fn client_does(&mut self, client: usize, does: Doing, host: usize, nsp: &ByteString) {
        let at = self.whereabouts(client);
        match (does, at) {
            (Doing::Connects, Whereabouts::Nowhere | Whereabouts::Away)
            | (Doing::Returns, Whereabouts::Nowhere) => self.connect(client, host, nsp),
            (Doing::Returns, Whereabouts::Away) => self.come_back(client, host),
            (Doing::Strays { nsp }, Whereabouts::Away) => {
                let nsp = self.plan.namespaces[usize::from(nsp) % self.plan.namespaces.len()].clone();
                self.stray(client, host, &nsp);
            }
            (Doing::Drops { unseen }, Whereabouts::At(at)) => self.drop_client(client, at, unseen.into()),
            (Doing::IsSaved, Whereabouts::At(at)) => self.save(client, at),
            (Doing::Joins { room }, Whereabouts::At(at)) => {
                let (sid, room) = (self.sid(client), self.room(room));
                self.touch(at, nsp, |node, rooms| {
                    if node.app.rooms.join(node.engine, nsp, &sid, core::slice::from_ref(&room)).is_ok() {
                        rooms.join(&sid, &[room]);
                    }
                });
            }
            (Doing::Leaves { room }, Whereabouts::At(at)) => {
                let (sid, room) = (self.sid(client), self.room(room));
                self.touch(at, nsp, |node, rooms| {
                    rooms.leave(&sid, core::slice::from_ref(&room));
                    let _ = node.app.rooms.leave(node.engine, nsp, &sid, core::slice::from_ref(&room));
                });
            }
            _ => {}
        }
    }

    fn whereabouts(&self, client: usize) -> Whereabouts {
        self.world.watch().oracle.clients.all[client].at
    }

    fn sid(&self, client: usize) -> ByteString {
        self.world.watch().oracle.clients.all[client].sid.clone()
    }

    fn connect(&mut self, client: usize, host: usize, nsp: &ByteString) {
        self.world.act(host, |node, eyes, _| {
            if eyes.oracle.hosts[host].open.contains_key(nsp) {
                let sid = eyes.oracle.client_connects(client, host, nsp);
                let _ = node.app.rooms.add(node.engine, nsp, sid);
            }
        });
    }

    /// The session of a client, as its node would store it.
    fn session(node: &Node<'_, Responder>, one: &crate::oracle::clients::Client) -> Option<Session> {
        let (sid, pid) = (one.sid.clone(), one.pid.clone());
        let rooms = node.app.rooms.rooms(node.engine, &one.nsp, &sid)?;
        Some(Session { sid, pid, rooms, data: Payload::null() })
    }

    fn save(&mut self, client: usize, host: usize) {
        self.world.act(host, |node, eyes, _| {
            let one = &eyes.oracle.clients.all[client];
            let nsp = one.nsp.clone();
            let Some(session) = Self::session(node, one) else { return };
            if node.engine.persist_session(node.now, &nsp, &session).is_ok() {
                eyes.oracle.client_saved(client, &session);
            }
        });
    }

    fn drop_client(&mut self, client: usize, host: usize, unseen: usize) {
        self.save(client, host);
        let (sid, nsp) = (self.sid(client), self.world.watch().oracle.clients.all[client].nsp.clone());
        // A process that stands still does not notice; nor does the client then.
        self.world.act(host, |node, eyes, _| {
            if let Some(rooms) = eyes.oracle.hosts[host].open.get_mut(&nsp) {
                rooms.remove(&sid);
            }
            let _ = node.app.rooms.remove(node.engine, &nsp, &sid);
            eyes.oracle.client_drops(client, unseen);
        });
    }

    fn come_back(&mut self, client: usize, host: usize) {
        self.world.act(host, |node, eyes, now| {
            eyes.oracle.now = now;
            let one = &eyes.oracle.clients.all[client];
            let (nsp, pid) = (one.nsp.clone(), one.pid.clone());
            let Some(offset) = one.got.last().map(ToString::to_string) else { return };
            // A namespace that isn't open here is somebody else's.
            if let Ok(ticket) = node.engine.restore_session(node.now, &nsp, &pid, &offset) {
                eyes.oracle.client_returns(client, host, ticket);
            }
        });
    }

    /// Comes back in a namespace that may be another one.
    fn stray(&mut self, client: usize, host: usize, nsp: &ByteString) {
        self.world.act(host, |node, eyes, now| {
            eyes.oracle.now = now;
            let one = &eyes.oracle.clients.all[client];
            let (own, pid) = (one.nsp.clone(), one.pid.clone());
            let Some(offset) = one.got.last().map(ToString::to_string) else { return };
            if own != *nsp
                && let Ok(ticket) = node.engine.restore_session(node.now, nsp, &pid, &offset)
            {
                eyes.oracle.client_strays(host, ticket);
            }
        });
    }

    /// A client drops at each host and comes back at the next one, twice; what it has missed is
    /// there.
    pub(super) fn clients_recover(&mut self) -> Go {
        let ours: Vec<usize> = self.living().into_iter().filter(|host| self.is_ours(*host)).collect();
        let Some(first) = ours.first() else { return Ok(()) };
        let config = &self.plan.hosts[*first].config;
        let Some(recovery) = &config.recovery else { return Ok(()) };
        // An entry that is trimmed at once, or may not be replayed, is nobody's fault. A session is
        // read, some pages, and the session is taken: that takes its time.
        // Small pages take many round trips.
        let trips = if recovery.page_entries >= 20 { 20 } else { 200 };
        let in_time = recovery.timeout >= self.plan.network.latency.1 * trips;
        let brisk =
            self.is_brisk() && in_time && config.max_len >= 10_000 && recovery.replay_entries >= 1_000;
        let patience = recovery.timeout + Duration::from_secs(5);
        let short = recovery.max_disconnection_duration < Duration::from_secs(60);
        let client = self.plan.clients() - 1;
        let nsp = self.plan.namespaces[0].clone();
        let to_all = Call::Broadcast { to: Target::default(), kind: Kind::Plain, times: 1 };
        let to_room = Call::Broadcast {
            to: Target { rooms: vec![1], except: Vec::new() },
            kind: Kind::Plain,
            times: 1,
        };
        for (index, &host) in ours.iter().enumerate() {
            let next = ours[(index + 1) % ours.len()];
            self.connect(client, host, &nsp);
            self.client_does(client, Doing::Joins { room: 1 }, host, &nsp);
            self.said(host, &nsp, &to_all)?;
            self.client_has(client, 1)?;
            for (there, calls) in [(next, &[&to_all, &to_room][..]), (host, &[])] {
                let Whereabouts::At(here) = self.whereabouts(client) else { break };
                if recovery.sessions == 1 {
                    // The reply to the session that this node stored before may be on its way.
                    self.run_for(self.exchange())?;
                }
                self.drop_client(client, here, 0);
                let had = self.world.watch().oracle.clients.all[client].got.len();
                self.run_until_holds(ms(5_000), "a session is never stored", |trial| {
                    trial.world.watch().oracle.is_stored(client)
                })?;
                for call in calls {
                    self.said(next, &nsp, call)?;
                }
                self.come_back(client, there);
                self.run_until_holds(patience, "a recovery without an end", |trial| {
                    trial.world.watch().oracle.clients_have_arrived()
                })?;
                let back = self.whereabouts(client) == Whereabouts::At(there);
                if !back && brisk && !short {
                    let details = format!("from host {here} to host {there}: {:?}", self.whereabouts(client));
                    self.oracle().fail("not recovered in the calm", details);
                    return Err(Broken);
                }
                if back {
                    self.client_has(client, had + calls.len())?;
                }
            }
        }
        Ok(())
    }

    fn said(&mut self, host: usize, nsp: &ByteString, call: &Call) -> Go {
        self.accepted(host, nsp, call, Self::publish)?;
        self.run_until_holds(ms(5_000), "a call without an end", |trial| {
            trial.world.watch().oracle.deeds.iter().all(|deed| deed.fate != crate::oracle::Fate::Open)
        })
    }

    /// Notes the number of packets that the client has got.
    fn client_has(&mut self, client: usize, count: usize) -> Go {
        self.run_until_holds(ms(5_000), "a client did not get what was sent to it", |trial| {
            trial.world.watch().oracle.clients.all[client].got.len() >= count
        })
    }
}
