//! A server of ours in a cluster: the driver on a real Redis, under an application that does what a
//! Socket.IO server would do with its clients, and remembers what reached them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sio_streams_driver::backend::{Backend, Timing};
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, Config, Dialect, EntryId, Handshake, LocalDelivery, LocalSocket, Packet,
    Payload, Recovery, RemoteSocket,
};
use sio_streams_driver::{Broadcast, Event, Namespace, Node, Options, Sockets};
use sio_streams_redis_rs::RedisBackend;
use sio_streams_testapp::{Application, serve};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::front::{self, Line};
use crate::types::{Acks, Received, Responses, Select, ServerSideReply, SocketInfo};
use crate::value::{from_payload, to_payload};
use crate::{Error, Result};

/// A server of ours.
#[derive(Debug)]
pub struct OurServer {
    /// A runtime of its own, so that the node can die without a word.
    runtime: Option<Runtime>,
    node: Node,
    namespaces: HashMap<String, Namespace>,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

/// The state of the application.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) sockets: HashMap<String, Socket>,
    server_side: HashMap<String, Vec<Received>>,
    server_side_replies: HashMap<(String, String), ServerSideReply>,
    /// The other events, as text.
    pub(crate) log: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Socket {
    received: Vec<Received>,
    offsets: Vec<Option<EntryId>>,
    replies: HashMap<String, Value>,
    pub(crate) data: Value,
    disconnected: bool,
    /// To a real client.
    pub(crate) line: Option<Line>,
}

impl Socket {
    /// Makes the socket of a real client.
    pub(crate) fn real(data: Value, line: Line) -> Self {
        Socket { data, line: Some(line), ..Socket::default() }
    }
}

/// The time limit for anything that Redis does: on a busy machine it may stand still for seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The default options with short heartbeats, for tests that must not wait for the usual ones.
/// Everyone has time to answer: a server that stands still for seconds, on a busy machine, is not
/// gone.
pub fn quick(dialect: Dialect) -> Config {
    Config {
        dialect,
        heartbeat_interval: Duration::from_millis(200),
        heartbeat_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

/// The same options, but a server that is silent for three seconds counts as dead: only for tests
/// that wait for that.
pub fn impatient(config: Config) -> Config {
    Config { heartbeat_timeout: Duration::from_secs(3), ..config }
}

/// The times for which a server of ours waits for Redis.
pub fn timing() -> Timing {
    Timing { response: PATIENCE, connect: PATIENCE, ..Timing::default() }
}

/// The backend of a server of ours.
pub fn backend(url: &str) -> Result<RedisBackend> {
    RedisBackend::builder(url).heartbeat(Duration::from_secs(5), PATIENCE).build().map_err(Error::ours)
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The quick options with connection state recovery.
pub fn recovering(dialect: Dialect) -> Config {
    let recovery = Some(Recovery { timeout: PATIENCE, ..Recovery::default() });
    Config { recovery, local_delivery: LocalDelivery::StreamOrder, ..quick(dialect) }
}

impl OurServer {
    /// Starts a node on a Redis server, and opens namespaces on it.
    pub async fn start(config: Config, url: &str, namespaces: &[&str]) -> Result<Self> {
        Self::start_on(config, backend(url)?, namespaces).await
    }

    /// Starts a node on any backend, and opens namespaces on it.
    pub async fn start_on(config: Config, backend: impl Backend, namespaces: &[&str]) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let state = Arc::new(Mutex::new(State::default()));
        let (node, task) = {
            let _inside = runtime.enter();
            let options = Options { timing: timing(), ..Options::from(config) };
            let (node, events) = sio_streams_driver::start(options, backend).map_err(Error::ours)?;
            let task = tokio::spawn(serve(events, Listener { node: node.clone(), state: state.clone() }))
                .abort_handle();
            (node, task)
        };
        let mut server = OurServer { runtime: Some(runtime), node, namespaces: HashMap::new(), state, task };
        for &nsp in namespaces {
            let namespace = server.node.open(nsp).await.map_err(Error::ours)?;
            server.namespaces.insert(nsp.to_owned(), namespace);
        }
        Ok(server)
    }

    /// The node's name in the cluster.
    pub fn uid(&self) -> &str {
        self.node.uid().as_str()
    }

    /// The handle of a namespace that was opened.
    pub fn namespace(&self, nsp: &str) -> &Namespace {
        &self.namespaces[nsp]
    }

    /// Listens for real clients; on which port.
    pub async fn listen(&self) -> Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        // On the runtime that dies with the server.
        let listener = listener.into_std()?;
        if let Some(runtime) = &self.runtime {
            let _inside = runtime.enter();
            let serving =
                front::serve(TcpListener::from_std(listener)?, self.node.clone(), self.state.clone());
            drop(runtime.spawn(serving));
        }
        Ok(port)
    }

    /// A client connects; its socket's id.
    pub async fn connect(&self, nsp: &str) -> Result<String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Twenty characters, as those of Node's sockets.
        let sid = format!("ours{:016}", COUNT.fetch_add(1, Ordering::Relaxed));
        lock(&self.state).sockets.insert(sid.clone(), Socket { data: json!({}), ..Socket::default() });
        self.namespaces[nsp].add_socket(sid.clone()).await.map_err(Error::ours)?;
        Ok(sid)
    }

    /// The events that a client has received.
    pub fn client_received(&self, sid: &str) -> Vec<Received> {
        lock(&self.state).sockets.get(sid).map(|socket| socket.received.clone()).unwrap_or_default()
    }

    /// The offsets that came with what a client has received.
    pub fn client_offsets(&self, sid: &str) -> Vec<Option<EntryId>> {
        lock(&self.state).sockets.get(sid).map(|socket| socket.offsets.clone()).unwrap_or_default()
    }

    /// Returns `true` if a client was disconnected.
    pub fn client_disconnected(&self, sid: &str) -> bool {
        lock(&self.state).sockets.get(sid).is_some_and(|socket| socket.disconnected)
    }

    /// Sets how a client answers an event; with `None` it does not answer.
    pub fn client_ack(&self, sid: &str, event: &str, reply: Option<Value>) {
        if let Some(socket) = lock(&self.state).sockets.get_mut(sid) {
            match reply {
                Some(reply) => drop(socket.replies.insert(event.to_owned(), reply)),
                None => drop(socket.replies.remove(event)),
            }
        }
    }

    /// A socket joins rooms.
    pub async fn server_join(&self, nsp: &str, sid: &str, rooms: &[&str]) -> Result<()> {
        self.namespaces[nsp].join(sid.to_owned(), names(rooms)).await.map(drop).map_err(Error::ours)
    }

    /// The rooms of a socket.
    pub async fn rooms(&self, nsp: &str, sid: &str) -> Result<Vec<String>> {
        let rooms = self.namespaces[nsp].rooms(sid.to_owned()).await.map_err(Error::ours)?;
        Ok(rooms.unwrap_or_default().into_iter().map(Into::into).collect())
    }

    /// Sets a socket's data.
    pub fn set_data(&self, sid: &str, data: Value) {
        if let Some(socket) = lock(&self.state).sockets.get_mut(sid) {
            socket.data = data;
        }
    }

    /// Broadcasts.
    pub async fn emit(&self, to: &Select, event: &str, args: &[Value]) -> Result<()> {
        let nsp = &self.namespaces[&to.nsp];
        nsp.broadcast(packet(event, args), options(to)).await.map(drop).map_err(Error::ours)
    }

    /// Broadcasts and collects acknowledgements.
    pub async fn emit_with_ack(&self, to: &Select, event: &str, args: &[Value]) -> Result<Acks> {
        let nsp = &self.namespaces[&to.nsp];
        let acks = nsp.broadcast_with_ack(packet(event, args), options(to)).await.map_err(Error::ours)?;
        let (values, outcome) = acks.all().await.map_err(Error::ours)?;
        let acks = values.iter().map(from_payload).collect();
        Ok(match outcome.is_complete() {
            true => Acks::Complete { acks },
            false => Acks::Failed { error: format!("{outcome:?}"), partial: acks },
        })
    }

    /// Makes sockets join rooms.
    pub async fn sockets_join(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        let nsp = &self.namespaces[&to.nsp];
        nsp.sockets_join(options(to), names(rooms)).await.map(drop).map_err(Error::ours)
    }

    /// Makes sockets leave rooms.
    pub async fn sockets_leave(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        let nsp = &self.namespaces[&to.nsp];
        nsp.sockets_leave(options(to), names(rooms)).await.map(drop).map_err(Error::ours)
    }

    /// Disconnects sockets.
    pub async fn disconnect_sockets(&self, to: &Select, close: bool) -> Result<()> {
        let nsp = &self.namespaces[&to.nsp];
        nsp.disconnect_sockets(options(to), close).await.map(drop).map_err(Error::ours)
    }

    /// Finds sockets, and who answered.
    pub async fn fetch_sockets_outcome(&self, to: &Select) -> Result<Sockets> {
        self.namespaces[&to.nsp].fetch_sockets(options(to)).await.map_err(Error::ours)
    }

    /// Finds sockets; an error if not every node answered.
    pub async fn fetch_sockets(&self, to: &Select) -> Result<Vec<SocketInfo>> {
        let Sockets { sockets, outcome } = self.fetch_sockets_outcome(to).await?;
        if !outcome.is_complete() {
            return Err(Error::Ours(format!("{outcome:?}")));
        }
        let info = |socket: RemoteSocket| SocketInfo {
            id: socket.id.into(),
            handshake: from_payload(&socket.handshake),
            rooms: socket.rooms.into_iter().map(Into::into).collect(),
            data: from_payload(&socket.data),
        };
        Ok(sockets.into_iter().map(info).collect())
    }

    /// Emits to the other servers.
    pub async fn server_side_emit(&self, nsp: &str, event: &str, args: &[Value]) -> Result<()> {
        self.namespaces[nsp].server_side_emit(data(event, args)).await.map(drop).map_err(Error::ours)
    }

    /// Emits to the other servers and collects their answers.
    pub async fn server_side_emit_with_ack(
        &self,
        nsp: &str,
        event: &str,
        args: &[Value],
    ) -> Result<Responses> {
        let answers = self.namespaces[nsp].server_side_emit_with_ack(data(event, args)).await;
        let answers = answers.map_err(Error::ours)?;
        let responses = answers.responses.iter().map(|(_, value)| from_payload(value)).collect();
        Ok(match answers.outcome.is_complete() {
            true => Responses::Complete { responses },
            false => Responses::Failed { error: format!("{:?}", answers.outcome), partial: responses },
        })
    }

    /// Sets the handling of a server-side event.
    pub fn on_server_side(&self, nsp: &str, event: &str, reply: ServerSideReply) {
        lock(&self.state).server_side_replies.insert((nsp.to_owned(), event.to_owned()), reply);
    }

    /// The server-side events that came.
    pub fn server_side_received(&self, nsp: &str) -> Vec<Received> {
        lock(&self.state).server_side.get(nsp).cloned().unwrap_or_default()
    }

    /// The number of servers.
    pub async fn server_count(&self, nsp: &str) -> Result<u64> {
        self.namespaces[nsp].server_count().await.map_err(Error::ours)
    }

    /// The events of the application that are not messages: links, nodes, skipped entries.
    pub fn log(&self) -> Vec<String> {
        lock(&self.state).log.clone()
    }

    /// Leaves the cluster.
    pub async fn close(self) {
        self.node.clone().close().await;
    }

    /// Is gone without a word.
    pub fn vanish(self) {
        drop(self);
    }

    /// Forgets the application: from now on nobody answers, as if it hung. The node itself stays in
    /// the cluster.
    pub fn hang(&self) {
        self.task.abort();
    }
}

impl Drop for OurServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn names(names: &[&str]) -> Vec<ByteString> {
    names.iter().map(|&name| name.into()).collect()
}

fn data(event: &str, args: &[Value]) -> Payload {
    let all: Vec<Value> = core::iter::once(event.into()).chain(args.iter().cloned()).collect();
    to_payload(&all.into())
}

fn packet(event: &str, args: &[Value]) -> Packet {
    Packet::new(data(event, args)).expect("the tests send only what can be sent")
}

fn options(to: &Select) -> BroadcastOptions {
    let mut options = BroadcastOptions::all();
    options.rooms = to.rooms.iter().map(|room| room.clone().into()).collect();
    options.except = to.except.iter().map(|room| room.clone().into()).collect();
    options.flags.local = to.flags.local.then_some(true);
    options.flags.volatile = to.flags.volatile.then_some(true);
    options.flags.compress = to.flags.compress;
    options.flags.timeout = to.flags.timeout.map(Duration::from_millis);
    options
}

fn received(packet: &Payload, ack: bool) -> Received {
    let Value::Array(mut args) = from_payload(packet) else {
        return Received { event: format!("{packet:?}"), args: Vec::new(), ack };
    };
    let event = args.remove(0).as_str().unwrap_or_default().to_owned();
    Received { event, args, ack }
}

/// The application: it keeps what reaches its sockets, and answers as the test has set.
struct Listener {
    node: Node,
    state: Arc<Mutex<State>>,
}

impl Application for Listener {
    fn deliver(&mut self, broadcast: &Broadcast) {
        let seen = received(broadcast.packet.data(), broadcast.responder.is_some());
        let mut state = lock(&self.state);
        for sid in &broadcast.sockets {
            let Some(socket) = state.sockets.get_mut(&**sid) else { continue };
            socket.received.push(seen.clone());
            socket.offsets.push(broadcast.offset);
            if let Some(line) = &socket.line {
                front::send(line, broadcast.frames());
            }
        }
    }

