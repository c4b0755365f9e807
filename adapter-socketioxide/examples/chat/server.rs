//! The chat's Rust server: axum, socketioxide, and the adapter of this crate. `server.mjs` does the
//! same on Node.js.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sio_streams_redis_rs::RedisBackend;
use sio_streams_socketioxide::sio_streams_driver::{
    self, BroadcastOptions, Config, Dialect, Event, LinkState, Lost, Options, Payload, RoomOwner,
};
use sio_streams_socketioxide::{Cluster, Notice, Notices, SioStreamsAdapter, SocketDescription};
use socketioxide::SocketIo;
use socketioxide::adapter::Emitter;
use socketioxide::extract::{AckSender, Data, SocketRef};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::{Error, PEERS, from_launcher, to_launcher};

type Adapter = SioStreamsAdapter<Emitter>;

/// The name of this server in the cluster of the example.
const KEY: &str = "rust";

/// The interval after which the people are looked up, even if nobody has said that they changed.
const LOOK: Duration = Duration::from_secs(2);

/// The person at a socket. Other servers get it as the socket's data.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Person {
    name: String,
    room: String,
    server: String,
}

/// The state of the connections to Redis, as this server sees it.
#[derive(Default)]
struct Link {
    down: BTreeSet<String>,
    outages: u64,
    lost: u64,
}

struct Chat {
    io: SocketIo<Adapter>,
    cluster: Cluster,
    people_changed: Notify,
    link: Mutex<Link>,
    /// The servers of the example, as the launcher has told last.
    servers: Mutex<Value>,
}

/// Serves until the launcher closes the standard input.
pub(crate) async fn run(redis: &str, port: u16) -> Result<(), Error> {
    let config =
        Config { dialect: Dialect::Streams03, room_owner: RoomOwner::Application, ..Config::default() };
    let (node, events) = sio_streams_driver::start(Options::from(config), RedisBackend::new(redis)?)?;
    let (cluster, notices) = Cluster::new(node, events)?;
    let (layer, io) = SocketIo::builder().with_adapter::<Adapter>(cluster.clone()).build_layer();
    let chat = Arc::new(Chat {
        io: io.clone(),
        cluster: cluster.clone(),
        people_changed: Notify::new(),
        link: Mutex::default(),
        servers: Mutex::new(json!([])),
    });

    let sockets = io.clone();
    cluster.describe_sockets(move |_, sid| {
        let person = sockets.get_socket(sid).and_then(|socket| socket.extensions.get::<Person>());
        let data = person.and_then(|person| Payload::encode(&person).ok());
        SocketDescription { data: data.unwrap_or_else(Payload::empty_object), ..SocketDescription::default() }
    });
    let welcoming = Arc::clone(&chat);
    io.ns("/", move |socket| {
        // A client's first event may come before the future is polled, so this stands outside of
        // it.
        welcoming.welcome(&socket);
        async {}
    })
    .await?;
    tokio::spawn(Arc::clone(&chat).take_notices(notices));
    tokio::spawn(Arc::clone(&chat).look_for_people());

    // The page asks for the client where a Node.js server has it. That route is added after the
    // layer, which would answer in its place.
    let client = fs::read_to_string(PathBuf::from(PEERS).join("socket.io-client/dist/socket.io.min.js"))?;
    let app = Router::new()
        .route("/", file("text/html", include_str!("page/index.html")))
        .route("/style.css", file("text/css", include_str!("page/style.css")))
        .route("/chat.js", file("text/javascript", include_str!("page/chat.js")))
        .layer(layer)
        .route("/socket.io/socket.io.js", file("text/javascript", client));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        format!("the Rust server can't listen on port {port} (another one: --port): {error}")
    })?;
    to_launcher(&json!({ "ready": listener.local_addr()?.port() }));
    let serving = axum::serve(listener, app);
    tokio::select! {
        served = serving => served?,
        () = from_launcher(|line| chat.told(line)) => {}
    }
    // It tells the others that this server leaves. Redis may be gone already.
    let _ = tokio::time::timeout(Duration::from_secs(2), cluster.node().clone().close()).await;
    Ok(())
}

fn file(kind: &'static str, text: impl Into<String>) -> axum::routing::MethodRouter {
    let text = text.into();
    get(move || async move { ([(CONTENT_TYPE, format!("{kind}; charset=utf-8"))], text) })
}

