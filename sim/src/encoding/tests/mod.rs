use std::collections::{BTreeMap, BTreeSet};

use sio_streams_core::wire::{MsgPackError, WireError};
use sio_streams_core::{
    Answer, BroadcastOptions, Command, CommandError, Config, Delivery, Dialect, DownReason, Engine, Entry,
    Event, Fields, Flags, Lane, Lost, Moved, NotRecovered, Outcome, Packet, RemoteSocket, Reply, Restored,
    RoomChange, Session, Source, StreamInfo,
};

use super::*;
use crate::fault::{Data, Fault, Forgery, Impostor, Lanes, Refusal};
use crate::trace::Tracer;
use crate::watch::Watch;

fn encoded<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Encoder::default();
    out.put(value);
    out.0
}

/// No two of them are encoded alike, and none begins as another one does, so that lists of them
/// differ, too.
fn all_differ<T: Encode + core::fmt::Debug>(values: &[T]) {
    let mut seen: BTreeMap<Vec<u8>, &T> = BTreeMap::new();
    for value in values {
        let bytes = encoded(value);
        if let Some(other) = seen.insert(bytes, value) {
            panic!("{other:?} is encoded as {value:?} is");
        }
    }
    let sorted: Vec<(&Vec<u8>, &&T)> = seen.iter().collect();
    for pair in sorted.windows(2) {
        let ((one, first), (two, second)) = (pair[0], pair[1]);
        assert!(!two.starts_with(one), "the bytes of {first:?} are the beginning of those of {second:?}");
    }
}

/// The variants are numbered from 1, and each is among the values.
fn has_tags<T: Encode>(values: &[T], last: u8) {
    let tags: BTreeSet<u8> = values.iter().map(|value| encoded(value)[0]).collect();
    assert_eq!(tags, (1..=last).collect::<BTreeSet<u8>>());
}

fn text(text: &str) -> ByteString {
    text.into()
}

fn texts(names: &[&str]) -> Vec<ByteString> {
    names.iter().map(|name| text(name)).collect()
}

fn id(ms: u64, seq: u64) -> EntryId {
    EntryId { ms, seq }
}

fn json(text: &str) -> Payload {
    Payload::from_json(text.to_owned()).unwrap()
}

fn packed() -> Payload {
    Payload::from_msgpack(&b"1"[..]).unwrap()
}

fn server(code: &str, message: &str) -> CommandError {
    CommandError::Server { code: code.into(), message: message.into() }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
    pairs.iter().copied().collect()
}

/// Two tickets and two names of commands: only an engine gives them.
fn given() -> ([Ticket; 2], [CommandId; 2]) {
    let config = Config { dialect: Dialect::Streams02, ..Config::default() };
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    let mut ids = Vec::new();
    while let Some((id, command)) = engine.poll_command() {
        if matches!(command, Command::XInfoStream { .. }) {
            engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(None)));
        }
        ids.push(id);
    }
    let mut say = || engine.broadcast(Time::ZERO, "/", packet(), BroadcastOptions::all()).unwrap();
    ([say(), say()], [ids[0], ids[1]])
}

fn packet() -> Packet {
    Packet::event("said", &(1,)).unwrap()
}

#[test]
fn what_makes_up_everything_else_differs() {
    all_differ(&[0_u64, 1, 256, u64::MAX]);
    all_differ(&[0_i64, 1, -1, i64::MIN]);
    all_differ(&[0_usize, 1, usize::MAX]);
    assert_eq!(encoded(&usize::MAX), encoded(&u64::MAX));
    all_differ(&[false, true]);
    all_differ(&[millis(1), millis(2), Duration::from_secs(1), Duration::from_nanos(1), Duration::ZERO]);
    all_differ(&[None, Some(text("")), Some(text("\0")), Some(text("\u{1}"))]);
    all_differ(&[texts(&[]), texts(&[""]), texts(&["", ""]), texts(&["ab", "c"]), texts(&["a", "bc"])]);
    all_differ(&[Ok::<u64, u64>(1), Err(1), Ok(2)]);
    all_differ(&[json("1"), packed(), json("2")]);
    let ([one, two], [three, four]) = given();
    all_differ(&[one, two]);
    all_differ(&[three, four]);
}

#[test]
fn numbers_that_their_types_keep_are_found() {
    let ([ticket, _], [command, _]) = given();
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes.try_into().unwrap());
    assert_eq!(format!("#{}", number(encoded(&ticket))), ticket.to_string());
    assert_eq!(format!("c{}", number(encoded(&command))), command.to_string());
}

