//! Tests of clients that were away.

use std::time::Duration;

use sio_streams_core::{
    BroadcastOptions, CallError, Command, Config, Event, Fields, Lane, LocalDelivery, NotRecovered, Payload,
    Recovery, Restored, Session, Ticket,
};

use super::cluster::{Cluster, packet};

const PID: &str = "kcMGPjpM08c5WNcdAAAC";
const KEY: &str = "sio:session:kcMGPjpM08c5WNcdAAAC";
const STREAM: &str = "socket.io";
/// The data of a broadcast to all sockets.
const PLAIN: &str =
    r#"{"packet":{"type":2,"data":["event","missed"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;

fn config(recovery: Recovery) -> Config {
    Config { recovery: Some(recovery), local_delivery: LocalDelivery::StreamOrder, ..Config::default() }
}

fn small(entries: usize) -> Recovery {
    Recovery { window_entries: entries, page_entries: 7, ..Recovery::default() }
}

/// Creates nodes with these windows, all of them ready.
fn cluster(recoveries: &[Recovery]) -> Cluster {
    let mut cluster = Cluster::with_configs(recoveries.iter().cloned().map(config));
    (0..recoveries.len()).for_each(|index| cluster.open(index, "/"));
    cluster
}

fn session(rooms: &[&str]) -> Session {
    Session {
        sid: "sid".into(),
        pid: PID.into(),
        rooms: rooms.iter().map(|room| (*room).into()).collect(),
        data: Payload::encode(&("data", 1)).unwrap(),
    }
}

impl Cluster {
    fn save(&mut self, index: usize, rooms: &[&str]) -> Ticket {
        let now = self.now();
        self.nodes[index].engine.persist_session(now, "/", &session(rooms)).unwrap()
    }

    fn saved(&mut self, index: usize, rooms: &[&str]) {
        let saved = self.save(index, rooms);
        self.settle();
        let done = |event: &Event| matches!(event, Event::SessionSaved { ticket, result: Ok(()) } if *ticket == saved);
        self.take(index, done).expect("saved");
    }

    fn ask(&mut self, index: usize, offset: &str) -> Ticket {
        let now = self.now();
        self.nodes[index].engine.restore_session(now, "/", PID, offset).unwrap()
    }

    /// Returns the outcome of an attempt, if it has ended.
    fn end(&mut self, index: usize, wanted: Ticket) -> Option<Result<Restored, NotRecovered>> {
        let event = self.take(index, |event| match event {
            Event::Restored(restored) => restored.ticket == wanted,
            Event::NotRecovered { ticket, .. } => *ticket == wanted,
            _ => false,
        })?;
        Some(match event {
            Event::Restored(restored) => Ok(restored),
            Event::NotRecovered { reason, .. } => Err(reason),
            _ => unreachable!(),
        })
    }

    fn restore(&mut self, index: usize, offset: &str) -> Result<Restored, NotRecovered> {
        let ticket = self.ask(index, offset);
        self.settle();
        self.end(index, ticket).expect("it has ended")
    }

    /// Returns the offset of the stream's last entry.
    fn offset(&self) -> String {
        self.store.entries(STREAM).next_back().unwrap().id.to_string()
    }

    fn is_stored(&self) -> bool {
        self.store.strings().any(|(key, ..)| key == KEY)
    }

    /// Writes a broadcast that no node has read yet.
    fn write(&mut self, nsp: &str, data: &str) {
        let fields: Fields = [("uid", "0123456789abcdef"), ("nsp", nsp), ("type", "3"), ("data", data)]
            .map(|(name, value)| (name, value.to_owned()))
            .into_iter()
            .collect();
        self.store.add_entry(1_700_000_000_000 + self.millis, STREAM, fields).unwrap();
    }

    fn foreign(&mut self, nsp: &str, data: &str) {
        self.write(nsp, data);
        self.settle();
    }
}

fn texts(restored: &Restored) -> Vec<String> {
    let text =
        |missed: &sio_streams_core::Missed| missed.packet().data().decode::<(String, String)>().unwrap().1;
    restored.missed.iter().map(text).collect()
}

fn to(room: &'static str) -> BroadcastOptions {
    BroadcastOptions::to(room)
}

