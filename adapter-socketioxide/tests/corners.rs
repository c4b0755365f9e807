//! The corners of the adapter's traits, without Redis and without clients.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

mod namespaces;
mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core as wire;
use sio_streams_driver::sio_streams_core::{
    Config, Dialect, LinkState, LocalDelivery, Payload, Recovery, RoomOwner, SubscriptionMode,
};
use sio_streams_driver::{Event, start};
use sio_streams_socketioxide::{Cluster, Error, Notice, SetupError, SocketDescription, sio_streams_driver};
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreAdapter};
use socketioxide_core::packet::Packet;
use socketioxide_core::parser::Parse;
use socketioxide_core::{Sid, Uid, Value};
use socketioxide_parser_common::CommonParser;
use socketioxide_parser_msgpack::MsgPackParser;
use support::{AckError, LIMIT, Nsp, Server, config, configs, everybody, room, until};

/// Makes two servers whose parsers differ, each with a namespace and so many sockets in it.
async fn two_parsers(here: usize, there: usize) -> (Nsp<CommonParser>, Nsp<MsgPackParser>) {
    let redis = MemoryRedis::new();
    let server = || Server::new(&redis, config(Dialect::Streams03));
    (server().open("/", here, CommonParser).await, server().open("/", there, MsgPackParser).await)
}

/// Makes two servers, each with a namespace and so many sockets in it.
async fn pair(config: Config, sockets: usize) -> (Server, Server, Nsp<CommonParser>, Nsp<CommonParser>) {
    let redis = MemoryRedis::new();
    let (a, b) = (Server::new(&redis, config.clone()), Server::new(&redis, config));
    let (here, there) = (a.open("/", sockets, CommonParser).await, b.open("/", sockets, CommonParser).await);
    (a, b, here, there)
}

#[tokio::test]
async fn everybody_is_reached_in_every_dialect() {
    for config in configs() {
        let (_a, _b, here, there) = pair(config.clone(), 2).await;
        here.say("hello", everybody()).await;
        there.adapter.get_local().add_all(there.sids[1], ["r"]);
        here.say("room", room("r")).await;
        there.gets(there.sids[0], &["hello"]).await;
        there.gets(there.sids[1], &["hello", "room"]).await;
        here.gets(here.sids[0], &["hello"]).await;
    }
}

