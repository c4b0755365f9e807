//! Tests of a namespace that is closed and opened again. It begins anew.

use sio_streams_core::{Config, Dialect, Event, LocalDelivery};

use crate::cluster::{Cluster, config};

/// Creates two nodes, ready in `/` and in another namespace, so that their readers stay when `/` is
/// closed.
fn cluster(local_delivery: LocalDelivery) -> Cluster {
    let config = Config { local_delivery, ..config(Dialect::Streams02) };
    let mut cluster = Cluster::with_configs([config.clone(), config]);
    for index in [0, 1] {
        cluster.open(index, "/other");
        cluster.open(index, "/");
    }
    cluster
}

fn close(cluster: &mut Cluster) {
    let now = cluster.now();
    cluster.nodes[0].engine.close_namespace(now, "/").unwrap();
}

/// Opens it again before the application has taken any event.
fn reopen(cluster: &mut Cluster) {
    let now = cluster.now();
    cluster.nodes[0].engine.open_namespace(now, "/").unwrap();
    cluster.settle();
}

fn published(cluster: &mut Cluster) -> bool {
    cluster.take(0, |event| matches!(event, Event::Published { .. })).is_some()
}

#[test]
fn it_is_not_told_of_what_had_been_read_before() {
    let mut cluster = cluster(LocalDelivery::WhenPublished);
    cluster.broadcast_to(1, "old", Default::default());
    cluster.settle_commands();
    close(&mut cluster);
    cluster.settle_commands();
    reopen(&mut cluster);
    cluster.broadcast(1, "new");
    assert_eq!(cluster.heard(0), ["new"]);
    assert_eq!(cluster.heard(1), ["old", "new"]);
}

/// An entry for it may lie in a stream of other namespaces. Every node reads all streams.
#[test]
fn it_is_not_told_of_what_had_been_read_before_from_any_stream() {
    let config = Config { stream_count: 4, ..config(Dialect::Streams03) };
    let mut cluster = Cluster::with_configs([config]);
    // The one is published in `socket.io-3`, the other in `socket.io-0`.
    cluster.open(0, "/");
    for again in [false, true] {
        let now = cluster.now();
        if again {
            cluster.nodes[0].engine.close_namespace(now, "/orders").unwrap();
        }
        for stream in ["socket.io-0", "socket.io-3"] {
            let data = r#"{"packet":{"type":2,"data":["a"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
            let fields = [("uid", "emitter"), ("nsp", "/orders"), ("type", "3"), ("data", data)];
            let wall = 1_700_000_000_000 + cluster.millis;
            cluster.store.add_entry(wall, stream, fields.into_iter().collect()).unwrap();
        }
        cluster.settle_commands();
        cluster.nodes[0].engine.open_namespace(now, "/orders").unwrap();
        cluster.settle();
        let told = cluster.take(0, |event| matches!(event, Event::Broadcast(_)));
        assert!(told.is_none(), "{told:?}, again: {again}");
    }
}

#[test]
fn it_is_told_of_what_is_read_afterwards_while_older_entries_wait() {
    let mut cluster = cluster(LocalDelivery::StreamOrder);
    cluster.broadcast_to(0, "old", Default::default());
    cluster.settle_commands();
    close(&mut cluster);
    cluster.settle_commands();
    let now = cluster.now();
    cluster.nodes[0].engine.open_namespace(now, "/").unwrap();
    cluster.broadcast_to(0, "own", Default::default());
    cluster.broadcast_to(1, "another's", Default::default());
    cluster.settle();
    assert_eq!(cluster.heard(0), ["own", "another's"]);
    assert_eq!(cluster.heard(1), ["old", "own", "another's"]);
    assert!(published(&mut cluster) && published(&mut cluster), "a fate is told all the same");
}

#[test]
fn what_waited_to_be_done_here_is_not_done() {
    let mut cluster = cluster(LocalDelivery::WhenPublished);
    cluster.broadcast_to(0, "old", Default::default());
    cluster.settle_commands();
    close(&mut cluster);
    cluster.settle_commands();
    reopen(&mut cluster);
    assert_eq!(cluster.heard(0), Vec::<String>::new());
    assert!(published(&mut cluster));
}

#[test]
fn what_is_published_after_the_closing_is_not_done_here() {
    let mut cluster = cluster(LocalDelivery::WhenPublished);
    cluster.broadcast_to(0, "old", Default::default());
    close(&mut cluster);
    cluster.settle_commands();
    reopen(&mut cluster);
    assert_eq!(cluster.heard(0), Vec::<String>::new());
    assert_eq!(cluster.heard(1), ["old"]);
    assert!(published(&mut cluster));
}

#[test]
fn what_was_said_elsewhere_before_the_closing_is_done() {
    let mut cluster = cluster(LocalDelivery::WhenPublished);
    let now = cluster.now();
    cluster.broadcast_to(0, "here", Default::default());
    cluster.nodes[0].engine.close_namespace(now, "/other").unwrap();
    cluster.settle_commands();
    cluster.nodes[0].engine.open_namespace(now, "/other").unwrap();
    cluster.settle();
    assert_eq!(cluster.heard(0), ["here"]);
}
