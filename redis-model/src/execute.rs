//! Commands.

use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, Entry, EntryId, Fields, Reply, StreamInfo};

use crate::pubsub::Channels;
use crate::streams::Stream;
use crate::{ClientId, Executed, RedisModel, Value, errors};

impl RedisModel {
    /// Executes a client's command at a time of the server's clock, in milliseconds since 1970. The
    /// clock may jump, backwards too; the ids of a stream still only grow.
    ///
    /// Afterwards there may be something in [`poll_wakeup`](Self::poll_wakeup) and
    /// [`poll_push`](Self::poll_push), for this client and for others.
    ///
    /// # Errors
    ///
    /// Within the reply: [`CommandError::Server`] where Redis would refuse;
    /// [`CommandError::NotSent`] if the client is not connected, or is blocked in a read;
    /// [`CommandError::Unusable`] for commands that are not known here.
    pub fn execute(&mut self, now_ms: u64, client: ClientId, command: &Command) -> Executed {
        self.handle_timeout(now_ms);
        if let Err(error) = self.accept(client, command) {
            self.spoil(client);
            return Executed::Reply(Err(error));
        }
        if self.queue(client, command) {
            return Executed::Reply(Ok(Reply::Done));
        }
        self.run(now_ms, client, command)
    }

    /// Executes a command, whatever its client has queued.
    pub(crate) fn run(&mut self, now_ms: u64, client: ClientId, command: &Command) -> Executed {
        if let Some(key) = key_of(command) {
            self.expire(now_ms, key);
        }
        let reply = match command {
            Command::XAdd { stream, max_len, fields } => {
                self.xadd(now_ms, stream, *max_len, fields).map(Reply::Added)
            }
            Command::XRead { stream, after, count, block } => {
                match self.xread(now_ms, client, stream, *after, *count, *block) {
                    Ok(None) => return Executed::Blocked,
                    Ok(Some(reply)) => Ok(reply),
                    Err(error) => Err(error),
                }
            }
            Command::XRange { stream, after, count } => {
                self.xrange(stream, *after, *count).map(Reply::Entries)
            }
            Command::XRevRange { stream, before, count } => {
                self.xrevrange(stream, *before, *count).map(Reply::Entries)
            }
            Command::Set { key, value, px } => self.set(now_ms, key, value, *px),
            Command::GetRange { key, end } => self.get_range(key, *end),
            Command::GetDel { key } => self.get_del(key),
            Command::XInfoStream { stream } => self.xinfo(stream).map(Reply::Stream),
            Command::Publish { channel, payload, sharded } => {
                self.publish(channel, payload, *sharded);
                Ok(Reply::Done)
            }
            Command::Subscribe { channels, sharded } => {
                self.subscribe(client, channels, *sharded);
                Ok(Reply::Done)
            }
            Command::Unsubscribe { channels, sharded } => {
                self.unsubscribe(client, channels, *sharded);
                Ok(Reply::Done)
            }
            Command::PSubscribe { patterns } => {
                patterns.iter().for_each(|pattern| self.patterns.subscribe(client, pattern));
                Ok(Reply::Done)
            }
            Command::PUnsubscribe { patterns } if patterns.is_empty() => {
                self.patterns.unsubscribe_all(client);
                Ok(Reply::Done)
            }
            Command::PUnsubscribe { patterns } => {
                patterns.iter().for_each(|pattern| self.patterns.unsubscribe(client, pattern));
                Ok(Reply::Done)
            }
            Command::PubSubNumSub { channels, sharded } => {
                let subscriptions = self.channels(*sharded);
                let count = |channel: &ByteString| subscriptions.subscribers(channel).len() as u64;
                Ok(Reply::Counts(channels.iter().map(count).collect()))
            }
            Command::PubSubChannels { pattern, sharded } => {
                Ok(Reply::Channels(self.channels(*sharded).matching(pattern)))
            }
            // For the owner of the connections.
            Command::Release { .. } => Ok(Reply::Done),
            _ => Err(CommandError::Unusable(format!("the simulated Redis does not know {command:?}"))),
        };
        Executed::Reply(reply)
    }

