//! A Socket.IO server, from nothing. Its clients are those of `socket.io-client`, over WebSocket, and
//! it is a full member of a cluster, beside servers on Node. `docs/framework.md` explains it.
//!
//! `cargo run -p sio-streams-examples --example server -- redis://127.0.0.1:6379 3000`

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, SinkExt, StreamExt, TryFutureExt, stream};
use serde_json::{Value, json};
use sio_streams_driver::backend::Backend;
use sio_streams_driver::sio_streams_core::wire::{FrameReader, Frames, Received};
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, Config, Handshake, LocalDelivery, Packet, Payload, RemoteSocket, Restored,
    RoomOwner, Rooms, Session,
};
use sio_streams_driver::{AckResponder, Broadcast, Event, Events, Namespace};
use sio_streams_redis_rs::RedisBackend;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_tungstenite::{accept_async_with_config, tungstenite};
use tungstenite::{Message, protocol::WebSocketConfig};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The rest of what is done for a client's event, and its result.
type Work = BoxFuture<'static, Result<Payload, Failure>>;

/// The time between two pings.
const INTERVAL: Duration = Duration::from_secs(25);
/// The limit for everything that a client has to do.
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_PAYLOAD: usize = 1_000_000;

/// A client's socket.
#[derive(Clone)]
pub(crate) struct Client {
    /// `None` after an overflow. The connection ends at the end of the queue.
    queue: Option<mpsc::Sender<Vec<Message>>>,
    handshake: Payload,
    /// The session is stored when the connection is lost. The rooms are looked up then.
    pub(crate) session: Session,
}

/// The sockets of this server, their rooms, and the acknowledgements that they owe.
pub(crate) struct Sockets {
    pub(crate) clients: HashMap<ByteString, Client>,
    pub(crate) rooms: Rooms,
    acks: HashMap<u64, (AckResponder, HashSet<ByteString>)>,
    last_ack: u64,
}

impl Sockets {
    fn add(&mut self, client: Client, missed: Vec<Message>) -> ByteString {
        let Session { sid, pid, rooms, .. } = client.session.clone();
        self.rooms.add(sid.clone());
        self.rooms.join(&sid, rooms);
        self.clients.insert(sid.clone(), client);
        self.send(&sid, [messages(Frames::connect("/", &sid, Some(&pid))), missed].concat());
        sid
    }

    fn remove(&mut self, sid: &str) -> Option<Session> {
        let rooms = self.rooms.of(sid)?;
        self.rooms.remove(sid);
        self.clients.remove(sid).map(|client| Session { rooms, ..client.session })
    }

    fn send(&mut self, sid: &str, batch: Vec<Message>) {
        if let Some(Client { queue, .. }) = self.clients.get_mut(sid) {
            let full = queue.as_ref().is_some_and(|queue| queue.try_send(batch).is_err());
            queue.take_if(|_| full);
        }
    }

    /// The sockets that are meant, as the others see them.
    fn of(&self, opts: &BroadcastOptions) -> Vec<RemoteSocket> {
        let describe = |id: ByteString| {
            let Client { handshake, session, .. } = self.clients.get(&id)?.clone();
            Some(RemoteSocket { rooms: self.rooms.of(&id)?, id, handshake, data: session.data })
        };
        self.rooms.matching(opts).into_iter().filter_map(describe).collect()
    }

    fn acknowledged(&mut self, sid: &str, id: u64, args: &Payload) {
        if let Some((acks, true)) = self.acks.get_mut(&id).map(|(acks, owed)| (acks, owed.remove(sid))) {
            acks.send(args.elements().next().unwrap_or_else(Payload::null));
        }
    }
}

/// A Socket.IO server with the namespace `/`.
pub(crate) struct Server {
    pub(crate) nsp: Namespace,
    sockets: Mutex<Sockets>,
}

impl Server {
    /// Joins the cluster.
    pub(crate) async fn join(mut config: Config, backend: impl Backend) -> Result<Arc<Self>, Failure> {
        config.room_owner = RoomOwner::Application;
        config.recovery.get_or_insert_default();
        config.local_delivery = LocalDelivery::StreamOrder;
        let (node, events) = sio_streams_driver::start(config, backend)?;
        let (clients, acks, rooms) = (HashMap::new(), HashMap::new(), Rooms::new(random()?.to_ne_bytes()));
        let sockets = Mutex::new(Sockets { clients, rooms, acks, last_ack: 0 });
        let server = Arc::new(Server { nsp: node.namespace("/"), sockets });
        tokio::spawn(Arc::clone(&server).take_events(events));
        node.open("/").await?;
        Ok(server)
    }

