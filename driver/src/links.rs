//! Reports on connections that are held back while there is no room for events.

use std::collections::BTreeMap;

use sio_streams_core::{ByteString, Lane, LinkState};

use crate::event::Event;

/// The changes of connections since there was no room. Of each connection it keeps at most the last
/// loss, and the return.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<Lane, Held>);

#[derive(Debug, Default)]
struct Held {
    /// The reason of the last loss.
    reason: Option<ByteString>,
    losses: u64,
    up: bool,
}

impl Links {
    pub(crate) fn hold(&mut self, lane: Lane, link: LinkState) {
        let held = self.0.entry(lane).or_default();
        held.up = link.is_up();
        if let LinkState::Down { reason, .. } = link {
            held.losses += 1;
            held.reason = Some(reason);
        }
    }

    /// Returns the events that are to be told now. Nothing is left then.
    pub(crate) fn let_go(&mut self) -> impl Iterator<Item = Event> + use<> {
        core::mem::take(&mut self.0).into_iter().flat_map(|(lane, Held { reason, losses, up })| {
            let reason = reason.map(|reason| match losses {
                1 => reason,
                _ => format!("{reason} (reported {losses} times while no events were taken)").into(),
            });
            let lost = reason.map(|reason| Event::Link { lane: lane.clone(), link: LinkState::down(reason) });
            let back = up.then(|| Event::Link { lane, link: LinkState::Up });
            lost.into_iter().chain(back)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_connection_no_more_is_kept_than_how_it_stands() {
        let mut links = Links::default();
        for _ in 0..100 {
            links.hold(Lane::Writer, LinkState::down("cut"));
            links.hold(Lane::Writer, LinkState::Up);
        }
        links.hold(Lane::Subscriber, LinkState::Up);
        links.hold(Lane::Recovery, LinkState::down("gone"));
        let told: Vec<String> = links.let_go().map(|event| format!("{event:?}")).collect();
        let expected = [
            (Lane::Writer, LinkState::down("cut (reported 100 times while no events were taken)")),
            (Lane::Writer, LinkState::Up),
            (Lane::Subscriber, LinkState::Up),
            (Lane::Recovery, LinkState::down("gone")),
        ];
        for (lane, link) in expected {
            let event = format!("{:?}", Event::Link { lane, link });
            assert!(told.contains(&event), "{told:?}");
        }
        assert_eq!(told.len(), 4);
        assert_eq!(links.let_go().count(), 0);
    }
}
