//! The model against a real server: the same commands, the same replies.
//!
//! The model runs first, under a clock of the test's own, and chooses the ids; the real server is
//! given the same ids. So everything can be compared literally, trimmed lengths included. Prints
//! its seed; `SIO_STREAMS_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod pair;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use std::{env, thread};

use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::{Command, EntryId, Fields, Reply};
use sio_streams_redis_model::{Executed, NodeLimits};
use sio_streams_testkit::Reply as Resp;

use pair::{Pair, entries, translate};

const STREAMS: [&str; 4] = ["socket.io", "socket.io-0", "a stream", "taken"];
const CHANNELS: [&str; 12] = [
    "",
    "a",
    "b",
    "-",
    "socket.io#/#",
    "socket.io#/#abc#",
    "socket.io#/x*y#",
    "socket.io#/[z]#",
    "a\\b",
    "a]b",
    "[",
    "é",
];
const PATTERNS: [&str; 25] = [
    "*",
    "",
    "socket.io#/#*",
    "socket.io#/x\\*y#",
    "socket.io#/\\[z\\]#",
    "socket.io#/[[]z]#",
    "a*",
    "*b",
    "?",
    "??",
    "[a-c]",
    "[^a]",
    "[c-a]*",
    "[a",
    "[",
    "[^",
    "\\",
    "a\\\\b",
    "a[]]b",
    "a[\\]]b",
    "**",
    "*#*#*",
    "[a-",
    "[\\",
    "\\[",
];

/// The number of random commands that each of the larger tests sends: `SIO_STREAMS_COMMANDS`, or a
/// default.
fn commands() -> usize {
    env::var("SIO_STREAMS_COMMANDS").ok().and_then(|commands| commands.parse().ok()).unwrap_or(6_000)
}

