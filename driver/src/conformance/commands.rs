//! Cases about streams, and batches of commands.

use core::time::Duration;

use sio_streams_core::{ByteString, Command, CommandError, EntryId, Fields, Lane, Reply, StreamInfo};
use tokio::time::Instant;

use super::tools::{
    LONG, SHORT, add, added, done, ensure, entries, info, numbered, numbers, range, read, same, subscribe,
};
use super::{Outcome, Suite, one};
use crate::backend::{Backend, Connection as _};

pub(super) async fn a_stream_that_is_not_there<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    same("its XINFO", one(&mut reader, info(&stream)).await, Ok(Reply::Stream(None)))?;
    let nothing = Ok(Reply::Entries(Vec::new()));
    same("its XREAD", one(&mut reader, read(&stream, EntryId::ZERO, SHORT)).await, nothing.clone())?;
    let mut writer = suite.connect(&Lane::Writer).await?;
    same("its XRANGE", one(&mut writer, range(&stream, EntryId::ZERO, 10)).await, nothing)
}

pub(super) async fn entries_come_back_as_they_were_added<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    // Names may occur twice, and may be empty. Their order matters.
    let fields: [Fields; 2] = [
        [("nsp", "/"), ("type", "3")].into_iter().collect(),
        [("b", "1"), ("a", "2"), ("b", "3"), ("", "")].into_iter().collect(),
    ];
    let mut ids = Vec::new();
    for fields in &fields {
        ids.push(added(one(&mut writer, add(&stream, fields.clone())).await)?);
    }
    ensure(ids[0] < ids[1], || format!("ids do not grow: {ids:?}"))?;
    let found = entries(one(&mut reader, read(&stream, EntryId::ZERO, SHORT)).await)?;
    same("ids", found.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids.clone())?;
    for (entry, expected) in found.iter().zip(fields) {
        same("fields", entry.fields.clone(), expected)?;
    }
    let known = match one(&mut reader, info(&stream)).await {
        Ok(Reply::Stream(Some(info))) => info,
        other => return Err(format!("XINFO is answered by {other:?}")),
    };
    let expected = StreamInfo {
        length: 2,
        last_generated_id: ids[1],
        first_entry_id: Some(ids[0]),
        // Servers before Redis 7 don't tell these two.
        entries_added: known.entries_added.map(|_| 2),
        max_deleted_entry_id: known.max_deleted_entry_id.map(|_| EntryId::ZERO),
    };
    same("XINFO", known, expected)
}

pub(super) async fn a_read_begins_behind_its_place<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(added(one(&mut writer, numbered(&stream, number)).await)?);
    }
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    let found = entries(one(&mut reader, read(&stream, ids[1], SHORT)).await)?;
    same("entries", numbers(&found), vec!["2".into(), "3".into(), "4".into()])?;
    let few = Command::XRead { stream: stream.clone(), after: ids[1], count: 2, block: SHORT };
    let found = entries(one(&mut reader, few).await)?;
    same("no more than were asked for", numbers(&found), vec!["2".into(), "3".into()])?;
    let found = entries(one(&mut reader, read(&stream, ids[4], SHORT)).await)?;
    same("behind the last", numbers(&found), vec![])
}

pub(super) async fn a_range_comes_in_pages<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    for result in writer.execute((0..25).map(|number| numbered(&stream, number)).collect()).await {
        added(result)?;
    }
    let (mut after, mut all) = (EntryId::ZERO, Vec::new());
    loop {
        let page = entries(one(&mut writer, range(&stream, after, 10)).await)?;
        ensure(page.len() <= 10, || format!("{} entries on a page of 10", page.len()))?;
        match page.last() {
            Some(last) => after = last.id,
            None => break,
        }
        all.extend(numbers(&page));
    }
    same("all pages", all, (0..25).map(|number: usize| number.to_string()).collect())
}

pub(super) async fn a_range_is_read_backwards<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(added(one(&mut writer, numbered(&stream, number)).await)?);
    }
    let mut recovery = suite.connect(&Lane::Recovery).await?;
    let back = |before, count| Command::XRevRange { stream: stream.clone(), before, count };
    let found = entries(one(&mut recovery, back(ids[4], 3)).await)?;
    same("the newest first", numbers(&found), vec!["3".into(), "2".into(), "1".into()])?;
    let found = entries(one(&mut recovery, back(ids[0], 3)).await)?;
    same("before the first", numbers(&found), vec![])
}

