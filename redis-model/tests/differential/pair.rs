//! The model and a real server, side by side.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, Entry, EntryId, Reply, StreamInfo};
use sio_streams_redis_model::{ClientId, Executed, NodeLimits, RedisModel};
use sio_streams_testkit::{Client, RedisServer, Reply as Resp};

/// Both sides.
pub(crate) struct Pair {
    pub(crate) model: RedisModel,
    pub(crate) now_ms: u64,
    pub(crate) redis: RedisServer,
    /// Each stands for one connection on both sides.
    pub(crate) clients: Vec<(ClientId, Client)>,
}

impl Pair {
    pub(crate) fn start(limits: NodeLimits, clients: usize) -> Self {
        let redis = RedisServer::builder()
            .config(format!("stream-node-max-entries {}", limits.entries))
            .config(format!("stream-node-max-bytes {}", limits.bytes))
            .start()
            .unwrap();
        let mut model = RedisModel::with_node_limits(limits);
        let clients = (0..clients).map(|_| (model.connect(), redis.connect().unwrap())).collect();
        Pair { model, now_ms: 1_700_000_000_000, redis, clients }
    }

    pub(crate) fn redis(&mut self, args: &[&[u8]]) -> Resp {
        self.clients[0].1.command(args).unwrap()
    }