#[test]
fn a_client_gets_what_it_missed_in_order_and_then_what_comes() {
    let mut cluster = cluster(&[Recovery::default(), Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid", "room"]);
    for (text, opts) in [
        ("1", BroadcastOptions::all()),
        ("-", to("elsewhere")),
        ("2", to("room")),
        ("-", BroadcastOptions::all().except("room")),
        ("-", to("room").volatile()),
        ("3", to("sid").and("elsewhere")),
    ] {
        cluster.broadcast_to(1, text, opts);
    }
    cluster.foreign("/", r#"{"packet":{"type":2,"data":["event","ack"]},"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"r"}"#);
    cluster.foreign(
        "/else",
        r#"{"packet":{"type":2,"data":["event","-"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#,
    );
    cluster.foreign(
        "/",
        r#"{"packet":{"type":2,"data":["event","4"]},"opts":{"rooms":["room"],"except":[],"flags":{}}}"#,
    );
    cluster.settle();
    let restored = cluster.restore(0, &offset).unwrap();
    assert_eq!(texts(&restored), ["1", "2", "3", "4"]);
    assert!(restored.missed.windows(2).all(|two| two[0].offset() < two[1].offset()));
    assert_eq!(restored.session.rooms, ["sid", "room"]);
    assert_eq!(restored.session.data.decode::<(String, u8)>().unwrap(), ("data".into(), 1));
    assert_eq!(restored.position.to_string(), cluster.offset());
    assert!(!cluster.is_stored(), "it is nobody else's");
    let rooms = cluster.nodes[0].engine.rooms("/").unwrap();
    assert_eq!(rooms.matching(&to("room")), ["sid"]);

    // The client goes and returns again at once. Nothing comes twice.
    let offset = restored.missed[3].offset().to_string();
    cluster.nodes[0].engine.remove_socket("/", "sid").unwrap();
    cluster.saved(0, &["sid", "room"]);
    cluster.broadcast(1, "5");
    assert_eq!(texts(&cluster.restore(1, &offset).unwrap()), ["5"]);
}

#[test]
fn within_the_window_redis_is_asked_for_nothing_but_the_session() {
    let mut cluster = cluster(&[Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.broadcast(0, "missed");
    cluster.saved(0, &["sid"]);
    let ticket = cluster.ask(0, &offset);
    let mut commands = Vec::new();
    for _ in 0..3 {
        commands.extend(cluster.settle_and_tell(0));
    }
    assert!(matches!(cluster.end(0, ticket), Some(Ok(_))));
    let asked: Vec<&Command> = commands.iter().filter(|command| command.lane() == Lane::Recovery).collect();
    assert!(matches!(asked[..], [Command::GetRange { .. }, Command::GetDel { .. }]), "{asked:?}");
}

#[test]
fn what_the_window_does_not_have_is_read_once_for_all() {
    let mut cluster = cluster(&[small(3)]);
    let mut offsets = Vec::new();
    for number in 0..40 {
        cluster.broadcast(0, &number.to_string());
        offsets.push(cluster.offset());
    }
    // A node that has just started has no earlier entries in its window.
    cluster.add(config(Recovery { page_entries: 7, ..Recovery::default() }));
    cluster.open(1, "/");
    for index in [0, 1] {
        let mut tickets = Vec::new();
        for (number, offset) in offsets.iter().enumerate() {
            let pid = format!("pid{number}");
            let saved = Session { pid: pid.clone().into(), ..session(&["sid"]) };
            let now = cluster.now();
            cluster.nodes[index].engine.persist_session(now, "/", &saved).unwrap();
            tickets.push(cluster.nodes[index].engine.restore_session(now, "/", &pid, offset).unwrap());
        }
        let mut pages = 0;
        for _ in 0..20 {
            let told = cluster.settle_and_tell(index);
            pages += told.iter().filter(|command| matches!(command, Command::XRevRange { .. })).count();
        }
        assert!((5..=7).contains(&pages), "{pages} pages of 7 for 40 entries");
        for (number, ticket) in tickets.into_iter().enumerate() {
            let restored = cluster.end(index, ticket).unwrap().unwrap();
            let expected: Vec<String> = (number + 1..40).map(|number| number.to_string()).collect();
            assert_eq!(texts(&restored), expected);
        }
    }
}

#[test]
fn what_a_client_sends_is_looked_at_before_redis_is_asked() {
    let mut cluster = cluster(&[Recovery::default()]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    let long = "x".repeat(65);
    let pids = ["", "a b", "../x", "{tag}", "é", "a\0", "a\r\n", &long];
    let bad_pids = pids.map(|pid| engine.restore_session(now, "/", pid, "1-1").unwrap());
    let offsets = ["", "$", "-", "+", "1", "1-", "-1", "1-1-1", "(1-1", "18446744073709551616-0"];
    let bad_offsets = offsets.map(|offset| engine.restore_session(now, "/", PID, offset).unwrap());
    while let Some(event) = engine.poll_event() {
        let Event::NotRecovered { ticket, reason } = event else { continue };
        match reason {
            NotRecovered::InvalidPid => assert!(bad_pids.contains(&ticket)),
            NotRecovered::InvalidOffset => assert!(bad_offsets.contains(&ticket)),
            other => panic!("{other}"),
        }
    }
    while let Some((_, command)) = engine.poll_command() {
        assert_ne!(command.lane(), Lane::Recovery, "{command:?}");
    }
}

#[test]
fn a_failed_attempt_leaves_the_session() {
    let mut cluster = cluster(&[Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    assert_eq!(cluster.restore(0, &offset).unwrap_err(), NotRecovered::NoSession);
    cluster.saved(0, &["sid"]);
    // Nothing precedes the stream's first entry, and only broadcasts have an offset.
    assert_eq!(cluster.restore(0, "1-1").unwrap_err(), NotRecovered::UnknownOffset);
    let id: sio_streams_core::EntryId = offset.parse().unwrap();
    cluster.broadcast(0, "next");
    let nowhere = format!("{}-{}", id.ms, id.seq + 1_000);
    cluster.pass(10);
    cluster.broadcast(0, "later");
    assert_eq!(cluster.restore(0, &nowhere).unwrap_err(), NotRecovered::UnknownOffset);
    // An entry that is still to come is waited for.
    let ticket = cluster.ask(0, "99999999999999-0");
    cluster.settle();
    assert!(cluster.end(0, ticket).is_none());
    cluster.pass(5_000);
    assert_eq!(cluster.end(0, ticket).unwrap().unwrap_err(), NotRecovered::TimedOut);
    assert!(cluster.is_stored());
    assert_eq!(texts(&cluster.restore(0, &offset).unwrap()), ["next", "later"]);
}

#[test]
fn a_session_expires() {
    let recovery = Recovery { max_disconnection_duration: Duration::from_secs(10), ..Recovery::default() };
    let mut cluster = cluster(&[recovery]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    cluster.pass(10_000);
    assert_eq!(cluster.restore(0, &offset).unwrap_err(), NotRecovered::NoSession);
}

#[test]
fn of_two_servers_one_gets_the_session() {
    let mut cluster = cluster(&[Recovery::default(), Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    let tickets = [cluster.ask(0, &offset), cluster.ask(1, &offset)];
    cluster.settle();
    let ends = [0, 1].map(|index| cluster.end(index, tickets[index]).unwrap());
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    assert!(ends.iter().any(|end| matches!(end, Err(NotRecovered::NoSession))));
}

#[test]
fn a_session_that_was_stored_anew_meanwhile_counts_as_it_is_now() {
    let mut cluster = cluster(&[Recovery::default(), Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid", "old"]);
    cluster.broadcast_to(1, "old", to("old"));
    cluster.broadcast_to(1, "new", to("new"));
    cluster.settle();
    let ticket = cluster.ask(0, &offset);
    let read = cluster.settle_and_tell(0);
    assert!(read.iter().any(|command| matches!(command, Command::GetRange { .. })));
    let now = cluster.now();
    cluster.nodes[1].engine.persist_session(now, "/", &session(&["sid", "new"])).unwrap();
    cluster.settle_and_tell(1);
    cluster.settle();
    let restored = cluster.end(0, ticket).unwrap().unwrap();
    assert_eq!(restored.session.rooms, ["sid", "new"]);
    assert_eq!(texts(&restored), ["new"]);
}

#[test]
fn what_is_no_session_is_not_taken() {
    let mut cluster = cluster(&[Recovery { session_bytes: 100, ..Recovery::default() }]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    let large = sio_streams_core::wire::session::encode(&session(&["sid", &"x".repeat(100)])).unwrap();
    let other = Session { pid: "other".into(), ..session(&[]) };
    let other = sio_streams_core::wire::session::encode(&other).unwrap();
    for value in [large, other, "no base64!".into(), "kA==".into()] {
        let client = cluster.store.connect();
        let set = Command::Set { key: KEY.into(), value: value.clone(), px: Duration::from_secs(100) };
        cluster.store.execute(1_700_000_000_000, client, &set);
        let reason = cluster.restore(0, &offset).unwrap_err();
        match value.len() > 100 {
            true => assert_eq!(reason, NotRecovered::SessionTooLarge { limit: 100 }),
            false => assert!(matches!(reason, NotRecovered::Malformed(_)), "{reason}"),
        }
        assert!(cluster.is_stored());
    }
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    let large = session(&[&"x".repeat(100)]);
    assert!(matches!(
        engine.persist_session(now, "/", &large),
        Err(CallError::SessionTooLarge { limit: 100, .. })
    ));
    let odd = Session { pid: "a:b".into(), ..session(&[]) };
    assert!(matches!(engine.persist_session(now, "/", &odd), Err(CallError::InvalidPid)));
}

#[test]
fn while_redis_is_away_nobody_hangs_and_nothing_is_lost() {
    let mut cluster = cluster(&[Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    cluster.cut(0, &Lane::Recovery);
    let (restore, save) = (cluster.ask(0, &offset), cluster.save(0, &["sid", "other"]));
    cluster.pass(4_900);
    assert!(cluster.end(0, restore).is_none());
    cluster.pass(200);
    assert_eq!(cluster.end(0, restore).unwrap().unwrap_err(), NotRecovered::TimedOut);
    let failed =
        |event: &Event| matches!(event, Event::SessionSaved { ticket, result: Err(_) } if *ticket == save);
    assert!(cluster.take(0, failed).is_some());
    // An attempt that was given up has no later effect.
    cluster.mend(0, &Lane::Recovery);
    assert!(cluster.is_stored());
    let ticket = cluster.ask(0, &offset);
    cluster.cut(0, &Lane::Recovery);
    cluster.pass(1_000);
    cluster.mend(0, &Lane::Recovery);
    assert_eq!(cluster.end(0, ticket).unwrap().unwrap().session.rooms, ["sid"]);
}

#[test]
fn who_is_ahead_of_the_server_is_waited_for() {
    let mut cluster = cluster(&[Recovery::default(), Recovery::default()]);
    cluster.broadcast(0, "before");
    let stream = Lane::Reader(STREAM.into());
    cluster.cut(1, &stream);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.broadcast(0, "missed");
    cluster.saved(0, &["sid"]);
    let ticket = cluster.ask(1, &offset);
    cluster.pass(100);
    assert!(cluster.end(1, ticket).is_none());
    cluster.mend(1, &stream);
    cluster.pass(1_000);
    assert_eq!(texts(&cluster.end(1, ticket).unwrap().unwrap()), ["missed"]);
}

#[test]
fn what_was_trimmed_before_it_was_read_can_not_be_recovered_from() {
    let mut cluster = cluster(&[Recovery::default(), Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.broadcast(0, "missed");
    cluster.saved(0, &["sid"]);
    let stream = Lane::Reader(STREAM.into());
    cluster.cut(1, &stream);
    for number in 0..10 {
        cluster.broadcast(0, &number.to_string());
    }
    cluster.store.trim(STREAM, 5);
    cluster.mend(1, &stream);
    cluster.pass(1_000);
    assert!(cluster.take(1, |event| matches!(event, Event::Gap { .. })).is_some());
    assert_eq!(cluster.restore(1, &offset).unwrap_err(), NotRecovered::Trimmed);
    // The other node has read all of it.
    assert_eq!(cluster.restore(0, &offset).unwrap().missed.len(), 11);
}

/// Entries are trimmed while the node reads them, including those that arrive before it can ask. It
/// is certain that some are missing, but not how many, so the gap is reported later. No client is
/// recovered across it in the meantime.
#[test]
fn nobody_is_recovered_across_a_gap_whose_size_is_not_known_yet() {
    let slow = Config { read_count: 1, ..config(Recovery::default()) };
    let mut cluster = Cluster::with_configs([slow, config(Recovery::default())]);
    (0..2).for_each(|index| cluster.open(index, "/"));
    cluster.broadcast(1, "seen");
    cluster.settle();
    let offset = cluster.offset();
    cluster.saved(1, &["sid"]);
    let reader = Lane::Reader(STREAM.into());
    cluster.cut(0, &reader);
    let say = |cluster: &mut Cluster, count: usize, left: u64| {
        (0..count).for_each(|_| cluster.write("/", PLAIN));
        cluster.store.trim(STREAM, left);
    };
    say(&mut cluster, 3, 100);
    cluster.connect(0, &reader);
    let next = |cluster: &mut Cluster| {
        for _ in 0..10 {
            let asked = cluster.settle_and_tell(0);
            if let Some(command) = asked.into_iter().find(|command| command.lane() == reader) {
                return command;
            }
        }
        panic!("it does not read on");
    };
    while !matches!(next(&mut cluster), Command::XInfoStream { .. }) {}
    // The next entries that it reads are behind a gap, and are trimmed before it has asked for the
    // numbers.
    say(&mut cluster, 2, 1);
    assert!(matches!(next(&mut cluster), Command::XRead { .. }));
    say(&mut cluster, 5, 4);
    assert!(matches!(next(&mut cluster), Command::XInfoStream { .. }));
    assert!(cluster.take(0, |event| matches!(event, Event::Gap { .. })).is_none());
    let ticket = cluster.ask(0, &offset);
    let end = (0..20).find_map(|_| {
        cluster.settle_and_tell(0);
        cluster.end(0, ticket)
    });
    assert!(matches!(end, Some(Err(NotRecovered::Trimmed))), "{end:?}");
    assert!(cluster.is_stored());
    cluster.settle();
    assert!(cluster.take(0, |event| matches!(event, Event::Gap { .. })).is_some());
}

#[test]
fn a_server_that_lost_entries_recovers_nobody_from_them() {
    let mut cluster = cluster(&[Recovery::default()]);
    cluster.broadcast(0, "kept");
    let kept = cluster.offset();
    cluster.broadcast(0, "lost");
    let lost = cluster.offset();
    let stream = Lane::Reader(STREAM.into());
    cluster.cut(0, &stream);
    cluster.store.lose_tail(STREAM, 1);
    cluster.pass(10);
    cluster.mend(0, &stream);
    cluster.pass(1_000);
    assert!(cluster.take(0, |event| matches!(event, Event::Rewound { .. })).is_some());
    cluster.broadcast(0, "after");
    cluster.saved(0, &["sid"]);
    assert_eq!(cluster.restore(0, &lost).unwrap_err(), NotRecovered::UnknownOffset);
    assert_eq!(texts(&cluster.restore(0, &kept).unwrap()), ["after"]);
}

#[test]
fn too_much_is_not_recovered() {
    let limits = Recovery { replay_entries: 5, window_entries: 5, page_entries: 2, ..Recovery::default() };
    let mut cluster = cluster(&[limits]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    (0..20).for_each(|_| _ = cluster.broadcast(0, "missed"));
    assert!(matches!(cluster.restore(0, &offset).unwrap_err(), NotRecovered::TooMuch { .. }));
    assert!(cluster.is_stored());
}

/// Between taking a session and adding its socket, more may be published than a client may miss.
/// The session is stored nowhere else by then, so the client gets all of it.
#[test]
fn who_is_not_too_late_when_the_session_is_taken_is_not_too_late_afterwards() {
    let limits = Recovery { replay_entries: 2, ..Recovery::default() };
    let mut cluster = cluster(&[limits, Recovery::default()]);
    cluster.broadcast(0, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    (0..2).for_each(|_| _ = cluster.broadcast(1, "missed"));
    cluster.settle();
    let ticket = cluster.ask(0, &offset);
    cluster.settle_and_tell(0);
    let now = cluster.now();
    cluster.nodes[1].engine.broadcast(now, "/", packet("more"), BroadcastOptions::all()).unwrap();
    cluster.settle_and_tell(1);
    let taken = cluster.settle_and_tell(0);
    assert!(taken.iter().any(|command| matches!(command, Command::GetDel { .. })), "{taken:?}");
    cluster.settle();
    let restored = cluster.end(0, ticket).unwrap().unwrap();
    assert_eq!(texts(&restored), ["missed", "missed", "more"]);
}

/// While a page is on its way, enough may arrive to push the oldest entries out of the window. The
/// page then does not reach to the others any more.
#[test]
fn a_page_that_comes_too_late_leaves_no_hole() {
    let limits = Recovery { replay_entries: 6, window_entries: 2, ..Recovery::default() };
    let mut cluster = cluster(&[limits, Recovery::default()]);
    cluster.broadcast(1, "seen");
    let offset = cluster.offset();
    cluster.saved(0, &["sid"]);
    (0..2).for_each(|_| _ = cluster.broadcast(1, "missed"));
    cluster.settle();
    let ticket = cluster.ask(0, &offset);
    let told = cluster.settle_and_tell(0);
    assert!(told.iter().any(|command| matches!(command, Command::GetRange { .. })), "{told:?}");
    cluster.cut(0, &Lane::Recovery);
    (0..7).for_each(|_| _ = cluster.broadcast(1, "too much"));
    cluster.settle();
    cluster.mend(0, &Lane::Recovery);
    cluster.settle();
    assert!(matches!(cluster.end(0, ticket).unwrap().unwrap_err(), NotRecovered::TooMuch { .. }));
    assert!(cluster.is_stored());
}

#[test]
fn a_namespace_that_is_opened_later_has_its_window_too() {
    let mut cluster = cluster(&[Recovery::default()]);
    for text in ["seen", "missed"] {
        let data = format!(
            r#"{{"packet":{{"type":2,"data":["event","{text}"]}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#
        );
        cluster.foreign("/late", &data);
    }
    let ids: Vec<String> = cluster.store.entries(STREAM).map(|entry| entry.id.to_string()).collect();
    cluster.open(0, "/late");
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    engine.persist_session(now, "/late", &session(&["sid"])).unwrap();
    let ticket = engine.restore_session(now, "/late", PID, &ids[ids.len() - 2]).unwrap();
    cluster.settle();
    assert_eq!(texts(&cluster.end(0, ticket).unwrap().unwrap()), ["missed"]);
}

#[test]
fn closing_ends_what_is_under_way_but_stores_what_is_to_be_stored() {
    let mut cluster = cluster(&[Recovery::default()]);
    cluster.broadcast(0, "seen");
    cluster.cut(0, &Lane::Recovery);
    let ticket = cluster.ask(0, "1-1");
    cluster.save(0, &["sid"]);
    let now = cluster.now();
    cluster.nodes[0].engine.close(now);
    cluster.settle();
    assert_eq!(cluster.end(0, ticket).unwrap().unwrap_err(), NotRecovered::Closed);
    assert!(!cluster.nodes[0].engine.is_closed());
    cluster.mend(0, &Lane::Recovery);
    assert!(cluster.nodes[0].engine.is_closed());
    assert!(cluster.is_stored());
}

#[test]
fn where_peers_write_to_a_stream_that_they_do_not_read_nothing_is_recovered() {
    let nsp = "/notifications";
    let split = Config { stream_count: 4, ..config(Recovery::default()) };
    let mut cluster = Cluster::with_configs([split]);
    cluster.open(0, nsp);
    let now = cluster.now();
    cluster.nodes[0].engine.broadcast(now, nsp, packet("seen"), BroadcastOptions::all()).unwrap();
    cluster.settle();
    let offset = {
        let Some(Event::Published { entry, .. }) =
            cluster.take(0, |event| matches!(event, Event::Published { .. }))
        else {
            panic!()
        };
        entry.unwrap().to_string()
    };
    let engine = &mut cluster.nodes[0].engine;
    engine.persist_session(now, nsp, &session(&["sid"])).unwrap();
    let ticket = engine.restore_session(now, nsp, PID, &offset).unwrap();
    cluster.settle();
    // As long as no peer has written to that stream, recovery works.
    assert!(cluster.end(0, ticket).unwrap().is_ok());
    let data = r#"{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let fields: Fields =
        [("uid", "0123456789abcdef"), ("nsp", nsp), ("type", "3"), ("data", data)].into_iter().collect();
    let lost = (1..4).map(|index| format!("socket.io--{index}"));
    lost.for_each(|lost| _ = cluster.store.add_entry(1_700_000_000_000, lost, fields.clone()).unwrap());
    cluster.settle();
    let now = cluster.now();
    let ticket = cluster.nodes[0].engine.restore_session(now, nsp, PID, &offset).unwrap();
    cluster.settle();
    assert_eq!(cluster.end(0, ticket).unwrap().unwrap_err(), NotRecovered::TwoStreams);
}

#[test]
fn recovery_needs_the_order_of_the_stream() {
    let out_of_order = Config { recovery: Some(Recovery::default()), ..Config::default() };
    assert!(out_of_order.validate().unwrap_err().to_string().starts_with("local_delivery"));
    let mut cluster = Cluster::ready(&[sio_streams_core::Dialect::Streams03]);
    let now = cluster.now();
    let engine = &mut cluster.nodes[0].engine;
    assert!(matches!(engine.restore_session(now, "/", PID, "1-1"), Err(CallError::RecoveryOff)));
    assert!(matches!(engine.persist_session(now, "/", &session(&[])), Err(CallError::RecoveryOff)));
}
