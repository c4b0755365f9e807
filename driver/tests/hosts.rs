//! Parts of the face that serve frameworks with sockets, rooms and users of their own.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use sio_streams_driver::hosts::{Answers, Host, Hosts, Notice, RoomsOfNode};
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};
use sio_streams_driver::{
    Acks, Answer, BroadcastOptions, ByteString, Config, Error, Event, Events, LocalDelivery, Node, Options,
    Packet, Payload, RemoteSocket, RoomOwner, start,
};

fn hello() -> Packet {
    Packet::event("hello", &("world",)).unwrap()
}

/// Starts a node whose application has its own rooms.
fn owner(redis: &MemoryRedis) -> (Node, Events) {
    start(Config { room_owner: RoomOwner::Application, ..Config::default() }, redis.backend()).unwrap()
}

/// Starts hosts whose node is cut off from Redis, and waits for it for this long.
fn cut_off(limit: Duration) -> (MemoryRedis, MemoryBackend, Hosts) {
    let redis = MemoryRedis::new();
    let backend = redis.backend();
    let config = Config { room_owner: RoomOwner::Application, ..Config::default() };
    let (node, events) = start(Options::from(config).open_within(limit), backend.clone()).unwrap();
    let (hosts, _notices) = Hosts::start(node, events).unwrap();
    backend.cut();
    (redis, backend, hosts)
}