fn lanes() -> Vec<Lane> {
    vec![Lane::Writer, Lane::Reader(text("s")), Lane::Reader(text("t")), Lane::Subscriber, Lane::Recovery]
}

fn commands() -> Vec<Command> {
    let mut commands = Vec::new();
    let pairs: [&[(&str, &str)]; 5] =
        [&[], &[("a", "b")], &[("ab", "")], &[("a", "c")], &[("a", "b"), ("a", "b")]];
    let added =
        pairs.map(|pairs| Command::XAdd { stream: text("s"), max_len: 1, fields: fields(pairs).into() });
    commands.extend(added);
    commands.push(Command::XAdd { stream: text("t"), max_len: 1, fields: Fields::new().into() });
    commands.push(Command::XAdd { stream: text("s"), max_len: 2, fields: Fields::new().into() });
    for (name, at, count, wait) in
        [("s", 1, 1, 1), ("t", 1, 1, 1), ("s", 2, 1, 1), ("s", 1, 2, 1), ("s", 1, 1, 2)]
    {
        let (stream, after, block) = (text(name), id(at, 0), millis(wait));
        commands.push(Command::XRead { stream: stream.clone(), after, count, block });
        commands.push(Command::Set {
            key: stream.clone(),
            value: vec![count as u8; at as usize].into(),
            px: block,
        });
        if wait == 1 {
            commands.push(Command::XRange { stream: stream.clone(), after, count });
            commands.push(Command::XRevRange { stream, before: after, count });
        }
    }
    for (name, end, sharded) in [("s", 1, false), ("t", 1, false), ("s", 2, true)] {
        let (key, payload) = (text(name), Bytes::from(vec![1; end]));
        commands.push(Command::GetRange { key: key.clone(), end: end as u32 });
        commands.push(Command::Publish { channel: key.clone(), payload, sharded });
        if end == 1 {
            commands.push(Command::GetDel { key: key.clone() });
            commands.push(Command::XInfoStream { stream: key.clone() });
            commands.push(Command::PSubscribe { patterns: texts(&[name]) });
            commands.push(Command::PUnsubscribe { patterns: texts(&[name]) });
            // The last field alone, too.
            commands.push(Command::Publish {
                channel: key,
                payload: Bytes::from_static(&[1]),
                sharded: true,
            });
        }
    }
    for (name, sharded) in [("s", false), ("t", false), ("s", true)] {
        let channels = || texts(&[name]);
        commands.push(Command::Subscribe { channels: channels(), sharded });
        commands.push(Command::Unsubscribe { channels: channels(), sharded });
        commands.push(Command::PubSubNumSub { channels: channels(), sharded });
        commands.push(Command::PubSubChannels { pattern: text(name), sharded });
    }
    commands.push(Command::Subscribe { channels: texts(&["s", "t"]), sharded: false });
    commands.extend(lanes().into_iter().map(|lane| Command::Release { lane }));
    commands
}

fn errors() -> Vec<CommandError> {
    vec![
        CommandError::NotSent("words".into()),
        CommandError::Lost("words".into()),
        server("OOM", "full"),
        server("BUSY", "full"),
        server("OOM", "empty"),
        CommandError::Unusable("words".into()),
    ]
}

fn replies() -> Vec<Reply> {
    let none = StreamInfo::default();
    let stream = |info| Reply::Stream(Some(info));
    let entry = |ms, pairs| Entry { id: id(ms, 0), fields: fields(pairs) };
    vec![
        Reply::Added(id(1, 2)),
        Reply::Added(id(1, 3)),
        Reply::Added(id(2, 2)),
        Reply::Entries(vec![]),
        Reply::Entries(vec![entry(1, &[])]),
        Reply::Entries(vec![entry(2, &[])]),
        Reply::Entries(vec![entry(1, &[("a", "b")])]),
        Reply::Stream(None),
        stream(none),
        stream(StreamInfo { length: 1, ..none }),
        stream(StreamInfo { last_generated_id: id(1, 0), ..none }),
        stream(StreamInfo { entries_added: Some(0), ..none }),
        stream(StreamInfo { max_deleted_entry_id: Some(id(0, 0)), ..none }),
        stream(StreamInfo { first_entry_id: Some(id(0, 0)), ..none }),
        Reply::Counts(vec![1]),
        Reply::Counts(vec![2]),
        Reply::Channels(texts(&["a"])),
        Reply::Channels(texts(&["b"])),
        Reply::Value(None),
        Reply::Value(Some(Bytes::new())),
        Reply::Value(Some(Bytes::from_static(b"a"))),
        Reply::Done,
    ]
}

