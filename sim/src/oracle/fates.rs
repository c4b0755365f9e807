//! Each call's fate is told once, and is true; each message is published once, in order.

use std::rc::Rc;

use bytestring::ByteString;
use sio_streams_core::wire::entry;
use sio_streams_core::{Body, CommandError, EntryId, Fields, LocalDelivery, Message, Ticket};

use super::Oracle;
use super::channels::is_channels_only;
use super::log::call_of;

/// The fate of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// In the stream under this id; without one, it never left its node.
    Published(Option<EntryId>),
    Failed(CommandError),
    /// Its node died before it was told.
    Orphaned,
}

/// A call that publishes something.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) host: usize,
    life: u64,
    /// The opening of its namespace in which it was made.
    opening: Option<u64>,
    message: Rc<Message>,
    local: bool,
    pub(crate) fate: Fate,
    /// The entries that it became: more than one, if its first try was executed late.
    pub(crate) written: Vec<(ByteString, EntryId)>,
    /// Nodes that have passed over it, and for the number of which entry.
    passed_over: Vec<(usize, u64)>,
    /// The call that was made later and written before.
    overtaken_by: Option<u64>,
    /// The server has refused it once.
    refused: bool,
}

impl Deed {
    /// Returns `true` if a host, in this life, doesn't know its fate.
    pub(crate) fn is_open_at(&self, host: usize, life: u64) -> bool {
        self.host == host && self.life == life && self.fate == Fate::Open
    }
}

impl Oracle {
    /// The number of the next call that publishes something.
    pub(crate) fn next_deed(&self) -> u64 {
        self.deeds.len() as u64
    }

    /// A node was asked to publish something, and has agreed.
    pub(crate) fn did(&mut self, host: usize, nsp: &str, body: Body, local: bool, ticket: Ticket) {
        let number = self.next_deed();
        let uid = self.name_of(host);
        let message = Rc::new(Message { uid, nsp: nsp.into(), body });
        let emits = matches!(message.body, Body::ServerSideEmit { .. });
        let view = &mut self.hosts[host];
        let at_once = view.config.local_delivery == LocalDelivery::AtOnce && !emits;
        view.tickets.insert(ticket, number);
        view.unsettled += usize::from(!local);
        let (limit, unsettled, life) = (view.config.limits.in_flight, view.unsettled, view.life);
        let opening = view.openings.get(nsp).copied();
        if local || at_once {
            self.due_here(host, message.clone(), None);
        }
        let deed = Deed {
            host,
            life,
            opening,
            message,
            local,
            fate: Fate::Open,
            written: Vec::new(),
            passed_over: Vec::new(),
            overtaken_by: None,
            refused: false,
        };
        self.deeds.push(deed);
        if unsettled > limit {
            self.fail("more in flight than allowed", format!("host {host}: {unsettled} of {limit}"));
        }
    }

    pub(super) fn deed_executed(&mut self, number: u64, stream: &ByteString, id: EntryId) {
        let Some(deed) = self.deeds.get(number as usize) else { return };
        let (host, life, fate, first) = (deed.host, deed.life, deed.fate.clone(), deed.written.is_empty());
        if deed.local {
            return self.fail("a local message was published", format!("call {number}"));
        }
        match &fate {
            Fate::Failed(CommandError::Lost(_)) | Fate::Open | Fate::Orphaned | Fate::Published(_) => {}
            Fate::Failed(error) => {
                let details = format!("call {number} failed ({error}), and is written as {id}");
                return self.fail("a failure that was none", details);
            }
        }
        // Later calls of the same node must not be written yet, unless it is lost again.
        let history = self.histories.get(stream);
        let there = |id: &EntryId| history.is_some_and(|history| history.has(*id));
        let overtakes = |later: &u64| {
            let later = &self.deeds[*later as usize];
            later.host == host
                && later.life == life
                && later.written.iter().any(|(other, id)| other == stream && there(id))
        };
        let overtaken_by = (number + 1..self.next_deed()).find(overtakes).filter(|_| first);
        let deed = &mut self.deeds[number as usize];
        deed.overtaken_by = deed.overtaken_by.or(overtaken_by);
        deed.written.push((stream.clone(), id));
    }

    /// The server has refused an entry.
    pub(super) fn entry_refused(&mut self, fields: &Fields) {
        let call = entry::decode(fields).ok().and_then(|message| call_of(&message.body));
        if let Some(deed) = call.and_then(|call| self.deeds.get_mut(call as usize)) {
            deed.refused = true;
        }
    }

    /// Returns `true` if the call was refused when one behind it was not, and its node could not
    /// know: that one's first try was executed late.
    fn is_overtaken_unseen(&self, deed: &Deed) -> bool {
        let again = |by: u64| self.deeds.get(by as usize).is_some_and(|by| by.written.len() > 1);
        let numbered_again = |by: u64| {
            deed.written.iter().any(|(stream, _)| {
                let key = (deed.message.uid.clone(), stream.clone(), by);
                self.numbers.get(&key).is_some_and(|numbered| numbered.times > 1)
            })
        };
        deed.refused
            && deed.overtaken_by.is_none_or(again)
            && deed.passed_over.iter().all(|(_, by)| numbered_again(*by))
    }

