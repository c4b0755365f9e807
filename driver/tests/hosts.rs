//! Parts of the face that serve frameworks with sockets, rooms and users of their own.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::StreamExt as _;
use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::{
    Acks, Answer, BroadcastOptions, Config, Error, Event, Events, Node, Options, Packet, Payload,
    RemoteSocket, RoomOwner, start,
};

fn hello() -> Packet {
    Packet::event("hello", &("world",)).unwrap()
}

/// Starts a node whose application has its own rooms.
fn owner(redis: &MemoryRedis) -> (Node, Events) {
    start(Config { room_owner: RoomOwner::Application, ..Config::default() }, redis.backend()).unwrap()
}

/// Answers the next broadcast: that so many clients were asked, and with the values of some.
async fn answer(events: &mut Events, clients: u64, values: &[u64]) {
    loop {
        let Event::Broadcast(broadcast) = events.next().await.unwrap() else { continue };
        let values = values.iter().map(|value| Payload::encode(value).unwrap());
        let acks = broadcast.acks.unwrap();
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
        break broadcast.acks.unwrap();
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
        if let Event::FetchSockets { reply, .. } = event {
            reply.send_in_rooms(Vec::<RemoteSocket>::new()).await.unwrap();
            questions += 1;
        }
    }
    asking.abort();
}
