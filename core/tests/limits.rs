//! Excessive input is refused, or costs no more than its size.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cpu_time::ThreadTime;
use sio_streams_core::wire::{WireError, entry, pubsub};
use sio_streams_core::{
    Body, BroadcastOptions, ByteString, CallError, Command, Config, Dialect, Engine, Entry, EntryId, Event,
    Fields, Limits, MAX_DEPTH, MAX_PAYLOAD, Message, NodeId, Packet, Payload, PayloadError, Reply, RequestId,
    Rooms, StreamInfo, Time,
};

/// The time is far longer than any of these takes unoptimised on a slow machine, and far shorter
/// than quadratic work would take.
const GENEROUS: Duration = Duration::from_secs(60);

/// Runs work that must take little processor time. Time in which the process is not scheduled does
/// not count.
fn in_a_generous_time(work: impl FnOnce()) {
    if cfg!(miri) {
        return work();
    }
    let start = ThreadTime::now();
    work();
    assert!(start.elapsed() < GENEROUS);
}

/// Returns a number of things, which is smaller under Miri. Miri is slow, and finds the same faults
/// with fewer.
const fn many(count: usize) -> usize {
    if cfg!(miri) { count / 5_000 } else { count }
}

fn fields(kind: &'static str, data: impl Into<Bytes>) -> Fields {
    let mut fields = Fields::new();
    fields.push("uid", "u");
    fields.push("nsp", "/");
    fields.push("type", kind);
    fields.push("data", data);
    fields
}

fn push(kind: u8, data: &[u8]) -> Bytes {
    [b"\x84\xa3uid\xa1u\xa3nsp\xa1/\xa4type", &[kind][..], b"\xa4data", data].concat().into()
}

fn message(body: Body) -> Message {
    Message { uid: NodeId::new("u"), nsp: "/".into(), body }
}

fn brackets(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn deep_json_is_carried_and_refused_only_where_somebody_wants_it_decoded() {
    let deep = brackets(many(1_000_000));
    let data = format!(
        r#"{{"packet":{{"type":2,"data":["e",{deep}]}},"opts":{{"rooms":[{deep}],"flags":{{"x":{deep}}}}},"y":{deep}}}"#
    );
    let Body::Broadcast { packet, opts, .. } = entry::decode(&fields("3", data)).unwrap().body else {
        panic!()
    };
    assert_eq!(packet.data().bytes().len(), deep.len() + 6);
    assert_eq!(opts.rooms.len(), 1);
    assert_eq!(packet.data().event_name().as_deref(), Some("e"));
    assert!(packet.data().decode::<serde_json::Value>().is_err());
    assert!(Payload::from_json(packet.data().bytes().clone()).is_err());
    assert!(pubsub::encode(&message(Body::Broadcast { packet, opts, request_id: None })).is_err());
    // In place of the envelope, such a value is an error, not a stack overflow.
    for kind in ["3", "4", "8"] {
        for data in ["{\"packet\":", "{\"opts\":", "{\"rooms\":", "{\"sockets\":", "{\"packet\":{\"data\":"] {
            assert!(entry::decode(&fields(kind, format!("{data}{}", "[".repeat(many(1_000_000))))).is_err());
            assert!(
                entry::decode(&fields(kind, format!("{data}{}", "{\"a\":".repeat(many(200_000))))).is_err()
            );
        }
    }
}

#[test]
fn deep_messagepack_is_refused_at_the_documented_depth() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    let ack = |depth: usize| [b"\x82\xa9requestId\xa1r\xa6packet", &nested(depth)[..]].concat();
    // The message and its data are two of the levels.
    let decode = |depth: usize| pubsub::decode(&push(12, &ack(depth)));
    assert!(decode(MAX_DEPTH - 2).is_ok());
    assert!(matches!(decode(MAX_DEPTH - 1), Err(WireError::MsgPack(_))));
    for depth in [MAX_DEPTH, 10_000, many(5_000_000)] {
        assert!(decode(depth).is_err());
        assert!(pubsub::decode(&push(12, &nested(depth))).is_err());
        assert!(pubsub::decode(&nested(depth).into()).is_err());
        assert!(entry::decode(&fields("12", STANDARD.encode(nested(depth)))).is_err());
        // The same holds for map keys.
        assert!(pubsub::decode(&vec![0x81; depth].into()).is_err());
        assert!(matches!(Payload::from_msgpack(nested(depth)), Err(PayloadError::Depth)));
    }
    assert!(Payload::from_msgpack(nested(MAX_DEPTH - 5)).is_ok());
    assert!(matches!(Payload::from_msgpack(nested(MAX_DEPTH - 4)), Err(PayloadError::Depth)));
}

