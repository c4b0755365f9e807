//! Sockets without clients, behind real adapters, on a Redis in memory.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{BoxStream, Fuse, StreamExt, iter};
use serde::{Deserialize, Serialize};
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};
use sio_streams_driver::sio_streams_core::{Config, Dialect, RoomOwner, SubscriptionMode};
use sio_streams_driver::{Options, start};
use sio_streams_socketioxide::{Cluster, Notices, SioStreamsAdapter, sio_streams_driver};
use socketioxide_core::adapter::errors::SocketError;
use socketioxide_core::adapter::{
    AckStreamItem, BroadcastFlags, BroadcastIter, BroadcastOptions, CoreAdapter, CoreLocalAdapter,
    RemoteSocketData, SocketEmitter,
};
use socketioxide_core::packet::{Packet, PacketData};
use socketioxide_core::parser::Parse;
use socketioxide_core::{Sid, Str, Uid, Value};

/// A limit that nothing comes near, unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The dialects, each with options that fit socketioxide.
pub(crate) fn configs() -> Vec<Config> {
    let dialects =
        [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge, Dialect::Sharded, Dialect::Classic];
    dialects.into_iter().map(config).collect()
}

pub(crate) fn config(dialect: Dialect) -> Config {
    Config {
        dialect,
        room_owner: RoomOwner::Application,
        subscription_mode: SubscriptionMode::Static,
        heartbeat_interval: Duration::from_millis(100),
        ..Config::default()
    }
}

/// A server: a cluster's node, and the namespaces that a test opens on it.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) notices: Notices,
    pub(crate) backend: MemoryBackend,
    pub(crate) uid: Uid,
}

impl Server {
    pub(crate) fn new(redis: &MemoryRedis, config: Config) -> Self {
        Server::with(redis, Options::from(config), |cluster| cluster)
    }

    pub(crate) fn with(redis: &MemoryRedis, options: Options, set_up: fn(Cluster) -> Cluster) -> Self {
        let backend = redis.backend();
        let (node, events) = start(options, backend.clone()).unwrap();
        let (cluster, notices) = Cluster::new(node, events).unwrap();
        Server { cluster: set_up(cluster), notices, backend, uid: Uid::new() }
    }

    /// Opens a namespace with as many sockets.
    pub(crate) async fn open<P: Parse + Send + Sync + 'static>(
        &self,
        path: &'static str,
        sockets: usize,
        parser: P,
    ) -> Nsp<P> {
        let nsp = self.nsp(path, sockets, parser);
        let (told, opened) = tokio::sync::oneshot::channel();
        Arc::clone(&nsp.adapter).init(move || told.send(()).unwrap()).await.unwrap();
        opened.await.unwrap();
        nsp
    }

    /// Makes the adapter of a namespace, which is not opened.
    pub(crate) fn nsp<P: Parse + Send + Sync + 'static>(
        &self,
        path: &'static str,
        sockets: usize,
        parser: P,
    ) -> Nsp<P> {
        let state = Arc::new(State::default());
        let sids: Vec<Sid> = (0..sockets).map(|_| Sid::new()).collect();
        *state.sids.lock().unwrap() = sids.clone();
        let emitter =
            Emitter { state: Arc::clone(&state), path: path.into(), uid: self.uid, parser: Some(parser) };
        let adapter = SioStreamsAdapter::new(&self.cluster, CoreLocalAdapter::new(emitter));
        Nsp { adapter: Arc::new(adapter), state, sids, parser }
    }
}

/// A namespace with its sockets.
pub(crate) struct Nsp<P: Parse + Send + Sync + 'static> {
    pub(crate) adapter: Arc<SioStreamsAdapter<Emitter<P>>>,
    pub(crate) state: Arc<State>,
    pub(crate) sids: Vec<Sid>,
    parser: P,
}

impl<P: Parse + Send + Sync + 'static> Nsp<P> {
    pub(crate) fn event<T: Serialize>(&self, name: &str, data: &T) -> Packet {
        let value = self.parser.encode_value(data, Some(name)).unwrap();
        Packet::event(self.adapter.get_local().path().clone(), value)
    }

    /// Sends an event with a word.
    pub(crate) async fn say(&self, word: &str, opts: BroadcastOptions) {
        self.adapter.broadcast(self.event("say", &word), opts).await.unwrap();
    }

    /// Returns the words that a socket has got.
    pub(crate) fn words(&self, sid: Sid) -> Vec<String> {
        let sent = self.state.sent.lock().unwrap();
        let packets = sent.get(&sid).into_iter().flatten();
        packets.map(|value| self.word(&mut value.clone())).collect()
    }

    fn word(&self, value: &mut Value) -> String {
        self.parser.decode_value::<String>(value, true).unwrap()
    }

    /// Waits until a socket has got the words, in this order, and nothing else.
    pub(crate) async fn gets(&self, sid: Sid, words: &[&str]) {
        until(|| self.words(sid).len() >= words.len()).await;
        assert_eq!(self.words(sid), words);
    }
}

/// Waits for a condition.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, met).await.expect("the condition was not met");
}

pub(crate) fn everybody() -> BroadcastOptions {
    let mut opts = BroadcastOptions::default();
    opts.add_flag(BroadcastFlags::Broadcast);
    opts
}

pub(crate) fn room(name: impl Into<String>) -> BroadcastOptions {
    let mut opts = everybody();
    opts.rooms.push(name.into().into());
    opts
}

