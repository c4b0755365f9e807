//! Events of a server that its clients' commands do not cause.

use bytestring::ByteString;
use sio_streams_core::{CommandError, EntryId, Fields};

use crate::{RedisModel, Value};

impl RedisModel {
    /// Adds an entry that a foreign program wrote, at a time of the server's clock, in milliseconds
    /// since 1970. Nothing is trimmed.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`], as for an `XADD`.
    pub fn add_entry(
        &mut self,
        now_ms: u64,
        stream: impl Into<ByteString>,
        fields: Fields,
    ) -> Result<EntryId, CommandError> {
        self.add(&stream.into(), None, now_ms, fields, None)
    }

    /// Adds an entry under an id that the foreign program chose.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`], as for an `XADD`; the id must lie behind all that the stream ever
    /// gave.
    pub fn add_entry_as(
        &mut self,
        id: EntryId,
        stream: impl Into<ByteString>,
        fields: Fields,
    ) -> Result<EntryId, CommandError> {
        self.add(&stream.into(), Some(id), 0, fields, None)
    }

    /// `XTRIM stream MAXLEN = max_len`. Returns how many entries are gone.
    pub fn trim(&mut self, stream: &str, max_len: u64) -> u64 {
        let trimmed = match self.keys.get_mut(stream) {
            Some(Value::Stream(stream)) => stream.trim_exactly(max_len),
            Some(Value::Text(_) | Value::Other) | None => 0,
        };
        if trimmed > 0 {
            self.touched(stream);
        }
        trimmed
    }

    /// `XDEL stream id`. Returns whether the entry was there.
    pub fn delete(&mut self, stream: &str, id: EntryId) -> bool {
        let deleted = match self.keys.get_mut(stream) {
            Some(Value::Stream(stream)) => stream.delete(id),
            Some(Value::Text(_) | Value::Other) | None => false,
        };
        if deleted {
            self.touched(stream);
        }
        deleted
    }

    /// A failover to a replica that had not received the last `count` entries: the stream is as
    /// before they were added, and gives ids from there on again. What was trimmed meanwhile does
    /// not come back. A stream that loses all that was ever added is gone. Returns how many entries
    /// are lost.
    pub fn lose_tail(&mut self, stream: &str, count: u64) -> u64 {
        let Some(Value::Stream(found)) = self.keys.get_mut(stream) else { return 0 };
        let lost = found.lose_tail(count);
        if found.is_untouched() {
            self.keys.remove(stream);
        }
        if lost > 0 {
            self.touched(stream);
        }
        lost
    }

    /// A failover to another server: its streams take the place of this server's. Everything else
    /// stays, connections too.
    pub fn take_streams_of(&mut self, other: &RedisModel) {
        for stream in self.streams().chain(other.streams()).cloned().collect::<Vec<_>>() {
            self.touched(&stream);
            match other.keys.get(&stream) {
                Some(value) => self.keys.insert(stream, value.clone()),
                None => self.keys.remove(&stream),
            };
        }
    }

    /// `DEL key`. Returns whether it was there. Reads that wait for it go on waiting.
    pub fn remove(&mut self, key: &str) -> bool {
        let removed = self.keys.remove(key).is_some();
        if removed {
            self.touched(key);
        }
        removed
    }

    /// `FLUSHALL`. For a restart without data, [disconnect all](Self::disconnect_all) as well.
    pub fn flush(&mut self) {
        for key in core::mem::take(&mut self.keys).into_keys() {
            self.touched(&key);
        }
    }

    /// Puts something under the key that is no stream: commands that want a stream there are
    /// refused with `WRONGTYPE`.
    pub fn occupy(&mut self, key: impl Into<ByteString>) {
        let key = key.into();
        self.touched(&key);
        self.keys.insert(key, Value::Other);
    }

    /// Closes all connections.
    pub fn disconnect_all(&mut self) {
        for client in core::mem::take(&mut self.clients) {
            self.blocked.remove(client);
            self.plain.unsubscribe_all(client);
            self.patterns.unsubscribe_all(client);
            self.sharded.unsubscribe_all(client);
        }
        self.transactions.clear();
        self.wakeups.clear();
        self.pushes.clear();
    }

    /// Answers all blocked reads with an error, as a master does that becomes a replica
    /// (`UNBLOCKED`).
    pub fn unblock_all(&mut self, error: &CommandError) {
        for client in self.blocked.take_all() {
            self.wakeups.push_back((client, Err(error.clone())));
        }
    }

    /// From now on all commands fail (`LOADING`, `NOAUTH`, …), until this is called with `None`.
    /// Reads that are blocked already stay so.
    pub fn refuse_with(&mut self, error: Option<CommandError>) {
        self.refusal = error;
    }

    /// From now on commands that write to keys fail (`READONLY`, `OOM`, `MISCONF`, …), until this
    /// is called with `None`.
    pub fn refuse_writes_with(&mut self, error: Option<CommandError>) {
        self.write_refusal = error;
    }

    /// From now on `XREAD` fails, as if all users lacked the right to it, until this is called with
    /// `None`. Reads that are blocked go on.
    pub fn refuse_reads_with(&mut self, error: Option<CommandError>) {
        self.read_refusal = error;
    }

    /// From now on nobody may subscribe to these channels and patterns, as if all users lacked the
    /// right to them. A command that names one of them fails as a whole. All others may be
    /// subscribed to, even if they were named here before.
    pub fn withhold(&mut self, channels: impl IntoIterator<Item = ByteString>) {
        self.withheld = channels.into_iter().collect();
    }

    /// Sets whether `XINFO` tells how many entries were added, as servers do from Redis 7.0 on.
    pub fn set_counting(&mut self, counting: bool) {
        self.uncounted = !counting;
    }
}