#[test]
fn commands_replies_and_errors_differ() {
    all_differ(&lanes());
    has_tags(&lanes(), 4);
    all_differ(&commands());
    has_tags(&commands(), 16);
    all_differ(&replies());
    has_tags(&replies(), 7);
    all_differ(&errors());
    has_tags(&errors(), 4);
    assert_eq!(
        encoded(&CommandError::Lost("one sentence".into())),
        encoded(&CommandError::Lost("another one".into())),
        "what the engine says in words may be said better"
    );
}

fn deliveries() -> Vec<Delivery> {
    let base = || Delivery {
        nsp: text("/"),
        packet: packet(),
        opts: BroadcastOptions::all(),
        offset: None,
        from: NodeId::new("a"),
        responder: None,
    };
    let with = |change: &dyn Fn(&mut Delivery)| {
        let mut delivery = base();
        change(&mut delivery);
        delivery
    };
    let flag = |change: fn(&mut Flags)| with(&|it| change(&mut it.opts.flags));
    vec![
        base(),
        with(&|it| it.nsp = text("/a")),
        with(&|it| it.packet.kind = 5),
        with(&|it| it.packet.data = json("2")),
        with(&|it| it.packet.nsp = Some(text("/"))),
        with(&|it| it.packet.id = Some(0)),
        with(&|it| it.opts.rooms = texts(&["a"])),
        with(&|it| it.opts.except = texts(&["a"])),
        with(&|it| it.offset = Some(id(0, 0))),
        with(&|it| it.from = NodeId::new("b")),
        flag(|flags| flags.volatile = Some(false)),
        flag(|flags| flags.volatile = Some(true)),
        flag(|flags| flags.compress = Some(true)),
        flag(|flags| flags.local = Some(true)),
        flag(|flags| flags.broadcast = Some(true)),
        flag(|flags| flags.binary = Some(true)),
        flag(|flags| flags.timeout = Some(millis(1))),
        flag(|flags| flags.expect_single_response = Some(true)),
        flag(|flags| flags.other = vec![(text("a"), json("1"))]),
        flag(|flags| flags.other = vec![(text("a"), json("2"))]),
        flag(|flags| flags.other = vec![(text("b"), json("1"))]),
    ]
}

fn moved() -> Vec<Moved> {
    let (room, socket) = (|| text("r"), || text("s"));
    let base = Moved { nsp: text("/"), sockets: vec![], rooms: vec![], changes: vec![] };
    let changes = [
        RoomChange::Create { room: room() },
        RoomChange::Create { room: socket() },
        RoomChange::Join { room: room(), socket: socket() },
        RoomChange::Join { room: room(), socket: room() },
        RoomChange::Join { room: socket(), socket: socket() },
        RoomChange::Leave { room: room(), socket: socket() },
        RoomChange::Leave { room: room(), socket: room() },
        RoomChange::Leave { room: socket(), socket: socket() },
        RoomChange::Delete { room: room() },
        RoomChange::Delete { room: socket() },
    ];
    has_tags(&changes, 4);
    let mut all = vec![
        base.clone(),
        Moved { nsp: text("/a"), ..base.clone() },
        Moved { sockets: texts(&["a"]), ..base.clone() },
        Moved { rooms: texts(&["a"]), ..base.clone() },
    ];
    all.extend(changes.map(|change| Moved { changes: vec![change], ..base.clone() }));
    all
}

fn answers() -> Vec<Answer> {
    let base = RemoteSocket { id: text("a"), handshake: json("1"), rooms: vec![], data: json("1") };
    let sockets = |socket| Answer::Sockets(vec![socket]);
    vec![
        Answer::Sockets(vec![]),
        sockets(base.clone()),
        sockets(RemoteSocket { id: text("b"), ..base.clone() }),
        sockets(RemoteSocket { handshake: json("2"), ..base.clone() }),
        sockets(RemoteSocket { rooms: texts(&["a"]), ..base.clone() }),
        sockets(RemoteSocket { data: json("2"), ..base }),
        Answer::Emit(json("1")),
        Answer::Emit(json("2")),
        Answer::ClientCount(1),
        Answer::ClientCount(2),
        Answer::Ack(json("1")),
        Answer::Ack(json("2")),
        Answer::SocketIds(texts(&["a"])),
        Answer::SocketIds(texts(&["b"])),
        Answer::Rooms(texts(&["a"])),
        Answer::Rooms(texts(&["b"])),
        Answer::Done,
    ]
}

