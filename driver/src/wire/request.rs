//! Commands on their way to the server.

use sio_streams_core::{ByteString, Bytes, Command, EntryId};

use super::{Subscription, SubscriptionKind, Words};

/// What is to be done about a command.
#[derive(Debug)]
// The large variant is the common one.
#[allow(clippy::large_enum_variant)]
pub(super) enum Request {
    /// Send it; one reply comes.
    Plain(Words, Expected),
    /// Change the subscriptions of this connection.
    Subscription(Subscription),
    /// Nothing: it is done.
    Nothing,
    /// It is not known here.
    Unknown,
}

/// What the reply to a plain command must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Added,
    Entries,
    Range,
    Stream,
    Counts,
    Channels,
    Value,
    Part,
    Anything,
}

/// Redis adds the time to its clock and refuses what overflows a signed 64-bit number of milliseconds.
const MAX_BLOCK: u64 = 1 << 53;

impl Request {
    pub(super) fn of(command: Command) -> Self {
        match command {
            Command::XAdd { stream, max_len, fields } => {
                Request::Plain(Words::add(stream, max_len, fields), Expected::Added)
            }
            Command::XRead { stream, after, count, block } => {
                // BLOCK 0 would block for ever, COUNT 0 would read everything.
                let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_BLOCK);
                let words = [
                    word("XREAD"),
                    word("BLOCK"),
                    text(block),
                    word("COUNT"),
                    text(count.max(1)),
                    word("STREAMS"),
                    stream.into_bytes(),
                    text(after),
                ];
                Request::Plain(words.into(), Expected::Entries)
            }
            Command::XRange { stream, after, count } => {
                let words = [
                    word("XRANGE"),
                    stream.into_bytes(),
                    exclusive(after),
                    word("+"),
                    word("COUNT"),
                    text(count.max(1)),
                ];
                Request::Plain(words.into(), Expected::Range)
            }
            Command::XRevRange { stream, before, count } => {
                let words = [
                    word("XREVRANGE"),
                    stream.into_bytes(),
                    exclusive(before),
                    word("-"),
                    word("COUNT"),
                    text(count.max(1)),
                ];
                Request::Plain(words.into(), Expected::Range)
            }
            Command::Set { key, value, px } => {
                // Redis refuses 0, and what overflows its clock.
                let px = u64::try_from(px.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_BLOCK);
                let words = [word("SET"), key.into_bytes(), value, word("PX"), text(px)];
                Request::Plain(words.into(), Expected::Anything)
            }
            Command::GetRange { key, end } => {
                let words = [word("GETRANGE"), key.into_bytes(), word("0"), text(end)];
                Request::Plain(words.into(), Expected::Part)
            }
            Command::GetDel { key } => {
                Request::Plain([word("GETDEL"), key.into_bytes()].into(), Expected::Value)
            }
            // With one entry, the first. Without these words there are two, and the last may be too large for one reply just as it comes.
            Command::XInfoStream { stream } => {
                let words = [
                    word("XINFO"),
                    word("STREAM"),
                    stream.into_bytes(),
                    word("FULL"),
                    word("COUNT"),
                    word("1"),
                ];
                Request::Plain(words.into(), Expected::Stream)
            }
            Command::Publish { channel, payload, sharded } => {
                let publish = word(if sharded { "SPUBLISH" } else { "PUBLISH" });
                Request::Plain([publish, channel.into_bytes(), payload].into(), Expected::Anything)
            }
            Command::PubSubNumSub { channels, sharded } => {
                let which = word(if sharded { "SHARDNUMSUB" } else { "NUMSUB" });
                let channels = channels.into_iter().map(ByteString::into_bytes);
                let words: Vec<Bytes> = [word("PUBSUB"), which].into_iter().chain(channels).collect();
                Request::Plain(words.into(), Expected::Counts)
            }
            Command::PubSubChannels { pattern, sharded } => {
                let which = word(if sharded { "SHARDCHANNELS" } else { "CHANNELS" });
                Request::Plain([word("PUBSUB"), which, pattern.into_bytes()].into(), Expected::Channels)
            }
            Command::Subscribe { channels, sharded } => Self::subscription(channels, kind(sharded), true),
            Command::Unsubscribe { channels, sharded } => Self::subscription(channels, kind(sharded), false),
            Command::PSubscribe { patterns } => {
                Self::subscription(patterns, SubscriptionKind::Patterns, true)
            }
            Command::PUnsubscribe { patterns } => {
                Self::subscription(patterns, SubscriptionKind::Patterns, false)
            }
            Command::Release { .. } => Request::Nothing,
            _ => Request::Unknown,
        }
    }

    /// The same question for servers that know it only in its short form.
    pub(super) fn short(stream: ByteString) -> Words {
        [word("XINFO"), word("STREAM"), stream.into_bytes()].into()
    }

    /// Without names, UNSUBSCRIBE would mean all channels, and SUBSCRIBE is an error.
    fn subscription(channels: Vec<ByteString>, kind: SubscriptionKind, on: bool) -> Self {
        match channels.is_empty() {
            true => Request::Nothing,
            false => Request::Subscription(Subscription { channels, kind, on }),
        }
    }
}