    pub(crate) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the cluster asks for.
    async fn take_events(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.next().await {
            let sockets = &mut *self.sockets();
            match event {
                Event::Broadcast(it) => self.deliver(sockets, it),
                Event::SocketsJoin(it) => drop(sockets.rooms.join_matching(&it.opts, &it.rooms)),
                Event::SocketsLeave(it) => drop(sockets.rooms.leave_matching(&it.opts, &it.rooms)),
                Event::DisconnectSockets { opts, .. } => {
                    for sid in sockets.rooms.matching(&opts) {
                        sockets.send(&sid, messages(Frames::disconnect("/")));
                        // The queue ends with its sender, and the connection with the queue.
                        sockets.remove(&sid);
                    }
                }
                Event::FetchSockets { opts, responder: to, .. } => drop(to.send_in_rooms(sockets.of(&opts))),
                Event::ServerSideEmit { packet, responder: Some(responder), .. } => {
                    responder.send(packet.args().next().unwrap_or_else(Payload::null));
                }
                other => println!("{other:?}"), // links, nodes, gaps: nothing is silent
            }
        }
    }

    fn deliver(self: &Arc<Self>, sockets: &mut Sockets, mut it: Broadcast) {
        let matching = sockets.rooms.matching(&it.opts);
        if let Some(acks) = it.responder.take() {
            acks.clients(matching.len() as u64);
            sockets.last_ack += 1;
            let (id, server, ended) = (sockets.last_ack, Arc::clone(self), acks.ended());
            it.packet = it.packet.with_id(id);
            sockets.acks.insert(id, (acks, matching.iter().cloned().collect()));
            tokio::spawn(ended.map(move |()| server.sockets().acks.remove(&id)));
        }
        let batch = messages(it.frames());
        matching.iter().for_each(|sid| sockets.send(sid, batch.clone()));
    }

    /// A client wants to be in the namespace: as who it was, or anew.
    async fn connect(self: &Arc<Self>, auth: Value, client: Client) -> ByteString {
        if let (Some(pid), Some(offset)) = (auth["pid"].as_str(), auth["offset"].as_str()) {
            let (server, client) = (Arc::clone(self), client.clone());
            let accept = move |Restored { session, missed, .. }: Restored| {
                let missed = missed.iter().flat_map(|missed| messages(missed.frames())).collect();
                server.sockets().add(Client { session, ..client }, missed)
            };
            match self.nsp.restore_session(pid, offset, accept).await {
                Ok(sid) => return sid,
                Err(why) => println!("a client begins anew: {why}"),
            }
        }
        self.sockets().add(client, Vec::new())
    }

    /// The connection of a client was lost: it may come back, here or elsewhere.
    async fn suspend(&self, sid: &str) -> Result<(), Failure> {
        let Some(session) = self.sockets().remove(sid) else { return Ok(()) };
        Ok(self.nsp.persist_session(session).await?)
    }

    /// Does what a client wants. All calls are made before this returns, so that they are in the order
    /// in which the client has spoken.
    fn event(&self, sid: &ByteString, data: &Payload) -> Result<Work, Failure> {
        let room: ByteString = data.arg::<String>(0)?.into();
        let others = BroadcastOptions::to(room.clone()).except(sid.clone());
        let packet = || Packet::new(data.args().nth(1).unwrap_or_else(Payload::null));
        Ok(match data.event_name().as_deref() {
            Some("join") => {
                self.sockets().rooms.join(sid, [room]);
                Box::pin(future::ok(Payload::null()))
            }
            Some("tell") => {
                Box::pin(self.nsp.broadcast(packet()?, others).map_ok(|_| Payload::null()).err_into())
            }
            Some("ask") => {
                let asked = self.nsp.broadcast_with_ack(packet()?, others);
                Box::pin(async { Ok(Payload::encode(&asked.await?.all().await?.0)?) })
            }
            other => return Err(format!("there is no event {other:?}").into()),
        })
    }

    /// Gives the client's callback `(error, result)`.
    async fn answer(self: Arc<Self>, sid: ByteString, id: Option<u64>, work: Result<Work, Failure>) {
        let result = future::ready(work).try_flatten().await;
        let args = Payload::encode(&(result.as_ref().err().map(ToString::to_string), result.as_ref().ok()));
        match id.map(|id| Frames::ack("/", id, &args?)) {
            Some(Ok(frames)) => self.sockets().send(&sid, messages(frames)),
            other => println!("{sid} gets no answer: {result:?}, {other:?}"),
        }
    }