fn outcomes() -> Vec<Outcome> {
    let base = Outcome::default();
    vec![
        base.clone(),
        Outcome { answered: vec![NodeId::new("a")], ..base.clone() },
        Outcome { answered_unnamed: 1, ..base.clone() },
        Outcome { missing: vec![NodeId::new("a")], ..base.clone() },
        Outcome { missing_unnamed: 1, ..base.clone() },
        Outcome { timed_out: true, ..base.clone() },
        Outcome { pending: true, ..base.clone() },
        Outcome { clients: 1, ..base.clone() },
        Outcome { acks: 1, ..base.clone() },
        Outcome { error: Some(server("OOM", "full")), ..base },
    ]
}

fn restored() -> Vec<Restored> {
    let ([ticket, other], _) = given();
    let session = || Session { sid: text("s"), pid: text("p"), rooms: vec![], data: json("1") };
    let base = || Restored {
        ticket,
        nsp: text("/"),
        session: session(),
        missed: vec![],
        position: id(1, 0),
        changes: vec![],
    };
    vec![
        base(),
        Restored { ticket: other, ..base() },
        Restored { nsp: text("/a"), ..base() },
        Restored { session: Session { sid: text("t"), ..session() }, ..base() },
        Restored { session: Session { pid: text("q"), ..session() }, ..base() },
        Restored { session: Session { rooms: texts(&["a"]), ..session() }, ..base() },
        Restored { session: Session { data: json("2"), ..session() }, ..base() },
        Restored { position: id(2, 0), ..base() },
        Restored { changes: vec![RoomChange::Create { room: text("a") }], ..base() },
    ]
}

fn reasons() -> Vec<NotRecovered> {
    let what = "entries";
    vec![
        NotRecovered::InvalidPid,
        NotRecovered::InvalidOffset,
        NotRecovered::NoSession,
        NotRecovered::SessionTooLarge { limit: 1 },
        NotRecovered::SessionTooLarge { limit: 2 },
        NotRecovered::Malformed("words".into()),
        NotRecovered::OtherNamespace("/a".into()),
        NotRecovered::OtherNamespace("/b".into()),
        NotRecovered::Trimmed,
        NotRecovered::UnknownOffset,
        NotRecovered::TooMuch { what, limit: 1 },
        NotRecovered::TooMuch { what, limit: 2 },
        NotRecovered::Busy { what, limit: 1 },
        NotRecovered::Busy { what, limit: 2 },
        NotRecovered::TwoStreams,
        NotRecovered::Closed,
        NotRecovered::TimedOut,
        NotRecovered::Command(server("OOM", "full")),
        NotRecovered::Command(server("BUSY", "full")),
    ]
}

fn wire_errors() -> Vec<WireError> {
    let bad = |text: &str| WireError::Json(serde_json::from_str::<u64>(text).unwrap_err());
    vec![
        WireError::MissingField("uid"),
        WireError::MissingField("nsp"),
        WireError::UnknownType("a".into()),
        WireError::UnknownType("b".into()),
        WireError::MissingKey { kind: 3, key: "a" },
        WireError::MissingKey { kind: 4, key: "a" },
        WireError::MissingKey { kind: 3, key: "b" },
        bad("?"),
        bad("\"text\""),
        bad(""),
        WireError::MsgPack(MsgPackError::Truncated { at: 1 }),
        WireError::MsgPack(MsgPackError::Truncated { at: 2 }),
        WireError::MsgPack(MsgPackError::Trailing { at: 1 }),
        WireError::MsgPack(MsgPackError::Marker { at: 1 }),
        WireError::MsgPack(MsgPackError::TooDeep { at: 1 }),
        WireError::MsgPack(MsgPackError::Key { at: 1 }),
        WireError::MsgPack(MsgPackError::Unexpected { at: 1, expected: "words" }),
        WireError::Base64(base64::DecodeError::InvalidByte(1, 2)),
        WireError::Base64(base64::DecodeError::InvalidByte(2, 2)),
        WireError::Base64(base64::DecodeError::InvalidByte(1, 1)),
        WireError::Base64(base64::DecodeError::InvalidLength(1)),
        WireError::Base64(base64::DecodeError::InvalidLastSymbol(1, 2)),
        WireError::Base64(base64::DecodeError::InvalidPadding),
        WireError::Codec("words".into()),
        WireError::NameTooLong { size: 1, limit: 1 },
        WireError::NameTooLong { size: 2, limit: 1 },
        WireError::NameTooLong { size: 1, limit: 2 },
        WireError::PacketData,
        WireError::RoomName,
        WireError::PacketType,
        WireError::PacketId,
        WireError::EventName,
        WireError::Placeholder,
    ]
}

