//! A server of socketioxide, with its own Redis adapter or with that of sio-streams, as one of the
//! processes that `cargo xtask bench peers` measures.
//!
//! Either adapter is driven as socketioxide drives it, by an emitter. This one has a single socket
//! in its namespace, and counts what is handed over for it, as the others count what their adapters
//! hand over: before a frame is made for any client.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Empty, empty};
use serde::{Deserialize, Serialize};
use sio_streams_bench::peers::Result;
use sio_streams_bench::peers::job::{Job, Payload};
use sio_streams_bench::peers::worker::{Ear, IN_FLIGHT, MAX_LEN, pace, send, serve, stamp};
use sio_streams_redis_rs::RedisBackend;
use sio_streams_socketioxide::sio_streams_driver::{self, Config, Dialect, RoomOwner};
use sio_streams_socketioxide::{Cluster, SioStreamsAdapter};
use socketioxide_core::adapter::errors::SocketError;
use socketioxide_core::adapter::{
    AckStreamItem, BroadcastFlags, BroadcastIter, BroadcastOptions, CoreAdapter, CoreLocalAdapter,
    RemoteSocketData, SocketEmitter,
};
use socketioxide_core::packet::{Packet, PacketData};
use socketioxide_core::parser::{Parse, ParseConfig, ParseError, ParserError, ParserState};
use socketioxide_core::{Sid, Str, Uid, Value};
use socketioxide_parser_common::CommonParser;
use socketioxide_redis::{RedisAdapter, RedisAdapterConfig, RedisAdapterCtr};

/// Messages that may wait within socketioxide's adapter, which drops what is more: 1024 by default,
/// far fewer than come at full speed.
const BUFFER: usize = 1 << 22;

/// Bytes that are under way to Redis from socketioxide's adapter, which gives up a message that
/// isn't taken within half a second.
const MOST: usize = 4 << 20;

/// Bytes of payload that are under way to Redis from a node. It takes a little more, by default.
const MOST_OF_NODE: usize = 64_000_000;

const USAGE: &str = "usage: sio-streams-bench-socketioxide redis|sio-streams <url>";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [adapter, url] = &args[..] else { return Err(USAGE.into()) };
    // A Node server has one thread too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &**adapter {
        "redis" => runtime.block_on(run_redis(url)),
        "sio-streams" => runtime.block_on(run_sio_streams(url)),
        _ => Err(USAGE.into()),
    }
}

async fn run_redis(url: &str) -> Result<()> {
    // The adapter takes messages as pushes, which there are over RESP3.
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    let config = RedisAdapterConfig::default().with_stream_buffer(BUFFER);
    let state = RedisAdapterCtr::new_with_redis_config(&client, config).await?;
    let ear = Ear::default();
    let adapter = Arc::new(RedisAdapter::new(&state, local(&ear)));
    Arc::clone(&adapter).init(|| {}).await.map_err(|error| format!("{error:?}"))?;
    run(&adapter, &ear, MOST).await
}

async fn run_sio_streams(url: &str) -> Result<()> {
    let config = Config {
        dialect: Dialect::Streams03,
        room_owner: RoomOwner::Application,
        max_len: MAX_LEN,
        ..Config::default()
    };
    let (node, events) = sio_streams_driver::start(config, RedisBackend::new(url)?)?;
    let (cluster, _) = Cluster::new(node, events)?;
    let ear = Ear::default();
    let adapter = Arc::new(SioStreamsAdapter::new(&cluster, local(&ear)));
    Arc::clone(&adapter).init(|| {}).await?;
    run(&adapter, &ear, MOST_OF_NODE).await
}

/// A namespace with one socket.
fn local(ear: &Ear) -> CoreLocalAdapter<Sockets> {
    CoreLocalAdapter::new(Sockets {
        ear: ear.clone(),
        only: Sid::new(),
        server: Uid::new(),
        path: Str::from("/"),
    })
}

/// Does its jobs. `most`: the bytes of payload that may be under way to Redis.
async fn run(adapter: &Arc<impl CoreAdapter<Sockets>>, ear: &Ear, most: usize) -> Result<()> {
    serve(async |job| match job {
        Job::Tell => Err("not for an adapter".into()),
        Job::Receive { count, timed } => ear.listen(count, timed).await,
        Job::Send { count, payload } => {
            let at_a_time = (most / payload.size).min(IN_FLIGHT);
            send((0..count).map(|_| broadcast(&**adapter, 0, payload)), at_a_time).await
        }
        Job::Pace { count, rate, payload } => {
            pace(count, rate, |now| Ok(broadcast(&**adapter, now, payload))).await
        }
    })
    .await
}

