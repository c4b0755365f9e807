//! Calls are in line when they return, and rooms may be the application's.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, CallError, Config, LocalDelivery, Packet, Payload, Recovery, RemoteSocket, RoomChange,
    RoomOwner,
};
use sio_streams_driver::{Error, Event, Options, start};

fn hello() -> Packet {
    Packet::event("hello", &("world",)).unwrap()
}

#[tokio::test]
async fn calls_take_effect_in_order_whether_or_not_they_are_polled() {
    let (node, _events) = start(Config::default(), MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    drop(nsp.add_socket("a"));
    drop(nsp.join("a", vec!["room".into()]));
    drop(nsp.add_socket("b"));
    assert_eq!(nsp.matching(BroadcastOptions::to("room")).await.unwrap(), ["a"]);
    let left = nsp.leave("a", vec!["room".into()]);
    drop(nsp.join("b", vec!["room".into()]));
    let changes = left.await.unwrap();
    let (room, socket) = (|| "room".into(), "a".into());
    assert_eq!(changes, [RoomChange::Leave { room: room(), socket }, RoomChange::Delete { room: room() }]);
    assert_eq!(nsp.rooms("b").await.unwrap().unwrap(), ["b", "room"]);
    drop(nsp.remove_socket("b"));
    assert_eq!(nsp.rooms("b").await.unwrap(), None);
    let again = node.open("/").await;
    assert!(matches!(again, Err(Error::Call(_))), "{again:?}");
}

#[tokio::test]
async fn what_is_refused_says_so_at_once() {
    let mut config = Config::default();
    config.limits.in_flight = 2;
    let (node, _events) = start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    // The node's own task does not run in between.
    let published: Vec<_> = (0..5).map(|_| nsp.broadcast(hello(), BroadcastOptions::all())).collect();
    let refused = published.iter().filter(|one| matches!(one.refusal(), Some(Error::Call(_)))).count();
    assert!(published[0].refusal().is_none() && refused > 0, "{published:?}");
    drop(published);
}

/// The queue of events does not fill up with what concerns no socket.
#[tokio::test]
async fn a_node_that_only_publishes_need_not_take_events() {
    for local_delivery in [LocalDelivery::AtOnce, LocalDelivery::WhenPublished, LocalDelivery::StreamOrder] {
        let config = Config { local_delivery, ..Config::default() };
        let options = Options { config, event_buffer: 10, ..Options::default() };
        let (node, events) = start(options, MemoryRedis::new().backend()).unwrap();
        let nsp = node.open("/").await.unwrap();
        for _ in 0..500 {
            nsp.broadcast(hello(), BroadcastOptions::all()).await.unwrap();
            nsp.sockets_join(BroadcastOptions::all(), vec!["room".into()]).await.unwrap();
        }
        drop(events);
    }
}

#[tokio::test]
async fn an_application_that_owns_the_rooms_answers_for_them() {
    let redis = MemoryRedis::new();
    let own = Config { room_owner: RoomOwner::Application, ..Config::default() };
    let (owner, mut events) = start(own, redis.backend()).unwrap();
    assert_eq!(owner.config().room_owner, RoomOwner::Application);
    let nsp = owner.open("/").await.unwrap();
    assert!(matches!(nsp.add_socket("a").await, Err(Error::Call(_))));
    // It is open, and not being closed: nobody waits.
    assert!(matches!(owner.open("/").await, Err(Error::Call(CallError::NamespaceInUse(_)))));
    assert!(matches!(nsp.matching(BroadcastOptions::all()).await, Err(Error::Call(_))));
    let application = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::FetchSockets { opts, sockets, reply, .. } => {
                    assert!(sockets.is_empty() && opts == BroadcastOptions::to("room"));
                    let (id, rooms) = ("a".into(), vec!["a".into(), "room".into()]);
                    let (handshake, data) = (Payload::null(), Payload::null());
                    drop(reply.send_in_rooms(vec![RemoteSocket { id, handshake, rooms, data }]));
                }
                Event::Broadcast(broadcast) => {
                    assert!(broadcast.sockets.is_empty() && broadcast.opts == BroadcastOptions::all());
                    let acks = broadcast.acks.unwrap();
                    drop(acks.clients(2));
                    drop(acks.send(Payload::encode(&1).unwrap()));
                    drop(acks.send(Payload::encode(&2).unwrap()));
                }
                _ => {}
            }
        }
    });
    let (asker, mut events) = start(Config::default(), redis.backend()).unwrap();
    let asks = asker.open("/").await.unwrap();
    let nobody = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::FetchSockets { reply, .. } = event {
                drop(reply.send(Vec::new()));
            }
        }
    });
    let found = asks.fetch_sockets(BroadcastOptions::to("room")).await.unwrap();
    assert!(found.outcome.is_complete(), "{found:?}");
    assert_eq!(found.sockets.iter().map(|socket| &*socket.id).collect::<Vec<_>>(), ["a"]);
    let acks = asks.broadcast_with_ack(hello(), BroadcastOptions::all()).await.unwrap();
    let (values, outcome) = acks.all().await.unwrap();
    assert!(outcome.is_complete() && values.len() == 2, "{outcome:?}");
    owner.close().await;
    asker.close().await;
    application.await.unwrap();
    nobody.await.unwrap();
}

#[tokio::test]
async fn a_client_is_suspended_in_one_step() {
    let config = Config {
        recovery: Some(Recovery::default()),
        local_delivery: LocalDelivery::StreamOrder,
        ..Config::default()
    };
    let (node, mut events) = start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    drop(nsp.add_socket("sid"));
    drop(nsp.join("sid", vec!["room".into()]));
    let offset = nsp.broadcast(hello(), BroadcastOptions::all()).await.unwrap().unwrap();
    drop(nsp.suspend("sid", "pid", Payload::null()));
    // It comes back at once, and what was suspended before is in line before.
    let restoring = nsp.restore_session("pid", &offset.to_string(), |restored| restored.session);
    let taker = tokio::spawn(async move { while events.next().await.is_some() {} });
    let session = restoring.await.unwrap();
    assert_eq!((&*session.sid, &*session.rooms), ("sid", &["sid".into(), "room".into()][..]));
    assert_eq!(nsp.rooms("sid").await.unwrap().unwrap(), ["sid", "room"]);
    node.close().await;
    taker.await.unwrap();
}

/// What is stored already is not replaced by the session of a socket that is not there any more.
#[tokio::test]
async fn a_client_is_suspended_once() {
    let config = Config {
        recovery: Some(Recovery::default()),
        local_delivery: LocalDelivery::StreamOrder,
        ..Config::default()
    };
    let (node, mut events) = start(config, MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    nsp.add_socket("sid").await.unwrap();
    let offset = nsp.broadcast(hello(), BroadcastOptions::all()).await.unwrap().unwrap();
    nsp.suspend("sid", "pid", Payload::null()).await.unwrap();
    let again = nsp.suspend("sid", "pid", Payload::null()).await;
    assert!(matches!(again, Err(Error::Call(CallError::UnknownSocket(_)))), "{again:?}");
    let restoring = nsp.restore_session("pid", &offset.to_string(), |restored| restored.session);
    let taker = tokio::spawn(async move { while events.next().await.is_some() {} });
    assert_eq!(restoring.await.unwrap().rooms, ["sid"]);
    node.close().await;
    taker.await.unwrap();
}
