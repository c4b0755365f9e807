//! Each call that got a ticket ends once, with the event that belongs to it.

use std::collections::BTreeMap;

use sio_streams_core::{Event, Ticket};

/// The way in which a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Request,
    Count,
    Save,
    Restore,
}

/// The calls that have not ended.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    open: BTreeMap<Ticket, Kind>,
    last: Option<Ticket>,
}

impl Tickets {
    pub(super) fn opened(&mut self, ticket: Ticket, kind: Kind) {
        assert!(self.last < Some(ticket), "{ticket} after {:?}", self.last);
        self.last = Some(ticket);
        self.open.insert(ticket, kind);
    }

    pub(super) fn of(&self, kind: Kind) -> usize {
        self.open.values().filter(|other| **other == kind).count()
    }

    pub(super) fn saw(&mut self, event: &Event) {
        let (ticket, kind) = match event {
            Event::Answer { ticket, .. } => {
                assert_eq!(self.open.get(ticket), Some(&Kind::Request), "an answer to nothing: {event:?}");
                return;
            }
            Event::Published { ticket, .. } | Event::PublishFailed { ticket, .. } => (ticket, Kind::Publish),
            Event::RequestDone { ticket, .. } => (ticket, Kind::Request),
            Event::ServerCount { ticket, .. } => (ticket, Kind::Count),
            Event::SessionSaved { ticket, .. } => (ticket, Kind::Save),
            Event::Restored(restored) => (&restored.ticket, Kind::Restore),
            Event::NotRecovered { ticket, .. } => (ticket, Kind::Restore),
            _ => return,
        };
        assert_eq!(self.open.remove(ticket), Some(kind), "it had ended, or never begun: {event:?}");
        // The question still waits to be published, and its fate is told, too.
        if let Event::RequestDone { ticket, outcome } = event
            && outcome.pending
        {
            self.open.insert(*ticket, Kind::Publish);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
