//! Tests of reading a stream: the start, breaks, and invalid entries.

use sio_streams_core::{
    Command, CommandId, Config, Dialect, Engine, Entry, EntryId, Event, Fields, Lane, Lost, Reply, Source,
    StreamInfo, Time,
};

use crate::cluster::{Cluster, config, located, recovering};

fn stream() -> Lane {
    Lane::Reader("socket.io".into())
}

#[test]
fn the_start_is_a_concrete_id_before_the_node_is_ready() {
    let mut engine = Engine::new(config(Dialect::Streams02), 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    assert!(engine.poll_event().is_none(), "not ready before the place is known");
    let (id, command) = engine.poll_command().unwrap();
    assert_eq!(command, Command::XInfoStream { stream: "socket.io".into() });
    let last = EntryId { ms: 7, seq: 3 };
    let info = StreamInfo { last_generated_id: last, ..StreamInfo::default() };
    engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(Some(info))));
    assert!(matches!(engine.poll_event(), Some(Event::Ready { .. })));
    let commands: Vec<Command> =
        core::iter::from_fn(|| engine.poll_command()).map(|(_, command)| command).collect();
    assert!(
        commands.iter().any(|command| matches!(command, Command::XRead { after, .. } if *after == last)),
        "{commands:?}"
    );
}

#[test]
fn nothing_is_missed_when_the_link_is_cut_before_anything_was_read() {
    let mut cluster = Cluster::ready(&[Dialect::Streams03, Dialect::Streams03]);
    cluster.cut(1, &stream());
    let sent: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &sent {
        cluster.broadcast(0, text);
    }
    cluster.pass(2_000);
    assert_eq!(cluster.heard(1), Vec::<String>::new());
    cluster.mend(1, &stream());
    assert_eq!(cluster.heard(1), sent);
}

#[test]
fn a_link_that_is_cut_again_and_again_repeats_and_drops_nothing() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    let mut sent = Vec::new();
    for round in 0..20 {
        for number in 0..7 {
            sent.push(format!("{round}.{number}"));
            cluster.broadcast(0, &format!("{round}.{number}"));
            match number {
                2 => cluster.cut(1, &stream()),
                5 => cluster.mend(1, &stream()),
                _ => {}
            }
        }
    }
    assert_eq!(cluster.heard(1), sent);
}

