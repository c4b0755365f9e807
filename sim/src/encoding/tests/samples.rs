//! Values of every kind, each different from the others in one field at least.

use sio_streams_core::wire::{MsgPackError, WireError, entry};
use sio_streams_core::{
    Answer, BroadcastOptions, Command, CommandError, Config, Delivery, Dialect, DownReason, Engine, Entry,
    Event, Fields, Flags, Lane, Limit, LinkState, Lost, Moved, NotRecovered, Outcome, Packet, RemoteSocket,
    Reply, Restored, RoomChange, Session, Source, StreamInfo,
};

use super::super::*;
use super::has_tags;

pub(super) fn text(text: &str) -> ByteString {
    text.into()
}

pub(super) fn texts(names: &[&str]) -> Vec<ByteString> {
    names.iter().map(|name| text(name)).collect()
}

pub(super) fn id(ms: u64, seq: u64) -> EntryId {
    EntryId { ms, seq }
}

pub(super) fn json(text: &str) -> Payload {
    Payload::from_json(text.to_owned()).unwrap()
}

pub(super) fn packed() -> Payload {
    Payload::from_msgpack(&b"1"[..]).unwrap()
}

pub(super) fn server(code: &str, message: &str) -> CommandError {
    CommandError::Server { code: code.into(), message: message.into() }
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
    pairs.iter().copied().collect()
}