    fn acknowledge(&mut self, socket: &ByteString, packet: &Payload) -> Option<Payload> {
        let seen = received(packet, true);
        lock(&self.state).sockets.get(&**socket)?.replies.get(&seen.event).map(to_payload)
    }

    fn socket(&mut self, id: &ByteString) -> LocalSocket {
        local_socket(id, &self.state)
    }

    fn asked(&mut self, nsp: &ByteString, packet: &Payload, answer_wanted: bool) -> Option<Payload> {
        let seen = received(packet, answer_wanted);
        let key = (nsp.to_string(), seen.event.clone());
        let mut state = lock(&self.state);
        state.server_side.entry(nsp.to_string()).or_default().push(seen);
        match state.server_side_replies.get(&key) {
            Some(ServerSideReply::Answer(value)) => Some(to_payload(value)),
            _ => None,
        }
    }

    fn disconnect(&mut self, nsp: &ByteString, sockets: Vec<ByteString>) {
        let nsp = self.node.namespace(nsp.clone());
        for sid in sockets {
            if let Some(socket) = lock(&self.state).sockets.get_mut(&*sid) {
                socket.disconnected = true;
            }
            drop(nsp.remove_socket(sid));
        }
    }

    fn told(&mut self, event: Event) {
        lock(&self.state).log.push(format!("{event:?}"));
    }
}

fn local_socket(sid: &ByteString, state: &Mutex<State>) -> LocalSocket {
    let data = lock(state).sockets.get(&**sid).map(|socket| socket.data.clone()).unwrap_or_default();
    let handshake = Handshake {
        time: "Sat Nov 21 2026 00:00:00 GMT+0000 (Coordinated Universal Time)".into(),
        address: "127.0.0.1".into(),
        url: "/socket.io/".into(),
        issued: 1_795_000_000_000,
        ..Handshake::default()
    };
    LocalSocket::new(sid.clone(), &handshake, to_payload(&data)).expect("a plain handshake")
}