fn sources() -> Vec<Source> {
    vec![
        Source::Entry { stream: text("s"), id: id(1, 0) },
        Source::Entry { stream: text("t"), id: id(1, 0) },
        Source::Entry { stream: text("s"), id: id(2, 0) },
        Source::Channel { channel: text("s") },
        Source::Channel { channel: text("t") },
    ]
}

/// Two of each variant for each of its fields; those with parts of their own come with all of
/// theirs.
fn events() -> Vec<Event> {
    let ([ticket, other], _) = given();
    let (s, node, error) = (|| text("s"), || NodeId::new("a"), || server("OOM", "full"));
    let mut events = vec![
        Event::DisconnectSockets { nsp: s(), sockets: vec![], close: false },
        Event::DisconnectSockets { nsp: text("t"), sockets: vec![], close: false },
        Event::DisconnectSockets { nsp: s(), sockets: texts(&["a"]), close: false },
        Event::DisconnectSockets { nsp: s(), sockets: vec![], close: true },
        Event::ServerSideEmit { nsp: s(), packet: json("1"), from: node(), responder: None },
        Event::ServerSideEmit { nsp: text("t"), packet: json("1"), from: node(), responder: None },
        Event::ServerSideEmit { nsp: s(), packet: json("2"), from: node(), responder: None },
        Event::ServerSideEmit { nsp: s(), packet: json("1"), from: NodeId::new("b"), responder: None },
        Event::Published { ticket, entry: None },
        Event::Published { ticket: other, entry: None },
        Event::Published { ticket, entry: Some(id(0, 0)) },
        Event::PublishFailed { ticket: other, error: error() },
        Event::NoticeFailed { stream: text("t"), error: error() },
        Event::Answer { ticket: other, from: node(), answer: Answer::Done },
        Event::Answer { ticket, from: NodeId::new("b"), answer: Answer::Done },
        Event::RequestDone { ticket: other, outcome: Outcome::default() },
        Event::ServerCount { ticket, count: Ok(1) },
        Event::ServerCount { ticket: other, count: Ok(1) },
        Event::ServerCount { ticket, count: Ok(2) },
        Event::SessionSaved { ticket, result: Ok(()) },
        Event::SessionSaved { ticket: other, result: Ok(()) },
        Event::NotRecovered { ticket: other, reason: NotRecovered::Closed },
        Event::NodeUp { nsp: s(), node: node() },
        Event::NodeUp { nsp: s(), node: NodeId::new("b") },
        Event::NodeUp { nsp: text("t"), node: node() },
        Event::NodeDown { nsp: s(), node: node(), reason: DownReason::Closed },
        Event::NodeDown { nsp: s(), node: node(), reason: DownReason::Silent },
        Event::NodeDown { nsp: s(), node: NodeId::new("b"), reason: DownReason::Closed },
        Event::NodeDown { nsp: text("t"), node: node(), reason: DownReason::Closed },
        Event::Link { lane: Lane::Writer, up: true },
        Event::Link { lane: Lane::Writer, up: false },
        Event::Refused { lane: Lane::Subscriber, error: error() },
        Event::Repeated { stream: s(), id: id(1, 0), from: node() },
        Event::Repeated { stream: text("t"), id: id(1, 0), from: node() },
        Event::Repeated { stream: s(), id: id(2, 0), from: node() },
        Event::Repeated { stream: s(), id: id(1, 0), from: NodeId::new("b") },
        Event::NameTaken { stream: s(), id: id(1, 0) },
        Event::NameTaken { stream: text("t"), id: id(1, 0) },
        Event::NameTaken { stream: s(), id: id(2, 0) },
    ];
    for nsp in ["s", "t"] {
        events.push(Event::Ready { nsp: text(nsp) });
        events.push(Event::Closed { nsp: text(nsp) });
    }
    for (name, one, two, lost) in [
        ("s", 1, 1, Lost::Unknown),
        ("t", 1, 1, Lost::Unknown),
        ("s", 2, 1, Lost::Unknown),
        ("s", 1, 2, Lost::Unknown),
        ("s", 1, 1, Lost::Exactly(1)),
        ("s", 1, 1, Lost::Exactly(2)),
    ] {
        let (stream, one, two) = (text(name), id(one, 0), id(two, 0));
        events.push(Event::Rewound { stream: stream.clone(), cursor: one, last: two, lost });
        events.push(Event::Gap { stream, after: one, until: two, lost });
    }
    for error in errors() {
        events.push(Event::PublishFailed { ticket, error: error.clone() });
        events.push(Event::NoticeFailed { stream: s(), error: error.clone() });
        events.push(Event::ServerCount { ticket, count: Err(error.clone()) });
        events.push(Event::SessionSaved { ticket, result: Err(error.clone()) });
        events.push(Event::Refused { lane: Lane::Writer, error });
    }
    events.extend(deliveries().into_iter().map(Event::Broadcast));
    events.extend(moved().into_iter().map(Event::SocketsJoin));
    events.extend(moved().into_iter().map(Event::SocketsLeave));
    events.extend(answers().into_iter().map(|answer| Event::Answer { ticket, from: node(), answer }));
    events.extend(outcomes().into_iter().map(|outcome| Event::RequestDone { ticket, outcome }));
    events.extend(restored().into_iter().map(Event::Restored));
    events.extend(reasons().into_iter().map(|reason| Event::NotRecovered { ticket, reason }));
    let skipped = |source: &Source, reason| Event::Skipped { source: source.clone(), reason };
    events.extend(sources().iter().map(|source| skipped(source, WireError::RoomName)));
    let at = Source::Channel { channel: text("skipped") };
    events.extend(wire_errors().into_iter().map(|reason| skipped(&at, reason)));
    events
}