/// Two tickets and two names of commands: only an engine gives them.
pub(super) fn given() -> ([Ticket; 2], [CommandId; 2]) {
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

pub(super) fn packet() -> Packet {
    Packet::event("said", &(1,)).unwrap()
}

pub(super) fn lanes() -> Vec<Lane> {
    vec![Lane::Writer, Lane::Reader(text("s")), Lane::Reader(text("t")), Lane::Subscriber, Lane::Recovery]
}

pub(super) fn commands() -> Vec<Command> {
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

pub(super) fn errors() -> Vec<CommandError> {
    vec![
        CommandError::NotSent("words".into()),
        CommandError::Lost("words".into()),
        server("OOM", "full"),
        server("BUSY", "full"),
        server("OOM", "empty"),
        CommandError::Unusable("words".into()),
    ]
}

pub(super) fn replies() -> Vec<Reply> {
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
        Reply::Unreadable { next: EntryId { ms: 1, seq: 2 }, alone: true },
        Reply::Unreadable { next: EntryId { ms: 1, seq: 2 }, alone: false },
    ]
}

pub(super) fn deliveries() -> Vec<Delivery> {
    let base = || Delivery {
        nsp: text("/"),
        packet: packet(),
        opts: BroadcastOptions::all(),
        entry: None,
        offset: None,
        from: Some(NodeId::new("a")),
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
        with(&|it| it.packet = Packet::event("said", &(2,)).unwrap()),
        with(&|it| it.packet = packet().with_nsp("/")),
        with(&|it| it.packet = packet().with_id(0)),
        with(&|it| it.opts.rooms = texts(&["a"])),
        with(&|it| it.opts.except = texts(&["a"])),
        with(&|it| it.entry = Some(id(0, 0))),
        with(&|it| it.offset = Some(id(0, 0))),
        with(&|it| it.from = Some(NodeId::new("b"))),
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

pub(super) fn moved() -> Vec<Moved> {
    let (room, socket) = (|| text("r"), || text("s"));
    let base = Moved {
        nsp: text("/"),
        opts: BroadcastOptions::all(),
        sockets: vec![],
        rooms: vec![],
        changes: vec![],
        from: Some(NodeId::new("a")),
    };
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

pub(super) fn answers() -> Vec<Answer> {
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

pub(super) fn outcomes() -> Vec<Outcome> {
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

pub(super) fn restored() -> Vec<Restored> {
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

pub(super) fn reasons() -> Vec<NotRecovered> {
    let what = Limit::ReplayEntries;
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

pub(super) fn wire_errors() -> Vec<WireError> {
    let bad = |data: &'static str| {
        let fields = [("uid", "a"), ("nsp", "/"), ("type", "3"), ("data", data)];
        entry::decode(&fields.into_iter().collect()).unwrap_err()
    };
    vec![
        WireError::MissingField("uid"),
        WireError::MissingField("nsp"),
        WireError::UnknownType("a".into()),
        WireError::UnknownType("b".into()),
        WireError::MissingKey { kind: 3, key: "a" },
        WireError::MissingKey { kind: 4, key: "a" },
        WireError::MissingKey { kind: 3, key: "b" },
        bad("{?}"),
        bad("{\"packet\":1}"),
        bad("{"),
        WireError::MsgPack(MsgPackError::Truncated { at: 1 }),
        WireError::MsgPack(MsgPackError::Truncated { at: 2 }),
        WireError::MsgPack(MsgPackError::Trailing { at: 1 }),
        WireError::MsgPack(MsgPackError::Marker { at: 1 }),
        WireError::MsgPack(MsgPackError::TooDeep { at: 1 }),
        WireError::MsgPack(MsgPackError::Key { at: 1 }),
        WireError::MsgPack(MsgPackError::Unexpected { at: 1, expected: "words" }),
        bad("A?AA"),
        bad("AA?A"),
        bad("A!AA"),
        bad("A"),
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

pub(super) fn sources() -> Vec<Source> {
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
pub(super) fn events() -> Vec<Event> {
    let ([ticket, other], _) = given();
    let (s, node, error) = (|| text("s"), || NodeId::new("a"), || server("OOM", "full"));
    let mut events = vec![
        Event::DisconnectSockets {
            nsp: s(),
            opts: BroadcastOptions::all(),
            sockets: vec![],
            close: false,
            from: Some(node()),
        },
        Event::DisconnectSockets {
            nsp: text("t"),
            opts: BroadcastOptions::all(),
            sockets: vec![],
            close: false,
            from: Some(node()),
        },
        Event::DisconnectSockets {
            nsp: s(),
            opts: BroadcastOptions::all(),
            sockets: texts(&["a"]),
            close: false,
            from: Some(node()),
        },
        Event::DisconnectSockets {
            nsp: s(),
            opts: BroadcastOptions::all(),
            sockets: vec![],
            close: true,
            from: Some(node()),
        },
        Event::ServerSideEmit { nsp: s(), packet: json("1"), from: Some(node()), responder: None },
        Event::ServerSideEmit { nsp: text("t"), packet: json("1"), from: Some(node()), responder: None },
        Event::ServerSideEmit { nsp: s(), packet: json("2"), from: Some(node()), responder: None },
        Event::ServerSideEmit { nsp: s(), packet: json("1"), from: Some(NodeId::new("b")), responder: None },
        Event::Published { ticket, entry: None },
        Event::Published { ticket: other, entry: None },
        Event::Published { ticket, entry: Some(id(0, 0)) },
        Event::PublishFailed { ticket: other, error: error() },
        Event::NoticeFailed { stream: text("t"), error: error() },
        Event::Answer { ticket: other, from: Some(node()), answer: Answer::Done },
        Event::Answer { ticket, from: Some(NodeId::new("b")), answer: Answer::Done },
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
        Event::Link { lane: Lane::Writer, link: LinkState::Up },
        Event::Link { lane: Lane::Writer, link: LinkState::down("cut") },
        Event::Refused { lane: Lane::Subscriber, channel: None, error: error() },
        Event::Refused { lane: Lane::Subscriber, channel: Some("c".into()), error: error() },
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
        events.push(Event::Refused { lane: Lane::Writer, channel: None, error });
    }
    events.extend(deliveries().into_iter().map(Event::Broadcast));
    events.extend(moved().into_iter().map(Event::SocketsJoin));
    events.extend(moved().into_iter().map(Event::SocketsLeave));
    events.extend(answers().into_iter().map(|answer| Event::Answer { ticket, from: Some(node()), answer }));
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
pub(super) fn asked() -> Event {
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
