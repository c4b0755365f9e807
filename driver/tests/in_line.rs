//! Calls are in line when they return, and rooms may be the application's.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core::{
    Answer, BroadcastOptions, CallError, Config, Dialect, LocalDelivery, Packet, Payload, Recovery,
    RemoteSocket, RoomChange, RoomOwner,
};
use sio_streams_driver::{AckResponder, Error, Event, Events, Options, start};

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
                Event::FetchSockets { opts, sockets, responder, .. } => {
                    assert!(sockets.is_empty() && opts == BroadcastOptions::to("room"));
                    let (id, rooms) = ("a".into(), vec!["a".into(), "room".into()]);
                    let (handshake, data) = (Payload::null(), Payload::null());
                    drop(responder.send_in_rooms(vec![RemoteSocket { id, handshake, rooms, data }]));
                }
                Event::Broadcast(broadcast) => {
                    assert!(broadcast.sockets.is_empty() && broadcast.opts == BroadcastOptions::all());
                    let acks = broadcast.responder.unwrap();
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
            if let Event::FetchSockets { responder, .. } = event {
                drop(responder.send(Vec::new()));
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

fn recovering(recovery: Recovery) -> Config {
    let recovery = Some(recovery);
    Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..Config::default() }
}

/// At a time, fewer sessions may be stored than there are clients.
#[tokio::test]
async fn all_clients_are_suspended_however_many_there_are() {
    let small = |sessions, sessions_bytes| Recovery { sessions, sessions_bytes, ..Recovery::default() };
    for recovery in [small(1, 1 << 20), small(7, 1 << 20), small(1_000, 400)] {
        let (node, events) = start(recovering(recovery), MemoryRedis::new().backend()).unwrap();
        let nsp = node.open("/").await.unwrap();
        let offset = nsp.broadcast(hello(), BroadcastOptions::all()).await.unwrap().unwrap().to_string();
        let mut clients = Vec::new();
        for index in 0..300 {
            let (sid, pid) = (format!("sid{index}"), format!("pid{index}"));
            drop(nsp.add_socket(sid.clone()));
            drop(nsp.join(sid.clone(), vec!["room".into()]));
            clients.push((sid.into(), pid.into(), Payload::null()));
        }
        clients.push(("nobody".into(), "nobodys".into(), Payload::null()));
        let suspending = nsp.suspend_all(clients);
        assert!(nsp.matching(BroadcastOptions::all()).await.unwrap().is_empty());
        let lost = suspending.await.unwrap();
        let [(sid, Error::Call(CallError::UnknownSocket(_)))] = &*lost else { panic!("{lost:?}") };
        assert_eq!(sid, "nobody");
        drop(events);
        for index in [0, 150, 299] {
            let session =
                nsp.restore_session(&format!("pid{index}"), &offset, |it| it.session).await.unwrap();
            assert_eq!(*session.sid, *format!("sid{index}"));
            assert!(session.rooms.contains(&"room".into()));
        }
    }
}

#[test]
fn a_thread_without_tasks_can_ask() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (nsp, events) = runtime.block_on(async {
        let (node, events) = start(Config::default(), MemoryRedis::new().backend()).unwrap();
        (node.open("/").await.unwrap(), events)
    });
    drop(nsp.add_socket("a"));
    drop(nsp.join("a", vec!["room".into()]));
    let room = BroadcastOptions::to("room");
    assert_eq!(nsp.blocking_matching(&room).unwrap(), ["a"]);
    let in_a_task = runtime.block_on(async { nsp.blocking_matching(&room) });
    assert!(matches!(in_a_task, Err(Error::WouldBlock)), "{in_a_task:?}");
    runtime.block_on(nsp.node().clone().close());
    assert!(matches!(nsp.blocking_matching(&room), Err(Error::Closed)));
    drop(events);
}

async fn asked(events: &mut Events) -> AckResponder {
    loop {
        match events.next().await.unwrap() {
            Event::Broadcast(broadcast) => return broadcast.responder.unwrap(),
            _ => continue,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_learns_that_nobody_waits_for_acknowledgements_any_more() {
    let redis = MemoryRedis::new();
    let config = Config { dialect: Dialect::Streams02, ..Config::default() };
    let (asker, _) = start(config.clone(), redis.backend()).unwrap();
    let (other, mut events) = start(config, redis.backend()).unwrap();
    let asks = asker.open("/").await.unwrap();
    let nsp = other.open("/").await.unwrap();
    nsp.add_socket("a").await.unwrap();
    while asks.server_count().await.unwrap() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let ask = |seconds| {
        let opts = BroadcastOptions::all().timeout(std::time::Duration::from_secs(seconds));
        asks.broadcast_with_ack(hello(), opts)
    };

    // The time is up.
    let mut acks = ask(3).await.unwrap();
    let responder = asked(&mut events).await;
    let counts = [acks.next_answer().await.unwrap(), acks.next_answer().await.unwrap()];
    assert!(counts.contains(&(Some(other.uid().clone()), Answer::ClientCount(1))), "{counts:?}");
    assert!(counts.contains(&(Some(asker.uid().clone()), Answer::ClientCount(0))), "{counts:?}");
    responder.ended().await;
    assert!(tokio::time::Instant::now().into_std() >= responder.deadline());
    assert!(acks.all().await.unwrap().1.timed_out);

    // The one who asked leaves.
    let _acks = ask(1_000).await.unwrap();
    let responder = asked(&mut events).await;
    let taker = tokio::spawn(async move {
        while events.next().await.is_some() {}
        events
    });
    asker.close().await;
    responder.ended().await;
    assert!(tokio::time::Instant::now().into_std() < responder.deadline());
    other.close().await;
    taker.await.unwrap();
}