fn kind(sharded: bool) -> SubscriptionKind {
    if sharded { SubscriptionKind::Sharded } else { SubscriptionKind::Channels }
}

fn word(word: &'static str) -> Bytes {
    Bytes::from_static(word.as_bytes())
}

fn text(value: impl ToString) -> Bytes {
    value.to_string().into()
}

/// An end of a range that leaves the entry itself out.
fn exclusive(id: EntryId) -> Bytes {
    format!("({id}").into()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use sio_streams_core::Fields;

    use super::*;

    fn line(command: Command) -> String {
        match Request::of(command) {
            Request::Plain(words, _) => {
                let words = words.into_vec();
                words.iter().map(|word| str::from_utf8(word).unwrap()).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_written_as_redis_reads_them() {
        let fields = Fields::from_iter([("uid", "u"), ("nsp", "/")]);
        let add = Command::XAdd { stream: "s".into(), max_len: 10, fields: fields.into() };
        assert_eq!(line(add), "XADD s MAXLEN ~ 10 * uid u nsp /");
        let range = Command::XRange { stream: "s".into(), after: "5-1".parse().unwrap(), count: 0 };
        assert_eq!(line(range), "XRANGE s (5-1 + COUNT 1");
        let back = Command::XRevRange { stream: "s".into(), before: "5-1".parse().unwrap(), count: 9 };
        assert_eq!(line(back), "XREVRANGE s (5-1 - COUNT 9");
        let set = Command::Set { key: "k".into(), value: "v".into(), px: Duration::ZERO };
        assert_eq!(line(set), "SET k v PX 1");
        assert_eq!(line(Command::GetRange { key: "k".into(), end: 99 }), "GETRANGE k 0 99");
        assert_eq!(line(Command::GetDel { key: "k".into() }), "GETDEL k");
        let count = Command::PubSubNumSub { channels: vec!["c".into(), "d".into()], sharded: true };
        assert_eq!(line(count), "PUBSUB SHARDNUMSUB c d");
    }

    #[test]
    fn a_read_is_neither_endless_nor_unbounded() {
        let read = |block, count| Command::XRead { stream: "s".into(), after: EntryId::ZERO, count, block };
        assert_eq!(line(read(Duration::ZERO, 0)), "XREAD BLOCK 1 COUNT 1 STREAMS s 0-0");
        assert_eq!(line(read(Duration::MAX, 7)), format!("XREAD BLOCK {MAX_BLOCK} COUNT 7 STREAMS s 0-0"));
    }

    #[test]
    fn no_channels_are_nothing_to_do() {
        for sharded in [false, true] {
            let none = Command::Unsubscribe { channels: vec![], sharded };
            assert!(matches!(Request::of(none), Request::Nothing));
        }
    }
}
