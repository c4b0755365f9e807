//! Tests of servers that refuse some channels to a node and grant it all others.

use sio_streams_core::{
    BroadcastOptions, ByteString, Command, CommandError, Config, Dialect, Event, Lane, Reply,
    SubscriptionMode,
};
use sio_streams_redis_model::Executed;

use crate::cluster::{Cluster, config};

/// A node alone, with one socket. Each room has a channel.
fn one() -> Cluster {
    let mode = SubscriptionMode::DynamicPrivate;
    Cluster::ready_with([Config { subscription_mode: mode, ..config(Dialect::Sharded) }])
}

fn channel(room: u32) -> ByteString {
    format!("socket.io#/#room{room}#").into()
}

fn withhold(cluster: &mut Cluster, rooms: &[u32]) {
    cluster.store.withhold(rooms.iter().map(|room| channel(*room)));
}

fn join(cluster: &mut Cluster, rooms: impl IntoIterator<Item = u32>) {
    let rooms = rooms.into_iter().map(|room| format!("room{room}").into());
    let rooms: Vec<ByteString> = rooms.collect();
    cluster.nodes[0].engine.join("/", "s0", rooms).unwrap();
}

/// Returns the rooms whose channels are in force, of those below the limit.
fn in_force(cluster: &mut Cluster, limit: u32) -> Vec<u32> {
    let client = cluster.store.connect();
    let channels = (0..limit).map(channel).collect();
    let wall = 1_700_000_000_000 + cluster.millis;
    let command = Command::PubSubNumSub { channels, sharded: true };
    let Executed::Reply(Ok(Reply::Counts(counts))) = cluster.store.execute(wall, client, &command) else {
        panic!("no counts");
    };
    (0..limit).zip(counts).filter(|(_, count)| *count > 0).map(|(room, _)| room).collect()
}

/// Takes the channels whose refusals were told.
fn told(cluster: &mut Cluster) -> Vec<Option<ByteString>> {
    let mut channels = Vec::new();
    while let Some(Event::Refused { lane, channel, .. }) =
        cluster.take(0, |event| matches!(event, Event::Refused { .. }))
    {
        assert_eq!(lane, Lane::Subscriber);
        channels.push(channel);
    }
    channels.sort();
    channels
}

/// Returns the number of commands that subscribe to something, from now on and for this long.
fn attempts(cluster: &mut Cluster, millis: u64) -> usize {
    let noted = cluster.noted_while(0, millis);
    noted.iter().filter(|command| matches!(command, Command::Subscribe { .. })).count()
}

fn except(limit: u32, rooms: &[u32]) -> Vec<u32> {
    (0..limit).filter(|room| !rooms.contains(room)).collect()
}

#[test]
fn all_channels_are_in_force_but_those_that_are_refused() {
    for refused in [&[0][..], &[7], &[99], &[3, 4], &[0, 50, 99]] {
        let mut cluster = one();
        withhold(&mut cluster, refused);
        join(&mut cluster, 0..100);
        cluster.settle();
        assert_eq!(in_force(&mut cluster, 100), except(100, refused));
        let expected: Vec<_> = refused.iter().map(|room| Some(channel(*room))).collect();
        assert_eq!(told(&mut cluster), expected);

        // Each is tried alone, and ever more seldom.
        let many = refused.len();
        assert!(attempts(&mut cluster, 20_000) <= 10 * many);
        let later = attempts(&mut cluster, 100_000);
        assert!((10 * many..=14 * many).contains(&later), "{later}");
        assert_eq!(told(&mut cluster), [], "told once");

        withhold(&mut cluster, &[]);
        cluster.pass(10_000);
        assert_eq!(in_force(&mut cluster, 100).len(), 100);
        assert_eq!(attempts(&mut cluster, 60_000), 0);
    }
}

#[test]
fn a_node_whose_rooms_are_refused_in_part_goes_on_as_before() {
    let mut cluster = one();
    let other = cluster.add(config(Dialect::Sharded));
    cluster.open(other, "/");
    withhold(&mut cluster, &[1]);
    join(&mut cluster, [0, 1, 2]);
    cluster.settle();
    for room in ["room0", "room1", "room2"] {
        cluster.broadcast_to(other, room, BroadcastOptions::to(room));
    }
    cluster.settle();
    assert_eq!(cluster.heard(0), ["room0", "room2"]);
    assert_eq!(cluster.count(0), 2);
    assert_eq!(cluster.count(other), 2);
}