#[test]
fn bad_entries_are_skipped_and_reported_and_harm_nothing_behind_them() {
    let mut cluster = Cluster::ready(&[Dialect::Bridge, Dialect::Bridge]);
    let malformed: [&[(&str, &str)]; 12] = [
        &[("nsp", "/"), ("uid", "x"), ("type", "3")],
        &[("nsp", "/"), ("uid", "x"), ("type", "7"), ("data", r#"{"requestId":"r"}"#)],
        &[("nsp", "/"), ("uid", "x"), ("type", "8")],
        &[("nsp", "/"), ("uid", "x"), ("type", "3"), ("data", "{\"packet\":")],
        &[("nsp", "/"), ("uid", "x"), ("type", "3"), ("data", "%%%")],
        &[("nsp", "/"), ("uid", "x"), ("type", "3"), ("data", "wQ==")],
        &[("nsp", "/"), ("uid", "x"), ("type", "14")],
        &[("nsp", "/"), ("uid", "x"), ("type", "")],
        &[("nsp", "/"), ("uid", "x")],
        &[("uid", "x"), ("type", "2")],
        &[("foreign", "entry")],
        &[
            ("nsp", "/"),
            ("uid", "x"),
            ("type", "3"),
            ("data", r#"{"packet":{"type":2,"data":{}},"opts":{}}"#),
        ],
    ];
    for (round, fields) in malformed.iter().enumerate() {
        let fields: Fields =
            fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let id = EntryId { ms: 1_800_000_000_000 + round as u64, seq: 0 };
        cluster.store.add_entry_as(id, "socket.io", fields).unwrap();
        cluster.settle();
        let skipped = cluster.take(1, |event| matches!(event, Event::Skipped { .. }));
        let Some(Event::Skipped { source, .. }) = skipped else { panic!("entry {round} was not reported") };
        assert_eq!(source, Source::Entry { stream: "socket.io".into(), id });
        cluster.broadcast(0, &round.to_string());
        assert_eq!(cluster.heard(1), [round.to_string()]);
    }
}

#[test]
fn a_stream_that_went_back_is_noticed_and_read_on() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    for text in ["a", "b", "c"] {
        cluster.broadcast(0, text);
    }
    cluster.pass(10);
    let before = cluster.store.stream_info("socket.io").unwrap().last_generated_id;
    for index in [0, 1] {
        cluster.cut(index, &stream());
    }
    cluster.store.lose_tail("socket.io", 2);
    let last = cluster.store.stream_info("socket.io").unwrap().last_generated_id;
    for index in [0, 1] {
        cluster.mend(index, &stream());
    }
    let rewound = cluster.take(1, |event| matches!(event, Event::Rewound { .. }));
    let Some(Event::Rewound { cursor, last: now, .. }) = rewound else { panic!("not noticed") };
    assert_eq!((cursor, now), (before, last));
    cluster.heard(1);
    cluster.broadcast(0, "after");
    assert_eq!(cluster.heard(1), ["after"]);
}

#[test]
fn a_stream_that_may_not_be_read_is_reported_once_and_tried_again() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    cluster.cut(0, &stream());
    let refusal = sio_streams_core::CommandError::Server { code: "LOADING".into(), message: "wait".into() };
    cluster.store.refuse_with(Some(refusal.clone()));
    cluster.mend(0, &stream());
    cluster.pass(2_000);
    let refused = cluster.take(0, |event| matches!(event, Event::Refused { .. }));
    assert!(matches!(refused, Some(Event::Refused { error, .. }) if error == refusal));
    assert!(cluster.take(0, |event| matches!(event, Event::Refused { .. })).is_none(), "reported once");
    cluster.store.refuse_with(None);
    cluster.pass(1_000);
    cluster.add(config(Dialect::Streams02));
    cluster.open(1, "/");
    cluster.broadcast(1, "again");
    assert_eq!(cluster.heard(0), ["again"]);
}

#[test]
fn what_node_writes_to_a_stream_that_nobody_reads_is_read() {
    let config = Config { stream_count: 4, ..config(Dialect::Streams03) };
    let mut cluster = Cluster::with_configs([config.clone(), config]);
    for index in [0, 1] {
        cluster.open(index, "/notifications");
    }
    let now = cluster.now();
    let packet = crate::cluster::packet("from ours");
    cluster.nodes[0].engine.broadcast(now, "/notifications", packet, Default::default()).unwrap();
    cluster.settle();
    assert_eq!(cluster.heard(1), ["from ours"]);

    // The stream is the one that the peer's own arithmetic gives.
    let data =
        r#"{"packet":{"type":2,"data":["event","from node"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let fields: Fields =
        [("uid", "0123456789abcdef"), ("nsp", "/notifications"), ("type", "3"), ("data", data)]
            .into_iter()
            .collect();
    let wall = 1_700_000_000_000 + cluster.millis;
    cluster.store.add_entry(wall, "socket.io--3", fields).unwrap();
    cluster.settle();
    assert_eq!(cluster.heard(1), ["from node"]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of entries")]
fn nothing_is_read_on_while_events_are_not_taken() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02, Dialect::Streams02]);
    cluster.nodes[1].stopped = true;
    for number in 0..300 {
        cluster.broadcast(0, &number.to_string());
    }
    // The node's reader has had at most one batch. The rest stays in the stream.
    cluster.nodes[1].stopped = false;
    cluster.settle();
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(cluster.heard(1), expected);
}

/// Returns the commands that are handed out now.
fn commands(engine: &mut Engine) -> Vec<(CommandId, Command)> {
    core::iter::from_fn(|| engine.poll_command()).collect()
}

fn entry(seq: u64, text: &str) -> Entry {
    let data = format!(
        r#"{{"packet":{{"type":2,"data":["event","{text}"]}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#
    );
    let fields = [("uid", "other"), ("nsp", "/"), ("type", "3"), ("data", &data)];
    let fields = fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    Entry { id: EntryId { ms: 1, seq }, fields }
}

#[test]
fn a_busy_stream_holds_up_no_other() {
    let config = Config { stream_count: 2, ..config(Dialect::Streams03) };
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    let names = ["/a", "/"];
    names.iter().for_each(|nsp| engine.open_namespace(Time::ZERO, nsp).unwrap());
    let mut reads = Vec::new();
    let mut next_reads = |engine: &mut Engine| {
        for (id, command) in commands(engine) {
            match command {
                Command::XRead { stream, .. } => reads.push((stream, id)),
                Command::XInfoStream { .. } => engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(None))),
                _ => engine.handle_reply(Time::ZERO, id, Ok(Reply::Done)),
            }
        }
        reads.sort();
        core::mem::take(&mut reads)
    };
    let mut waiting = next_reads(&mut engine);
    waiting.extend(next_reads(&mut engine));
    assert_eq!(waiting.len(), 2);
    let mut heard = Vec::new();
    for seq in 1..5 {
        // Each stream has new entries whenever it is read.
        for (stream, id) in waiting.drain(..) {
            let nsp = names[usize::from(stream == "socket.io-1")];
            let mut entry = entry(seq, "news");
            entry.fields.push("nsp", nsp);
            engine.handle_reply(Time::ZERO, id, Ok(Reply::Entries(vec![entry])));
        }
        heard.extend(core::iter::from_fn(|| engine.poll_event()).find_map(|event| match event {
            Event::Broadcast(delivery) => Some(delivery.nsp),
            _ => None,
        }));
        waiting = next_reads(&mut engine);
    }
    assert_eq!(heard, ["/a", "/", "/a", "/"]);
}