impl Chat {
    fn welcome(self: &Arc<Self>, socket: &SocketRef<Adapter>) {
        let chat = Arc::clone(self);
        socket.on("enter", async move |socket, Data((name, room)): Data<(String, String)>| {
            chat.enter(&socket, name, room).await;
        });
        let chat = Arc::clone(self);
        socket.on("say", move |socket, Data((id, text)): Data<(String, String)>, ack| {
            // The futures of a client's events run side by side. The code before them runs in
            // order.
            chat.say(&socket, id, text, ack);
            async {}
        });
        socket.on("typing", |socket: SocketRef<Adapter>, Data(is_typing): Data<bool>| {
            if let Some(Person { name, room, .. }) = socket.extensions.get() {
                let others = socket.to(room);
                begin(async move { drop(others.emit("typing", &(name, is_typing)).await) });
            }
            async {}
        });
        socket.on("order", async |Data(order): Data<Value>| to_launcher(&order));
        let chat = Arc::clone(self);
        socket.on_disconnect(async move || chat.people_have_changed().await);
        let _ = socket.emit("servers", &*self.servers.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = socket.emit("link", &self.link());
    }

    async fn enter(&self, socket: &SocketRef<Adapter>, name: String, room: String) {
        let person = Person { name, room, server: KEY.to_owned() };
        socket.join(person.room.clone());
        if let Some(before) = socket.extensions.insert(person.clone())
            && before.room != person.room
        {
            socket.leave(before.room);
        }
        self.people_have_changed().await;
    }

    /// Sends a message to the room. The speaker is told when it is in Redis.
    fn say(&self, socket: &SocketRef<Adapter>, id: String, text: String, ack: AckSender<Adapter>) {
        let Some(Person { name, room, server }) = socket.extensions.get() else { return };
        let everybody = self.io.to(room.clone());
        begin(async move {
            let message = json!({ "id": id, "name": name, "room": room, "server": server, "text": text });
            let stored = everybody.emit("message", &message).await;
            let _ = ack.send(&stored.err().map(|error| error.to_string()));
        });
    }

    /// Tells the other servers that they should look for people.
    async fn people_have_changed(&self) {
        self.people_changed.notify_one();
        if let Ok(changed) = Payload::event("people changed", &()) {
            // If it is lost, the others look within two seconds.
            let _ = self.cluster.server_side_emit("/", changed).await;
        }
    }

    async fn look_for_people(self: Arc<Self>) {
        loop {
            // If a server doesn't answer, the last list stays.
            if let Ok(found) = self.cluster.fetch_sockets("/", BroadcastOptions::all()).await
                && found.outcome.is_complete()
            {
                let people = found.sockets.iter().filter_map(|socket| socket.data.decode::<Person>().ok());
                let people: Vec<Person> = people.collect();
                let _ = self.io.local().emit("people", &people).await;
            }
            let _ = tokio::time::timeout(LOOK, self.people_changed.notified()).await;
        }
    }

    /// Shows the clients of this server what happens to it.
    async fn take_notices(self: Arc<Self>, mut notices: Notices) {
        while let Some(notice) = notices.next().await {
            let text = match notice {
                Notice::Node(event) if matches!(*event, Event::ServerSideEmit { .. }) => {
                    self.people_changed.notify_one();
                    continue;
                }
                Notice::Node(event) => match self.happened(*event) {
                    Some(text) => text,
                    None => continue,
                },
                other => format!("{other:?}"),
            };
            let _ = self.io.local().emit("link", &self.link()).await;
            let _ = self.io.local().emit("notice", &text).await;
        }
    }

    /// Returns a text for people, if there is something to say.
    fn happened(&self, event: Event) -> Option<String> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match event {
            Event::Link { lane, link: LinkState::Up } => {
                let is_back = link.down.remove(&lane.to_string()) && link.down.is_empty();
                is_back.then(|| "The link to Redis is back.".to_owned())?
            }
            Event::Link { lane, link: LinkState::Down { reason, .. } } => {
                let is_first = link.down.is_empty();
                link.down.insert(lane.to_string());
                link.outages += u64::from(is_first);
                is_first.then(|| format!("The link to Redis is down: {reason}"))?
            }
            Event::Gap { lost, .. } | Event::Rewound { lost, .. } => match lost {
                Lost::Exactly(count) => {
                    link.lost += count;
                    format!("{count} messages were lost: Redis doesn't have them any more.")
                }
                Lost::Unknown => "Messages may be lost: Redis doesn't tell how many.".to_owned(),
            },
            Event::NodeUp { .. } => "A server has joined the cluster.".to_owned(),
            Event::NodeDown { reason, .. } => format!("A server has left the cluster ({reason:?})."),
            other => format!("{other:?}"),
        })
    }

    fn link(&self) -> Value {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "server": KEY, "up": link.down.is_empty(), "outages": link.outages, "lost": link.lost })
    }

    /// Takes a line of the launcher's: the state of the servers.
    async fn told(&self, line: Value) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = line.clone();
        let _ = self.io.local().emit("servers", &line).await;
        self.people_changed.notify_one();
    }
}

/// Begins now, so that the packet is in line when this returns, and lets a task do the rest.
fn begin(sending: impl Future<Output = ()> + Send + 'static) {
    let mut sending = Box::pin(sending);
    if (&mut sending).now_or_never().is_none() {
        tokio::spawn(sending);
    }
}