#[test]
fn what_is_as_deep_as_allowed_fits_into_every_message() {
    let deepest = Payload::from_json(brackets(MAX_DEPTH - 5)).unwrap();
    let sockets = vec![sio_streams_core::RemoteSocket {
        id: "s".into(),
        handshake: deepest.clone(),
        rooms: vec![],
        data: deepest.clone(),
    }];
    let mut opts = BroadcastOptions::all();
    opts.flags.other.push(("x".into(), deepest.clone()));
    let request_id = RequestId::new("r");
    let event = Payload::from_json(format!(r#"["e",{}]"#, brackets(MAX_DEPTH - 6))).unwrap();
    let packet = Packet::new(event).unwrap();
    for body in [
        Body::Broadcast { packet, opts: opts.clone(), request_id: None },
        Body::FetchSocketsResponse { request_id: request_id.clone(), sockets },
        Body::FetchSockets { opts, request_id: request_id.clone() },
        Body::BroadcastAck { request_id, packet: deepest },
    ] {
        let message = message(body);
        assert_eq!(entry::decode(&entry::encode(&message).unwrap()).unwrap(), message);
        let packed = pubsub::encode(&message).unwrap();
        // A value that was converted to MessagePack stays MessagePack.
        let again = pubsub::decode(&packed).unwrap();
        assert_eq!(pubsub::encode(&again).unwrap(), packed);
    }
}

#[test]
fn a_length_that_is_only_claimed_costs_nothing() {
    const KINDS: [&str; 12] = ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
    let are_refused = |kind: u8, data: &[u8]| {
        assert!(pubsub::decode(&push(kind, data)).is_err());
        assert!(entry::decode(&fields(KINDS[usize::from(kind)], STANDARD.encode(data))).is_err());
    };
    in_a_generous_time(|| {
        // Each of these lengths would take gigabytes if it were believed.
        for claim in [
            &b"\xdd\xff\xff\xff\xff"[..],
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x05",
            b"\xdd\xff\xff\xff\xff\xa1a\xa1b",
            b"\xdf\xff\xff\xff\xff\xa2id\xa1b",
        ] {
            assert!(pubsub::decode(&Bytes::from_static(claim)).is_err());
            assert!(Payload::from_msgpack(claim).is_err());
            for (kind, key) in [
                (3, "packet"),
                (3, "opts"),
                (4, "rooms"),
                (8, "sockets"),
                (10, "packet"),
                (11, "clientCount"),
            ] {
                let key = [&[0xa0 | u8::try_from(key.len()).unwrap()], key.as_bytes()].concat();
                let data = [b"\x84\xa9requestId\xa1r", &key[..], claim].concat();
                are_refused(kind, &data);
                for inner in [
                    &b"\x83\xa5rooms"[..],
                    b"\x83\xa6except",
                    b"\x83\xa5flags",
                    b"\x83\xa4data",
                    b"\x91\x84\xa5rooms",
                ] {
                    let data = [b"\x84\xa9requestId\xa1r", &key[..], inner, claim].concat();
                    are_refused(kind, &data);
                }
            }
        }
    });
}

#[test]
fn a_message_with_a_hundred_thousand_rooms() {
    in_a_generous_time(|| {
        let names: Vec<ByteString> = (0..many(100_000)).map(|i| format!("room {i} ü\"").into()).collect();
        let opts =
            BroadcastOptions { rooms: names.clone(), except: names.clone(), ..BroadcastOptions::all() };
        let sent = message(Body::SocketsJoin { opts, rooms: names.clone() });
        assert_eq!(entry::decode(&entry::encode(&sent).unwrap()).unwrap(), sent);
        assert_eq!(pubsub::decode(&pubsub::encode(&sent).unwrap()).unwrap(), sent);

        // One socket joins all rooms and leaves each again, in the order of joining.
        let mut rooms = Rooms::new([7; 16]);
        rooms.add("s".into());
        rooms.add("t".into());
        assert_eq!(rooms.join("s", names.iter().cloned()).len(), 2 * names.len());
        assert_eq!(rooms.join("s", names.iter().take(100).cloned()), []);
        let all = BroadcastOptions { rooms: names.clone(), ..BroadcastOptions::all() };
        assert_eq!(rooms.matching(&all), ["s"]);
        assert_eq!(
            rooms.count_matching(&BroadcastOptions { except: names.clone(), ..BroadcastOptions::all() }),
            1
        );
        assert_eq!(rooms.leave("s", names.iter().cloned()).len(), 2 * names.len());
        assert_eq!(rooms.room_count(), 2);

        // A hundred thousand sockets join one room and leave it again, in the order of joining.
        for name in &names {
            rooms.add(name.clone());
            rooms.join(name, ["all".into()]);
        }
        assert_eq!(rooms.count_matching(&BroadcastOptions::to("all").and("s")), names.len() + 1);
        for name in &names {
            assert_eq!(rooms.remove(name).len(), 3 + usize::from(name == names.last().unwrap()));
        }
        assert_eq!((rooms.socket_count(), rooms.room_count()), (2, 2));
    });
}

#[test]
fn long_texts_and_many_keys() {
    in_a_generous_time(|| {
        let long = "x\\\"ü".repeat(many(2_000_000));
        let packet = Packet::event("e", &(&long, serde_bytes::Bytes::new(long.as_bytes()))).unwrap();
        let sent =
            message(Body::Broadcast { packet, opts: BroadcastOptions::to(long.clone()), request_id: None });
        assert_eq!(entry::decode(&entry::encode(&sent).unwrap()).unwrap(), sent);
        assert_eq!(pubsub::decode(&pubsub::encode(&sent).unwrap()).unwrap(), sent);

        // The input has unknown flags, equal keys and unknown keys.
        let keys = many(300_000);
        let flags: String = (0..keys).map(|i| format!(r#""f{i}":{i},"#)).collect();
        let data = format!(
            r#"{{{}"opts":{{{}"flags":{{{flags}"volatile":true}}}},"rooms":[]}}"#,
            r#""n":0,"#.repeat(keys),
            r#""rooms":["r"],"#.repeat(keys),
        );
        let Body::SocketsJoin { opts, .. } = entry::decode(&fields("4", data)).unwrap().body else {
            panic!()
        };
        assert_eq!((opts.flags.other.len(), opts.flags.volatile, opts.rooms.len()), (keys, Some(true), 1));

        let escapes =
            format!(r#"{{"opts":{{"rooms":["{}"]}},"rooms":[]}}"#, r"\ud83d".repeat(many(1_000_000)));
        let Body::SocketsJoin { opts, .. } = entry::decode(&fields("4", escapes)).unwrap().body else {
            panic!()
        };
        assert_eq!(opts.rooms[0].chars().count(), 3 * many(1_000_000));
    });
}

#[test]
#[cfg_attr(miri, ignore = "256 MB, of which Miri keeps book byte by byte")]
fn a_payload_beyond_the_limit_is_refused_before_it_is_looked_at() {
    // The pages are zeroed and never touched, so they take no memory.
    let huge = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
    assert!(
        matches!(Payload::from_json(huge.clone()), Err(PayloadError::Size(size)) if size == MAX_PAYLOAD + 1)
    );
    assert!(matches!(Payload::from_msgpack(huge), Err(PayloadError::Size(_))));
}

#[test]
fn what_is_decoded_shares_the_bytes_that_came() {
    // Memory must be proportional to the input, of which payloads and names are slices.
    let text = format!(r#"{{"requestId":"r","packet":"{}"}}"#, "x".repeat(many(1_000_000)));
    let data = Bytes::from(text);
    let within = |part: &Bytes, whole: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    let Body::BroadcastAck { packet, .. } = entry::decode(&fields("12", data.clone())).unwrap().body else {
        panic!()
    };
    assert!(within(packet.bytes(), &data));
    let packed =
        pubsub::encode(&message(Body::BroadcastAck { request_id: RequestId::new("r"), packet })).unwrap();
    let Body::BroadcastAck { packet, .. } = pubsub::decode(&packed).unwrap().body else { panic!() };
    assert!(within(packet.bytes(), &packed));
    // A long list of tiny names takes a bounded multiple of its bytes.
    let len = u32::try_from(many(1_000_000)).unwrap().to_be_bytes();
    let names = [b"\x82\xa4opts\x80\xa5rooms\xdd", &len[..], &b"\xa0".repeat(many(1_000_000))].concat();
    let Body::SocketsJoin { rooms, .. } = pubsub::decode(&push(4, &names)).unwrap().body else { panic!() };
    assert_eq!(rooms.len(), many(1_000_000));
    assert!(rooms.capacity() * size_of::<ByteString>() <= 64 * names.len());
}

/// The factor allows four times linear growth. Quadratic work takes sixteen times as long here, and
/// its square grows from there.
const GROWTH: u32 = 16;
const SLACK: u32 = 4;

/// Fails if work on an input that is `GROWTH` times as large takes more than `SLACK` times `GROWTH`
/// times as long. `prepare` gets a size and makes the work. The measure is the processor time of
/// the quickest of several runs, so that other processes do not matter. A result that seems slow is
/// measured again.
fn grows_linearly<W: FnMut()>(what: &str, size: usize, prepare: impl Fn(usize) -> W) {
    let quickest = |size: usize| {
        let mut times = Vec::new();
        for _ in 0..3 {
            let mut work = prepare(size);
            let start = ThreadTime::now();
            work();
            times.push(start.elapsed());
        }
        times.into_iter().min().unwrap_or_default()
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (small, large) = (quickest(size), quickest(size * GROWTH as usize));
        if large <= small * GROWTH * SLACK {
            return;
        }
        seen.push((small, large));
    }
    panic!("{what}: {GROWTH} times the input took far more than {GROWTH} times as long: {seen:?}");
}

#[test]
#[cfg_attr(miri, ignore = "a measurement of time")]
fn the_test_for_linear_work_catches_quadratic_work() {
    let quadratic = |size: usize| {
        move || {
            let mut seen: Vec<usize> = Vec::new();
            for number in 0..size {
                if !seen.contains(&number) {
                    seen.push(number);
                }
            }
        }
    };
    assert!(std::panic::catch_unwind(|| grows_linearly("quadratic", 500, quadratic)).is_err());
    grows_linearly("linear", 50_000, |size| {
        move || assert!((0..size).map(std::hint::black_box).sum::<usize>() > 0)
    });
}

#[test]
#[cfg_attr(miri, ignore = "a measurement of time")]
fn reading_takes_time_in_proportion_to_the_input() {
    type Make = fn(usize) -> String;
    let json: [(&'static str, &str, Make); 10] = [
        ("4", "rooms", |n| format!(r#"{{"opts":{{"rooms":[{}"r"]}},"rooms":[]}}"#, r#""room","#.repeat(n))),
        ("4", "flags", |n| {
            format!(r#"{{"opts":{{"flags":{{{}"x":1}}}},"rooms":[]}}"#, r#""x":1,"#.repeat(n))
        }),
        ("4", "the same flag", |n| {
            let flags = r#""volatile":1,"volatile":true,"#.repeat(n);
            format!(r#"{{"opts":{{"flags":{{{flags}"x":1}}}},"rooms":[]}}"#)
        }),
        ("4", "equal keys", |n| format!(r#"{{"opts":{{}},{}"rooms":[]}}"#, r#""rooms":["r"],"#.repeat(n))),
        ("4", "unknown keys", |n| format!(r#"{{"opts":{{}},{}"rooms":[]}}"#, r#""x":[1],"#.repeat(n))),
        ("4", "escapes", |n| format!(r#"{{"opts":{{}},"rooms":["{}"]}}"#, r"\u00fc\ud83d".repeat(n))),
        ("12", "brackets", |n| format!(r#"{{"requestId":"r","packet":{}{}}}"#, "[".repeat(n), "]".repeat(n))),
        ("12", "a long text", |n| format!(r#"{{"requestId":"r","packet":"{}"}}"#, "x".repeat(20 * n))),
        ("8", "sockets", |n| {
            let sockets = r#"{"id":"s","rooms":["s"],"handshake":{},"data":{}},"#.repeat(n);
            format!(r#"{{"requestId":"r","sockets":[{sockets}{{"id":"s"}}]}}"#)
        }),
        ("12", "line breaks in base64", |n| format!("gqlyZXF1ZXN0SWShcqZwYWNrZXTA{}", "\n".repeat(20 * n))),
    ];
    for (kind, what, make) in json {
        grows_linearly(what, 1_000, |size| {
            let fields = fields(kind, make(size));
            move || assert!(entry::decode(&fields).is_ok())
        });
    }
    type Pack = fn(usize) -> Vec<u8>;
    let packed: [(u8, &str, Pack); 5] = [
        (4, "rooms", |n| {
            let len = u32::try_from(n).unwrap().to_be_bytes();
            [b"\x82\xa4opts\x80\xa5rooms\xdd", &len[..], &b"\xa4room".repeat(n)].concat()
        }),
        (4, "flags", |n| {
            let len = u32::try_from(2 * n).unwrap().to_be_bytes();
            let flags = b"\xa8volatile\x01\xa8volatile\xc3".repeat(n);
            [b"\x82\xa5rooms\x90\xa4opts\x81\xa5flags\xdf", &len[..], &flags].concat()
        }),
        (8, "sockets", |n| {
            let len = u32::try_from(n).unwrap().to_be_bytes();
            let sockets = b"\x83\xa2id\xa1s\xa5rooms\x91\xa1s\xa4data\x81\xa1k\x80".repeat(n);
            [b"\x82\xa9requestId\xa1r\xa7sockets\xdd", &len[..], &sockets].concat()
        }),
        (12, "maps as values of maps", |n| {
            let len = u32::try_from(n).unwrap().to_be_bytes();
            [b"\x82\xa9requestId\xa1r\xa6packet\xdf", &len[..], &b"\xa1k\x81\xa1k\x80".repeat(n)].concat()
        }),
        (12, "keys that are not used", |n| {
            let keys = u32::try_from(n + 2).unwrap().to_be_bytes();
            [b"\xdf", &keys[..], b"\xa9requestId\xa1r\xa6packet\xc0", &b"\xa1k\x91\xc0".repeat(n)].concat()
        }),
    ];
    for (kind, what, make) in packed {
        grows_linearly(what, 1_000, |size| {
            let payload = push(kind, &make(size));
            move || assert!(pubsub::decode(&payload).is_ok())
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "a measurement of time")]
fn writing_takes_time_in_proportion_to_the_message() {
    let rooms = |n: usize| -> Vec<ByteString> { (0..n).map(|i| format!("room {i}").into()).collect() };
    grows_linearly("writing rooms", 1_000, |size| {
        let sent = message(Body::SocketsJoin { opts: BroadcastOptions::all(), rooms: rooms(size) });
        move || assert!(entry::encode(&sent).is_ok() && pubsub::encode(&sent).is_ok())
    });
    grows_linearly("from JSON to MessagePack", 1_000, |size| {
        let text = format!(r#"["e",{}"\ud83d"]"#, r#"{"k":[1,"\ud83d\ude00"]},"#.repeat(size));
        let packet = Packet::new(Payload::from_json(text).unwrap()).unwrap();
        let sent = message(Body::Broadcast { packet, opts: BroadcastOptions::all(), request_id: None });
        move || assert!(pubsub::encode(&sent).is_ok())
    });
}

#[test]
#[cfg_attr(miri, ignore = "a measurement of time")]
fn rooms_take_time_in_proportion_to_what_is_done() {
    let names = |n: usize| -> Vec<ByteString> { (0..n).map(|i| format!("n{i}").into()).collect() };
    grows_linearly("one socket in many rooms", 500, |size| {
        let names = names(size);
        move || {
            let mut rooms = Rooms::new([3; 16]);
            rooms.add("s".into());
            rooms.join("s", names.iter().cloned());
            rooms.join("s", names.iter().cloned());
            assert_eq!(rooms.leave("s", names.iter().cloned()).len(), 2 * names.len());
        }
    });
    grows_linearly("many sockets in one room", 500, |size| {
        let names = names(size);
        move || {
            let mut rooms = Rooms::new([3; 16]);
            for name in &names {
                rooms.add(name.clone());
                rooms.join(name, ["room".into()]);
            }
            let opts =
                BroadcastOptions { rooms: names.clone(), except: names.clone(), ..BroadcastOptions::all() };
            assert!(rooms.matching(&opts.clone().and("room")).is_empty());
            names.iter().for_each(|name| drop(rooms.remove(name)));
            assert_eq!(rooms.room_count(), 0);
        }
    });
}

// The engine's limits follow.

/// An engine whose streams exist and are empty, and whose writer's commands are never answered.
struct Deaf {
    engine: Engine,
    now: Time,
    written: Vec<Command>,
}

fn publishes(command: &&Command) -> bool {
    matches!(command, Command::XAdd { .. } | Command::Publish { .. })
}

impl Deaf {
    fn new(dialect: Dialect, limits: Limits) -> Self {
        let config = Config { dialect, limits, ..Config::default() };
        let now = Time::from_millis(1);
        let mut deaf = Deaf { engine: Engine::new(config, 7, now).unwrap(), now, written: Vec::new() };
        deaf.engine.open_namespace(now, "/").unwrap();
        deaf.turn(&mut Vec::new());
        deaf
    }

    /// Takes all commands, and gives the reader these entries.
    fn turn(&mut self, entries: &mut Vec<Entry>) {
        loop {
            while self.engine.poll_event().is_some() {}
            let Some((id, command)) = self.engine.poll_command() else { return };
            let last_generated_id = entries.last().map(|entry| entry.id).unwrap_or_default();
            let reply = match &command {
                Command::XInfoStream { .. } => {
                    Reply::Stream(Some(StreamInfo { last_generated_id, ..StreamInfo::default() }))
                }
                Command::XRead { .. } if entries.is_empty() => continue,
                Command::XRead { .. } => Reply::Entries(std::mem::take(entries)),
                Command::PubSubNumSub { channels, .. } => Reply::Counts(vec![1; channels.len()]),
                Command::Subscribe { .. } => Reply::Done,
                _ => {
                    self.written.push(command);
                    continue;
                }
            };
            self.engine.handle_reply(self.now, id, Ok(reply));
        }
    }
}

/// The fuzz target `engine` found this: every heartbeat was added to the queue, however long it
/// was.
#[test]
fn heartbeats_do_not_pile_up_while_redis_does_not_answer() {
    let limits = Limits { in_flight: 10, ..Limits::default() };
    for dialect in [Dialect::Streams02, Dialect::Bridge] {
        let mut deaf = Deaf::new(dialect, limits);
        let beats = (1..=1_000).map(|n| Entry {
            id: EntryId { ms: n, seq: 0 },
            fields: [("uid", "other"), ("nsp", "/"), ("type", "1")].into_iter().collect(),
        });
        let config = deaf.engine.config().clone();
        for batch in beats.collect::<Vec<_>>().chunks(100) {
            deaf.turn(&mut batch.to_vec());
        }
        for _ in 0..100 {
            deaf.now = deaf.now + config.heartbeat_interval;
            deaf.engine.handle_timeout(deaf.now);
            deaf.turn(&mut Vec::new());
        }
        assert!(deaf.written.len() <= 10, "{dialect:?} {}", deaf.written.len());
    }
}

/// The fuzz target `engine` found this: a request that had timed out was not counted any more, but
/// still waited to be sent.
#[test]
fn questions_count_until_they_are_sent_and_not_only_until_they_are_over() {
    let limits = Limits { in_flight: 10, requests: 5, ..Limits::default() };
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        let mut deaf = Deaf::new(dialect, limits);
        let mut refused = 0;
        for _ in 0..100 {
            match deaf.engine.fetch_sockets(deaf.now, "/", BroadcastOptions::all()) {
                Ok(_) => {}
                Err(CallError::Full { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            deaf.turn(&mut Vec::new());
            deaf.now = deaf.now + deaf.engine.config().request_timeout;
            deaf.engine.handle_timeout(deaf.now);
        }
        assert!(deaf.written.iter().filter(publishes).count() <= 10, "{dialect:?} {:?}", deaf.written);
        // The commands include the one that counts who is expected to answer.
        assert!(deaf.written.len() <= 20, "{dialect:?} {:?}", deaf.written);
        assert!(refused >= 80);
    }
}

#[test]
fn an_answer_may_tell_of_many_sockets_and_is_one_event() {
    let mut deaf = Deaf::new(Dialect::Streams02, Limits::default());
    let ticket = deaf.engine.fetch_sockets(deaf.now, "/", BroadcastOptions::all()).unwrap();
    deaf.turn(&mut Vec::new());
    let Some(Command::XAdd { fields: asked, .. }) = deaf.written.iter().find(
        |command| matches!(command, Command::XAdd { fields, .. } if fields.get("type").unwrap() == "7"),
    ) else {
        panic!()
    };
    let Body::FetchSockets { request_id, .. } = entry::decode(asked).unwrap().body else { panic!() };
    let socket = sio_streams_core::RemoteSocket {
        id: "s".into(),
        handshake: Payload::null(),
        rooms: vec!["s".into(); 10],
        data: Payload::null(),
    };
    // There are answers from an unexpected node, repeated answers from one node, and answers from
    // more nodes than are counted.
    let answer = |n: u64| {
        let body = Body::FetchSocketsResponse {
            request_id: request_id.clone(),
            sockets: vec![socket.clone(); many(1_000).max(3)],
        };
        let message = Message { uid: NodeId::new(format!("other {n}")), nsp: "/".into(), body };
        Entry { id: EntryId { ms: n, seq: 0 }, fields: entry::encode(&message).unwrap() }
    };
    let mut answers: Vec<Entry> = (1..=50).map(answer).collect();
    answers.extend((1..=50).map(|n| Entry { id: EntryId { ms: 100 + n, seq: 0 }, ..answer(n) }));
    let mut count = 0;
    for (id, command) in std::iter::from_fn(|| deaf.engine.poll_command()) {
        if let Command::XRead { .. } = command {
            deaf.engine.handle_reply(deaf.now, id, Ok(Reply::Entries(answers.clone())));
            break;
        }
    }
    while let Some(event) = deaf.engine.poll_event() {
        match event {
            Event::Answer { ticket: of, .. } => {
                assert_eq!(of, ticket);
                count += 1;
            }
            Event::RequestDone { .. } | Event::NodeUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(count <= 50, "each node answers once: {count}");
}