pub(super) async fn a_session_is_stored_read_and_taken<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (key, empty) = (suite.name("key"), suite.name("empty"));
    let mut recovery = suite.connect(&Lane::Recovery).await?;
    let get = |key: &ByteString, end| Command::GetRange { key: key.clone(), end };
    let take = |key: &ByteString| Command::GetDel { key: key.clone() };
    let value = |bytes: &'static [u8]| Ok(Reply::Value(Some(bytes.into())));
    let none = || Ok(Reply::Value(None));
    same("a part of nothing", one(&mut recovery, get(&key, 9)).await, none())?;
    same("nothing", one(&mut recovery, take(&key)).await, none())?;
    let set = |key: &ByteString, value: &'static [u8]| Command::Set {
        key: key.clone(),
        value: value.into(),
        px: LONG,
    };
    done(one(&mut recovery, set(&key, b"\0\r\n\xff, and more")).await)?;
    done(one(&mut recovery, set(&empty, b"")).await)?;
    same("a part", one(&mut recovery, get(&key, 3)).await, value(b"\0\r\n\xff"))?;
    same("all", one(&mut recovery, get(&key, 999)).await, value(b"\0\r\n\xff, and more"))?;
    same("a part of what is empty", one(&mut recovery, get(&empty, 9)).await, none())?;
    same("what is empty", one(&mut recovery, take(&empty)).await, value(b""))?;
    let results = recovery.execute(vec![take(&key), take(&key)]).await;
    same("taken once", results, vec![value(b"\0\r\n\xff, and more"), none()])?;
    let soon = Command::Set { key: key.clone(), value: "x".into(), px: SHORT };
    done(one(&mut recovery, soon).await)?;
    let deadline = Instant::now() + LONG;
    while one(&mut recovery, get(&key, 9)).await != none() {
        ensure(Instant::now() < deadline, || "what has expired is still there".into())?;
        tokio::time::sleep(SHORT).await;
    }
    Ok(())
}

pub(super) async fn a_read_is_served_while_it_blocks<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    let mut after = EntryId::ZERO;
    for number in 0..20 {
        let reading = async { one(&mut reader, read(&stream, after, LONG)).await };
        let (found, id) = tokio::join!(reading, async { one(&mut writer, numbered(&stream, number)).await });
        let (found, id) = (entries(found)?, added(id)?);
        same("what was read", numbers(&found), vec![number.to_string()])?;
        after = id;
    }
    Ok(())
}

pub(super) async fn a_blocked_read_holds_up_nobody<B: Backend>(suite: &Suite<B>) -> Outcome {
    let streams: Vec<ByteString> = (0..4).map(|_| suite.name("quiet")).collect();
    let busy = suite.name("busy");
    // All connections are of one backend, as a node's lanes are.
    let backend = suite.backend();
    let mut readers = Vec::new();
    for stream in &streams {
        let (mut reader, _) = suite.listen(&backend, &Lane::Reader(stream.clone())).await?;
        let stream = stream.clone();
        readers.push(tokio::spawn(async move { one(&mut reader, read(&stream, EntryId::ZERO, LONG)).await }));
    }
    let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
    let (mut subscriber, _) = suite.listen(&backend, &Lane::Subscriber).await?;
    for number in 0..20 {
        added(one(&mut writer, numbered(&busy, number)).await)?;
        done(one(&mut subscriber, subscribe(&[suite.name("channel")], false)).await)?;
    }
    for (reader, stream) in readers.into_iter().zip(&streams) {
        ensure(!reader.is_finished(), || "a read ended that had nothing to find".to_owned())?;
        added(one(&mut writer, numbered(stream, 7)).await)?;
        let found = reader.await.map_err(|error| error.to_string())?;
        same("what the blocked read found", numbers(&entries(found)?), vec!["7".into()])?;
    }
    Ok(())
}

pub(super) async fn a_read_that_finds_nothing_ends<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    // This is longer than the default time limits of client crates.
    let block = Duration::from_millis(1_100);
    let started = Instant::now();
    let found = one(&mut reader, read(&stream, EntryId::ZERO, block)).await;
    same("what was read", found, Ok(Reply::Entries(Vec::new())))?;
    // Servers look at the clock at their own pace.
    let waited = started.elapsed();
    ensure(waited >= block / 2, || format!("it waited {waited:?} in place of {block:?}"))
}

pub(super) async fn a_stream_is_trimmed_about_where_it_is_told<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let fields: Fields = [("a", "b")].into_iter().collect();
    let add = || Command::XAdd { stream: stream.clone(), max_len: 10, fields: fields.clone().into() };
    for result in writer.execute((0..500).map(|_| add()).collect()).await {
        added(result)?;
    }
    let left = entries(one(&mut writer, range(&stream, EntryId::ZERO, 1_000)).await)?.len();
    ensure((10..=250).contains(&left), || format!("about 10 were to be kept, {left} are left"))
}

