//! Tests of those that ask and are no nodes.

use sio_streams_core::{
    BroadcastOptions, CallError, Command, Config, Dialect, Event, Observed, Observer, Reply, RequestId,
};
use sio_streams_redis_model::{ClientId, Executed};

use crate::cluster::{Cluster, config, sockets};

const ALL: [Dialect; 5] =
    [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];

fn execute(cluster: &mut Cluster, client: ClientId, command: &Command) -> Reply {
    let wall = 1_700_000_000_000 + cluster.millis;
    match cluster.store.execute(wall, client, command) {
        Executed::Reply(Ok(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

/// Asks, and returns the answers.
fn ask(cluster: &mut Cluster, config: &Config, opts: BroadcastOptions, id: &str) -> Vec<Observed> {
    let observer = Observer::new(config.clone()).unwrap();
    let client = cluster.store.connect();
    if let Some(listen) = observer.listen("/") {
        execute(cluster, client, &listen);
    }
    if let Some(count) = observer.count("/") {
        assert_eq!(execute(cluster, client, &count), Reply::Counts(vec![3]), "{:?}", config.dialect);
    }
    let question = observer.fetch_sockets("/", opts, RequestId::new(id.to_owned())).unwrap();
    let after = execute(cluster, client, &question);
    cluster.settle();
    // The nodes agree on how many they are, while somebody else listens.
    assert_eq!(cluster.count(0), 3, "{:?}", config.dialect);
    let answers = match (after, observer.stream("/")) {
        (Reply::Added(after), Some(stream)) => {
            let read = Command::XRange { stream, after, count: 100 };
            let Reply::Entries(entries) = execute(cluster, client, &read) else { panic!() };
            entries.iter().filter_map(|entry| observer.read_entry(&entry.fields).unwrap()).collect()
        }
        _ => {
            let heard = core::mem::take(&mut cluster.overheard);
            heard.iter().filter_map(|payload| observer.read(payload).unwrap()).collect()
        }
    };
    cluster.store.disconnect(client);
    answers
}

#[test]
fn every_node_answers_an_observer_and_none_takes_it_for_a_node() {
    for dialect in ALL {
        let mut cluster = Cluster::ready(&[dialect; 3]);
        let config = config(dialect);
        let answers = ask(&mut cluster, &config, BroadcastOptions::all(), "first");
        assert_eq!(answers.len(), 3, "{dialect:?}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.request_id.as_str() == "first"));
        let mut ids: Vec<&str> =
            answers.iter().flat_map(|answer| answer.sockets.iter().map(|socket| &*socket.id)).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["s0", "s1", "s2"], "{dialect:?}");
        for index in (0..3).filter(|_| dialect != Dialect::Classic) {
            let uid = cluster.uid(index);
            assert!(answers.iter().any(|answer| answer.node.as_ref() == Some(&uid)), "{dialect:?}");
        }
        // A question about nobody is answered, too.
        let answers = ask(&mut cluster, &config, BroadcastOptions::to("nobody"), "second");
        assert_eq!(answers.len(), 3, "{dialect:?}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.sockets.is_empty()));

        // The nodes wait for nobody else.
        let now = cluster.now();
        let asked = cluster.nodes[0].engine.fetch_sockets(now, "/", BroadcastOptions::all()).unwrap();
        cluster.settle();
        let (answers, outcome) = cluster.outcome(0, asked).expect("over");
        assert!(outcome.is_complete(), "{dialect:?}: {outcome:?}");
        assert_eq!(sockets(&answers), ["s0", "s1", "s2"]);
        let is_emitter = |event: &Event| matches!(event, Event::NodeUp { node, .. } if node.is_emitter());
        assert!((0..3).all(|index| cluster.take(index, is_emitter).is_none()), "{dialect:?}");
    }
}

#[test]
fn a_name_that_is_no_namespace_is_not_asked() {
    let observer = Observer::new(Config::default()).unwrap();
    let asked = observer.fetch_sockets("chat", BroadcastOptions::all(), RequestId::new("r"));
    assert!(matches!(asked.unwrap_err(), CallError::InvalidNamespace(name) if name == "chat"));
}