fn delivered(engine: &mut Engine) -> usize {
    core::iter::from_fn(|| engine.poll_event()).filter(|event| matches!(event, Event::Broadcast(_))).count()
}

#[test]
fn a_reply_to_an_earlier_reader_of_the_stream_is_nobodys() {
    let mut engine = located(Time::ZERO);
    let (old_read, _) = commands(&mut engine)
        .into_iter()
        .find(|(_, command)| matches!(command, Command::XRead { .. }))
        .unwrap();
    engine.close_namespace(Time::ZERO, "/").unwrap();
    for (id, command) in commands(&mut engine) {
        let reply = match command {
            Command::XAdd { .. } => Reply::Added(EntryId { ms: 1, seq: 1 }),
            _ => Reply::Done,
        };
        engine.handle_reply(Time::ZERO, id, Ok(reply));
    }
    engine.poll_event();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    engine.handle_reply(Time::ZERO, old_read, Ok(Reply::Entries(vec![entry(2, "late")])));
    assert_eq!(delivered(&mut engine), 0, "before the place is known");
    let (id, command) = commands(&mut engine).pop().unwrap();
    assert!(matches!(command, Command::XInfoStream { .. }), "{command:?}");
    let info = StreamInfo { last_generated_id: EntryId { ms: 1, seq: 2 }, ..StreamInfo::default() };
    engine.handle_reply(Time::ZERO, id, Ok(Reply::Stream(Some(info))));
    let reads = commands(&mut engine);
    let reads: Vec<_> =
        reads.iter().filter(|(_, command)| matches!(command, Command::XRead { .. })).collect();
    assert_eq!(reads.len(), 1, "one at a time: {reads:?}");
}

#[test]
fn a_stream_that_is_emptied_under_its_reader_is_noticed_at_once() {
    let config = Config { read_count: 3, ..config(Dialect::Streams03) };
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    let info = |length, first_entry_id| {
        let (last_generated_id, entries_added) = (EntryId { ms: 1, seq: 5 }, Some(5));
        let max_deleted_entry_id = Some(EntryId::ZERO);
        Some(StreamInfo { length, last_generated_id, entries_added, max_deleted_entry_id, first_entry_id })
    };
    let all = ["1", "2", "3"].into_iter().zip(1..).map(|(text, seq)| entry(seq, text)).collect();
    let mut replies = [
        Reply::Stream(None),
        Reply::Entries(all),
        Reply::Stream(info(5, Some(EntryId { ms: 1, seq: 1 }))),
        // The next read began with the third entry.
        Reply::Entries(Vec::new()),
        Reply::Stream(info(0, None)),
    ]
    .into_iter();
    let mut events = Vec::new();
    for _ in 0..10 {
        for (id, command) in commands(&mut engine) {
            if matches!(command, Command::XInfoStream { .. } | Command::XRead { .. })
                && let Some(reply) = replies.next()
            {
                engine.handle_reply(Time::ZERO, id, Ok(reply));
            } else if matches!(command, Command::Subscribe { .. }) {
                engine.handle_reply(Time::ZERO, id, Ok(Reply::Done));
            }
        }
        events.extend(core::iter::from_fn(|| engine.poll_event()));
    }
    let gap = events.into_iter().find(|event| matches!(event, Event::Gap { .. }));
    let Some(Event::Gap { after, until, lost, .. }) = gap else { panic!("not noticed") };
    assert_eq!((after, until), (EntryId { ms: 1, seq: 3 }, EntryId { ms: 1, seq: 5 }));
    assert_eq!(lost, Lost::Exactly(2));
}

