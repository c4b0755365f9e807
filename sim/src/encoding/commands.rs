//! Commands, replies, and their errors.

use sio_streams_core::{Command, CommandError, Entry, Fields, Lane, Reply, StreamInfo};

use super::{Encode, Encoder, unknown};

impl Encode for Lane {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Lane::Writer => out.tag(1),
            Lane::Reader(stream) => out.tag(2).put(stream),
            Lane::Subscriber => out.tag(3),
            Lane::Recovery => out.tag(4),
        };
    }
}

impl Encode for Command {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Command::XAdd { stream, max_len, fields } => out.tag(1).put(stream).put(max_len).put(fields),
            Command::XRead { stream, after, count, block } => {
                out.tag(2).put(stream).put(after).put(count).put(block)
            }
            Command::XRange { stream, after, count } => out.tag(3).put(stream).put(after).put(count),
            Command::XRevRange { stream, before, count } => out.tag(4).put(stream).put(before).put(count),
            Command::Set { key, value, px } => out.tag(5).put(key).put(value).put(px),
            Command::GetRange { key, end } => out.tag(6).put(key).put(end),
            Command::GetDel { key } => out.tag(7).put(key),
            Command::XInfoStream { stream } => out.tag(8).put(stream),
            Command::Publish { channel, payload, sharded } => {
                out.tag(9).put(channel).put(payload).put(sharded)
            }
            Command::Subscribe { channels, sharded } => out.tag(10).put(channels).put(sharded),
            Command::Unsubscribe { channels, sharded } => out.tag(11).put(channels).put(sharded),
            Command::PSubscribe { patterns } => out.tag(12).put(patterns),
            Command::PUnsubscribe { patterns } => out.tag(13).put(patterns),
            Command::PubSubNumSub { channels, sharded } => out.tag(14).put(channels).put(sharded),
            Command::PubSubChannels { pattern, sharded } => out.tag(15).put(pattern).put(sharded),
            Command::Release { lane } => out.tag(16).put(lane),
            other => unknown(other),
        };
    }
}

impl Encode for Reply {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Reply::Added(id) => out.tag(1).put(id),
            Reply::Entries(entries) => out.tag(2).put(entries),
            Reply::Stream(info) => out.tag(3).put(info),
            Reply::Counts(counts) => out.tag(4).put(counts),
            Reply::Channels(channels) => out.tag(5).put(channels),
            Reply::Value(value) => out.tag(6).put(value),
            Reply::Done => out.tag(7),
            Reply::Unreadable { next, alone } => out.tag(8).put(next).put(alone),
            other => unknown(other),
        };
    }
}

impl Encode for CommandError {
    fn encode(&self, out: &mut Encoder) {
        match self {
            CommandError::NotSent(_) => out.tag(1),
            CommandError::Lost(_) => out.tag(2),
            CommandError::Server { code, message } => out.tag(3).put(code).put(message),
            CommandError::Unusable(_) => out.tag(4),
            other => unknown(other),
        };
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut Encoder) {
        let Entry { id, fields } = self;
        out.put(id).put(fields);
    }
}

impl Encode for Fields {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.len());
        for (name, value) in self.iter() {
            out.put(name).put(value);
        }
    }
}

impl Encode for StreamInfo {
    fn encode(&self, out: &mut Encoder) {
        let StreamInfo { length, last_generated_id, entries_added, max_deleted_entry_id, first_entry_id } =
            self;
        out.put(length)
            .put(last_generated_id)
            .put(entries_added)
            .put(max_deleted_entry_id)
            .put(first_entry_id);
    }
}