    /// Checks that the client may execute the command.
    fn accept(&self, client: ClientId, command: &Command) -> Result<(), CommandError> {
        match command {
            Command::Release { .. } => return Ok(()),
            Command::Subscribe { channels, sharded: false } if channels.is_empty() => {
                return Err(errors::wrong_number_of_arguments("subscribe"));
            }
            Command::PSubscribe { patterns } if patterns.is_empty() => {
                return Err(errors::wrong_number_of_arguments("psubscribe"));
            }
            _ => {}
        }
        self.hears(client)?;
        if let Command::Subscribe { channels: names, .. } | Command::PSubscribe { patterns: names } = command
            && names.iter().any(|name| self.withheld.contains(name))
        {
            return Err(errors::no_channel());
        }
        self.refusal_of(command).map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Checks that the client can execute commands at all.
    pub(crate) fn hears(&self, client: ClientId) -> Result<(), CommandError> {
        if !self.is_connected(client) {
            return Err(CommandError::NotSent(format!("{client} is not connected")));
        }
        if self.blocked.contains(client) {
            return Err(CommandError::NotSent(format!("{client} is blocked in a read")));
        }
        Ok(())
    }

    /// With what the server refuses the command just now.
    pub(crate) fn refusal_of(&self, command: &Command) -> Option<&CommandError> {
        let writes = matches!(command, Command::XAdd { .. } | Command::Set { .. } | Command::GetDel { .. });
        let reads = matches!(command, Command::XRead { .. });
        let of_writes = self.write_refusal.as_ref().filter(|_| writes);
        let of_reads = self.read_refusal.as_ref().filter(|_| reads);
        self.refusal.as_ref().or(of_writes).or(of_reads)
    }

    fn xadd(
        &mut self,
        now_ms: u64,
        name: &ByteString,
        max_len: u64,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        if max_len > i64::MAX.cast_unsigned() {
            return Err(errors::generic("value is not an integer or out of range"));
        }
        self.add(name, None, now_ms, fields.clone(), Some(max_len))
    }

    /// Adds an entry, trims the stream if that is wanted, and serves those who wait for the entry.
    pub(crate) fn add(
        &mut self,
        name: &ByteString,
        id: Option<EntryId>,
        now_ms: u64,
        fields: Fields,
        max_len: Option<u64>,
    ) -> Result<EntryId, CommandError> {
        if fields.is_empty() {
            return Err(errors::wrong_number_of_arguments("xadd"));
        }
        if id == Some(EntryId::ZERO) {
            return Err(errors::generic("The ID specified in XADD must be greater than 0-0"));
        }
        let limits = self.limits;
        let stream = self.stream_mut(name)?;
        let added = id.map_or_else(|| stream.next_id(now_ms), Ok);
        let added = added.and_then(|id| stream.add(id, fields, limits).map(|()| id));
        if let (Ok(_), Some(max_len)) = (added, max_len) {
            stream.trim_nodes(max_len, limits);
        }
        let id = added.map_err(errors::generic)?;
        self.touched(name);
        match &mut self.unserved {
            Some(unserved) => unserved.push(name.clone()),
            None => self.serve(name),
        }
        Ok(id)
    }

    fn xread(
        &mut self,
        now_ms: u64,
        client: ClientId,
        name: &ByteString,
        after: EntryId,
        count: u32,
        block: Duration,
    ) -> Result<Option<Reply>, CommandError> {
        let entries = match self.keys.get(name) {
            Some(Value::Text(_) | Value::Other) => return Err(errors::wrong_type()),
            Some(Value::Stream(stream)) => stream.read(after, count),
            None => Vec::new(),
        };
        // Nothing blocks in a transaction.
        if !entries.is_empty() || self.unserved.is_some() {
            return Ok(Some(Reply::Entries(entries)));
        }
        // Redis would take zero for no limit; backends must not send it.
        let block_ms = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        self.blocked.add(client, name.clone(), after, count, now_ms.saturating_add(block_ms));
        Ok(None)
    }

    fn xrange(&self, name: &ByteString, after: EntryId, count: u32) -> Result<Vec<Entry>, CommandError> {
        match self.keys.get(name) {
            Some(Value::Text(_) | Value::Other) => Err(errors::wrong_type()),
            Some(Value::Stream(stream)) => Ok(stream.read(after, count.max(1))),
            None => Ok(Vec::new()),
        }
    }

    fn xrevrange(&self, name: &ByteString, before: EntryId, count: u32) -> Result<Vec<Entry>, CommandError> {
        if before == EntryId::ZERO {
            return Err(errors::generic("invalid end ID for the interval"));
        }
        match self.keys.get(name) {
            Some(Value::Text(_) | Value::Other) => Err(errors::wrong_type()),
            Some(Value::Stream(stream)) => Ok(stream.read_back(before, count.max(1))),
            None => Ok(Vec::new()),
        }
    }

    fn xinfo(&self, name: &ByteString) -> Result<Option<StreamInfo>, CommandError> {
        match self.keys.get(name) {
            Some(Value::Text(_) | Value::Other) => Err(errors::wrong_type()),
            Some(Value::Stream(_)) | None => Ok(self.stream_info(name)),
        }
    }

    /// Answers those who have waited for what the stream now has: with nothing, if it is trimmed
    /// away already.
    pub(crate) fn serve(&mut self, name: &str) {
        let Some(Value::Stream(stream)) = self.keys.get(name) else { return };
        for (client, read) in self.blocked.take_served(name, stream.last_id()) {
            let entries = stream.read(read.after, read.count);
            self.wakeups.push_back((client, Ok(Reply::Entries(entries))));
        }
    }

    fn publish(&mut self, channel: &ByteString, payload: &Bytes, sharded: bool) {
        let channels = if sharded { &self.sharded } else { &self.plain };
        let mut hearers = channels.subscribers(channel).to_vec();
        if !sharded {
            // Once more for each pattern.
            hearers.extend(self.patterns.subscribers_by_pattern(channel));
        }
        self.pushes.extend(hearers.into_iter().map(|client| (client, channel.clone(), payload.clone())));
    }

    fn subscribe(&mut self, client: ClientId, channels: &[ByteString], sharded: bool) {
        for channel in channels {
            self.channels_mut(sharded).subscribe(client, channel);
        }
    }

    /// As in Redis, naming no channel means all.
    fn unsubscribe(&mut self, client: ClientId, channels: &[ByteString], sharded: bool) {
        if channels.is_empty() {
            self.channels_mut(sharded).unsubscribe_all(client);
        }
        for channel in channels {
            self.channels_mut(sharded).unsubscribe(client, channel);
        }
    }

    fn channels(&self, sharded: bool) -> &Channels {
        if sharded { &self.sharded } else { &self.plain }
    }

    fn channels_mut(&mut self, sharded: bool) -> &mut Channels {
        if sharded { &mut self.sharded } else { &mut self.plain }
    }

    /// The stream of this name. It is created if it does not exist.
    fn stream_mut(&mut self, name: &ByteString) -> Result<&mut Stream, CommandError> {
        match self.keys.entry(name.clone()).or_insert_with(|| Value::Stream(Stream::default())) {
            Value::Stream(stream) => Ok(stream),
            Value::Text(_) | Value::Other => Err(errors::wrong_type()),
        }
    }
}

/// The key that a command is about.
fn key_of(command: &Command) -> Option<&ByteString> {
    match command {
        Command::XAdd { stream, .. }
        | Command::XRead { stream, .. }
        | Command::XRange { stream, .. }
        | Command::XRevRange { stream, .. }
        | Command::XInfoStream { stream } => Some(stream),
        Command::Set { key, .. } | Command::GetRange { key, .. } | Command::GetDel { key } => Some(key),
        _ => None,
    }
}
