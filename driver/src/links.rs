//! Reports on connections that are held back while there is no room for events.

use std::collections::BTreeMap;

use sio_streams_core::Lane;

use crate::event::Event;

/// The changes of connections since there was no room. Of each connection it keeps at most the last
/// loss, and the return.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<Lane, Held>);

#[derive(Debug, Default)]
struct Held {
    /// The reason of the last loss.
    reason: Option<String>,
    losses: u64,
    up: bool,
}

impl Links {
    pub(crate) fn hold(&mut self, lane: Lane, up: bool, reason: String) {
        let held = self.0.entry(lane).or_default();
        held.up = up;
        if !up {
            held.losses += 1;
            held.reason = Some(reason);
        }
    }

    /// Returns the events that are to be told now. Nothing is left then.
    pub(crate) fn let_go(&mut self) -> impl Iterator<Item = Event> + use<> {
        core::mem::take(&mut self.0).into_iter().flat_map(|(lane, Held { reason, losses, up })| {
            let reason = reason.map(|reason| match losses {
                1 => reason,
                _ => format!("{reason} (reported {losses} times while no events were taken)"),
            });
            let lost = reason.map(|reason| Event::Link { lane: lane.clone(), up: false, reason });
            let back = up.then(|| Event::Link { lane, up: true, reason: String::new() });
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
            links.hold(Lane::Writer, false, "cut".into());
            links.hold(Lane::Writer, true, String::new());
        }
        links.hold(Lane::Subscriber, true, String::new());
        links.hold(Lane::Recovery, false, "gone".into());
        let told: Vec<String> = links.let_go().map(|event| format!("{event:?}")).collect();
        let expected = [
            (Lane::Writer, false, "cut (reported 100 times while no events were taken)"),
            (Lane::Writer, true, ""),
            (Lane::Subscriber, true, ""),
            (Lane::Recovery, false, "gone"),
        ];
        for (lane, up, reason) in expected {
            let event = format!("{:?}", Event::Link { lane, up, reason: reason.into() });
            assert!(told.contains(&event), "{told:?}");
        }
        assert_eq!(told.len(), 4);
        assert_eq!(links.let_go().count(), 0);
    }
}
