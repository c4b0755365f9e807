//! Tests of entries that are too large to be read, and of servers that can't tell their count.

use sio_streams_core::{
    Command, CommandError, CommandId, Dialect, Engine, Entry, EntryId, Event, Fields, Lane, LinkState, Lost,
    Reply, Time,
};

use crate::cluster::{config, located, stream_up_to};

const NOW: Time = Time::from_millis(1);

fn id(seq: u64) -> EntryId {
    EntryId { ms: 1, seq }
}

fn entry(seq: u64) -> Entry {
    Entry { id: id(seq), fields: Fields::new() }
}

/// Returns the reader's next command, and the entry behind which it reads, if it reads.
fn asked(engine: &mut Engine) -> (CommandId, Option<EntryId>) {
    let mut commands = std::iter::from_fn(|| engine.poll_command());
    let reader = commands.find_map(|(id, command)| match command {
        Command::XRead { after, .. } => Some((id, Some(after))),
        Command::XInfoStream { .. } => Some((id, None)),
        _ => None,
    });
    reader.expect("the reader asks for something")
}

fn reply(engine: &mut Engine, now: Time, id: CommandId, reply: Result<Reply, CommandError>) {
    engine.handle_reply(now, id, reply);
}

fn told(engine: &mut Engine) -> (Vec<(EntryId, EntryId, Lost)>, usize, usize) {
    let (mut gaps, mut refused, mut skipped) = (Vec::new(), 0, 0);
    while let Some(event) = engine.poll_event() {
        match event {
            Event::Gap { after, until, lost, .. } => gaps.push((after, until, lost)),
            Event::Refused { lane: Lane::Reader(_), .. } => refused += 1,
            Event::Skipped { .. } => skipped += 1,
            _ => {}
        }
    }
    (gaps, refused, skipped)
}

fn cut_off() -> Result<Reply, CommandError> {
    Err(CommandError::Unusable("it is cut off".into()))
}

#[test]
fn what_cannot_be_read_is_a_gap_and_the_count_stays_right() {
    for alone in [true, false] {
        let mut engine = located(NOW);
        let (reads, after) = asked(&mut engine);
        assert_eq!(after, Some(EntryId::ZERO));
        reply(&mut engine, NOW, reads, Ok(Reply::Unreadable { next: id(2), alone }));
        let lost = if alone { Lost::Exactly(1) } else { Lost::Unknown };
        assert_eq!(told(&mut engine).0, [(EntryId::ZERO, id(2), lost)]);
        let (reads, after) = asked(&mut engine);
        assert_eq!(after, Some(id(1)), "nothing else is passed over");
        reply(&mut engine, NOW, reads, Ok(Reply::Entries(vec![entry(2)])));
        // The entry is skipped, because it is empty. That does not matter here.
        assert_eq!(told(&mut engine), (vec![], 0, 1));
        let later = Time::from_millis(60_000);
        let (reads, _) = asked(&mut engine);
        reply(&mut engine, later, reads, Ok(Reply::Entries(vec![])));
        let (asks, after) = asked(&mut engine);
        assert_eq!(after, None, "the reader asks for the count");
        reply(&mut engine, later, asks, Ok(Reply::Stream(Some(stream_up_to(2)))));
        let (reads, _) = asked(&mut engine);
        reply(&mut engine, later, reads, Ok(Reply::Entries(vec![])));
        let (gaps, ..) = told(&mut engine);
        assert_eq!(gaps, [], "what was reported is not reported again");
    }
}

#[test]
fn an_end_that_the_server_cannot_tell_is_found_by_reading() {
    let mut engine = Engine::new(config(Dialect::Streams02), 1, NOW).unwrap();
    engine.open_namespace(NOW, "/").unwrap();
    let (asks, after) = asked(&mut engine);
    assert_eq!(after, None);
    reply(&mut engine, NOW, asks, cut_off());
    for (from, entries) in [(EntryId::ZERO, vec![entry(1), entry(2)]), (id(2), vec![entry(3)])] {
        let (reads, after) = asked(&mut engine);
        assert_eq!(after, Some(from));
        reply(&mut engine, NOW, reads, Ok(Reply::Entries(entries)));
    }
    // An entry from before the node came is no gap for it, even if it can't be read.
    let (reads, after) = asked(&mut engine);
    assert_eq!(after, Some(id(3)));
    reply(&mut engine, NOW, reads, Ok(Reply::Unreadable { next: id(5), alone: true }));
    let (reads, after) = asked(&mut engine);
    assert_eq!(after, Some(id(4)));
    assert!(!std::iter::from_fn(|| engine.poll_event()).any(|event| matches!(event, Event::Ready { .. })));
    reply(&mut engine, NOW, reads, Ok(Reply::Entries(vec![])));
    let events: Vec<Event> = std::iter::from_fn(|| engine.poll_event()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Ready { .. })), "{events:?}");
    // From here on everything counts.
    let (reads, after) = asked(&mut engine);
    assert_eq!(after, Some(id(4)));
    reply(&mut engine, NOW, reads, Ok(Reply::Entries(vec![entry(5)])));
    assert_eq!(told(&mut engine), (vec![], 0, 1));
}

#[test]
fn a_server_that_cannot_say_what_it_counts_is_read_from_and_reported_once() {
    let mut engine = located(NOW);
    let reader = Lane::Reader("socket.io".into());
    let mut reports = 0;
    for round in 1..4 {
        let (reads, after) = asked(&mut engine);
        assert_eq!(after, Some(if round == 1 { EntryId::ZERO } else { id(round - 1) }));
        engine.handle_link(NOW, &reader, LinkState::down("cut"));
        reply(&mut engine, NOW, reads, Err(CommandError::Lost("cut".into())));
        engine.handle_link(NOW, &reader, LinkState::Up);
        let (asks, after) = asked(&mut engine);
        assert_eq!(after, None);
        reply(&mut engine, NOW, asks, cut_off());
        let (reads, _) = asked(&mut engine);
        reply(&mut engine, NOW, reads, Ok(Reply::Entries(vec![entry(round)])));
        let (gaps, refused, skipped) = told(&mut engine);
        assert_eq!((gaps, skipped), (vec![], 1));
        reports += refused;
    }
    assert_eq!(reports, 1);
    // When the server can tell its count again, nothing is missing.
    let (reads, _) = asked(&mut engine);
    engine.handle_link(NOW, &reader, LinkState::down("cut"));
    reply(&mut engine, NOW, reads, Err(CommandError::Lost("cut".into())));
    engine.handle_link(NOW, &reader, LinkState::Up);
    let (asks, _) = asked(&mut engine);
    reply(&mut engine, NOW, asks, Ok(Reply::Stream(Some(stream_up_to(3)))));
    assert_eq!(told(&mut engine), (vec![], 0, 0));
}