fn rng() -> Rng {
    let seed = env::var("SIO_STREAMS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("SIO_STREAMS_SEED={seed}");
    Rng::with_seed(seed)
}

fn value(rng: &mut Rng, largest: usize) -> Vec<u8> {
    match rng.u8(0..8) {
        0 => rng.i64(..).to_string().into_bytes(),
        1 => rng.i64(-5_000..5_000).to_string().into_bytes(),
        2 => format!("0{}", rng.u8(..)).into_bytes(),
        _ => {
            let length = rng.usize(0..=largest);
            vec![b'x'; length]
        }
    }
}

/// Mostly the same names, as a cluster's entries have them.
fn fields(rng: &mut Rng, largest: usize) -> Fields {
    let names: &[&str] = match rng.u8(0..10) {
        0 => &["nsp", "uid"],
        1 => &["type", "uid", "nsp", "7", "data", "data"],
        _ => &["uid", "nsp", "type", "data"],
    };
    let mut fields = Fields::new();
    for name in names {
        fields.push(name.as_bytes().to_vec(), value(rng, largest));
    }
    fields
}

fn stream_command(pair: &mut Pair, rng: &mut Rng, known: &mut BTreeMap<String, Vec<EntryId>>) {
    let stream = ByteString::from(rng.choice(STREAMS).unwrap());
    let ids = known.entry(stream.to_string()).or_default();
    match rng.u8(0..100) {
        0..70 => {
            // Mostly forwards, sometimes backwards, sometimes not at all.
            pair.now_ms = match rng.u8(0..20) {
                0 => pair.now_ms - rng.u64(0..100_000),
                1 => pair.now_ms + rng.u64(0..100_000),
                2..8 => pair.now_ms,
                _ => pair.now_ms + rng.u64(0..300),
            };
            let largest = *rng.choice(&[0, 10, 70, 200, 5_000]).unwrap();
            let max_len = *rng.choice(&[0, 1, 10, 100, 100, 250, 1_000, u64::MAX]).unwrap();
            // Most additions keep most: else there would never be anything to trim.
            let max_len = if rng.u8(0..4) > 0 { 250.max(max_len.min(1_000)) } else { max_len };
            let fields = if rng.u8(0..100) == 0 { Fields::new() } else { fields(rng, largest) };
            let command = Command::XAdd { stream: stream.clone(), max_len, fields: fields.into() };
            pair.check(&command);
            let info = pair.model.stream_info(&stream);
            ids.extend(info.map(|info| info.last_generated_id));
            pair.check_stream(&stream);
        }
        70..85 => {
            let after = rng.choice(ids.iter()).copied().unwrap_or_default();
            let count = *rng.choice(&[0, 1, 7, 100, 1_000]).unwrap();
            let block = Duration::from_millis(rng.u64(1..5_000));
            pair.check(&Command::XRange { stream: stream.clone(), after, count: count.max(1) });
            pair.check(&Command::XRead { stream: stream.clone(), after, count, block });
            pair.check(&Command::XRevRange { stream, before: after, count: count.max(1) });
        }
        85..96 => {
            let Some(entry) = rng.choice(ids.iter()).copied() else { return };
            let reply = pair.redis(&[b"XDEL", stream.as_bytes(), entry.to_string().as_bytes()]);
            assert_eq!(
                reply.as_int().unwrap_or(0),
                i64::from(pair.model.delete(&stream, entry)),
                "XDEL {entry}"
            );
            pair.check_stream(&stream);
        }
        96..98 => {
            let length = pair.model.stream_info(&stream).unwrap_or_default().length;
            let max_len = rng.u64(length / 2..=length + 1);
            let reply =
                pair.redis(&[b"XTRIM", stream.as_bytes(), b"MAXLEN", b"=", max_len.to_string().as_bytes()]);
            let ours = i64::try_from(pair.model.trim(&stream, max_len)).unwrap();
            assert_eq!(reply.as_int().unwrap_or(0), ours, "XTRIM {max_len}");
            pair.check_stream(&stream);
        }
        98 => pair.check_stream("there is no such stream"),
        _ => {
            let last = ids.last().copied().unwrap_or_default();
            let chosen = EntryId { ms: last.ms, seq: last.seq.wrapping_add(rng.u64(..) >> rng.u32(1..64)) };
            let ours = pair.model.add_entry_as(chosen, stream.clone(), Fields::from_iter([("a", "b")]));
            let id = chosen.to_string();
            let reply = pair.redis(&[b"XADD", stream.as_bytes(), id.as_bytes(), b"a", b"b"]);
            let command = Command::XAdd { stream: stream.clone(), max_len: 0, fields: Fields::new().into() };
            assert_eq!(ours.map(Reply::Added), translate(&command, &reply), "{chosen}");
            ids.push(chosen);
        }
    }
}

#[test]
fn streams() {
    let mut rng = rng();
    let limits = [
        NodeLimits::default(),
        NodeLimits { entries: 7, bytes: 0 },
        NodeLimits { entries: 0, bytes: 300 },
        NodeLimits { entries: 300, bytes: 16_000 },
    ];
    for limits in limits {
        let mut pair = Pair::start(limits, 1);
        pair.model.occupy("taken");
        pair.redis(&[b"SET", b"taken", b"x"]);
        let mut known = BTreeMap::new();
        for _ in 0..commands() / 2 {
            stream_command(&mut pair, &mut rng, &mut known);
        }
        for stream in STREAMS {
            let (stream, block) = (stream.into(), Duration::from_millis(1));
            pair.check(&Command::XRead { stream, after: EntryId::ZERO, count: 0, block });
        }
    }
}

/// One kind of entry, many of them: how far behind the wish does trimming stay?
#[test]
fn lengths_after_trimming() {
    let mut rng = rng();
    let mut seen = BTreeSet::new();
    for size in [0, 1, 10, 30, 60, 64, 100, 127, 200, 1_000, 4_080, 4_200, 17_000] {
        let mut pair = Pair::start(NodeLimits::default(), 1);
        let max_len = rng.u64(50..150);
        for _ in 0..350 {
            pair.now_ms += rng.u64(0..40);
            let fields = Fields::from_iter([("nsp", "/".to_owned()), ("data", "y".repeat(size))]);
            pair.check(&Command::XAdd { stream: "s".into(), max_len, fields: fields.into() });
            pair.check_stream("s");
        }
        seen.insert(pair.model.stream_info("s").unwrap().length - max_len);
    }
    // The sizes do make a difference: the test has seen nodes that were closed by either limit.
    assert!(seen.len() > 4, "{seen:?}");
}

/// An addition trims a bounded number of entries.
#[test]
fn much_to_trim() {
    let mut pair = Pair::start(NodeLimits { entries: 10, bytes: 0 }, 1);
    let mut add = |max_len| {
        let fields = Fields::from_iter([("a", "b")]);
        pair.check(&Command::XAdd { stream: "s".into(), max_len, fields: fields.into() });
        pair.check_stream("s");
        pair.model.stream_info("s").unwrap().length
    };
    (0..2_600).for_each(|_| _ = add(1_000_000));
    assert_eq!([add(5), add(5), add(5)], [1_601, 602, 13]);
}

/// Sessions: strings that are read in part, taken, and expire. The real server's clock is its own,
/// so that expiry is only compared where the time is over at once, or far away.
#[test]
fn strings() {
    let mut rng = rng();
    let mut pair = Pair::start(NodeLimits::default(), 1);
    pair.check(&Command::XAdd {
        stream: "c".into(),
        max_len: 9,
        fields: Fields::from_iter([("a", "b")]).into(),
    });
    for _ in 0..commands() / 4 {
        let key = ByteString::from(*rng.choice(&["a", "b", "c", "é", ""]).unwrap());
        let command = match rng.u8(0..10) {
            0..3 if key != "c" => {
                let length = *rng.choice(&[0, 1, 100, 70_000]).unwrap();
                let value = std::iter::repeat_with(|| rng.u8(..)).take(length).collect::<Vec<_>>().into();
                let px = *rng.choice(&[0, 100_000, 1 << 40, u64::MAX]).unwrap();
                Command::Set { key, value, px: Duration::from_millis(px) }
            }
            0..7 => Command::GetRange { key, end: *rng.choice(&[0, 1, 99, 100, 69_999, u32::MAX]).unwrap() },
            7 => Command::XInfoStream { stream: key },
            8 => Command::XRevRange { stream: key, before: EntryId { ms: u64::MAX, seq: 1 }, count: 2 },
            _ => Command::GetDel { key },
        };
        pair.check(&command);
    }
    let soon = Command::Set { key: "d".into(), value: "x".into(), px: Duration::from_millis(1) };
    let get = Command::GetRange { key: "d".into(), end: 10 };
    pair.check(&soon);
    pair.now_ms += 1;
    while pair.redis(&[b"EXISTS", b"d"]).as_int() != Some(0) {
        thread::yield_now();
    }
    pair.check(&get);
    pair.check(&Command::GetDel { key: "d".into() });
}

/// An addition that is refused leaves nothing behind, an empty stream neither.
#[test]
fn refused_additions() {
    let mut pair = Pair::start(NodeLimits::default(), 1);
    let top = EntryId { ms: u64::MAX, seq: u64::MAX };
    let command =
        Command::XAdd { stream: "s".into(), max_len: 10, fields: Fields::from_iter([("a", "b")]).into() };
    for id in
        [EntryId::ZERO, EntryId { ms: 5, seq: 5 }, EntryId { ms: 5, seq: 5 }, EntryId { ms: 5, seq: 4 }, top]
    {
        let ours = pair.model.add_entry_as(id, "s", Fields::from_iter([("a", "b")]));
        let theirs = pair.redis(&[b"XADD", b"s", id.to_string().as_bytes(), b"a", b"b"]);
        assert_eq!(ours.map(Reply::Added), translate(&command, &theirs), "{id}");
        pair.check_stream("s");
    }
    pair.check(&command);
    pair.check(&Command::XAdd { stream: "t".into(), max_len: 10, fields: Fields::new().into() });
    pair.check(&Command::XAdd {
        stream: "t".into(),
        max_len: u64::MAX,
        fields: Fields::from_iter([("a", "b")]).into(),
    });
    pair.check_stream("t");
}

fn subscribe(pair: &mut Pair, rng: &mut Rng) {
    // The first client is the one that asks.
    let at = rng.usize(1..pair.clients.len());
    let (ours, theirs) = &mut pair.clients[at];
    let channels: Vec<ByteString> =
        (0..rng.usize(1..4)).map(|_| rng.choice(CHANNELS).unwrap().into()).collect();
    let (sharded, leave) = (rng.bool(), rng.u8(0..3) == 0);
    let name = format!("{}{}SUBSCRIBE", if sharded { "S" } else { "" }, if leave { "UN" } else { "" });
    let mut args = vec![name.as_bytes()];
    args.extend(channels.iter().map(|channel| channel[..].as_bytes()));
    // Each channel has its confirmation.
    theirs.command(&args).unwrap();
    (1..channels.len()).for_each(|_| _ = theirs.read_reply().unwrap());
    let command = match leave {
        true => Command::Unsubscribe { channels, sharded },
        false => Command::Subscribe { channels, sharded },
    };
    assert_eq!(pair.model.execute(pair.now_ms, *ours, &command), Executed::Reply(Ok(Reply::Done)));
}

#[test]
fn pubsub() {
    let mut rng = rng();
    let mut pair = Pair::start(NodeLimits::default(), 6);
    let mut heard = 0;
    for turn in 0..commands() {
        let sharded = rng.bool();
        let channel = ByteString::from(rng.choice(CHANNELS).unwrap());
        match rng.u8(0..10) {
            0..2 => subscribe(&mut pair, &mut rng),
            2..5 => {
                let more = (0..rng.usize(0..3)).filter_map(|_| rng.choice(CHANNELS));
                let channels = std::iter::once(channel).chain(more.map(ByteString::from)).collect();
                pair.check(&Command::PubSubNumSub { channels, sharded });
            }
            5..8 => {
                let pattern = ByteString::from(rng.choice(PATTERNS).unwrap());
                pair.check(&Command::PubSubChannels { pattern, sharded });
            }
            8 => {
                let payload = turn.to_string();
                let kind = if sharded { "smessage" } else { "message" };
                pair.check(&Command::Publish { channel, payload: payload.clone().into(), sharded });
                // Clients that hear it here must hear it there. If others did, the next
                // confirmation would not be one.
                while let Some((client, channel, pushed)) = pair.model.poll_push() {
                    heard += 1;
                    let (_, theirs) = pair.clients.iter_mut().find(|(ours, _)| *ours == client).unwrap();
                    let expected =
                        [kind.as_bytes(), channel.as_bytes(), &pushed].map(|part| Resp::Bulk(part.to_vec()));
                    assert_eq!(theirs.read_reply().unwrap(), Resp::Array(expected.to_vec()));
                    assert_eq!(pushed, payload);
                }
            }
            _ if rng.u8(0..20) == 0 => {
                // A connection goes, and its subscriptions with it.
                let at = rng.usize(1..pair.clients.len());
                pair.model.disconnect(pair.clients[at].0);
                let fresh = (pair.model.connect(), pair.redis.connect().unwrap());
                let gone = std::mem::replace(&mut pair.clients[at], fresh);
                let clients = pair.clients.len();
                drop(gone);
                pair.wait_for("connected_clients", clients);
            }
            _ => {}
        }
    }
    assert!(heard > 100, "{heard}");
}

/// Blocked reads: the order in which clients are served, and the entries that they get.
#[test]
fn blocked_reads() {
    let mut rng = rng();
    let mut pair = Pair::start(NodeLimits::default(), 1);
    for round in 0..60 {
        let last = pair.model.stream_info("s").unwrap_or_default().last_generated_id;
        let mut waiting = BTreeMap::new();
        for _ in 0..4 {
            // Some wait for an entry that is not the next one.
            let after = EntryId { ms: last.ms + rng.u64(0..3), seq: last.seq };
            let (count, block) = (rng.u32(1..3), Duration::from_secs(60));
            let client = pair.model.connect();
            let command = Command::XRead { stream: "s".into(), after, count, block };
            assert_eq!(pair.model.execute(pair.now_ms, client, &command), Executed::Blocked);
            let mut theirs = pair.redis.connect().unwrap();
            let words = format!("XREAD BLOCK 60000 COUNT {count} STREAMS s {after}");
            let thread =
                thread::spawn(move || theirs.command(&words.split(' ').collect::<Vec<_>>()).unwrap());
            waiting.insert(client, thread);
            pair.wait_for("blocked_clients", waiting.len());
        }
        pair.now_ms = last.ms;
        while !waiting.is_empty() {
            pair.now_ms += 1;
            // An entry may be trimmed at once: then those who have waited for it get nothing.
            let max_len = *rng.choice(&[0, 100]).unwrap();
            pair.check(&Command::XAdd { stream: "s".into(), max_len, fields: fields(&mut rng, 10).into() });
            while let Some((client, reply)) = pair.model.poll_wakeup() {
                let theirs = waiting.remove(&client).unwrap().join().unwrap();
                assert_eq!(reply, Ok(Reply::Entries(entries(&theirs))), "round {round}");
                pair.model.disconnect(client);
            }
            pair.wait_for("blocked_clients", waiting.len());
        }
    }
}