pub(super) async fn bytes_are_kept_as_they_are<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let every: Vec<u8> = (0..=255).collect();
    let large = vec![0xff; 3 << 20];
    let fields: Fields = [(every.clone(), large), (b"\r\n".to_vec(), every.clone()), (every, Vec::new())]
        .into_iter()
        .collect();
    let mut writer = suite.connect(&Lane::Writer).await?;
    let id = added(one(&mut writer, add(&stream, fields.clone())).await)?;
    let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
    let found = entries(one(&mut reader, read(&stream, EntryId::ZERO, SHORT)).await)?;
    ensure(found.len() == 1 && found[0].id == id && found[0].fields == fields, || {
        "three megabytes with every byte in them came back changed".to_owned()
    })
}

pub(super) async fn a_batch_is_answered_in_order<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    same("an empty batch", writer.execute(Vec::new()).await.len(), 0)?;
    let results = writer.execute((0..1_024).map(|number| numbered(&stream, number)).collect()).await;
    same("results", results.len(), 1_024)?;
    let ids = results.into_iter().map(added).collect::<Result<Vec<_>, _>>()?;
    ensure(ids.is_sorted(), || "the ids of a batch do not grow".to_owned())?;
    let found = entries(one(&mut writer, range(&stream, EntryId::ZERO, 2_000)).await)?;
    same("ids", found.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids)?;
    same("order", numbers(&found), (0..1_024).map(|number: usize| number.to_string()).collect())
}

/// Tries many streams in one batch. In a cluster, they lie on different servers.
pub(super) async fn many_streams_in_one_batch<B: Backend>(suite: &Suite<B>) -> Outcome {
    let streams: Vec<ByteString> = (0..24).map(|_| suite.name("stream")).collect();
    let mut writer = suite.connect(&Lane::Writer).await?;
    let commands = (0..240).map(|number| numbered(&streams[number % streams.len()], number)).collect();
    let mut ids = Vec::new();
    for result in writer.execute(commands).await {
        ids.push(added(result)?);
    }
    for (index, stream) in streams.iter().enumerate() {
        let mut reader = suite.connect(&Lane::Reader(stream.clone())).await?;
        let found = entries(one(&mut reader, read(stream, EntryId::ZERO, SHORT)).await)?;
        let expected: Vec<usize> = (index..240).step_by(streams.len()).collect();
        same("order", numbers(&found), expected.iter().map(usize::to_string).collect())?;
        let expected: Vec<EntryId> = expected.iter().map(|&number| ids[number]).collect();
        same("ids", found.iter().map(|entry| entry.id).collect::<Vec<_>>(), expected)?;
    }
    Ok(())
}

pub(super) async fn a_refusal_leaves_the_others_alone<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (stream, absent) = (suite.name("stream"), suite.name("absent"));
    let mut writer = suite.connect(&Lane::Writer).await?;
    // Every server refuses an entry without fields.
    let commands = vec![
        numbered(&stream, 0),
        add(&stream, Fields::new()),
        info(&absent),
        add(&stream, Fields::new()),
        numbered(&stream, 1),
    ];
    let results: [Result<Reply, CommandError>; 5] = writer
        .execute(commands)
        .await
        .try_into()
        .map_err(|_| "not as many results as commands".to_owned())?;
    let [first, wrong, nothing, again, last] = results;
    ensure(added(first)? < added(last)?, || "the ids do not grow".to_owned())?;
    for refused in [wrong, again] {
        ensure(matches!(&refused, Err(CommandError::Server { code, .. }) if code == "ERR"), || {
            format!("Redis refuses with ERR, {refused:?} came")
        })?;
    }
    same("between them", nothing, Ok(Reply::Stream(None)))?;
    // The connection can still be used.
    added(one(&mut writer, numbered(&stream, 2)).await)?;
    let found = entries(one(&mut writer, range(&stream, EntryId::ZERO, 10)).await)?;
    same("what is there", numbers(&found), vec!["0".into(), "1".into(), "2".into()])
}

pub(super) async fn a_release_is_done<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let mut writer = suite.connect(&Lane::Writer).await?;
    let commands = vec![
        numbered(&stream, 0),
        Command::Release { lane: Lane::Reader(stream.clone()) },
        numbered(&stream, 1),
    ];
    let results = writer.execute(commands).await;
    same("results", results.len(), 3)?;
    for (index, result) in results.into_iter().enumerate() {
        match index {
            1 => done(result)?,
            _ => drop(added(result)?),
        }
    }
    Ok(())
}