/// Reads from a stream that always has more entries of this size than are asked for. Returns the
/// number that was asked for, each time.
fn counts(config: Config, size: usize, mut full: impl FnMut(usize) -> bool) -> Vec<u32> {
    let mut engine = Engine::new(config, 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    let (mut counts, mut last) = (Vec::new(), 0);
    let info = |last: u64, length: u64| StreamInfo {
        length,
        last_generated_id: EntryId { ms: last, seq: 0 },
        entries_added: Some(length),
        first_entry_id: Some(EntryId { ms: 1, seq: 0 }),
        ..StreamInfo::default()
    };
    while counts.len() < 10 {
        for (id, command) in commands(&mut engine) {
            let reply = match command {
                Command::XInfoStream { .. } => Reply::Stream(Some(info(last, last))),
                Command::XRead { after, count, .. } => {
                    // An entry that two reads overlap on counts once.
                    let repeated = (last - after.ms) as u32;
                    counts.push(count - repeated);
                    last = match full(counts.len()) {
                        true => after.ms + u64::from(count),
                        false => last + 1,
                    };
                    let entries = (after.ms + 1..=last).map(|ms| Entry {
                        id: EntryId { ms, seq: 0 },
                        fields: [("data", vec![b'x'; size])].into_iter().collect(),
                    });
                    Reply::Entries(entries.collect())
                }
                _ => Reply::Done,
            };
            engine.handle_reply(Time::ZERO, id, Ok(reply));
        }
        while let Some(event) = engine.poll_event() {
            assert!(!matches!(event, Event::Gap { .. } | Event::Rewound { .. }), "{event:?}");
        }
    }
    counts
}

#[test]
fn more_is_read_at_once_while_there_is_more_to_read() {
    let config = Config { read_count: 10, ..config(Dialect::Streams03) };
    let steps = counts(config, 10, |read| read < 6);
    assert_eq!(steps, [10, 20, 40, 80, 80, 80, 40, 20, 10, 10]);
}

#[test]
fn large_entries_are_read_few_at_once() {
    let usual = config(Dialect::Streams03);
    let few = counts(usual.clone(), 100 << 10, |_| true);
    assert_eq!(few[0], usual.read_count, "how large they are is not known yet");
    assert!(few[1..].iter().all(|count| *count == 10), "{few:?}");
    // This holds even for entries that are larger than a batch should be.
    assert_eq!(counts(usual, 2 << 20, |_| true)[1..3], [1, 1]);
}

#[test]
fn an_entry_that_a_backend_repeats_is_delivered_once() {
    let mut engine = Engine::new(config(Dialect::Streams03), 1, Time::ZERO).unwrap();
    engine.open_namespace(Time::ZERO, "/").unwrap();
    let mut replied = 0;
    for _ in 0..5 {
        for (id, command) in commands(&mut engine) {
            let reply = match command {
                Command::XInfoStream { .. } => Reply::Stream(None),
                Command::XRead { .. } if replied < 2 => {
                    replied += 1;
                    Reply::Entries(vec![entry(1, "a"), entry(1, "a"), entry(2, "b"), entry(1, "a")])
                }
                Command::XRead { .. } => continue,
                _ => Reply::Done,
            };
            engine.handle_reply(Time::ZERO, id, Ok(reply));
        }
        if replied == 1 {
            assert_eq!(delivered(&mut engine), 2);
        }
    }
    assert_eq!((replied, delivered(&mut engine)), (2, 0));
}

/// Every node reads all streams, so it also reads what lies in a stream of other namespaces.
#[test]
fn a_packet_in_a_stream_of_other_namespaces_has_no_offset() {
    let config = Config { stream_count: 4, ..recovering(Dialect::Streams03) };
    let mut cluster = Cluster::with_configs([config]);
    // The first two are published in `socket.io-3` and `socket.io-0`. Node's servers write the
    // third to `socket.io--3`, and this project to `socket.io-1`.
    for nsp in ["/", "/orders", "/notifications"] {
        cluster.open(0, nsp);
    }
    for (nsp, stream, is_home) in [
        ("/", "socket.io-3", true),
        ("/", "socket.io-0", false),
        ("/orders", "socket.io-0", true),
        ("/orders", "socket.io-1", false),
        ("/notifications", "socket.io-1", true),
        ("/notifications", "socket.io--3", true),
        ("/notifications", "socket.io-3", false),
    ] {
        let data = r#"{"packet":{"type":2,"data":["a"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
        let fields = [("uid", "emitter"), ("nsp", nsp), ("type", "3"), ("data", data)];
        let wall = 1_700_000_000_000 + cluster.millis;
        let id = cluster.store.add_entry(wall, stream, fields.into_iter().collect()).unwrap();
        cluster.settle();
        let told = cluster.take(0, |event| matches!(event, Event::Broadcast(_)));
        let Some(Event::Broadcast(delivery)) = told else { panic!("{nsp} in {stream}: {told:?}") };
        assert_eq!((&*delivery.nsp, delivery.entry), (nsp, Some(id)), "{stream}");
        let offset = is_home.then_some(id);
        assert_eq!(delivery.offset, offset, "{stream}");
        let text = delivery.frames().text;
        assert_eq!(text.contains(&id.to_string()), is_home, "{text}");
    }
}
