//! Commands on their way to the server.

use redis::{Cmd, cmd};
use sio_streams_core::{ByteString, Command};

/// What is to be done about a command.
pub(crate) enum Request {
    /// Send it; one reply comes.
    Plain(Cmd, Expected),
    /// Change the subscriptions of this connection.
    Subscription(Subscription),
    /// Nothing: it is done.
    Nothing,
    /// This backend does not know it.
    Unknown,
}

/// What the reply to a plain command must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Added,
    Entries,
    Range,
    Stream,
    Count,
    Channels,
    Anything,
}

/// A change of subscriptions.
pub(crate) struct Subscription {
    pub(crate) channels: Vec<ByteString>,
    pub(crate) sharded: bool,
    pub(crate) on: bool,
}

impl Request {
    pub(crate) fn new(command: Command) -> Self {
        match command {
            Command::XAdd { stream, max_len, fields } => {
                let size: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
                // The words and the numbers need less than 64 bytes.
                let mut xadd = Cmd::with_capacity(6 + 2 * fields.len(), 64 + stream.len() + size);
                xadd.arg("XADD").arg(&*stream).arg("MAXLEN").arg("~").arg(max_len).arg("*");
                for (name, value) in fields.iter() {
                    xadd.arg(&name[..]).arg(&value[..]);
                }
                Request::Plain(xadd, Expected::Added)
            }
            Command::XRead { stream, after, count, block } => {
                // BLOCK 0 would block for ever, COUNT 0 would read everything.
                let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_BLOCK);
                let mut xread = cmd("XREAD");
                xread.arg("BLOCK").arg(block).arg("COUNT").arg(count.max(1));
                xread.arg("STREAMS").arg(&*stream).arg(after.to_string());
                Request::Plain(xread, Expected::Entries)
            }
            Command::XRange { stream, after, count } => {
                let mut xrange = cmd("XRANGE");
                xrange.arg(&*stream).arg(format!("({after}")).arg("+").arg("COUNT").arg(count.max(1));
                Request::Plain(xrange, Expected::Range)
            }
            Command::XInfoStream { stream } => {
                Request::Plain(cmd("XINFO").arg("STREAM").arg(&*stream).take(), Expected::Stream)
            }
            Command::Publish { channel, payload, sharded } => {
                let mut publish = Cmd::with_capacity(3, 16 + channel.len() + payload.len());
                publish.arg(if sharded { "SPUBLISH" } else { "PUBLISH" }).arg(&*channel).arg(&payload[..]);
                Request::Plain(publish, Expected::Anything)
            }
            Command::PubSubNumSub { channel, sharded } => {
                let which = if sharded { "SHARDNUMSUB" } else { "NUMSUB" };
                Request::Plain(cmd("PUBSUB").arg(which).arg(&*channel).take(), Expected::Count)
            }
            Command::PubSubChannels { pattern, sharded } => {
                let which = if sharded { "SHARDCHANNELS" } else { "CHANNELS" };
                Request::Plain(cmd("PUBSUB").arg(which).arg(&*pattern).take(), Expected::Channels)
            }
            // Without names, UNSUBSCRIBE would mean all channels, and SUBSCRIBE is an error.
            Command::Subscribe { channels, .. } | Command::Unsubscribe { channels, .. }
                if channels.is_empty() =>
            {
                Request::Nothing
            }
            Command::Subscribe { channels, sharded } => {
                Request::Subscription(Subscription { channels, sharded, on: true })
            }
            Command::Unsubscribe { channels, sharded } => {
                Request::Subscription(Subscription { channels, sharded, on: false })
            }
            Command::Release { .. } => Request::Nothing,
            _ => Request::Unknown,
        }
    }
}

/// Redis adds the time to its clock and refuses what overflows a signed 64-bit number of milliseconds.
const MAX_BLOCK: u64 = 1 << 53;