/// The sockets' fates, for a test to look at.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) sids: Mutex<Vec<Sid>>,
    /// The events' values, in the parser's form.
    pub(crate) sent: Mutex<HashMap<Sid, Vec<Value>>>,
    pub(crate) disconnected: Mutex<Vec<Sid>>,
    /// The sockets answer with these; the others are late.
    pub(crate) answers: Mutex<HashMap<Sid, Value>>,
    /// The time limits with which they were asked.
    pub(crate) asked_within: Mutex<Vec<Option<Duration>>>,
    /// Clients don't take anything.
    pub(crate) full: Mutex<bool>,
}

pub(crate) struct Emitter<P> {
    state: Arc<State>,
    path: Str,
    uid: Uid,
    parser: Option<P>,
}

/// The framework's error, in its form.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AckError {
    Timeout,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("late")
    }
}

impl std::error::Error for AckError {}

impl<P: Parse + Send + Sync + 'static> SocketEmitter for Emitter<P> {
    type AckError = AckError;
    type AckStream = Fuse<BoxStream<'static, AckStreamItem<AckError>>>;

    fn get_all_sids(&self, filter: impl Fn(&Sid) -> bool) -> Vec<Sid> {
        self.state.sids.lock().unwrap().iter().copied().filter(filter).collect()
    }

    fn get_remote_sockets(&self, sids: BroadcastIter<'_>) -> Vec<RemoteSocketData> {
        let here = self.state.sids.lock().unwrap();
        let data = |id| RemoteSocketData { id, server_id: self.uid, ns: self.path.clone() };
        sids.filter(|sid| here.contains(sid)).map(data).collect()
    }

    fn send_many(&self, sids: BroadcastIter<'_>, data: Value) -> Result<(), Vec<SocketError>> {
        if *self.state.full.lock().unwrap() {
            return Err(sids.map(|_| SocketError::InternalChannelFull).collect());
        }
        let here = self.state.sids.lock().unwrap().clone();
        for sid in sids.filter(|sid| here.contains(sid)) {
            self.state.sent.lock().unwrap().entry(sid).or_default().push(data.clone());
        }
        Ok(())
    }

    fn send_many_volatile(&self, sids: BroadcastIter<'_>, data: Value) {
        let _ = self.send_many(sids, data);
    }

    fn send_many_with_ack(
        &self,
        sids: BroadcastIter<'_>,
        packet: Packet,
        timeout: Option<Duration>,
    ) -> (Self::AckStream, u32) {
        self.state.asked_within.lock().unwrap().push(timeout);
        let sids: Vec<Sid> = sids.collect();
        let (PacketData::Event(data, _) | PacketData::BinaryEvent(data, _)) = packet.inner else { panic!() };
        let mut answers = Vec::new();
        for sid in &sids {
            self.state.sent.lock().unwrap().entry(*sid).or_default().push(data.clone());
            let answer = self.state.answers.lock().unwrap().get(sid).cloned();
            answers.push((*sid, answer.ok_or(AckError::Timeout)));
        }
        (iter(answers).boxed().fuse(), sids.len() as u32)
    }

    fn disconnect_many(&self, sids: Vec<Sid>) -> Result<(), Vec<SocketError>> {
        self.state.sids.lock().unwrap().retain(|sid| !sids.contains(sid));
        self.state.disconnected.lock().unwrap().extend(sids);
        Ok(())
    }

    fn path(&self) -> &Str {
        &self.path
    }

    fn parser(&self) -> impl Parse {
        Unframed(self.parser)
    }

    fn server_id(&self) -> Uid {
        self.uid
    }

    fn ack_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// A parser, except that a packet is handed over without a frame.
#[derive(Clone, Copy)]
struct Unframed<P>(Option<P>);

impl<P> Default for Unframed<P> {
    fn default() -> Self {
        Unframed(None)
    }
}

mod unframed {
    use bytes::Bytes;
    use serde::{Deserialize, Serialize};
    use socketioxide_core::packet::{Packet, PacketData};
    use socketioxide_core::parser::{Parse, ParseConfig, ParseError, ParserError, ParserState};
    use socketioxide_core::{Str, Value};

    use super::Unframed;

    impl<P: Parse> Unframed<P> {
        fn inner(self) -> P {
            self.0.unwrap_or_default()
        }
    }

    impl<P: Parse> Parse for Unframed<P> {
        fn encode(self, packet: Packet) -> Value {
            match packet.inner {
                PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => value,
                other => panic!("{other:?}"),
            }
        }

        fn decode_str(
            self,
            config: &ParseConfig,
            state: &ParserState,
            data: Str,
        ) -> Result<Packet, ParseError> {
            self.inner().decode_str(config, state, data)
        }

        fn decode_bin(
            self,
            config: &ParseConfig,
            state: &ParserState,
            bin: Bytes,
        ) -> Result<Packet, ParseError> {
            self.inner().decode_bin(config, state, bin)
        }

        fn encode_value<T: ?Sized + Serialize>(
            self,
            data: &T,
            event: Option<&str>,
        ) -> Result<Value, ParserError> {
            self.inner().encode_value(data, event)
        }

        fn decode_value<'de, T: Deserialize<'de>>(
            self,
            value: &'de mut Value,
            with_event: bool,
        ) -> Result<T, ParserError> {
            self.inner().decode_value(value, with_event)
        }

        fn decode_default<'de, T: Deserialize<'de>>(
            self,
            value: Option<&'de Value>,
        ) -> Result<T, ParserError> {
            self.inner().decode_default(value)
        }

        fn encode_default<T: ?Sized + Serialize>(self, data: &T) -> Result<Value, ParserError> {
            self.inner().encode_default(data)
        }

        fn read_event(self, value: &Value) -> Result<&str, ParserError> {
            value_str(value)
        }
    }

    fn value_str(_: &Value) -> Result<&str, ParserError> {
        Ok("")
    }
}
