//! Compares the size that the model computes for a node with a real server's, to the byte. With one
//! byte too few or too many trimmed lengths differ, but so seldom that random commands may not show
//! it.

#![allow(clippy::unwrap_used)]

use sio_streams_core::{Command, EntryId, Fields};
use sio_streams_redis_model::{Executed, NodeLimits, RedisModel};
use sio_streams_testkit::{Client, RedisServer};

/// The contents of a node: these entries, of which the first few are deleted then.
struct Content {
    entries: Vec<(EntryId, Fields)>,
    deleted: usize,
}

fn entry(ms: u64, seq: u64, fields: &[(&str, &str)]) -> (EntryId, Fields) {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    (EntryId { ms, seq }, fields.collect())
}

/// Strings and numbers of all lengths that are written in another way than their neighbours, ids
/// and counts likewise.
fn contents() -> Vec<Content> {
    let mut contents = Vec::new();
    let lengths = [0..3, 61..66, 123..131, 4_088..4_098, 16_372..16_386, 2_097_140..2_097_150];
    for length in lengths.into_iter().flatten() {
        contents.push(vec![entry(5, 0, &[("name", &"x".repeat(length))])]);
    }
    let edges = [0, 127, 4_095, 32_767, 8_388_607, 2_147_483_647, i64::MAX - 1];
    for edge in edges.into_iter().flat_map(|edge| [edge, edge + 1]) {
        for number in [edge, -edge, -edge - 1] {
            let number = number.to_string();
            contents.push(vec![entry(5, 0, &[(&number, &number)])]);
        }
        let ahead = edge.cast_unsigned() + 1;
        contents.push(vec![entry(5, 0, &[("a", "b")]), entry(5, ahead, &[("a", "b")])]);
        // Another millisecond, so that the sequence may lie behind the first one's.
        contents.push(vec![entry(5, ahead, &[("a", "b")]), entry(6, 0, &[("a", "b")])]);
        if ahead < 1 << 40 {
            contents.push(vec![entry(5, 0, &[("a", "b")]), entry(5 + ahead, 0, &[("a", "b")])]);
        }
    }
    for odd in [
        "-0",
        "00",
        "01",
        "+1",
        "-",
        " 1",
        "1x",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
    ] {
        contents.push(vec![entry(5, 0, &[(odd, odd)])]);
    }
    for count in [2, 120, 127, 128, 129, 256, 300] {
        let names: Vec<String> = (0..=count).map(|number| format!("n{number}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        contents.push(vec![entry(5, 0, &fields), entry(5, 1, &fields), entry(5, 2, &fields[1..])]);
        contents.push((0..count).map(|seq| entry(5, seq, &[("a", "b")])).collect());
    }
    let halves = contents.iter().filter(|entries| entries.len() > 3).cloned().collect::<Vec<_>>();
    let halved = halves.into_iter().map(|entries| Content { deleted: entries.len() / 2, entries });
    let whole = contents.into_iter().map(|entries| Content { entries, deleted: 0 });
    whole.collect::<Vec<_>>().into_iter().chain(halved).collect()
}

/// Returns `true` if one more entry fits into the node if it may have this many bytes. Otherwise
/// trimming removes the whole node at once.
fn fits(content: &Content, bytes: usize) -> bool {
    let mut model = RedisModel::with_node_limits(NodeLimits { entries: 0, bytes: 0 });
    for (id, fields) in &content.entries {
        model.add_entry_as(*id, "s", fields.clone()).unwrap();
    }
    for (id, _) in &content.entries[..content.deleted] {
        assert!(model.delete("s", *id));
    }
    model.set_node_limits(NodeLimits { entries: 0, bytes });
    let client = model.connect();
    let command =
        Command::XAdd { stream: "s".into(), max_len: 1, fields: Fields::from_iter([("a", "")]).into() };
    assert!(matches!(model.execute(u64::MAX, client, &command), Executed::Reply(Ok(_))));
    model.entries("s").count() > 1
}

fn really_fits(redis: &mut Client, content: &Content, bytes: usize) -> bool {
    let mut command = |args: &[&[u8]]| redis.command(args).unwrap();
    let setting = b"stream-node-max-bytes";
    command(&[b"DEL", b"s"]);
    command(&[b"CONFIG", b"SET", setting, b"0"]);
    for (id, fields) in &content.entries {
        let id = id.to_string();
        let mut args: Vec<&[u8]> = vec![b"XADD", b"s", id.as_bytes()];
        args.extend(fields.iter().flat_map(|(name, value)| [&name[..], &value[..]]));
        assert_eq!(command(&args).as_str(), Some(&*id));
    }
    for (id, _) in &content.entries[..content.deleted] {
        assert_eq!(command(&[b"XDEL", b"s", id.to_string().as_bytes()]).as_int(), Some(1));
    }
    command(&[b"CONFIG", b"SET", setting, bytes.to_string().as_bytes()]);
    assert!(command(&[b"XADD", b"s", b"MAXLEN", b"~", b"1", b"*", b"a", b""]).as_str().is_some());
    command(&[b"XLEN", b"s"]).as_int().unwrap() > 1
}

#[test]
fn to_the_byte() {
    let redis = RedisServer::builder().config("stream-node-max-entries 0").start().unwrap();
    let mut redis = redis.connect().unwrap();
    for content in contents() {
        let (mut too_few, mut enough) = (0, 1 << 23);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            match middle > 0 && fits(&content, middle) {
                true => enough = middle,
                false => too_few = middle,
            }
        }
        let really = [too_few, enough].map(|bytes| really_fits(&mut redis, &content, bytes));
        let (id, fields) = &content.entries[content.entries.len() - 1];
        let what =
            format!("{} entries, {} deleted, {id} {fields:.80?}", content.entries.len(), content.deleted);
        assert_eq!(really, [false, true], "the model counts {enough} bytes: {what}");
    }
}