/// Answers the next broadcast: that so many clients were asked, and with the values of some.
async fn answer(events: &mut Events, clients: u64, values: &[u64]) {
    loop {
        let Event::Broadcast(broadcast) = events.next().await.unwrap() else { continue };
        let values = values.iter().map(|value| Payload::encode(value).unwrap());
        let acks = broadcast.responder.unwrap();
        return acks.answer(clients, futures_util::stream::iter(values)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn each_client_that_was_asked_has_an_item_in_time() {
    let redis = MemoryRedis::new();
    let ((asker, mut own), (other, mut events)) = (owner(&redis), owner(&redis));
    let asks = asker.open("/").await.unwrap();
    other.open("/").await.unwrap();
    for (clients, values, missing) in
        [(3, &[1, 2][..], 1), (0, &[], 0), (1, &[7], 0), (u64::MAX, &[5], Acks::MAX_MISSING)]
    {
        let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
        let acks = asks.broadcast_with_ack(hello(), opts).await.unwrap();
        answer(&mut own, 0, &[]).await;
        answer(&mut events, clients, values).await;
        let items: Vec<Option<Payload>> = acks.with_missing().collect().await;
        let (came, late) = items.split_at(values.len());
        let came: Vec<u64> = came.iter().map(|value| value.as_ref().unwrap().decode().unwrap()).collect();
        assert_eq!(came, values);
        assert!(late.len() as u64 == missing && late.iter().all(Option::is_none), "{}", late.len());
    }
    // Nobody is left to be asked.
    let acks = asks.broadcast_with_ack(hello(), BroadcastOptions::all()).await.unwrap();
    let items = tokio::spawn(acks.with_missing().collect::<Vec<_>>());
    asker.close().await;
    assert_eq!(items.await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn an_answer_begins_with_the_number_and_ends_when_nobody_waits() {
    let redis = MemoryRedis::new();
    let ((asker, mut own), (other, mut events)) = (owner(&redis), owner(&redis));
    let asks = asker.open("/").await.unwrap();
    other.open("/").await.unwrap();
    let opts = BroadcastOptions::all().timeout(Duration::from_secs(3));
    let mut acks = asks.broadcast_with_ack(hello(), opts).await.unwrap();
    answer(&mut own, 0, &[]).await;
    assert_eq!(acks.next_answer().await, Some((Some(asker.uid().clone()), Answer::ClientCount(0))));
    let reply = loop {
        let Event::Broadcast(broadcast) = events.next().await.unwrap() else { continue };
        break broadcast.responder.unwrap();
    };
    let values =
        futures_util::stream::iter([Payload::encode(&1).unwrap()]).chain(futures_util::stream::pending());
    let answered = reply.answer(2, values);
    // The number goes out, whether or not somebody waits for the end.
    let number = (Some(other.uid().clone()), Answer::ClientCount(2));
    assert_eq!(acks.next_answer().await, Some(number));
    let answered = tokio::spawn(answered);
    assert_eq!(acks.next().await.unwrap().decode::<u64>().unwrap(), 1);
    assert!(!answered.is_finished());
    // The second client never answers, and the time is up.
    answered.await.unwrap().unwrap();
    assert!(acks.all().await.unwrap().1.timed_out);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_to_open_has_its_own_time_limit_or_none() {
    let redis = MemoryRedis::new();
    let backend = redis.backend();
    let (node, _events) = start(Options::default(), backend.clone()).unwrap();
    backend.cut();
    let limit = Duration::from_millis(700);
    let refused = node.open_within("/", limit).await;
    let Err(Error::NotOpened { within, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*within, limit);
    // Without one, an attempt outlasts every default.
    let opening = tokio::spawn(node.open_within("/", Duration::MAX));
    let closed = tokio::spawn(node.open_within("/closed", Duration::MAX));
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    assert!(!opening.is_finished() && !closed.is_finished());
    drop(node.namespace("/closed").close());
    let end = closed.await.unwrap();
    assert!(matches!(end, Err(Error::ClosedMeanwhile(_))), "{end:?}");
    backend.restore();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn events_tell_which_namespace_they_concern_and_who_sent_them() {
    let redis = MemoryRedis::new();
    let ((one, _own), (other, mut events)) = (owner(&redis), owner(&redis));
    let (here, _) = (one.open("/chat").await.unwrap(), other.open("/chat").await.unwrap());
    let all = BroadcastOptions::all;
    here.broadcast(hello(), all()).await.unwrap();
    here.sockets_join(all(), vec!["r".into()]).await.unwrap();
    here.sockets_leave(all(), vec!["r".into()]).await.unwrap();
    here.disconnect_sockets(all(), false).await.unwrap();
    here.server_side_emit(Payload::event("e", &()).unwrap()).await.unwrap();
    let asking = tokio::spawn(here.fetch_sockets(all()));
    let (mut from_one, mut questions) = (0, 0);
    while from_one < 5 || questions < 1 {
        let event = events.next().await.unwrap();
        assert_eq!(event.nsp().map(|nsp| &**nsp), (!matches!(event, Event::Link { .. })).then_some("/chat"));
        from_one += usize::from(event.sender() == Some(one.uid()));
        if let Event::FetchSockets { responder, .. } = event {
            responder.send_in_rooms(Vec::<RemoteSocket>::new()).await.unwrap();
            questions += 1;
        }
    }
    asking.abort();
}

/// A framework's object for a namespace, with so many clients.
#[derive(Default)]
struct Chat {
    clients: Vec<&'static str>,
    log: Mutex<Vec<String>>,
}

impl Host for Chat {
    fn follow(&self, event: &Event, answers: &mut Answers) -> Result<(), String> {
        let line = match event {
            Event::Broadcast(it) => {
                answers.clients += self.clients.len() as u64;
                let values = self.clients.iter().map(|client| Payload::encode(client).unwrap());
                answers.acks.push(futures_util::stream::iter(values.collect::<Vec<_>>()).boxed());
                it.packet.data().event_name().unwrap()
            }
            Event::SocketsJoin(it) => format!("join {:?}", it.rooms),
            Event::FetchSockets { .. } => {
                for client in &self.clients {
                    let (id, rooms) = (ByteString::from(*client), vec![(*client).into()]);
                    let (handshake, data) = (Payload::empty_object(), Payload::empty_object());
                    answers.sockets.push(RemoteSocket { id, handshake, rooms, data });
                }
                "fetch".to_owned()
            }
            _ => return Ok(()),
        };
        assert_ne!(line, "panic");
        self.log.lock().unwrap().push(line.clone());
        if line == "refuse" { Err("it is refused".to_owned()) } else { Ok(()) }
    }
}

fn chat(clients: &[&'static str]) -> (Arc<Chat>, Weak<dyn Host>) {
    let chat = Arc::new(Chat { clients: clients.to_vec(), ..Chat::default() });
    let host: Weak<dyn Host> = Arc::<Chat>::downgrade(&chat);
    (chat, host)
}

fn event(name: &str) -> Packet {
    Packet::event(name, &()).unwrap()
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), met).await.unwrap();
}

#[tokio::test]
async fn all_hosts_of_a_namespace_answer_together_for_the_others_and_not_for_their_own_server() {
    let redis = MemoryRedis::new();
    let ((node, events), (other, others)) = (owner(&redis), owner(&redis));
    let ((hosts, _), (asker, _)) =
        (Hosts::start(node, events).unwrap(), Hosts::start(other, others).unwrap());
    let ((one, first), (two, second), (elsewhere, third)) = (chat(&["a", "b"]), chat(&["c"]), chat(&["x"]));
    let (one_in, two_in, elsewhere_in) =
        tokio::join!(hosts.enter("/", first), hosts.enter("/", second), hosts.enter("/x", third));
    one_in.and(two_in).and(elsewhere_in).unwrap();
    let (own, host) = chat(&["own"]);
    asker.enter("/", host).await.unwrap();

    let asks = asker.node().namespace("/");
    let acks = asks.broadcast_with_ack(event("q"), BroadcastOptions::all()).await.unwrap();
    let (values, outcome) = acks.all().await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    let mut values: Vec<String> = values.iter().map(|value| value.decode().unwrap()).collect();
    values.sort();
    assert_eq!((values, outcome.clients), (vec!["a".into(), "b".into(), "c".into()], 3));
    asks.sockets_join(BroadcastOptions::all(), vec!["r".into()]).await.unwrap();
    // Questions come to the asker's own sockets, too.
    let mut found = asks.fetch_sockets(BroadcastOptions::all()).await.unwrap().sockets;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found.iter().map(|socket| &*socket.id).collect::<Vec<_>>(), ["a", "b", "c", "own"]);
    for chat in [&one, &two] {
        until(async || *chat.log.lock().unwrap() == ["q", "join [\"r\"]", "fetch"]).await;
    }
    assert_eq!(*own.log.lock().unwrap(), ["fetch"]);
    assert!(elsewhere.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_namespace_is_open_while_a_host_is_in_it() {
    let redis = MemoryRedis::new();
    let ((node, events), (other, _others)) = (owner(&redis), owner(&redis));
    let (hosts, mut notices) = Hosts::start(node, events).unwrap();
    let nsp = other.open("/").await.unwrap();
    let servers = async |count| until(async || nsp.server_count().await.unwrap() == count).await;
    let ((one, first), (two, second), (three, third)) = (chat(&[]), chat(&[]), chat(&[]));
    // One that enters again is there once.
    hosts.enter("/", first.clone()).await.unwrap();
    hosts.enter("/", first).await.unwrap();
    hosts.enter("/", second.clone()).await.unwrap();
    servers(2).await;
    assert!(hosts.leave("/", &*one).is_none() && hosts.leave("/", &*one).is_none());
    nsp.broadcast(event("still there"), BroadcastOptions::all()).await.unwrap();
    until(async || *two.log.lock().unwrap() == ["still there"]).await;
    assert!(one.log.lock().unwrap().is_empty());
    hosts.leave("/", &*two).unwrap().await.unwrap();
    servers(1).await;

    // It can be made again, and deleted with all that are in it.
    hosts.enter("/", second.clone()).await.unwrap();
    hosts.enter("/", third).await.unwrap();
    hosts.delete("/", &*three).unwrap().await.unwrap();
    servers(1).await;
    hosts.enter("/", second).await.unwrap();
    assert!(hosts.delete("/", &*three).is_none(), "this namespace is none of its business");
    servers(2).await;

    // The node leaves with its last handle, though its events are being taken.
    drop(hosts);
    servers(1).await;
    while notices.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn hosts_wait_for_redis_or_enter_later() {
    let (redis, backend, hosts) = cut_off(Duration::from_secs(1));
    let (other, _others) = owner(&redis);
    let ((_one, first), (two, second), (three, third)) = (chat(&[]), chat(&[]), chat(&[]));
    let failed = hosts.enter("/first", first.clone()).await;
    assert!(matches!(failed, Err(Error::NotOpened { .. })), "{failed:?}");
    hosts.enter_later("/later", second.clone());
    hosts.enter_later("/gone", third);
    // It is closed before it is open, and does not open any more.
    drop(hosts.leave("/gone", &*three));
    backend.restore();
    hosts.enter("/first", first).await.unwrap();
    let later = other.open("/later").await.unwrap();
    // It is in the cluster when the attempt has ended, which this only waits for.
    hosts.enter("/later", second).await.unwrap();
    later.broadcast(event("hello"), BroadcastOptions::all()).await.unwrap();
    until(async || *two.log.lock().unwrap() == ["hello"]).await;
    let gone = other.open("/gone").await.unwrap();
    assert_eq!(gone.server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_host_that_fails_or_panics_harms_no_other() {
    let redis = MemoryRedis::new();
    let ((node, events), (other, _others)) = (owner(&redis), owner(&redis));
    let (hosts, mut notices) = Hosts::start(node, events).unwrap();
    let ((one, first), (two, second)) = (chat(&[]), chat(&[]));
    hosts.enter("/", first).await.unwrap();
    hosts.enter("/", second).await.unwrap();
    let nsp = other.open("/").await.unwrap();
    for name in ["refuse", "panic", "hello"] {
        nsp.broadcast(event(name), BroadcastOptions::all()).await.unwrap();
    }
    nsp.server_side_emit(Payload::event("last", &()).unwrap()).await.unwrap();
    let mut told = Vec::new();
    loop {
        match notices.next().await.unwrap() {
            Notice::Undelivered { nsp, reason } => told.push((nsp.to_string(), reason)),
            Notice::Node(event) if matches!(*event, Event::ServerSideEmit { .. }) => break,
            _ => {}
        }
    }
    let refused = ("/".to_owned(), "it is refused".to_owned());
    assert_eq!(told[..2], [refused.clone(), refused]);
    // Both panic, each by itself.
    assert_eq!(told.len(), 4);
    for (nsp, reason) in &told[2..] {
        assert!(nsp == "/" && reason.contains("a host has panicked: "), "{reason}");
    }
    for chat in [&one, &two] {
        until(async || *chat.log.lock().unwrap() == ["refuse", "hello"]).await;
    }
}

/// It panics at whatever comes.
struct Panics;

impl Host for Panics {
    fn follow(&self, event: &Event, _: &mut Answers) -> Result<(), String> {
        panic!("{:?} was too much", event.nsp())
    }
}

#[tokio::test]
async fn beside_a_host_that_panics_the_other_answers_and_the_application_is_told() {
    let redis = MemoryRedis::new();
    let ((node, events), (other, mut own)) = (owner(&redis), owner(&redis));
    let (hosts, mut notices) = Hosts::start(node, events).unwrap();
    let panics = Arc::new(Panics);
    let first: Weak<dyn Host> = Arc::<Panics>::downgrade(&panics);
    let (good, second) = chat(&["a"]);
    hosts.enter("/", first).await.unwrap();
    hosts.enter("/", second).await.unwrap();
    let nsp = other.open("/").await.unwrap();
    let acks = nsp.broadcast_with_ack(event("q"), BroadcastOptions::all()).await.unwrap();
    answer(&mut own, 0, &[]).await;
    let (values, outcome) = acks.all().await.unwrap();
    assert!(outcome.is_complete(), "{outcome:?}");
    assert_eq!((values.len(), outcome.clients), (1, 1));
    assert_eq!(*good.log.lock().unwrap(), ["q"]);
    nsp.server_side_emit(Payload::event("e", &()).unwrap()).await.unwrap();
    until(async || match notices.next().await.unwrap() {
        Notice::Node(event) => matches!(*event, Event::ServerSideEmit { .. }),
        _ => false,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_deleted_while_hosts_enter_can_be_entered_again() {
    let (redis, backend, hosts) = cut_off(Duration::from_secs(60));
    let (other, _others) = owner(&redis);
    let nsp = other.open("/").await.unwrap();
    let ((one, first), (_two, second), (three, third)) = (chat(&[]), chat(&[]), chat(&[]));
    let (first, second) = (hosts.enter("/", first), hosts.enter("/", second));
    drop(hosts.delete("/", &*one).unwrap());
    let third = hosts.enter("/", third);
    backend.restore();
    for entered in [first.await, second.await] {
        let why = entered.unwrap_err().to_string();
        assert!(why.contains("closed before it was open"), "{why}");
    }
    third.await.unwrap();
    nsp.broadcast(event("hello"), BroadcastOptions::all()).await.unwrap();
    until(async || *three.log.lock().unwrap() == ["hello"]).await;
    assert_eq!(nsp.server_count().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_wait_share_one_attempt_and_its_end() {
    let limit = Duration::from_secs(60);
    let (redis, backend, hosts) = cut_off(limit);
    let began = tokio::time::Instant::now();
    let chats: Vec<_> = (0..5).map(|_| chat(&[])).collect();
    let ends = chats.iter().map(|(_, host)| hosts.enter("/", host.clone()));
    for end in futures_util::future::join_all(ends).await {
        assert!(matches!(&end, Err(Error::NotOpened { within, .. }) if *within == limit), "{end:?}");
    }
    assert!(began.elapsed() < limit * 2, "{:?}", began.elapsed());
    // One that does not wait begins again, and all of them are there.
    hosts.enter_later("/", chats[0].1.clone());
    backend.restore();
    hosts.enter("/", chats[1].1.clone()).await.unwrap();
    let (other, _others) = owner(&redis);
    let nsp = other.open("/").await.unwrap();
    nsp.broadcast(event("hello"), BroadcastOptions::all()).await.unwrap();
    for (chat, _) in &chats {
        until(async || *chat.log.lock().unwrap() == ["hello"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_enters_later_outlasts_the_attempt_of_one_that_waits() {
    let (redis, backend, hosts) = cut_off(Duration::from_secs(1));
    let ((_one, first), (two, second)) = (chat(&[]), chat(&[]));
    let waits = hosts.enter("/", first);
    hosts.enter_later("/", second.clone());
    assert!(matches!(waits.await, Err(Error::NotOpened { .. })));
    tokio::time::sleep(Duration::from_secs(100)).await;
    backend.restore();
    let (other, _others) = owner(&redis);
    let nsp = other.open("/").await.unwrap();
    // It is in the cluster when the attempt has ended, which this only waits for.
    hosts.enter("/", second).await.unwrap();
    nsp.broadcast(event("hello"), BroadcastOptions::all()).await.unwrap();
    until(async || *two.log.lock().unwrap() == ["hello"]).await;
}

/// What one thread enters, another leaves at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_left_while_it_is_entered_can_be_entered_again() {
    let redis = MemoryRedis::new();
    let (node, events) = owner(&redis);
    let (hosts, _notices) = Hosts::start(node, events).unwrap();
    for round in 0..300 {
        let nsp = format!("/{round}");
        let (one, first) = chat(&[]);
        let (elsewhere, name) = (hosts.clone(), nsp.clone());
        let leaving = std::thread::spawn(move || {
            while elsewhere.leave(&name, &*one).is_none() {
                std::thread::yield_now();
            }
        });
        hosts.enter_later(nsp.clone(), first);
        leaving.join().unwrap();
        let (two, second) = chat(&[]);
        hosts.enter(nsp.clone(), second).await.unwrap();
        drop(hosts.leave(&nsp, &*two).unwrap());
    }
}

#[tokio::test]
async fn in_the_order_of_the_stream_orders_of_the_own_server_come_too() {
    let redis = MemoryRedis::new();
    let config = Config {
        room_owner: RoomOwner::Application,
        local_delivery: LocalDelivery::StreamOrder,
        ..Config::default()
    };
    let (node, events) = start(config, redis.backend()).unwrap();
    let (hosts, _notices) = Hosts::start(node, events).unwrap();
    let (one, first) = chat(&["a"]);
    hosts.enter("/", first).await.unwrap();
    let nsp = hosts.node().namespace("/");
    nsp.broadcast(event("own"), BroadcastOptions::all()).await.unwrap();
    until(async || *one.log.lock().unwrap() == ["own"]).await;
    let acks = nsp.broadcast_with_ack(event("q"), BroadcastOptions::all()).await.unwrap();
    let (values, outcome) = acks.all().await.unwrap();
    assert!(outcome.is_complete() && values.len() == 1, "{outcome:?}");
}

#[tokio::test]
async fn hosts_are_refused_where_the_rooms_are_the_nodes() {
    let redis = MemoryRedis::new();
    let (node, events) = start(Config::default(), redis.backend()).unwrap();
    assert_eq!(Hosts::start(node, events).unwrap_err(), RoomsOfNode);
}
