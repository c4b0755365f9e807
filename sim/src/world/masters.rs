//! Two masters that live at once.

use core::time::Duration;

use bytestring::ByteString;
use sio_streams_core::{Command, EntryId, Fields, Reply};
use sio_streams_redis_model::RedisModel;

use super::World;
use crate::app::App;
use crate::watch::{Happening, Watch};

/// A master that was promoted while the old one still lives.
#[derive(Debug)]
pub(super) struct OtherMaster {
    redis: RedisModel,
    /// The number of entries that were ever added to each stream when it was promoted.
    added: Vec<(ByteString, u64)>,
    /// The entries that it has taken since.
    taken: Vec<(ByteString, EntryId, Fields)>,
}

impl<A: App, W: Watch> World<A, W> {
    /// Promotes a replica that has not received the last entries of each stream, and takes entries
    /// of a foreign program, at these times from now on.
    pub(super) fn promote_another(&mut self, lost: u64, entries: &[(Duration, ByteString, Fields)]) {
        if !self.server.is_up() || self.server.other.is_some() {
            return;
        }
        let mut redis = self.server.redis.clone();
        redis.set_counting(true);
        let streams = self.streams();
        for stream in &streams {
            redis.lose_tail(stream, lost);
        }
        let added = streams.into_iter().map(|stream| {
            let added = added(&redis, &stream);
            (stream, added)
        });
        let added = added.collect();
        let mut taken = Vec::new();
        for (after, stream, fields) in entries {
            let wall = self.server.wall(self.now + *after);
            if let Ok(id) = redis.add_entry(wall, stream.clone(), fields.clone()) {
                taken.push((stream.clone(), id, fields.clone()));
            }
        }
        self.server.other = Some(OtherMaster { redis, added, taken });
    }

    /// The other master takes the server's place. What was written to the server meanwhile is lost.
    pub(super) fn take_over(&mut self, other: OtherMaster) {
        let mut old = self.server.redis.clone();
        old.set_counting(true);
        for stream in self.streams() {
            let common = other.added.iter().find(|(name, _)| *name == stream).map_or(0, |(_, added)| *added);
            let lost = added(&old, &stream).saturating_sub(common);
            if lost > 0 {
                self.watch.saw(self.now, &Happening::TailLost { stream: &stream, entries: Some(lost) });
            }
        }
        self.server.redis.take_streams_of(&other.redis);
        for (stream, id, fields) in other.taken {
            let command = Command::XAdd { stream, max_len: u64::MAX >> 1, fields: fields.into() };
            let (host, reply) = (usize::MAX, Ok(Reply::Added(id)));
            self.watch.saw(self.now, &Happening::Executed { host, command: &command, reply: &reply });
        }
    }
}

/// The number of entries that were ever added to a stream.
fn added(redis: &RedisModel, stream: &str) -> u64 {
    redis.stream_info(stream).and_then(|info| info.entries_added).unwrap_or_default()
}
