//! Commands on their way to the server.

use sio_streams_core::{ByteString, Bytes, Command, EntryId};

use crate::args::Args;
use crate::reply::Expected;
use crate::subscription::{Subscription, SubscriptionKind};

/// The way in which a command is carried out.
///
/// ```
/// use sio_streams_resp::{Expected, Reply, Request, Value};
/// use sio_streams_resp::sio_streams_core::Command;
///
/// let Request::Plain(args, expected) = Request::of(Command::GetDel { key: "k".into() }) else { panic!() };
/// assert_eq!(args.into_vec().concat(), b"GETDELk");
/// assert_eq!(expected.parse(Value::Nil), Ok(Reply::Value(None)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
// The large variant is the common one.
#[allow(clippy::large_enum_variant)]
#[non_exhaustive]
pub enum Request {
    /// The command is sent, and has one reply.
    Plain(Args, Expected),
    /// The subscriptions of this connection change.
    Subscription(Subscription),
    /// There is nothing to do. The reply is [`Reply::Done`](sio_streams_core::Reply::Done).
    Nothing,
    /// The command is not known to this version.
    Unknown,
}

/// The maximum of a time in milliseconds. Redis adds the time to its clock, and refuses sums that
/// overflow a signed 64-bit number.
const MAX_BLOCK: u64 = 1 << 53;

impl Request {
    /// Returns the request for a command. Its strings move into the request.
    pub fn of(command: Command) -> Self {
        match command {
            Command::XAdd { stream, max_len, fields } => {
                Request::Plain(Args::add(stream, max_len, fields), Expected::Added)
            }
            Command::XRead { stream, after, count, block } => {
                // BLOCK 0 would block forever, and COUNT 0 would read everything.
                let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_BLOCK);
                let args = [
                    arg("XREAD"),
                    arg("BLOCK"),
                    text(block),
                    arg("COUNT"),
                    text(count.max(1)),
                    arg("STREAMS"),
                    stream.into_bytes(),
                    text(after),
                ];
                Request::Plain(args.into(), Expected::Entries)
            }
            Command::XRange { stream, after, count } => {
                let args = [
                    arg("XRANGE"),
                    stream.into_bytes(),
                    exclusive(after),
                    arg("+"),
                    arg("COUNT"),
                    text(count.max(1)),
                ];
                Request::Plain(args.into(), Expected::Range)
            }
            Command::XRevRange { stream, before, count } => {
                let args = [
                    arg("XREVRANGE"),
                    stream.into_bytes(),
                    exclusive(before),
                    arg("-"),
                    arg("COUNT"),
                    text(count.max(1)),
                ];
                Request::Plain(args.into(), Expected::Range)
            }
            Command::Set { key, value, px } => {
                // Redis refuses 0, and times that overflow its clock.
                let px = u64::try_from(px.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_BLOCK);
                let args = [arg("SET"), key.into_bytes(), value, arg("PX"), text(px)];
                Request::Plain(args.into(), Expected::Anything)
            }
            Command::GetRange { key, end } => {
                let args = [arg("GETRANGE"), key.into_bytes(), arg("0"), text(end)];
                Request::Plain(args.into(), Expected::Part)
            }
            Command::GetDel { key } => {
                Request::Plain([arg("GETDEL"), key.into_bytes()].into(), Expected::Value)
            }
            // The full form with one entry tells the first one. The short form tells the first one
            // and the last one, and then the last one may be too large for one reply.
            Command::XInfoStream { stream } => {
                let args =
                    [arg("XINFO"), arg("STREAM"), stream.into_bytes(), arg("FULL"), arg("COUNT"), arg("1")];
                Request::Plain(args.into(), Expected::Stream)
            }
            Command::Publish { channel, payload, sharded } => {
                let publish = arg(if sharded { "SPUBLISH" } else { "PUBLISH" });
                Request::Plain([publish, channel.into_bytes(), payload].into(), Expected::Anything)
            }
            Command::PubSubNumSub { channels, sharded } => {
                let which = arg(if sharded { "SHARDNUMSUB" } else { "NUMSUB" });
                let channels = channels.into_iter().map(ByteString::into_bytes);
                let args: Vec<Bytes> = [arg("PUBSUB"), which].into_iter().chain(channels).collect();
                Request::Plain(args.into(), Expected::Counts)
            }
            Command::PubSubChannels { pattern, sharded } => {
                let which = arg(if sharded { "SHARDCHANNELS" } else { "CHANNELS" });
                Request::Plain([arg("PUBSUB"), which, pattern.into_bytes()].into(), Expected::Channels)
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

    /// Returns the arguments of XINFO STREAM for servers that do not know the full form, and refuse
    /// it with the code `ERR`. The reply is [`Expected::Stream`].
    pub fn short_info(stream: ByteString) -> Args {
        [arg("XINFO"), arg("STREAM"), stream.into_bytes()].into()
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

fn arg(arg: &'static str) -> Bytes {
    Bytes::from_static(arg.as_bytes())
}

fn text(value: impl ToString) -> Bytes {
    value.to_string().into()
}

/// Returns a bound of a range that excludes the entry itself.
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
            Request::Plain(args, _) => {
                let args = args.into_vec();
                args.iter().map(|arg| str::from_utf8(arg).unwrap()).collect::<Vec<_>>().join(" ")
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