/// Events that ask for an answer, which only an engine that was asked makes.
fn asked() -> Event {
    let config = Config { dialect: Dialect::Streams02, ..Config::default() };
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    for _ in 0..9 {
        while let Some(event) = engine.poll_event() {
            if matches!(event, Event::FetchSockets { .. }) {
                return event;
            }
            if matches!(event, Event::Ready { .. }) {
                engine.fetch_sockets(Time::ZERO, "/", BroadcastOptions::all()).unwrap();
            }
        }
        while let Some((id, command)) = engine.poll_command() {
            match command {
                Command::XInfoStream { .. } => engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(None))),
                Command::XAdd { .. } => {
                    engine.handle_reply(Time::ZERO, id, Ok(Reply::Added(EntryId { ms: 1, seq: 1 })));
                }
                _ => {}
            }
        }
    }
    panic!("an engine asks itself, too");
}

#[test]
fn events_differ() {
    has_tags(&answers(), 7);
    has_tags(&reasons(), 14);
    has_tags(&wire_errors(), 14);
    has_tags(&sources(), 2);
    let mut events = events();
    events.push(asked());
    let Event::FetchSockets { nsp, responder, .. } = asked() else { unreachable!() };
    events.push(Event::FetchSockets { nsp, sockets: texts(&["a"]), responder });
    let Event::FetchSockets { sockets, responder, .. } = asked() else { unreachable!() };
    events.push(Event::FetchSockets { nsp: text("/a"), sockets, responder });
    all_differ(&events);
    has_tags(&events, 26);
}