#[test]
fn a_refused_channel_is_left_out_on_the_next_connection_and_tried_by_itself() {
    let mut cluster = one();
    withhold(&mut cluster, &[5]);
    join(&mut cluster, 0..10);
    cluster.settle();
    assert_eq!(told(&mut cluster), [Some(channel(5))]);
    cluster.pass(30_000);
    cluster.cut(0, &Lane::Subscriber);
    cluster.pass(1_000);
    cluster.nodes[0].noted = Some(Vec::new());
    cluster.mend(0, &Lane::Subscriber);
    cluster.settle();
    let noted = cluster.nodes[0].noted.take().unwrap();
    let widths = noted.iter().filter_map(|command| match command {
        Command::Subscribe { channels, .. } => Some(channels.len()),
        _ => None,
    });
    // The namespace has two channels of its own, and the socket's own room has one.
    assert_eq!(widths.collect::<Vec<_>>(), [12, 1]);
    assert_eq!(in_force(&mut cluster, 10), except(10, &[5]));
    assert_eq!(told(&mut cluster), []);

    withhold(&mut cluster, &[]);
    cluster.cut(0, &Lane::Subscriber);
    cluster.mend(0, &Lane::Subscriber);
    cluster.settle();
    assert_eq!(in_force(&mut cluster, 10).len(), 10, "at once");
    // It is told again if it is refused again.
    withhold(&mut cluster, &[5]);
    cluster.cut(0, &Lane::Subscriber);
    cluster.mend(0, &Lane::Subscriber);
    cluster.settle();
    assert_eq!(in_force(&mut cluster, 10), except(10, &[5]));
    assert_eq!(told(&mut cluster), [Some(channel(5))]);
}

/// An attempt may fail for another reason, and the channel is tried again all the same.
#[test]
fn a_refused_channel_is_tried_again_whatever_befalls_an_attempt() {
    let mut cluster = one();
    withhold(&mut cluster, &[7]);
    join(&mut cluster, 0..10);
    cluster.settle();
    let error = CommandError::Server { code: "LOADING".into(), message: "Redis is loading".into() };
    cluster.store.refuse_with(Some(error));
    assert!(attempts(&mut cluster, 1_000) > 0);
    cluster.store.refuse_with(None);
    withhold(&mut cluster, &[]);
    cluster.pass(10_000);
    assert_eq!(in_force(&mut cluster, 10), except(10, &[]));
}

#[test]
fn a_room_that_is_left_is_not_tried_any_more() {
    let mut cluster = one();
    withhold(&mut cluster, &[1]);
    join(&mut cluster, 0..3);
    cluster.settle();
    cluster.nodes[0].engine.leave("/", "s0", ["room1".into()]).unwrap();
    assert_eq!(attempts(&mut cluster, 60_000), 0);
    assert_eq!(told(&mut cluster).len(), 1);
    join(&mut cluster, [1]);
    cluster.settle();
    assert_eq!(told(&mut cluster), [Some(channel(1))], "this is another attempt");

    let now = cluster.now();
    cluster.nodes[0].engine.close(now);
    assert_eq!(attempts(&mut cluster, 60_000), 0);
    assert!(cluster.take(0, |event| matches!(event, Event::Closed { .. })).is_some());
}

/// What a namespace needs is needed as a whole. Other namespaces do not have to wait for it.
#[test]
fn a_namespace_whose_own_channels_are_refused_holds_up_no_other() {
    for dialect in [Dialect::Sharded, Dialect::Classic] {
        let mut cluster = Cluster::ready(&[dialect]);
        let names: Vec<String> = (0..9).map(|number| format!("/n{number}")).collect();
        for nsp in &names {
            cluster.open(0, nsp);
        }
        let own = match dialect {
            Dialect::Classic => ByteString::from("socket.io-request#/n4#"),
            _ => "socket.io#/n4#".into(),
        };
        cluster.store.withhold([own.clone()]);
        cluster.cut(0, &Lane::Subscriber);
        cluster.mend(0, &Lane::Subscriber);
        cluster.settle();
        assert_eq!(told(&mut cluster), [Some(own.clone())]);
        let client = cluster.store.connect();
        let channel = |nsp: &str| own.replace("/n4", nsp).into();
        let channels = names.iter().map(|nsp| channel(nsp)).collect();
        let count = Command::PubSubNumSub { channels, sharded: dialect == Dialect::Sharded };
        let reply = cluster.store.execute(1_700_000_000_000, client, &count);
        let expected = (0..9).map(|number| u64::from(number != 4)).collect();
        assert_eq!(reply, Executed::Reply(Ok(Reply::Counts(expected))), "{dialect:?}");

        cluster.pass(20_000);
        assert!(attempts(&mut cluster, 100_000) <= 28);
        assert_eq!(told(&mut cluster), [], "told once");
        cluster.store.withhold([]);
        cluster.pass(10_000);
        assert_eq!(attempts(&mut cluster, 60_000), 0);
    }
}
