//! Servers of socketioxide and of Node.js in one cluster.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;

use serde_json::{Value, json};
use sio_streams_driver::admin_ui::{Connection, Counts, SocketData};
use sio_streams_driver::sio_streams_core::{
    Config, Dialect, Handshake, Payload, RoomOwner, SubscriptionMode,
};
use sio_streams_driver::{Options, start};
use sio_streams_interop::{
    ConnectOptions, Generation, Peer, PeerConfig, Result, backend, eventually, quick, timing,
};
use sio_streams_socketioxide::{Cluster, Notices, SioStreamsAdapter, SocketDescription, sio_streams_driver};
use sio_streams_testkit::RedisServer;
use socketioxide::adapter::{Adapter, Emitter};
use socketioxide::extract::{Data, SocketRef};
use socketioxide::{ParserConfig, SocketIo, TransportType};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

pub(crate) type Io = SocketIo<SioStreamsAdapter<Emitter>>;

/// A namespace that clients open by coming into it.
pub(crate) const DYNAMIC: &str = "/dynamic/1";

/// A server of socketioxide.
pub(crate) struct Oxide {
    pub(crate) io: Io,
    pub(crate) cluster: Cluster,
    pub(crate) notices: Mutex<Notices>,
    pub(crate) port: u16,
    pub(crate) msgpack: bool,
}

impl Oxide {
    pub(crate) async fn start(config: Config, url: &str, msgpack: bool) -> Self {
        let subscription_mode = SubscriptionMode::Static;
        let config = Config { room_owner: RoomOwner::Application, subscription_mode, ..config };
        let options = Options { timing: timing(), ..Options::from(config) };
        let (node, events) = start(options, backend(url).unwrap()).unwrap();
        let (cluster, notices) = Cluster::new(node, events).unwrap();
        let builder = SocketIo::builder().with_adapter::<SioStreamsAdapter<_>>(cluster.clone());
        let (layer, io) = match msgpack {
            true => builder.with_parser(ParserConfig::msgpack()).build_layer(),
            false => builder.build_layer(),
        };
        io.ns("/", connected).await.unwrap();
        io.dyn_ns("/dynamic/{id}", connected).unwrap();
        let sockets = io.clone();
        cluster.describe_sockets(move |nsp, sid| {
            let socket = sockets.of(nsp).and_then(|nsp| nsp.get_socket(sid));
            socket.map(|socket| describe(&socket)).unwrap_or_default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().layer(layer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Oxide { io, cluster, notices: Mutex::new(notices), port, msgpack }
    }

    pub(crate) fn socket(&self, sid: &str) -> SocketRef<SioStreamsAdapter<Emitter>> {
        self.io.get_socket(sid.parse().unwrap()).unwrap()
    }

    pub(crate) async fn connect(&self, node: &Peer, nsp: &str) -> Result<String> {
        let options = ConnectOptions {
            nsp: nsp.to_owned(),
            port: Some(self.port),
            msgpack: self.msgpack,
            ..ConnectOptions::default()
        };
        Ok(node.connect_with(&options).await?.sid)
    }
}

/// Counts this server's clients and sockets, for the admin UI.
pub(crate) fn counts(io: &Io) -> Counts {
    let (mut clients, mut namespaces) = (HashMap::new(), Vec::new());
    for nsp in io.nsps() {
        let (name, sockets) = (nsp.ns_path().into(), nsp.sockets());
        namespaces.push((name, sockets.len() as u64));
        // A client's sockets have the same id in all namespaces.
        clients.extend(sockets.iter().map(|socket| (socket.id, socket.transport_type())));
    }
    let polling = clients.values().filter(|transport| **transport == TransportType::Polling).count();
    Counts { clients: clients.len() as u64, polling_clients: polling as u64, namespaces }
}

/// Answers for a socket, in the way that the admin UI expects.
fn describe<A: Adapter>(socket: &SocketRef<A>) -> SocketDescription {
    let request = socket.req_parts();
    let headers = request.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
    let handshake = Handshake {
        headers: headers.collect(),
        url: request.uri.to_string(),
        ..Handshake::at(1_700_000_000_000)
    };
    let transport = match socket.transport_type() {
        TransportType::Polling => "polling",
        TransportType::Websocket => "websocket",
    };
    let connection = Connection { client_id: socket.id.to_string(), transport };
    let data = SocketData { connection, data: json!({ "name": socket.id.as_str() }) };
    SocketDescription {
        handshake: Payload::encode(&handshake).unwrap(),
        data: Payload::encode(&data).unwrap(),
    }
}

/// Does what the application does with a client.
async fn connected<A: Adapter>(socket: SocketRef<A>) {
    socket.on(
        "tell the others",
        async |socket: SocketRef<A>, Data((event, word)): Data<(String, String)>| {
            socket.broadcast().emit(event, &word).await.unwrap();
        },
    );
}

/// Returns the configuration of a Node.js server that socketioxide can be in one cluster with.
pub(crate) fn node(generation: Generation, url: &str) -> PeerConfig {
    let config = PeerConfig::new(generation, url).quick();
    match generation {
        Generation::Sharded => config.adapter("subscriptionMode", "static"),
        _ => config,
    }
}

/// A cluster of three servers.
pub(crate) struct Servers {
    _redis: RedisServer,
    pub(crate) node: Peer,
    pub(crate) common: Oxide,
    pub(crate) msgpack: Oxide,
}

impl Servers {
    pub(crate) async fn start(generation: Generation, dialect: Dialect) -> Result<Self> {
        let redis = RedisServer::start()?;
        let url = redis.url();
        let peer = node(generation, &url).namespaces(&["/", DYNAMIC]);
        let node = Peer::start(peer).await?;
        let common = Oxide::start(quick(dialect), &url, false).await;
        let msgpack = Oxide::start(quick(dialect), &url, true).await;
        eventually("three servers", async || matches!(node.server_count("/").await, Ok(3))).await?;
        Ok(Servers { _redis: redis, node, common, msgpack })
    }

    /// Connects a client to each server.
    pub(crate) async fn clients(&self) -> Result<Clients> {
        let node = self.node.connect("/").await?.sid;
        let common = self.common.connect(&self.node, "/").await?;
        let msgpack = self.msgpack.connect(&self.node, "/").await?;
        Ok(Clients { node, common, msgpack })
    }

    pub(crate) fn oxides(&self) -> [&Oxide; 2] {
        [&self.common, &self.msgpack]
    }

    /// Puts a client of each server into a room, by that server.
    pub(crate) async fn join(&self, clients: &Clients, room: &str) -> Result<()> {
        self.node.server_join(&clients.node, &[room]).await?;
        self.common.socket(&clients.common).join(room.to_owned());
        self.msgpack.socket(&clients.msgpack).join(room.to_owned());
        Ok(())
    }

    /// Waits until clients have got an event, so many times. Returns the arguments of each.
    pub(crate) async fn heard(&self, sid: &str, event: &str, count: usize) -> Result<Vec<Vec<Value>>> {
        let received = self.node.wait_client_event(sid, event, count).await?;
        assert_eq!(received.len(), count, "{sid} {event}: {received:?}");
        Ok(received.into_iter().map(|received| received.args).collect())
    }
}

/// A client of each server.
pub(crate) struct Clients {
    pub(crate) node: String,
    pub(crate) common: String,
    pub(crate) msgpack: String,
}

impl Clients {
    pub(crate) fn all(&self) -> [&str; 3] {
        [&self.node, &self.common, &self.msgpack]
    }
}
