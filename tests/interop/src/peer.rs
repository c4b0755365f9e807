//! A real Node peer: one method for each operation.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::control::Control;
use crate::types::{
    Acks, ClientState, ConnectOptions, Disconnection, Received, Responses, Select, ServerSideReply, Session,
    SocketInfo, Stats,
};
use crate::{Error, PeerConfig, Result};

/// One Node process with a real Socket.IO server and real clients. Dropping it kills the process.
#[derive(Debug)]
pub struct Peer {
    control: Control,
    port: u16,
    uids: HashMap<String, String>,
    streams: HashMap<String, String>,
}

impl Peer {
    /// Starts a peer and waits until its server listens and its adapters read and are subscribed.
    pub async fn start(config: PeerConfig) -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let (control, mut ready) = Control::start(&dir, &serde_json::to_string(&config)?).await?;
        Ok(Self {
            control,
            port: serde_json::from_value(ready["port"].take())?,
            uids: serde_json::from_value(ready["uids"].take())?,
            streams: serde_json::from_value(ready["streams"].take())?,
        })
    }

    /// The port on which the Socket.IO server listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The adapter's uid for a namespace; empty if the namespace is not open.
    pub fn uid(&self, nsp: &str) -> &str {
        self.uids.get(nsp).map_or("", String::as_str)
    }

    /// The stream to which the peer writes a namespace's messages; empty if the namespace is not
    /// open.
    pub fn stream(&self, nsp: &str) -> &str {
        self.streams.get(nsp).map_or("", String::as_str)
    }

    /// The events that the peer reported without being asked, such as `{"event": "uncaught", ..}`.
    pub fn events(&self) -> Vec<Value> {
        self.control.events()
    }

    // -- clients
    // ------------------------------------------------------------------------------------------------

    /// Connects a client to a namespace.
    pub async fn connect(&self, nsp: &str) -> Result<ClientState> {
        self.connect_with(&ConnectOptions { nsp: nsp.to_owned(), ..ConnectOptions::default() }).await
    }

    /// Makes a client break its connection to its server without a farewell. Returns the client's
    /// state then.
    pub async fn cut_client(&self, sid: &str) -> Result<ClientState> {
        self.call("cut_client", json!({ "sid": sid })).await
    }

    /// Connects several clients to a namespace.
    pub async fn connect_many(&self, nsp: &str, count: usize) -> Result<Vec<ClientState>> {
        self.call("connect", json!({ "nsp": nsp, "count": count })).await
    }

    /// Connects a client that claims a session, which it may have had with another peer.
    pub async fn connect_recovering(&self, nsp: &str, session: Session) -> Result<ClientState> {
        let recover = Some(session);
        self.connect_with(&ConnectOptions { nsp: nsp.to_owned(), recover, ..ConnectOptions::default() }).await
    }

    /// Connects a client.
    pub async fn connect_with(&self, options: &ConnectOptions) -> Result<ClientState> {
        let mut clients: Vec<ClientState> = self.call("connect", options).await?;
        clients.pop().ok_or_else(|| Error::Gone("the peer connected no client".to_owned()))
    }

    /// All that a client has received.
    pub async fn client_received(&self, sid: &str) -> Result<Vec<Received>> {
        self.call("client_received", json!({ "sid": sid })).await
    }

    /// All that a client has received since this was called last.
    pub async fn take_received(&self, sid: &str) -> Result<Vec<Received>> {
        self.call("client_received", json!({ "sid": sid, "clear": true })).await
    }

    /// Waits until a client has received an event this many times; returns all of them.
    pub async fn wait_client_event(&self, sid: &str, event: &str, count: usize) -> Result<Vec<Received>> {
        self.call("wait_client_event", json!({ "sid": sid, "event": event, "count": count })).await
    }

    /// Returns `true` if a client is disconnected; waits for it up to `timeout_ms`.
    pub async fn client_disconnected(&self, sid: &str, timeout_ms: u64) -> Result<Disconnection> {
        self.call("client_disconnected", json!({ "sid": sid, "timeoutMs": timeout_ms })).await
    }

    /// Sets what a client acknowledges an event with; `None` means never. Without this it does not
    /// answer either.
    pub async fn client_ack(&self, sid: &str, event: &str, reply: Option<Value>) -> Result<()> {
        let silent = reply.is_none();
        self.call("client_ack", json!({ "sid": sid, "event": event, "reply": reply, "silent": silent })).await
    }

    /// Has a client emit to its server.
    pub async fn client_emit(&self, sid: &str, event: &str, args: &[Value]) -> Result<()> {
        self.call("client_emit", json!({ "sid": sid, "event": event, "args": args })).await
    }

    /// Has a client emit to its server, and waits for the acknowledgement. Returns its arguments.
    pub async fn client_ask(&self, sid: &str, event: &str, args: &[Value]) -> Result<Vec<Value>> {
        self.call("client_ask", json!({ "sid": sid, "event": event, "args": args })).await
    }

    /// A client's knowledge of its connection.
    pub async fn client_state(&self, sid: &str) -> Result<ClientState> {
        self.call("client_state", json!({ "sid": sid })).await
    }

    /// Has a client say good-bye.
    pub async fn disconnect_client(&self, sid: &str) -> Result<()> {
        self.call("disconnect_client", json!({ "sid": sid })).await
    }

    /// Breaks a client's connection without a word. Returns when the server has noticed and, with
    /// recovery on, has stored the session.
    pub async fn drop_client(&self, sid: &str) -> Result<ClientState> {
        self.call("drop_client", json!({ "sid": sid })).await
    }

    /// Has a client connect again, with the session that it had.
    pub async fn reconnect_client(&self, sid: &str) -> Result<ClientState> {
        self.call("reconnect_client", json!({ "sid": sid })).await
    }

    // -- this server's own sockets
    // ------------------------------------------------------------------------------

    /// Puts one of the peer's own sockets into rooms.
    pub async fn server_join(&self, sid: &str, rooms: &[&str]) -> Result<()> {
        self.call("server_join", json!({ "sid": sid, "rooms": rooms })).await
    }

    /// Puts one of the peer's own sockets into a room that is a number in JavaScript.
    pub async fn server_join_number(&self, sid: &str, room: f64) -> Result<()> {
        self.call("server_join", json!({ "sid": sid, "rooms": [room] })).await
    }

    /// Takes one of the peer's own sockets out of rooms.
    pub async fn server_leave(&self, sid: &str, rooms: &[&str]) -> Result<()> {
        self.call("server_leave", json!({ "sid": sid, "rooms": rooms })).await
    }

    /// Sets the data of one of the peer's own sockets.
    pub async fn set_data(&self, sid: &str, data: Value) -> Result<()> {
        self.call("set_data", json!({ "sid": sid, "data": data })).await
    }

    /// Emits to one of the peer's own sockets. With recovery on, this goes through the stream.
    pub async fn socket_emit(&self, sid: &str, event: &str, args: &[Value]) -> Result<()> {
        self.call("socket_emit", json!({ "sid": sid, "event": event, "args": args })).await
    }

    /// The rooms that the peer's own sockets are in, and the sockets in them.
    pub async fn rooms(&self, nsp: &str) -> Result<HashMap<String, Vec<String>>> {
        self.call("rooms", json!({ "nsp": nsp })).await
    }

    // -- the cluster
    // --------------------------------------------------------------------------------------------

    /// Broadcasts. Returns when the peer has taken it on, not when Redis has it.
    pub async fn emit(&self, to: &Select, event: &str, args: &[Value]) -> Result<()> {
        self.call_on("emit", to, json!({ "event": event, "args": args })).await
    }

    /// Broadcasts and collects the clients' acknowledgements, for 5 seconds unless `to` has a
    /// timeout.
    pub async fn emit_with_ack(&self, to: &Select, event: &str, args: &[Value]) -> Result<Acks> {
        let timeout = to.flags.timeout.unwrap_or(5_000);
        self.call_on("emit_with_ack", to, json!({ "event": event, "args": args, "timeoutMs": timeout })).await
    }

    /// Asks one socket anywhere in the cluster for an acknowledgement, by `fetchSockets` and
    /// `RemoteSocket.emit`.
    pub async fn remote_emit(
        &self,
        nsp: &str,
        sid: &str,
        event: &str,
        args: &[Value],
        timeout_ms: u64,
    ) -> Result<Option<Value>> {
        let params = json!({ "nsp": nsp, "sid": sid, "event": event, "args": args, "timeoutMs": timeout_ms });
        let mut answer: Map<String, Value> = self.call("remote_emit", params).await?;
        Ok(answer.remove("ack"))
    }

    /// Puts the chosen sockets into rooms.
    pub async fn sockets_join(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        self.call_on("sockets_join", to, json!({ "join": rooms })).await
    }

    /// Takes the chosen sockets out of rooms.
    pub async fn sockets_leave(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        self.call_on("sockets_leave", to, json!({ "leave": rooms })).await
    }

    /// Disconnects the chosen sockets; `close` closes their connections, too.
    pub async fn disconnect_sockets(&self, to: &Select, close: bool) -> Result<()> {
        self.call_on("disconnect_sockets", to, json!({ "close": close })).await
    }

    /// Describes the chosen sockets, wherever they are.
    pub async fn fetch_sockets(&self, to: &Select) -> Result<Vec<SocketInfo>> {
        self.call_on("fetch_sockets", to, json!({})).await
    }

    /// Sends an event to the other servers.
    pub async fn server_side_emit(&self, nsp: &str, event: &str, args: &[Value]) -> Result<()> {
        self.call("server_side_emit", json!({ "nsp": nsp, "event": event, "args": args })).await
    }

    /// Sends an event to the other servers and collects their answers, for 5 seconds.
    pub async fn server_side_emit_with_ack(
        &self,
        nsp: &str,
        event: &str,
        args: &[Value],
    ) -> Result<Responses> {
        self.call("server_side_emit_with_ack", json!({ "nsp": nsp, "event": event, "args": args })).await
    }

    /// Has the peer listen for a server-side event.
    pub async fn on_server_side(&self, nsp: &str, event: &str, reply: ServerSideReply) -> Result<()> {
        let mut params = json!({ "nsp": nsp, "event": event });
        match reply {
            ServerSideReply::Answer(value) => params["answer"] = value,
            ServerSideReply::Silent => params["silent"] = true.into(),
            ServerSideReply::Throw(message) => params["throw"] = message.into(),
        }
        self.call("on_server_side", params).await
    }

    /// The server-side events that the peer listened for and received.
    pub async fn server_side_received(&self, nsp: &str) -> Result<Vec<Received>> {
        self.call("server_side_received", json!({ "nsp": nsp })).await
    }

    /// Waits until the peer has received a server-side event this many times; returns all of them.
    pub async fn wait_server_side(&self, nsp: &str, event: &str, count: usize) -> Result<Vec<Received>> {
        self.call("wait_server_side", json!({ "nsp": nsp, "event": event, "count": count })).await
    }

    /// The number of servers that the peer believes to be in the cluster.
    pub async fn server_count(&self, nsp: &str) -> Result<usize> {
        self.call("server_count", json!({ "nsp": nsp })).await
    }

    /// The rooms of all servers, as the classic adapter asks for them.
    pub async fn all_rooms(&self, nsp: &str) -> Result<Vec<String>> {
        self.call("all_rooms", json!({ "nsp": nsp })).await
    }

    /// Has an emitter, which is no member of the cluster, do something: `emit`, `socketsJoin`,
    /// `serverSideEmit`, ...
    pub async fn emitter(&self, to: &Select, action: &str, args: &[Value]) -> Result<()> {
        self.call_on("emitter", to, json!({ "action": action, "args": args })).await
    }

    // -- the process
    // --------------------------------------------------------------------------------------------

    /// The state of the process.
    pub async fn stats(&self) -> Result<Stats> {
        self.call("stats", json!({})).await
    }

    /// Closes the server in order and waits until the process has ended.
    pub async fn close(self) -> Result<()> {
        self.call::<()>("close", json!({})).await?;
        self.control.ended().await
    }

    /// Kills the process, as a crash would, and waits until it is gone.
    pub async fn kill(self) {
        self.control.kill().await;
    }

    /// Freezes the process (SIGSTOP): its connections stay open, it does nothing.
    pub async fn pause(&self) -> Result<()> {
        self.signal("-STOP").await
    }

    /// Lets a frozen process go on (SIGCONT).
    pub async fn resume(&self) -> Result<()> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.control.process_id().ok_or_else(|| Error::Gone("it has ended".to_owned()))?;
        let status = tokio::process::Command::new("kill").args([signal, &id.to_string()]).status().await?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Gone(format!("kill {signal} {id}: {status}"))),
        }
    }

    async fn call_on<T: DeserializeOwned>(&self, op: &str, to: &Select, mut params: Value) -> Result<T> {
        if let (Value::Object(params), Value::Object(selection)) = (&mut params, serde_json::to_value(to)?) {
            params.extend(selection);
        }
        self.call(op, params).await
    }

    async fn call<T: DeserializeOwned>(&self, op: &str, params: impl Serialize) -> Result<T> {
        let params: Map<String, Value> = serde_json::from_value(serde_json::to_value(params)?)?;
        Ok(serde_json::from_value(self.control.request(op, params).await?)?)
    }
}