    /// A node took the entry of a call for a repetition, because of a number that it had read. It may
    /// have begun to read behind an earlier copy, which was not for it. Neither is the late one.
    pub(super) fn passed_over(
        &mut self,
        number: u64,
        host: usize,
        by: u64,
        (stream, id): (&ByteString, EntryId),
    ) {
        let Some(deed) = self.deeds.get_mut(number as usize) else { return };
        let there = |id: EntryId| self.histories.get(stream).is_some_and(|history| history.has(id));
        if !deed.written.iter().any(|(other, copy)| other == stream && *copy < id && there(*copy)) {
            deed.passed_over.push((host, by));
        }
    }

    fn settle(&mut self, host: usize, ticket: Ticket, fate: Fate) -> Option<u64> {
        let view = &mut self.hosts[host];
        let Some(number) = view.tickets.remove(&ticket) else {
            if self.question_settled(host, ticket, &fate) {
                return None;
            }
            self.fail("a fate without a call", format!("host {host}, {ticket}: {fate:?}"));
            return None;
        };
        let deed = &mut self.deeds[number as usize];
        view.unsettled -= usize::from(!deed.local);
        deed.fate = fate;
        Some(number)
    }

    pub(super) fn published(&mut self, host: usize, ticket: Ticket, entry: Option<EntryId>) {
        let Some(number) = self.settle(host, ticket, Fate::Published(entry)) else { return };
        let deed = &self.deeds[number as usize];
        match entry {
            None if deed.local => {}
            // Without streams nothing has a place.
            None if is_channels_only(self.hosts[host].config.dialect) => match deed.written.is_empty() {
                true => self.fail("published, but not sent", format!("call {number}")),
                false => self.done_when_published(host, number, None),
            },
            None => self.fail("published nowhere", format!("call {number}")),
            Some(id) if deed.written.iter().any(|(_, written)| *written == id) => {
                self.done_when_published(host, number, Some(id));
            }
            Some(id) => {
                let details = format!("call {number} as {id}, really {:?}", deed.written);
                self.fail("published, but not there", details);
            }
        }
    }

    pub(super) fn publish_failed(&mut self, host: usize, ticket: Ticket, error: &CommandError) {
        let Some(number) = self.settle(host, ticket, Fate::Failed(error.clone())) else { return };
        let deed = &self.deeds[number as usize];
        if !deed.written.is_empty() && !matches!(error, CommandError::Lost(_)) {
            let details = format!("call {number} failed ({error}), and is written as {:?}", deed.written);
            return self.fail("a failure that was none", details);
        }
        self.done_when_published(host, number, None);
    }

    /// The call's fate is known: now it is done on its own node, if that is when.
    fn done_when_published(&mut self, host: usize, number: u64, entry: Option<EntryId>) {
        let deed = &self.deeds[number as usize];
        if self.is_done_when_published(host, deed) {
            self.due_here(host, deed.message.clone(), entry);
        }
    }

    /// Returns `true` if a call's fate decides when it takes effect on its own node. It has no
    /// effect if its namespace was closed since, even if it is open again.
    fn is_done_when_published(&self, host: usize, deed: &Deed) -> bool {
        let view = &self.hosts[host];
        let Message { nsp, body, .. } = &*deed.message;
        !matches!(body, Body::ServerSideEmit { .. })
            && view.config.local_delivery == LocalDelivery::WhenPublished
            && view.open.contains_key(nsp)
            && view.openings.get(nsp).copied() == deed.opening
    }

    /// Everything has come to rest.
    pub(crate) fn check_fates(&mut self) {
        let mut found = None;
        for (number, deed) in self.deeds.iter().enumerate() {
            let alive = self.hosts[deed.host].alive && self.hosts[deed.host].life == deed.life;
            if deed.fate == Fate::Open && alive {
                found = Some(("a fate was never told", format!("call {number}, host {}", deed.host)));
            }
            let published = matches!(deed.fate, Fate::Published(_));
            // A search finds nothing of what is trimmed before: what is sent again then may be old.
            let trimmed = deed.written.iter().any(|(stream, _)| self.trimmed.contains(stream));
            let retained = self.hosts[deed.host].config.max_len >= 1_000 && !trimmed;
            let clear = published && retained && !self.is_overtaken_unseen(deed);
            if clear && !deed.passed_over.is_empty() {
                let details = format!("call {number} by hosts {:?}", deed.passed_over);
                found = Some(("a message was taken for a repetition", details));
            }
            if clear && deed.overtaken_by.is_some() {
                found = Some(("published out of order", format!("call {number}")));
            }
        }
        if let Some((rule, details)) = found {
            self.fail(rule, details);
        }
    }
}