/// Does the same as `io.emit("m", …)`.
async fn broadcast(adapter: &impl CoreAdapter<Sockets>, now: u64, payload: Payload) -> Result<()> {
    let value = match payload.binary {
        false => CommonParser.encode_value(&(now, "x".repeat(payload.size)), Some("m"))?,
        true => {
            let bytes = serde_bytes::ByteBuf::from(vec![b'x'; payload.size]);
            CommonParser.encode_value(&(now, bytes), Some("m"))?
        }
    };
    let mut everyone = BroadcastOptions::default();
    everyone.add_flag(BroadcastFlags::Broadcast);
    let sent = adapter.broadcast(Packet::event("/", value), everyone).await;
    match sent.map_err(|error| error.to_string()) {
        // The reply was late, on a busy machine. The message is published all the same; if not, the
        // receiver waits for it, and the measurement fails.
        Err(error) if error.ends_with("timed out") => Ok(()),
        other => Ok(other?),
    }
}

/// The sockets of the namespace: one.
struct Sockets {
    ear: Ear,
    only: Sid,
    server: Uid,
    path: Str,
}

impl SocketEmitter for Sockets {
    type AckError = NoAck;
    type AckStream = Empty<AckStreamItem<NoAck>>;

    fn get_all_sids(&self, filter: impl Fn(&Sid) -> bool) -> Vec<Sid> {
        [self.only].into_iter().filter(filter).collect()
    }

    fn get_remote_sockets(&self, _: BroadcastIter<'_>) -> Vec<RemoteSocketData> {
        Vec::new()
    }

    fn send_many(&self, sids: BroadcastIter<'_>, data: Value) -> core::result::Result<(), Vec<SocketError>> {
        for _ in sids {
            self.ear.heard(|| match &data {
                Value::Str(text, _) => stamp(text.as_bytes()),
                Value::Bytes(bytes) => stamp(bytes),
            });
        }
        Ok(())
    }

    fn send_many_volatile(&self, sids: BroadcastIter<'_>, data: Value) {
        // It can't fail.
        let _ = self.send_many(sids, data);
    }

    fn send_many_with_ack(
        &self,
        _: BroadcastIter<'_>,
        _: Packet,
        _: Option<Duration>,
    ) -> (Self::AckStream, u32) {
        (empty(), 0)
    }

    fn disconnect_many(&self, _: Vec<Sid>) -> core::result::Result<(), Vec<SocketError>> {
        Ok(())
    }

    fn path(&self) -> &Str {
        &self.path
    }

    fn parser(&self) -> impl Parse {
        Unframed
    }

    fn server_id(&self) -> Uid {
        self.server
    }

    fn ack_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// Nobody is asked for an acknowledgement.
#[derive(Debug, Serialize, Deserialize)]
struct NoAck;

impl fmt::Display for NoAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody was asked")
    }
}

impl std::error::Error for NoAck {}

/// The common parser, but that a packet is handed over as it is: to make frames for clients is not
/// measured, with nobody.
#[derive(Clone, Copy, Default)]
struct Unframed;

impl Parse for Unframed {
    fn encode(self, packet: Packet) -> Value {
        match packet.inner {
            PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => value,
            _ => Value::Bytes(Bytes::new()),
        }
    }

    fn decode_str(
        self,
        config: &ParseConfig,
        state: &ParserState,
        data: Str,
    ) -> core::result::Result<Packet, ParseError> {
        CommonParser.decode_str(config, state, data)
    }

    fn decode_bin(
        self,
        config: &ParseConfig,
        state: &ParserState,
        bin: Bytes,
    ) -> core::result::Result<Packet, ParseError> {
        CommonParser.decode_bin(config, state, bin)
    }

    fn encode_value<T: ?Sized + Serialize>(
        self,
        data: &T,
        event: Option<&str>,
    ) -> core::result::Result<Value, ParserError> {
        CommonParser.encode_value(data, event)
    }

    fn decode_value<'de, T: Deserialize<'de>>(
        self,
        value: &'de mut Value,
        with_event: bool,
    ) -> core::result::Result<T, ParserError> {
        CommonParser.decode_value(value, with_event)
    }

    fn decode_default<'de, T: Deserialize<'de>>(
        self,
        value: Option<&'de Value>,
    ) -> core::result::Result<T, ParserError> {
        CommonParser.decode_default(value)
    }

    fn encode_default<T: ?Sized + Serialize>(self, data: &T) -> core::result::Result<Value, ParserError> {
        CommonParser.encode_default(data)
    }

    fn read_event(self, value: &Value) -> core::result::Result<&str, ParserError> {
        CommonParser.read_event(value)
    }
}