fn faults() -> Vec<Fault> {
    let (a, b) = (millis(1), millis(2));
    let cut = |host, lanes, executed, late, lasts| Fault::Cut { host, lanes, executed, late, lasts };
    let restart = |data, away, loading| Fault::Restart { data, away, loading };
    let forged =
        |host, stream, nsp, number| Fault::Forged { host, stream: text(stream), nsp: text(nsp), number };
    let noise = |channel, payload: &'static str, sharded| Fault::Noise {
        channel: text(channel),
        payload: payload.into(),
        sharded,
    };
    let failover = |lost, demoted, away| Fault::Failover { lost, demoted, away };
    let mut faults = vec![
        cut(1, Lanes::All, 0, a, a),
        cut(2, Lanes::All, 0, a, a),
        cut(1, Lanes::All, 1, a, a),
        cut(1, Lanes::All, 0, b, a),
        cut(1, Lanes::All, 0, a, b),
        Fault::Crash { host: 1, back_after: None },
        Fault::Crash { host: 2, back_after: None },
        Fault::Crash { host: 1, back_after: Some(a) },
        restart(Data::Kept, a, a),
        restart(Data::Lost, a, a),
        restart(Data::TailLost(1), a, a),
        restart(Data::TailLost(2), a, a),
        restart(Data::Kept, b, a),
        restart(Data::Kept, a, b),
        failover(1, a, a),
        failover(2, a, a),
        failover(1, b, a),
        failover(1, a, b),
        Fault::Freeze { lasts: a },
        Fault::Freeze { lasts: b },
        Fault::KillClients,
        Fault::ServerClockJump { millis: 1 },
        Fault::ServerClockJump { millis: -1 },
        Fault::Trim { stream: text("s"), length: 1 },
        Fault::Trim { stream: text("s"), length: 2 },
        Fault::Trim { stream: text("t"), length: 1 },
        noise("a", "", false),
        noise("b", "", false),
        noise("a", "a", false),
        noise("a", "", true),
        forged(1, "s", "/", Forgery::Highest),
        forged(2, "s", "/", Forgery::Highest),
        forged(1, "t", "/", Forgery::Highest),
        forged(1, "s", "/a", Forgery::Highest),
        forged(1, "s", "/", Forgery::Behind),
        forged(1, "s", "/", Forgery::Plausible),
        forged(1, "s", "/", Forgery::None),
        Fault::FalseAnswer { who: Impostor::Nobody },
        Fault::FalseAnswer { who: Impostor::Stranger },
        Fault::FalseAnswer { who: Impostor::Parrot },
        Fault::Foreign { stream: text("s"), fields: Fields::new().into() },
        Fault::Foreign { stream: text("t"), fields: Fields::new().into() },
        Fault::Foreign { stream: text("s"), fields: Box::new(fields(&[("a", "b")])) },
    ];
    for lanes in [Lanes::Writer, Lanes::Readers, Lanes::Subscriber, Lanes::Recovery] {
        faults.push(cut(1, lanes, 0, a, a));
    }
    for (host, count, lasts) in [(1, 1, a), (2, 1, a), (1, 2, b)] {
        faults.push(Fault::Stall { host, lanes: Lanes::All, lasts });
        faults.push(Fault::Pause { host, lasts });
        faults.push(Fault::SlowApp { host, lasts });
        faults.push(Fault::ClockJump { host, by: lasts });
        faults.push(Fault::Garble { host, replies: count });
    }
    faults.push(Fault::Stall { host: 1, lanes: Lanes::Writer, lasts: a });
    for refusal in [
        Refusal::OutOfMemory,
        Refusal::ReadOnly,
        Refusal::Misconfigured,
        Refusal::Loading,
        Refusal::Busy,
        Refusal::NoPermission,
    ] {
        faults.push(Fault::Refuse { refusal, lasts: a });
        faults.push(Fault::Falter { refusal, commands: 1, lasts: a });
    }
    faults.push(Fault::Refuse { refusal: Refusal::Busy, lasts: b });
    faults.push(Fault::Falter { refusal: Refusal::Busy, commands: 2, lasts: a });
    faults.push(Fault::Falter { refusal: Refusal::Busy, commands: 1, lasts: b });
    faults
}