    /// Takes clients.
    pub(crate) async fn listen(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, address)) = listener.accept().await {
            let (server, mut sid) = (Arc::clone(&self), None);
            tokio::spawn(async move {
                let end = server.talk(stream, &mut sid).await;
                let kept = server.suspend(sid.as_deref().unwrap_or_default()).await;
                println!("{address}: {end:?}, {kept:?}");
            });
        }
    }

    async fn talk(self: &Arc<Self>, to: TcpStream, sid: &mut Option<ByteString>) -> Result<(), Failure> {
        let since = SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as u64;
        let handshake = Handshake { address: to.peer_addr()?.ip().to_string(), ..Handshake::at(since) };
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_PAYLOAD));
        let mut socket = timeout(TIMEOUT, accept_async_with_config(to, Some(limits))).await??;
        let (id, pid) = (format!("{:032x}", random()?), format!("{:032x}", random()?));
        let open = json!({ "sid": id, "upgrades": [], "maxPayload": MAX_PAYLOAD,
            "pingInterval": INTERVAL.as_millis() as u64, "pingTimeout": TIMEOUT.as_millis() as u64 });
        socket.send(Message::text(format!("0{open}"))).await?;
        // If more than this waits for a slow client, its connection ends. It recovers when it is back.
        let (queue, mut batches) = mpsc::channel(1_024);
        let session =
            Session { sid: id.into(), pid: pid.into(), rooms: Vec::new(), data: Payload::empty_object() };
        let mut new = Some(Client { queue: Some(queue), handshake: Payload::encode(&handshake)?, session });
        let (mut reader, mut heard) = (FrameReader::default(), Instant::now());
        let mut pings = interval_at(heard + INTERVAL, INTERVAL);
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch.ok_or("this server has ended it")?,
                _ = pings.tick() => vec![Message::text("2")],
                () = sleep_until(heard + INTERVAL + TIMEOUT) => return Err("no answer to a ping".into()),
                message = socket.next() => {
                    heard = Instant::now();
                    let packet = match message.ok_or("the client is gone")?? {
                        Message::Text(text) => text.strip_prefix('4').map_or(Ok(None), |it| reader.text(it))?,
                        Message::Binary(bytes) => reader.binary(bytes)?,
                        _ => None,
                    };
                    match (packet, &*sid) {
                        (None, _) => {} // a pong, or the first part of a packet
                        (Some(Received::Connect { nsp, auth }), None) if nsp == "/" => {
                            let client = new.take().ok_or("a client connects once")?;
                            let auth = auth.map_or(Ok(Value::Null), |auth| auth.decode())?;
                            *sid = Some(self.connect(auth, client).await);
                        }
                        (Some(Received::Event { data, id, .. }), Some(sid)) =>
                            drop(tokio::spawn(Arc::clone(self).answer(sid.clone(), id, self.event(sid, &data)))),
                        (Some(Received::Ack { id, args, .. }), Some(sid)) =>
                            self.sockets().acknowledged(sid, id, &args),
                        // A client that says good-bye does not come back: no session is kept.
                        (Some(Received::Disconnect { .. }), Some(sid)) => drop(self.sockets().remove(sid)),
                        (Some(other), _) => return Err(format!("{other:?} was not expected").into()),
                    }
                    continue;
                }
            };
            timeout(TIMEOUT, socket.send_all(&mut stream::iter(batch).map(Ok))).await??;
        }
    }

    /// Lets all clients go to other servers, and leaves the cluster.
    pub(crate) async fn close(&self) {
        let sids: Vec<ByteString> = self.sockets().clients.keys().cloned().collect();
        let sessions = sids.iter().filter_map(|sid| self.sockets().remove(sid)).collect();
        println!("not stored: {:?}", self.nsp.persist_sessions(sessions).await);
        self.nsp.node().clone().close().await;
    }
}

/// Engine.IO marks the texts among its messages with a 4.
fn messages(Frames { text, attachments }: Frames) -> Vec<Message> {
    let text = Message::text(format!("4{text}"));
    [text].into_iter().chain(attachments.into_iter().map(Message::binary)).collect()
}

/// A number that nobody can guess.
fn random() -> Result<u128, getrandom::Error> {
    Ok((u128::from(getrandom::u64()?) << 64) | u128::from(getrandom::u64()?))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().ok_or("expected: the URL of a Redis server, and a port to listen on");
    let server = Server::join(Config::default(), RedisBackend::new(&arg()?)?).await?;
    tokio::spawn(Arc::clone(&server).listen(TcpListener::bind(("0.0.0.0", arg()?.parse()?)).await?));
    tokio::signal::ctrl_c().await?;
    server.close().await;
    Ok(())
}
