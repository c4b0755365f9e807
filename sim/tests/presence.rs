//! An embedder's test: a list of who is present, kept by every node from the events that it gets,
//! under random faults by proptest.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sio_streams_core::{BroadcastOptions, Config, Dialect, Event, LocalDelivery, Packet};
use sio_streams_sim::{App, Fault, Hand, HostOptions, Network, World, harmless_faults};

const NODES: usize = 3;

#[derive(Default)]
struct Presence {
    present: BTreeSet<String>,
    /// A node that regularly forgets a message: an application with a bug.
    forgets: Option<usize>,
    heard: usize,
}

impl App for Presence {
    fn event(&mut self, _: &mut Hand<'_>, event: Event) {
        let Event::Broadcast(delivery) = event else { return };
        self.heard += 1;
        if self.forgets.is_some_and(|every| self.heard.is_multiple_of(every)) {
            return;
        }
        let (what, who) = delivery.packet.data().decode::<(String, String)>().unwrap();
        match &*what {
            "came" => drop(self.present.insert(who)),
            _ => drop(self.present.remove(&who)),
        }
    }

    fn reborn(&self) -> Self {
        Presence::default()
    }
}

/// A step of a run.
#[derive(Clone, Debug)]
enum Step {
    Comes { node: usize, who: u8 },
    Goes { node: usize, who: u8 },
    Time(Duration),
    Wrong(Fault),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..NODES, any::<u8>()).prop_map(|(node, who)| Step::Comes { node, who }),
        2 => (0..NODES, any::<u8>()).prop_map(|(node, who)| Step::Goes { node, who }),
        2 => (0..2_000_u64).prop_map(|millis| Step::Time(Duration::from_millis(millis))),
        2 => harmless_faults(NODES, 1_500).prop_map(Step::Wrong),
    ];
    prop::collection::vec(step, 1..40)
}

fn say(world: &mut World<Presence>, node: usize, what: &str, who: u8) {
    world.call(node, |node| {
        let packet = Packet::event(what, &(format!("guest{who}"),)).unwrap();
        node.engine.broadcast(node.now, "/", packet, BroadcastOptions::all()).unwrap();
    });
}

/// Runs the steps; whether all nodes have the same list in the end.
fn agree(steps: &[Step], forgets: Option<usize>) -> bool {
    let mut world = World::new(1, Network::default());
    for node in 0..NODES {
        // In stream order: who comes and goes at the same time on two nodes, does so in the same
        // order everywhere.
        let local_delivery = LocalDelivery::StreamOrder;
        let config = Config { dialect: Dialect::Streams03, local_delivery, ..Config::default() };
        let app = Presence { forgets: forgets.filter(|_| node == 0), ..Presence::default() };
        let host = world.add_node(config, HostOptions::default(), app).unwrap();
        world.open(host, "/", &[]).unwrap();
    }
    world.run_for(Duration::from_secs(1));
    for step in steps {
        match step {
            Step::Comes { node, who } => say(&mut world, *node, "came", *who),
            Step::Goes { node, who } => say(&mut world, *node, "gone", *who),
            Step::Time(time) => world.run_for(*time),
            Step::Wrong(fault) => world.inflict(fault),
        }
    }
    world.run_for(Duration::from_secs(60));
    let lists: Vec<&BTreeSet<String>> = world.apps().map(|app| &app.present).collect();
    lists.windows(2).all(|pair| pair[0] == pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everybody_agrees_on_who_is_present(steps in steps()) {
        prop_assert!(agree(&steps, None));
    }
}

/// The test can fail: an application that forgets messages is found, and what it takes is made
/// short.
#[test]
fn an_application_that_forgets_is_found_and_the_reason_is_short() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let failure = runner.run(&steps(), |steps| {
        prop_assert!(agree(&steps, Some(3)));
        Ok(())
    });
    let Err(proptest::test_runner::TestError::Fail(_, steps)) = failure else { panic!("{failure:?}") };
    assert!(steps.len() <= 3, "{steps:?}");
    assert!(steps.iter().all(|step| matches!(step, Step::Comes { .. } | Step::Goes { .. })), "{steps:?}");
}