/// The same options mean everybody on the wire.
#[tokio::test]
async fn nobody_is_never_published_as_everybody() {
    let (_a, _b, here, there) = pair(config(Dialect::Streams03), 2).await;
    let mut except = BroadcastOptions::default();
    except.except.push("r".into());
    here.say("to nobody", BroadcastOptions::default()).await;
    here.say("to nobody", except.clone()).await;
    here.say("to one", BroadcastOptions::new(here.sids[0])).await;
    here.adapter.add_sockets(BroadcastOptions::default(), "r").await.unwrap();
    here.adapter.disconnect_socket(except).await.unwrap();
    assert!(here.adapter.fetch_sockets(BroadcastOptions::default()).await.unwrap().is_empty());
    // This comes last, so anything that was sent before it would be there, too.
    here.say("hello", everybody()).await;
    there.gets(there.sids[0], &["hello"]).await;
    here.gets(here.sids[0], &["to one", "hello"]).await;
    here.gets(here.sids[1], &["hello"]).await;
    assert!(there.adapter.get_local().rooms(everybody()).is_empty());
    assert!(there.state.disconnected.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_sender_the_rooms_and_the_flags_decide_who_is_meant() {
    let (_a, _b, here, there) = pair(config(Dialect::Streams03), 3).await;
    there.adapter.get_local().add_all(there.sids[0], ["r"]);
    there.adapter.get_local().add_all(there.sids[1], ["r", "x"]);
    here.adapter.get_local().add_all(here.sids[0], ["r"]);

    let mut from_sender = room("r");
    from_sender.sid = Some(here.sids[0]);
    from_sender.except.push("x".into());
    here.say("1", from_sender).await;
    let mut local = everybody();
    local.add_flag(BroadcastFlags::Local);
    here.say("2", local).await;
    let mut volatile = room("x");
    volatile.add_flag(BroadcastFlags::Volatile);
    here.say("3", volatile).await;
    here.say("4", everybody()).await;

    here.gets(here.sids[0], &["2", "4"]).await;
    there.gets(there.sids[0], &["1", "4"]).await;
    there.gets(there.sids[1], &["3", "4"]).await;
    there.gets(there.sids[2], &["4"]).await;
}

/// On the wire no rooms mean everybody, and a socket is a room.
#[tokio::test]
async fn the_addressees_on_the_wire_are_those_that_are_meant() {
    let redis = MemoryRedis::new();
    let server = Server::new(&redis, config(Dialect::Streams03));
    let nsp = server.open("/", 1, CommonParser).await;
    let (node, mut events) = start(config(Dialect::Streams03), redis.backend()).unwrap();
    node.open("/").await.unwrap();
    let own = nsp.sids[0];
    let opts = |rooms: &[&'static str], except: &[&'static str], sid, flags: &[BroadcastFlags]| {
        let mut opts = BroadcastOptions::default();
        opts.rooms.extend(rooms.iter().map(|room| (*room).into()));
        opts.except.extend(except.iter().map(|room| (*room).into()));
        opts.sid = sid;
        flags.iter().for_each(|flag| opts.add_flag(*flag));
        opts
    };
    let (all, room) = (wire::BroadcastOptions::all, || wire::BroadcastOptions::to("r"));
    let (broadcast, volatile) = (BroadcastFlags::Broadcast, BroadcastFlags::Volatile);
    let cases = [
        (opts(&[], &[], None, &[]), None),
        (opts(&[], &["x"], None, &[volatile]), None),
        (opts(&[], &["x"], Some(own), &[]), None),
        (opts(&["r"], &[], None, &[BroadcastFlags::Local]), None),
        (opts(&[], &[], None, &[broadcast]), Some(all())),
        (opts(&[], &["x"], Some(own), &[broadcast]), Some(all().except("x").except(own.as_str()))),
        (opts(&["r"], &["x"], None, &[]), Some(room().except("x"))),
        (opts(&["r"], &[], Some(own), &[]), Some(room())),
        (opts(&["r"], &[], Some(own), &[broadcast]), Some(room().except(own.as_str()))),
        (opts(&["r"], &[], None, &[broadcast, volatile]), Some(room().volatile())),
    ];
    let mut expected = Vec::new();
    for (number, (opts, wire)) in cases.into_iter().enumerate() {
        let word = number.to_string();
        nsp.say(&word, opts).await;
        expected.extend(wire.map(|wire| (word, wire)));
    }
    for expected in expected {
        let told = async {
            loop {
                let Some(Event::Broadcast(it)) = events.next().await else { continue };
                return (it.packet.data().arg::<String>(0).unwrap(), it.opts);
            }
        };
        assert_eq!(tokio::time::timeout(LIMIT, told).await.unwrap(), expected);
    }
}

/// Node's servers address a socket by a room of its id. socketioxide's sockets are in none.
#[tokio::test]
async fn an_id_is_a_room() {
    let (_a, _b, here, there) = pair(config(Dialect::Streams03), 2).await;
    let (one, other) = (there.sids[0], there.sids[1]);
    here.say("to one", room(one.to_string())).await;
    let mut all_but_one = everybody();
    all_but_one.except.push(one.to_string().into());
    here.say("to the other", all_but_one).await;
    here.adapter.add_sockets(room(other.to_string()), "r").await.unwrap();
    here.say("in the room", room("r")).await;
    there.gets(one, &["to one"]).await;
    there.gets(other, &["to the other", "in the room"]).await;
    // The rooms of ids are told to Node's servers, and to nobody else.
    assert_eq!(here.adapter.rooms(everybody()).await.unwrap(), ["r"]);
    assert_eq!(there.adapter.rooms(everybody()).await.unwrap(), ["r"]);
    // It works on this server, too, so that it does not matter where a socket is.
    here.say("here", room(here.sids[0].to_string())).await;
    here.gets(here.sids[0], &["to the other", "here"]).await;
}

#[tokio::test]
async fn joins_leaves_and_disconnects_of_other_servers_are_followed_once() {
    for config in configs() {
        let (_a, _b, here, there) = pair(config.clone(), 2).await;
        here.adapter.add_sockets(everybody(), vec!["r".to_owned(), "s".to_owned()]).await.unwrap();
        here.adapter.del_sockets(everybody(), "s").await.unwrap();
        // The order is followed at once, and not when it has come back.
        let local = here.adapter.get_local();
        assert_eq!(local.socket_rooms(here.sids[0]).into_iter().collect::<Vec<_>>(), ["r"]);
        local.del(here.sids[0], "r");
        there.adapter.get_local().del(there.sids[0], "s");
        until(|| {
            let rooms = there.adapter.get_local().socket_rooms(there.sids[0]);
            rooms.contains("r") && !rooms.contains("s")
        })
        .await;
        here.adapter.disconnect_socket(room("r")).await.unwrap();
        until(|| there.state.disconnected.lock().unwrap().len() == 2).await;
        // A socket that left a room itself is not put back by this server's own order.
        assert_eq!(*here.state.disconnected.lock().unwrap(), [here.sids[1]]);
    }
}

#[tokio::test]
async fn a_packet_is_read_by_the_other_parser_attachments_included() {
    let (text, packed) = two_parsers(1, 1).await;
    let bytes = Bytes::from_static(b"\x00\xffone");
    let args = ("caf\u{e9}", 1.5, vec![bytes.clone()], bytes.clone());
    text.adapter.broadcast(text.event("e", &args), everybody()).await.unwrap();
    packed.adapter.broadcast(packed.event("e", &args), everybody()).await.unwrap();
    text.say("plain", everybody()).await;
    packed.say("plain", everybody()).await;
    type Args = (String, f64, Vec<Bytes>, Bytes);
    let sent =
        |state: &support::State, sid| state.sent.lock().unwrap().get(&sid).cloned().unwrap_or_default();
    until(|| sent(&text.state, text.sids[0]).len() == 4 && sent(&packed.state, packed.sids[0]).len() == 4)
        .await;
    let args = ("caf\u{e9}".to_owned(), 1.5, vec![bytes.clone()], bytes);
    let mut decoded = 0;
    for mut value in sent(&text.state, text.sids[0]) {
        if let Value::Str(_, Some(attachments)) = &value {
            assert_eq!(attachments.len(), 2);
            assert_eq!(CommonParser.decode_value::<Args>(&mut value, true).unwrap(), args);
            decoded += 1;
        }
    }
    for mut value in sent(&packed.state, packed.sids[0]) {
        if let Ok(found) = MsgPackParser.decode_value::<Args>(&mut value, true) {
            assert_eq!(found, args);
            decoded += 1;
        }
    }
    assert_eq!(decoded, 4, "each server has got both packets");
}

#[tokio::test]
async fn what_can_not_be_sent_is_refused_and_nobody_gets_it() {
    let (_a, _b, here, there) = pair(config(Dialect::Streams03), 1).await;
    let send = |packet| here.adapter.broadcast(packet, everybody());
    // A Node client that gets one of Socket.IO's own names ends its connection.
    let error = send(here.event("disconnect", &1)).await.unwrap_err();
    assert!(error.to_string().contains("reserved"), "{error}");
    let error = send(here.event("big", &u64::MAX)).await;
    assert!(error.is_ok(), "JSON carries it, as text: {error:?}");
    let error = send(Packet::disconnect("/")).await.unwrap_err();
    assert!(error.to_string().contains("only events"), "{error}");
    let placeholder =
        Value::Str(r#"["e",{"_placeholder":true,"num":7}]"#.into(), Some([Bytes::new()].into()));
    let error = send(Packet::event("/", placeholder)).await.unwrap_err();
    assert!(error.to_string().contains("placeholder"), "{error}");
    here.say("hello", everybody()).await;
    until(|| there.state.sent.lock().unwrap().values().map(Vec::len).sum::<usize>() == 2).await;
    assert_eq!(here.state.sent.lock().unwrap()[&here.sids[0]].len(), 2);
}

#[tokio::test]
async fn acknowledgements_come_from_all_servers_and_missing_ones_end_in_time() {
    for config in configs() {
        let (_a, _b, here, there) = pair(config.clone(), 2).await;
        let answer = |word: &str| CommonParser.encode_value(&(word, 7), None).unwrap();
        here.state.answers.lock().unwrap().insert(here.sids[0], answer("here"));
        here.state.answers.lock().unwrap().insert(here.sids[1], answer("here, too"));
        there.state.answers.lock().unwrap().insert(there.sids[0], answer("there"));
        let within = Duration::from_millis(500);
        let asked = here.adapter.broadcast_with_ack(here.event("q", &1), everybody(), Some(within));
        let stream = asked.await.unwrap();
        let mut all: Vec<_> = tokio::time::timeout(LIMIT, stream.collect::<Vec<_>>()).await.unwrap();
        all.sort_by_key(|(sid, answer)| (*sid == Sid::ZERO, answer.is_err()));
        let word = |answer: &Result<Value, AckError>| match answer {
            Ok(value) => CommonParser.decode_value::<String>(&mut value.clone(), false).unwrap(),
            Err(error) => error.to_string(),
        };
        let words: Vec<(bool, String)> =
            all.iter().map(|(sid, answer)| (*sid == Sid::ZERO, word(answer))).collect();
        assert!(words[..2].iter().all(|(remote, word)| !remote && word.starts_with("here")), "{words:?}");
        // The one that is missing is told as the framework tells it.
        assert_eq!(
            words[2..],
            [(true, "there".to_owned()), (true, "late".to_owned())],
            "{:?}",
            config.dialect
        );
        assert_eq!(*there.state.asked_within.lock().unwrap(), [Some(within)]);
    }
}

#[tokio::test]
async fn an_acknowledgement_without_arguments_is_null_and_binary_ones_arrive() {
    let (text, packed) = two_parsers(0, 2).await;
    let empty = Value::Bytes(Bytes::from_static(&[0x90]));
    let binary = MsgPackParser.encode_value(&Bytes::from_static(b"one"), None).unwrap();
    *packed.state.answers.lock().unwrap() =
        [(packed.sids[0], empty), (packed.sids[1], binary)].into_iter().collect();
    let asked = text.adapter.broadcast_with_ack(text.event("q", &1), everybody(), None).await.unwrap();
    let mut answers: Vec<_> = asked.map(|(_, answer)| answer.unwrap()).collect().await;
    let null = answers.iter().position(|answer| answer.as_str().is_some_and(|json| &**json == "[null]"));
    answers.swap_remove(null.unwrap());
    assert_eq!(CommonParser.decode_value::<Bytes>(&mut answers[0], false).unwrap(), "one");
    assert_eq!(answers.len(), 1);
}

/// A time limit that another server asks for has a bound.
#[tokio::test]
async fn nobody_makes_this_server_wait_for_ever() {
    let redis = MemoryRedis::new();
    let server = Server::new(&redis, config(Dialect::Streams03));
    let nsp = server.open("/", 1, CommonParser).await;
    let (node, _events) = start(Config::default(), redis.backend()).unwrap();
    let other = node.open("/").await.unwrap();
    let opts = wire::BroadcastOptions::all().timeout(Duration::from_secs(1 << 40));
    let _asked = other.broadcast_with_ack(wire::Packet::event("q", &()).unwrap(), opts).await.unwrap();
    until(|| !nsp.state.asked_within.lock().unwrap().is_empty()).await;
    assert_eq!(*nsp.state.asked_within.lock().unwrap(), [Some(Duration::from_secs(600))]);
}

/// A socket of a Node server has an id that is longer than socketioxide's.
#[tokio::test]
async fn a_socket_with_a_longer_id_is_found_and_addressed_by_its_alias() {
    let redis = MemoryRedis::new();
    let server = Server::new(&redis, config(Dialect::Streams03));
    let nsp = server.open("/", 1, CommonParser).await;
    let (node, mut events) = start(Config::default(), redis.backend()).unwrap();
    let other = node.open("/").await.unwrap();
    let id = "XFlBn9wKd4Eyr0QwAAAB";
    other.add_socket(id).await.unwrap();
    other.join(id, vec!["r".into()]).await.unwrap();
    let (told, mut packets) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::FetchSockets { sockets, responder, .. } => {
                    let handshake = wire::Handshake::default();
                    let tell = |id| wire::LocalSocket::new(id, &handshake, Payload::empty_object()).unwrap();
                    drop(responder.send(sockets.into_iter().map(tell).collect()));
                }
                Event::Broadcast(it) => told.send((it.packet.data().to_string(), it.sockets.len())).unwrap(),
                _ => {}
            }
        }
    });
    let found = nsp.adapter.fetch_sockets(everybody()).await.unwrap();
    let remote = found.iter().find(|socket| socket.id != nsp.sids[0]).unwrap();
    assert_eq!((found.len(), remote.id, remote.server_id), (2, Cluster::alias(id), Uid::ZERO));
    assert_eq!(server.cluster.true_id(remote.id).unwrap(), id);
    let own = found.iter().find(|socket| socket.id == nsp.sids[0]).unwrap();
    assert_eq!(own.server_id, server.uid);
    nsp.say("to the socket", BroadcastOptions::new_remote(remote)).await;
    assert_eq!(packets.recv().await.unwrap(), (r#"["say","to the socket"]"#.to_owned(), 1));
    // The alias as a room is the true id, too.
    nsp.say("to the room", room(remote.id.to_string())).await;
    assert_eq!(packets.recv().await.unwrap(), (r#"["say","to the room"]"#.to_owned(), 1));
    let sockets = server.cluster.fetch_sockets("/", wire::BroadcastOptions::to("r")).await.unwrap();
    assert_eq!(sockets.sockets[0].id, id);
    // An id that nobody was told of, or too long ago.
    let error = nsp.adapter.add_sockets(BroadcastOptions::new(Sid::new()), "r").await.unwrap_err();
    assert!(matches!(error, Error::Forgotten(_)), "{error}");
}

#[tokio::test]
async fn sockets_tell_what_the_application_says_and_nothing_without_it() {
    for config in configs() {
        let (a, b, _here, there) = pair(config, 1).await;
        let found = a.cluster.fetch_sockets("/", wire::BroadcastOptions::all()).await.unwrap();
        assert_eq!((found.sockets.len(), found.outcome.is_complete()), (2, true));
        assert!(found.sockets.iter().all(|socket| socket.data.to_json() == "{}"));
        let known = there.sids[0];
        b.cluster.describe_sockets(move |nsp, sid| {
            assert_eq!(nsp, "/", "a panic is no end");
            assert_eq!(sid, known);
            let data = Payload::encode(&[("name", "ann")]).unwrap();
            SocketDescription { data, ..SocketDescription::default() }
        });
        let found = a
            .cluster
            .node()
            .namespace("/")
            .fetch_sockets(wire::BroadcastOptions::to(known.as_str()))
            .await
            .unwrap();
        let [socket] = &*found.sockets else { panic!("{found:?}") };
        assert_eq!((&*socket.data.to_json(), &*socket.id), (r#"[["name","ann"]]"#, known.as_str()));
        assert_eq!(socket.rooms, [known.as_str()]);
    }
}

#[tokio::test]
async fn a_description_that_panics_is_an_empty_one() {
    let (a, b, here, there) = pair(config(Dialect::Streams03), 1).await;
    b.cluster.describe_sockets(|_, _| panic!("on purpose"));
    let found = a.cluster.fetch_sockets("/", wire::BroadcastOptions::all()).await.unwrap();
    assert_eq!((found.sockets.len(), found.outcome.is_complete()), (2, true));
    here.say("hello", everybody()).await;
    there.gets(there.sids[0], &["hello"]).await;
}

/// No lock is held while the application describes a socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_may_set_another() {
    let (a, b, here, there) = pair(config(Dialect::Streams03), 1).await;
    let cluster = b.cluster.clone();
    b.cluster.describe_sockets(move |_, _| {
        cluster.describe_sockets(|_, _| SocketDescription::default());
        SocketDescription::default()
    });
    let found = a.cluster.fetch_sockets("/", wire::BroadcastOptions::all());
    let found = tokio::time::timeout(LIMIT, found).await.unwrap().unwrap();
    assert_eq!((found.sockets.len(), found.outcome.is_complete()), (2, true));
    here.say("hello", everybody()).await;
    there.gets(there.sids[0], &["hello"]).await;
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused_with_the_reason() {
    let ours = || config(Dialect::Streams03);
    let recovery = Some(Recovery::default());
    for (config, expected, says) in [
        (Config { room_owner: RoomOwner::Engine, ..ours() }, SetupError::RoomOwner, "Config::room_owner"),
        (
            Config { subscription_mode: SubscriptionMode::Dynamic, ..config(Dialect::Sharded) },
            SetupError::RoomChannels,
            "SubscriptionMode::Static",
        ),
        (
            Config { subscription_mode: SubscriptionMode::DynamicPrivate, ..config(Dialect::Sharded) },
            SetupError::RoomChannels,
            "SubscriptionMode::Static",
        ),
        (
            Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..ours() },
            SetupError::Recovery,
            "Config::recovery",
        ),
        (
            Config { local_delivery: LocalDelivery::StreamOrder, ..ours() },
            SetupError::StreamOrder,
            "Config::local_delivery",
        ),
    ] {
        let (node, events) = start(config, MemoryRedis::new().backend()).unwrap();
        let error = Cluster::new(node, events).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn servers_emit_to_each_other_and_hear_of_each_other() {
    let (a, b, _here, _there) = pair(config(Dialect::Streams02), 1).await;
    let Server { mut notices, cluster, backend, .. } = b;
    let packet = Payload::event("ping", &("a",)).unwrap();
    let asked = a.cluster.server_side_emit_with_ack("/", packet.clone());
    a.cluster.server_side_emit("/", packet).await.unwrap();
    let (mut emitted, mut links) = (Vec::new(), 0);
    backend.drop_connections();
    while emitted.len() < 2 || links == 0 {
        match tokio::time::timeout(LIMIT, notices.next()).await.unwrap().unwrap() {
            Notice::Node(event) => match *event {
                Event::ServerSideEmit { nsp, packet, from, responder } => {
                    assert_eq!((&*nsp, from), ("/", Some(a.cluster.node().uid().clone())));
                    emitted.push(packet.to_string());
                    if let Some(responder) = responder {
                        responder.send(Payload::encode(&"pong").unwrap()).await.unwrap();
                    }
                }
                Event::Link { link: LinkState::Down { .. }, .. } => links += 1,
                _ => {}
            },
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(emitted, [r#"["ping","a"]"#; 2]);
    let responses = asked.await.unwrap().responses;
    assert_eq!(responses[0].1.to_string(), r#""pong""#);
    cluster.node().clone().close().await;
    while notices.next().await.is_some() {}
}

#[tokio::test]
async fn notices_that_nobody_takes_are_counted() {
    let (a, b, here, there) = pair(config(Dialect::Streams02), 1).await;
    let emit = async |count: usize, then| {
        for _ in 0..count {
            a.cluster.server_side_emit("/", Payload::event("e", &()).unwrap()).await.unwrap();
        }
        // It comes behind them.
        here.say(then, everybody()).await;
        until(|| there.words(there.sids[0]).contains(&then.to_owned())).await;
    };
    let Server { mut notices, cluster, .. } = b;
    emit(1_500, "many").await;
    let is_emit = |event: &Event| matches!(event, Event::ServerSideEmit { .. });
    // Some notices are of other things.
    let (mut emits, mut taken) = (0, 0);
    while taken < 1_024 {
        let Some(Notice::Node(event)) = notices.next().await else { panic!("after {taken}") };
        emits += u64::from(is_emit(&event));
        taken += 1;
    }
    emit(1, "one more").await;
    let Some(Notice::Missed(missed)) = notices.next().await else { panic!() };
    assert!(emits + missed >= 1_500, "{emits} {missed}");
    while !matches!(notices.next().await.unwrap(), Notice::Node(event) if is_emit(&event)) {}
    drop(cluster);
}

#[tokio::test]
async fn clients_that_take_nothing_are_told_of() {
    let (_a, b, here, there) = pair(config(Dialect::Streams03), 2).await;
    *there.state.full.lock().unwrap() = true;
    here.say("hello", everybody()).await;
    let Server { mut notices, .. } = b;
    loop {
        match tokio::time::timeout(LIMIT, notices.next()).await.unwrap().unwrap() {
            Notice::Undelivered { nsp, reason } => {
                assert!(nsp == "/" && reason.starts_with("2 of the clients"), "{reason}");
                break;
            }
            _ => continue,
        }
    }
    let full = there.adapter.broadcast(there.event("say", &"x"), everybody()).await.unwrap_err();
    assert!(full.to_string().contains("InternalChannelFull"), "{full}");
    here.gets(here.sids[0], &["hello", "x"]).await;
}

#[tokio::test]
async fn an_outage_costs_nothing() {
    let (a, _b, here, there) = pair(config(Dialect::Streams03), 1).await;
    a.backend.cut();
    let adapter = Arc::clone(&here.adapter);
    let packet = here.event("say", &"in the dark");
    let sent = tokio::spawn(async move { adapter.broadcast(packet, everybody()).await });
    here.gets(here.sids[0], &["in the dark"]).await;
    there.say("meanwhile", everybody()).await;
    a.backend.restore();
    sent.await.unwrap().unwrap();
    here.gets(here.sids[0], &["in the dark", "meanwhile"]).await;
    there.gets(there.sids[0], &["meanwhile", "in the dark"]).await;
}