    /// Runs a command on both sides, which must agree.
    #[track_caller]
    pub(crate) fn check(&mut self, command: &Command) {
        let ours = match self.model.execute(self.now_ms, self.clients[0].0, command) {
            Executed::Reply(reply) => reply,
            // The commands for the real server don't block, so this one doesn't either.
            Executed::Blocked => {
                self.now_ms = self.model.poll_timeout().unwrap();
                self.model.handle_timeout(self.now_ms);
                self.model.poll_wakeup().unwrap().1
            }
        };
        let args = arguments(command, ours.as_ref().ok());
        let theirs = self.redis(&args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(ours, translate(command, &theirs), "{command:?}\nRedis: {theirs:?}");
    }

    #[track_caller]
    pub(crate) fn check_stream(&mut self, stream: &str) {
        self.check(&Command::XInfoStream { stream: stream.into() });
    }

    /// Waits until `INFO clients` shows a number.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, expected: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let wanted = format!("{what}:{expected}\r\n");
        loop {
            let info = self.redis(&[b"INFO", b"clients"]);
            if info.as_str().unwrap().contains(&wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "expected {wanted:?} in {info:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The command as it is sent to the real server. An entry is given the id that the model gave it.
pub(crate) fn arguments(command: &Command, ours: Option<&Reply>) -> Vec<Vec<u8>> {
    let text = |args: &[&str]| args.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>();
    let shard = |sharded: &bool, name: &str| if *sharded { format!("SHARD{name}") } else { name.to_owned() };
    match command {
        Command::XAdd { stream, max_len, fields } => {
            let id = match ours {
                Some(Reply::Added(id)) => id.to_string(),
                _ => "*".to_owned(),
            };
            let mut args = text(&["XADD", stream, "MAXLEN", "~", &max_len.to_string(), &id]);
            args.extend(fields.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]));
            args
        }
        Command::XRead { stream, after, count, .. } => {
            text(&["XREAD", "COUNT", &count.to_string(), "STREAMS", stream, &after.to_string()])
        }
        Command::XRange { stream, after, count } => {
            text(&["XRANGE", stream, &format!("({after}"), "+", "COUNT", &count.to_string()])
        }
        Command::XRevRange { stream, before, count } => {
            text(&["XREVRANGE", stream, &format!("({before}"), "-", "COUNT", &count.to_string()])
        }
        Command::Set { key, value, px } => {
            let mut args = text(&["SET", key]);
            args.push(value.to_vec());
            args.extend(text(&["PX", &px.as_millis().to_string()]));
            args
        }
        Command::GetRange { key, end } => text(&["GETRANGE", key, "0", &end.to_string()]),
        Command::GetDel { key } => text(&["GETDEL", key]),
        Command::XInfoStream { stream } => text(&["XINFO", "STREAM", stream]),
        Command::Publish { channel, payload, sharded } => {
            let mut args = text(&[if *sharded { "SPUBLISH" } else { "PUBLISH" }, channel]);
            args.push(payload.to_vec());
            args
        }
        Command::PubSubNumSub { channels, sharded } => {
            let mut args = text(&["PUBSUB", &shard(sharded, "NUMSUB")]);
            args.extend(channels.iter().map(|channel| channel.as_bytes().to_vec()));
            args
        }
        Command::PubSubChannels { pattern, sharded } => {
            text(&["PUBSUB", &shard(sharded, "CHANNELS"), pattern])
        }
        other => panic!("{other:?}"),
    }
}

/// The real server's reply as a backend would hand it on.
pub(crate) fn translate(command: &Command, reply: &Resp) -> Result<Reply, CommandError> {
    match (command, reply) {
        (Command::XInfoStream { .. }, Resp::Error(text)) if text == "ERR no such key" => {
            Ok(Reply::Stream(None))
        }
        (_, Resp::Error(text)) => {
            let (code, message) = text.split_once(' ').unwrap();
            Err(CommandError::Server { code: code.to_owned(), message: message.to_owned() })
        }
        (Command::XAdd { .. }, reply) => Ok(Reply::Added(id(reply))),
        (Command::XRead { .. }, reply) => Ok(Reply::Entries(entries(reply))),
        (Command::XRange { .. } | Command::XRevRange { .. }, reply) => Ok(Reply::Entries(range(reply))),
        (Command::GetRange { .. }, reply) => {
            Ok(Reply::Value(Some(Bytes::from(bytes(reply))).filter(|value| !value.is_empty())))
        }
        (Command::GetDel { .. }, Resp::Nil) => Ok(Reply::Value(None)),
        (Command::GetDel { .. }, reply) => Ok(Reply::Value(Some(bytes(reply).into()))),
        (Command::XInfoStream { .. }, reply) => {
            let number = |key: &str| u64::try_from(reply.field(key).unwrap().as_int().unwrap()).unwrap();
            Ok(Reply::Stream(Some(StreamInfo {
                length: number("length"),
                last_generated_id: id(reply.field("last-generated-id").unwrap()),
                entries_added: Some(number("entries-added")),
                max_deleted_entry_id: Some(id(reply.field("max-deleted-entry-id").unwrap())),
                first_entry_id: reply.field("first-entry").unwrap().items().first().map(id),
            })))
        }
        (Command::PubSubNumSub { .. }, reply) => {
            let counts =
                reply.items().chunks(2).map(|pair| u64::try_from(pair[1].as_int().unwrap()).unwrap());
            Ok(Reply::Counts(counts.collect()))
        }
        (Command::PubSubChannels { .. }, reply) => {
            let mut channels: Vec<ByteString> =
                reply.items().iter().map(|name| name.as_str().unwrap().into()).collect();
            channels.sort();
            Ok(Reply::Channels(channels))
        }
        _ => Ok(Reply::Done),
    }
}

fn id(reply: &Resp) -> EntryId {
    reply.as_str().unwrap().parse().unwrap()
}

fn bytes(reply: &Resp) -> Vec<u8> {
    match reply {
        Resp::Bulk(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

/// The entries of an XREAD of one stream.
pub(crate) fn entries(reply: &Resp) -> Vec<Entry> {
    reply.items().first().map(|stream| range(&stream.items()[1])).unwrap_or_default()
}

/// The entries of an XRANGE.
pub(crate) fn range(reply: &Resp) -> Vec<Entry> {
    let entry = |entry: &Resp| {
        let [entry_id, pairs] = entry.items() else { panic!("{entry:?}") };
        let fields = pairs.items().chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
        Entry { id: id(entry_id), fields }
    };
    reply.items().iter().map(entry).collect()
}
