mod faults;
mod samples;

use std::collections::{BTreeMap, BTreeSet};

use sio_streams_core::{BroadcastOptions, Command, CommandError, Event, Lane, Reply};

use super::*;
use crate::fault::Fault;
use crate::trace::Tracer;
use crate::watch::Watch;
use faults::faults;
use samples::*;

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

#[test]
fn commands_replies_and_errors_differ() {
    all_differ(&lanes());
    has_tags(&lanes(), 4);
    all_differ(&commands());
    has_tags(&commands(), 16);
    all_differ(&replies());
    has_tags(&replies(), 8);
    all_differ(&errors());
    has_tags(&errors(), 4);
    assert_eq!(
        encoded(&CommandError::Lost("one sentence".into())),
        encoded(&CommandError::Lost("another one".into())),
        "what the engine says in words may be said better"
    );
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
    events.push(Event::FetchSockets {
        nsp,
        opts: BroadcastOptions::all(),
        sockets: texts(&["a"]),
        responder,
    });
    let Event::FetchSockets { sockets, responder, .. } = asked() else { unreachable!() };
    events.push(Event::FetchSockets { nsp: text("/a"), opts: BroadcastOptions::all(), sockets, responder });
    all_differ(&events);
    has_tags(&events, 27);
}

#[test]
fn happenings_differ_and_so_do_their_hashes() {
    let (_, [one, two]) = given();
    let (commands, faults, events) = (commands(), faults(), events());
    all_differ(&faults);
    has_tags(&faults, 21);
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
    all.push(Happening::Sent { host: 1, sockets: &[] });
    all.push(Happening::Sent { host: 2, sockets: &[] });
    let sockets = ["a".into()];
    all.push(Happening::Sent { host: 1, sockets: &sockets });
    all_differ(&all);
    has_tags(&all, 15);
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
        from: Some(NodeId::new("a")),
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