#[test]
fn happenings_differ_and_so_do_their_hashes() {
    let (_, [one, two]) = given();
    let (commands, faults, events) = (commands(), faults(), events());
    all_differ(&faults);
    has_tags(&faults, 19);
    let results: Vec<Result<Reply, CommandError>> =
        replies().into_iter().map(Ok).chain(errors().into_iter().map(Err)).collect();
    let (s, t, none, some) = (text("s"), text("t"), BTreeSet::new(), BTreeSet::from([text("s")]));
    let (empty, full) = (Bytes::new(), Bytes::from_static(b"a"));
    let notes = [
        PeerNote::Delivered { data: json("1") },
        PeerNote::Delivered { data: json("2") },
        PeerNote::Answered { question: 1 },
        PeerNote::Answered { question: 2 },
        PeerNote::TimedOut { question: 1, answers: 1, expected: 1 },
        PeerNote::TimedOut { question: 2, answers: 1, expected: 1 },
        PeerNote::TimedOut { question: 1, answers: 2, expected: 1 },
        PeerNote::TimedOut { question: 1, answers: 1, expected: 2 },
        PeerNote::Poisoned { reason: "words".into() },
    ];
    has_tags(&notes, 4);
    let mut all = vec![Happening::Asked { host: 1, id: two, command: &commands[0] }];
    for command in &commands {
        all.push(Happening::Asked { host: 1, id: one, command });
        all.push(Happening::Executed { host: 1, command, reply: &results[0] });
    }
    for reply in &results {
        all.push(Happening::Executed { host: 2, command: &commands[0], reply });
        all.push(Happening::Replied { host: 1, lane: &Lane::Writer, id: one, reply });
    }
    all.push(Happening::Replied { host: 1, lane: &Lane::Recovery, id: one, reply: &results[0] });
    all.push(Happening::Replied { host: 1, lane: &Lane::Writer, id: two, reply: &results[0] });
    for (host, up, name, payload, number) in
        [(1, true, "s", &empty, None), (2, true, "s", &empty, None), (1, false, "t", &full, Some(1))]
    {
        let (channel, channels) = if up { (&s, &none) } else { (&t, &some) };
        all.push(Happening::Pushed { host, channel, payload });
        all.push(Happening::Link { host, lane: &Lane::Writer, up });
        all.push(Happening::Hears { host, channels, less: number.map(Time::from_micros) });
        all.push(Happening::Started { host, uid: name });
        if up {
            all.push(Happening::Event { host, event: &events[0] });
            all.push(Happening::Drained { host });
            all.push(Happening::Died { host });
            all.push(Happening::Healed { what: "words", host: Some(host) });
            all.push(Happening::Peer { host: host + 1, note: &notes[0] });
        }
    }
    all.push(Happening::Pushed { host: 1, channel: &t, payload: &empty });
    all.push(Happening::Pushed { host: 1, channel: &s, payload: &full });
    all.push(Happening::Link { host: 1, lane: &Lane::Recovery, up: true });
    all.push(Happening::Hears { host: 1, channels: &some, less: None });
    all.push(Happening::Hears { host: 1, channels: &none, less: Some(Time::ZERO) });
    all.push(Happening::TailLost { stream: &s, entries: None });
    all.push(Happening::TailLost { stream: &t, entries: None });
    all.push(Happening::TailLost { stream: &s, entries: Some(0) });
    all.push(Happening::Healed { what: "words", host: None });
    all.extend(events[1..].iter().map(|event| Happening::Event { host: 1, event }));
    all.extend(faults.iter().map(Happening::Fault));
    all.extend(notes.iter().map(|note| Happening::Peer { host: 1, note }));
    all_differ(&all);
    has_tags(&all, 14);
    let hash = |now, what: &Happening<'_>| {
        let mut tracer = Tracer::exact();
        tracer.saw(now, what);
        tracer.hash()
    };
    let hashes: BTreeSet<u64> = all.iter().map(|what| hash(Time::ZERO, what)).collect();
    assert_eq!(hashes.len(), all.len());
    assert_ne!(hash(Time::ZERO, &all[0]), hash(Time::from_micros(1), &all[0]));
}

/// The hashes in `sim/hashes.txt` hold as long as these bytes do not change.
#[test]
fn the_bytes_are_fixed() {
    fn hex(what: &Happening<'_>) -> String {
        Encoder::default().bytes_of(what).iter().map(|byte| format!("{byte:02x}")).collect()
    }
    let number = |number: u8| format!("{number:02x}00000000000000");
    let [zero, one, two, three] = [0, 1, 2, 3].map(number);

    let command = Command::XAdd { stream: text("ab"), max_len: 3, fields: fields(&[("c", "")]).into() };
    let executed = Happening::Executed { host: 1, command: &command, reply: &Ok(Reply::Added(id(2, 3))) };
    let added = format!("01{two}6162{three}{one}{one}63{zero}");
    assert_eq!(hex(&executed), format!("02{one}{added}0101{two}{three}"));

    let (lane, error) = (Lane::Reader(text("a")), Err(server("OOM", "b")));
    let executed =
        Happening::Executed { host: usize::MAX, command: &Command::Release { lane }, reply: &error };
    let released = format!("1002{one}61");
    assert_eq!(hex(&executed), format!("02ffffffffffffffff{released}0203{three}4f4f4d{one}62"));

    let channels = BTreeSet::from([text("b"), text("a")]);
    let hears = Happening::Hears { host: 2, channels: &channels, less: Some(Time::from_micros(3)) };
    assert_eq!(hex(&hears), format!("08{two}{two}{one}61{one}6201{three}"));

    let event = Event::ServerSideEmit {
        nsp: text("/"),
        packet: json("[1]"),
        from: NodeId::new("a"),
        responder: None,
    };
    let happening = Happening::Event { host: 0, event: &event };
    assert_eq!(hex(&happening), format!("05{zero}08{one}2f01{three}5b315d{one}6100"));

    let fault = Fault::Crash { host: 3, back_after: Some(Duration::new(1, 2)) };
    assert_eq!(hex(&Happening::Fault(&fault)), format!("0c06{three}01{one}{two}"));

    let mut tracer = Tracer::exact();
    for what in [&executed, &hears, &happening, &Happening::Fault(&fault)] {
        tracer.saw(Time::from_micros(7), what);
    }
    assert_eq!(tracer.hash(), 9_653_574_599_658_408_677);
}
