//! The nodes that wait for acknowledgements of this node's clients.

use std::collections::HashMap;

use sio_streams_core::{AckResponder, ByteString, NodeId, Time};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::run::later;

/// The number of names that are kept before those are looked for that nobody needs any more.
const FEW: usize = 64;

/// The nodes that have asked for acknowledgements, in each namespace. Dropping a sender tells that
/// its node does not wait any more.
#[derive(Debug)]
pub(crate) struct Askers {
    /// The time at which the engine's clock was at zero.
    started: Instant,
    by_name: HashMap<(ByteString, Option<NodeId>), watch::Sender<()>>,
    /// The number of names at which names are looked for that nobody needs any more.
    many: usize,
}

/// The end of the time in which a node waits.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) deadline: Instant,
    asker: watch::Receiver<()>,
}

impl Askers {
    pub(crate) fn new(started: Instant) -> Self {
        Askers { started, by_name: HashMap::new(), many: FEW }
    }

    /// Notes that a node waits for acknowledgements.
    pub(crate) fn asked(&mut self, nsp: &ByteString, from: Option<&NodeId>, responder: &AckResponder) -> End {
        // Names come from the network, and not all of them are those of nodes that live.
        if self.by_name.len() >= self.many {
            self.by_name.retain(|_, asker| asker.receiver_count() > 0);
            self.many = 2 * self.by_name.len() + FEW;
        }
        let asker =
            self.by_name.entry((nsp.clone(), from.cloned())).or_insert_with(|| watch::Sender::new(()));
        let after_start = responder.deadline().since(Time::ZERO);
        End { deadline: later(self.started, after_start), asker: asker.subscribe() }
    }

    /// Notes that a node is gone.
    pub(crate) fn gone(&mut self, nsp: &ByteString, node: &NodeId) {
        self.by_name.remove(&(nsp.clone(), Some(node.clone())));
    }

    /// Notes that a namespace is closed.
    pub(crate) fn closed(&mut self, nsp: &ByteString) {
        self.by_name.retain(|(name, _), _| name != nsp);
    }
}

impl End {
    /// Completes when the node does not wait any more.
    pub(crate) async fn come(mut self) {
        // Nothing is ever sent: the channel only ends.
        let _ = timeout_at(self.deadline, self.asker.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use sio_streams_core::{BroadcastOptions, Config, Engine, Event, LocalDelivery, Packet};

    use super::*;

    fn responder() -> AckResponder {
        let config = Config { local_delivery: LocalDelivery::AtOnce, ..Config::default() };
        let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
        engine.open_namespace(Time::ZERO, "/").unwrap();
        let packet = Packet::event("hello", &()).unwrap();
        let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
        engine.broadcast_with_ack(Time::from_micros(1_000_000), "/", packet, opts).unwrap();
        loop {
            match engine.poll_event() {
                Some(Event::Broadcast(delivery)) => return delivery.responder.unwrap(),
                event => drop(event.unwrap()),
            }
        }
    }

    fn is_over(end: &End) -> bool {
        end.asker.has_changed().is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_comes_with_the_deadline_or_with_the_loss_of_the_node() {
        let (started, responder) = (Instant::now(), responder());
        let mut askers = Askers::new(started);
        let (ann, ben) = (NodeId::new("ann"), NodeId::new("ben"));
        let ends = [("/", &ann), ("/", &ben), ("/chat", &ann)]
            .map(|(nsp, node)| askers.asked(&nsp.into(), Some(node), &responder));
        ends[1].clone().come().await;
        assert_eq!(started.elapsed(), Duration::from_secs(4));
        assert!(!ends.iter().any(is_over));
        askers.gone(&"/".into(), &ann);
        assert_eq!(ends.each_ref().map(is_over), [true, false, false]);
        askers.closed(&"/chat".into());
        assert_eq!(ends.each_ref().map(is_over), [true, false, true]);
        drop(askers);
        assert!(is_over(&ends[1]));
    }

    #[test]
    fn names_that_nobody_needs_are_not_kept() {
        let (mut askers, responder) = (Askers::new(Instant::now()), responder());
        let needed = askers.asked(&"/".into(), Some(&NodeId::new("needed")), &responder);
        for index in 0..10 * FEW {
            drop(askers.asked(&"/".into(), Some(&NodeId::new(format!("{index}"))), &responder));
        }
        assert!(askers.by_name.len() <= 2 * FEW && !is_over(&needed));
    }
}
