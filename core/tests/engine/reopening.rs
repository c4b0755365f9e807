//! A namespace that is closed and opened again begins anew.

use sio_streams_core::{Config, Dialect, Event, LocalDelivery};

use crate::world::{World, config};

/// Two nodes, ready in `/` and in another namespace, so that their readers stay when `/` is closed.
fn world(local_delivery: LocalDelivery) -> World {
    let config = Config { local_delivery, ..config(Dialect::Streams02) };
    let mut world = World::with_configs([config.clone(), config]);
    for index in [0, 1] {
        world.open(index, "/other");
        world.open(index, "/");
    }
    world
}

fn close(world: &mut World) {
    let now = world.now();
    world.nodes[0].engine.close_namespace(now, "/").unwrap();
}

/// Opens it again, before the application has taken any event.
fn reopen(world: &mut World) {
    let now = world.now();
    world.nodes[0].engine.open_namespace(now, "/").unwrap();
    world.settle();
}

fn published(world: &mut World) -> bool {
    world.take(0, |event| matches!(event, Event::Published { .. })).is_some()
}

#[test]
fn it_is_not_told_of_what_had_been_read_before() {
    let mut world = world(LocalDelivery::WhenPublished);
    world.broadcast_to(1, "old", Default::default());
    world.settle_commands();
    close(&mut world);
    world.settle_commands();
    reopen(&mut world);
    world.broadcast(1, "new");
    assert_eq!(world.heard(0), ["new"]);
    assert_eq!(world.heard(1), ["old", "new"]);
}

#[test]
fn it_is_told_of_what_is_read_afterwards_while_older_entries_wait() {
    let mut world = world(LocalDelivery::StreamOrder);
    world.broadcast_to(0, "old", Default::default());
    world.settle_commands();
    close(&mut world);
    world.settle_commands();
    let now = world.now();
    world.nodes[0].engine.open_namespace(now, "/").unwrap();
    world.broadcast_to(0, "own", Default::default());
    world.broadcast_to(1, "another's", Default::default());
    world.settle();
    assert_eq!(world.heard(0), ["own", "another's"]);
    assert_eq!(world.heard(1), ["old", "own", "another's"]);
    assert!(published(&mut world) && published(&mut world), "a fate is told all the same");
}

#[test]
fn what_waited_to_be_done_here_is_not_done() {
    let mut world = world(LocalDelivery::WhenPublished);
    world.broadcast_to(0, "old", Default::default());
    world.settle_commands();
    close(&mut world);
    world.settle_commands();
    reopen(&mut world);
    assert_eq!(world.heard(0), Vec::<String>::new());
    assert!(published(&mut world));
}

#[test]
fn what_is_published_after_the_closing_is_not_done_here() {
    let mut world = world(LocalDelivery::WhenPublished);
    world.broadcast_to(0, "old", Default::default());
    close(&mut world);
    world.settle_commands();
    reopen(&mut world);
    assert_eq!(world.heard(0), Vec::<String>::new());
    assert_eq!(world.heard(1), ["old"]);
    assert!(published(&mut world));
}

#[test]
fn what_was_said_elsewhere_before_the_closing_is_done() {
    let mut world = world(LocalDelivery::WhenPublished);
    let now = world.now();
    world.broadcast_to(0, "here", Default::default());
    world.nodes[0].engine.close_namespace(now, "/other").unwrap();
    world.settle_commands();
    world.nodes[0].engine.open_namespace(now, "/other").unwrap();
    world.settle();
    assert_eq!(world.heard(0), ["here"]);
}
