//! A server of ours that records what it sends and receives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sio_streams_driver::backend::Timing;
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, ByteString, CommandError, Config, Dialect, EntryId, Lane, LinkState, Lost, NodeId,
    Packet, Payload,
};
use sio_streams_driver::{Broadcast, Error, Event, Events, Namespace, Node, Options};
use sio_streams_testapp::{Application, take};
use sio_streams_testkit::RedisServer;
use tokio::sync::watch;

use crate::cluster::until;
use crate::{Client, Links};

/// The namespace in which everything happens.
pub const NSP: &str = "/";

/// The event that carries numbers: `["n", author, number]`.
pub const NUMBER: &str = "n";

/// The name under which a server talks to itself.
const SELF: &str = "self";

/// The fate of a message.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Nobody has said yet.
    Open,
    /// It has its place in the stream.
    Published(EntryId),
    /// It was not published, or nobody knows.
    Failed(CommandError),
    /// It was not taken.
    Refused(String),
}

/// An event of the application that is not a message.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of the driver's events")]
pub enum Report {
    /// Entries are gone that had not been read.
    Gap { after: EntryId, until: EntryId, lost: Lost },
    /// Entries are gone that had been read.
    Rewound { cursor: EntryId, last: EntryId, lost: Lost },
    /// An entry was passed over, because it had come before.
    Repeated { id: EntryId, from: NodeId },
    /// Redis refuses.
    Refused { lane: Lane, error: CommandError },
    /// A connection was lost, or is there again.
    Link { lane: Lane, link: LinkState },
    /// Anything else, in words.
    Other(String),
}

impl Report {
    /// Returns `true` if it says that something is lost.
    pub fn is_loss(&self) -> bool {
        matches!(self, Report::Gap { .. } | Report::Rewound { .. })
    }
}

/// The time for which answers are waited for. A test that can't wait asks once more meanwhile.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Options for nodes that notice things soon.
pub fn quick(dialect: Dialect) -> Options {
    let config = Config {
        dialect,
        block_time: Duration::from_millis(500),
        heartbeat_interval: Duration::from_millis(200),
        heartbeat_timeout: Duration::from_secs(10),
        request_timeout: REQUEST_TIMEOUT,
        ..Config::default()
    };
    let timing = Timing {
        response: Duration::from_secs(1),
        connect: Duration::from_secs(2),
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(500),
    };
    Options { timing, ..Options::from(config) }
}

/// A server of ours, behind links of its own, with one client whose socket bears the server's name.
#[derive(Debug)]
pub struct Server<L = Links> {
    name: String,
    links: L,
    nsp: Namespace,
    said: Mutex<Said>,
    state: Arc<State>,
}

/// The messages that it has published.
#[derive(Debug, Default)]
struct Said {
    /// The number of messages whose fates have been forgotten.
    forgotten: u32,
    /// The fates of those that follow.
    fates: Vec<Fate>,
}

impl Said {
    fn next(&self) -> u32 {
        self.forgotten + u32::try_from(self.fates.len()).unwrap()
    }
}

#[derive(Debug)]
struct State {
    books: Mutex<Books>,
    /// `true` if the application takes its events.
    awake: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Books {
    /// The numbers that came, by author.
    heard: HashMap<String, Vec<u32>>,
    reports: Vec<Report>,
    disconnected: Vec<ByteString>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A broadcast that carries a number.
pub fn numbered(author: &str, number: u32) -> Packet {
    Packet::event(NUMBER, &(author, number)).unwrap()
}

impl Server {
    /// Starts a node behind fresh links to a server, and opens the namespace.
    pub async fn start<C: Client>(name: &str, redis: &RedisServer, options: Options) -> Self {
        let links = Links::start(redis.addr()).unwrap();
        let backend = links.backend::<C>(|port| redis.url_via(port), options.timing.response);
        Self::start_on(name, links, backend, options).await
    }
}

impl<L> Server<L> {
    /// Starts a node on a backend that uses these links.
    pub async fn start_on<B>(name: &str, links: L, backend: B, options: Options) -> Self
    where
        B: sio_streams_driver::backend::Backend,
    {
        let (node, events) = sio_streams_driver::start(options, backend).unwrap();
        let state = Arc::new(State { books: Mutex::default(), awake: watch::Sender::new(true) });
        tokio::spawn(listen(events, state.clone()));
        let nsp = node.open(NSP).await.unwrap();
        nsp.add_socket(name.to_owned()).await.unwrap();
        Server { name: name.to_owned(), links, nsp, said: Mutex::default(), state }
    }

    /// Its name, which is its client's, too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The proxies of its connections.
    pub fn links(&self) -> &L {
        &self.links
    }

    /// Its namespace.
    pub fn nsp(&self) -> &Namespace {
        &self.nsp
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        self.nsp.node()
    }

    /// Sends this many numbers at once; done when the fate of each is known, and its own
    /// application has taken what came of them: it would refuse more if too much were left.
    pub async fn say(&self, count: u32) {
        self.say_all(count, |number| numbered(&self.name, number)).await;
    }

    /// Sends one number, with so many bytes on top.
    pub async fn say_large(&self, bytes: usize) {
        let packet = |number| Packet::event(NUMBER, &(&self.name, number, "x".repeat(bytes))).unwrap();
        self.say_all(1, packet).await;
    }

    async fn say_all(&self, count: u32, packet: impl Fn(u32) -> Packet) {
        let (first, place) = {
            let mut said = lock(&self.said);
            let (first, place) = (said.next(), said.fates.len());
            said.fates.resize(place + count as usize, Fate::Open);
            (first, place)
        };
        let each = (first..first + count).map(|number| {
            let packet = packet(number);
            async move {
                let fate = match self.nsp.broadcast(packet, BroadcastOptions::all()).await {
                    Ok(Some(id)) => Fate::Published(id),
                    Ok(None) => unreachable!("it is not local"),
                    Err(Error::Command(error)) => Fate::Failed(error),
                    Err(error) => Fate::Refused(error.to_string()),
                };
                lock(&self.said).fates[place + (number - first) as usize] = fate;
            }
        });
        join_all(each).await;
        self.takes_all().await;
    }

    /// The fates of all that it said and that have not been forgotten.
    pub fn fates(&self) -> Vec<Fate> {
        lock(&self.said).fates.clone()
    }

    /// The number of the first of them.
    pub fn first(&self) -> u32 {
        lock(&self.said).forgotten
    }

    /// The number of messages that it has sent.
    pub fn said(&self) -> u32 {
        lock(&self.said).next()
    }

    /// Forgets what it has said, heard and reported, so that a record of hours stays small. Nothing
    /// may be on its way.
    pub fn forget(&self) {
        let mut said = lock(&self.said);
        *said = Said { forgotten: said.next(), fates: Vec::new() };
        *lock(&self.state.books) = Books::default();
    }

    /// The entries of what it published.
    pub fn published(&self) -> Vec<EntryId> {
        let id = |fate: &Fate| match fate {
            Fate::Published(id) => Some(*id),
            _ => None,
        };
        lock(&self.said).fates.iter().filter_map(id).collect()
    }

    /// The numbers that its client got of an author.
    pub fn heard(&self, author: &str) -> Vec<u32> {
        lock(&self.state.books).heard.get(author).cloned().unwrap_or_default()
    }

    /// The last number that its client got of an author.
    pub fn last_heard(&self, author: &str) -> Option<u32> {
        lock(&self.state.books).heard.get(author)?.last().copied()
    }

    /// The number of messages of an author that its client got.
    pub fn count_heard(&self, author: &str) -> usize {
        lock(&self.state.books).heard.get(author).map_or(0, Vec::len)
    }

    /// The number of entries that it has passed over because they repeat another.
    pub fn count_repeats(&self) -> usize {
        let repeated = |report: &&Report| matches!(report, Report::Repeated { .. });
        lock(&self.state.books).reports.iter().filter(repeated).count()
    }

    /// The same, of one author.
    pub fn count_repeats_of(&self, author: &str) -> usize {
        let repeated =
            |report: &&Report| matches!(report, Report::Repeated { from, .. } if from.as_str() == author);
        lock(&self.state.books).reports.iter().filter(repeated).count()
    }

    /// The events of its application that are not messages.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.state.books).reports.clone()
    }

    /// The same; it is forgotten then.
    pub fn take_reports(&self) -> Vec<Report> {
        core::mem::take(&mut lock(&self.state.books).reports)
    }

    /// Returns `true` if a socket was to be disconnected.
    pub fn was_disconnected(&self, socket: &str) -> bool {
        lock(&self.state.books).disconnected.iter().any(|other| other == socket)
    }

    /// Waits until the application has taken everything that it has been told so far.
    pub async fn takes_all(&self) {
        let number = u32::try_from(self.count_heard(SELF)).unwrap();
        until("it may talk to itself", async || {
            let local = BroadcastOptions::all().local();
            self.nsp.broadcast(numbered(SELF, number), local).await.is_ok()
        })
        .await;
        until("it has heard itself", async || self.has_come_to(SELF, number)).await;
    }

    /// From now on the application takes no events; or it does again.
    pub fn set_awake(&self, awake: bool) {
        self.state.awake.send_replace(awake);
    }

    /// Returns `true` if everything of the author's up to this number has come, or is known not to
    /// come.
    pub fn has_come_to(&self, author: &str, number: u32) -> bool {
        self.last_heard(author) >= Some(number)
    }
}

async fn listen(mut events: Events, state: Arc<State>) {
    let mut awake = state.awake.subscribe();
    let mut listener = Listener { state };
    while let Some(event) = events.next().await {
        // The sender lives in `state`.
        let _ = awake.wait_for(|awake| *awake).await;
        take(event, &mut listener);
    }
}

/// The application: it keeps the numbers that reach its client, and what it is told.
struct Listener {
    state: Arc<State>,
}

impl Listener {
    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.state.books)
    }
}

impl Application for Listener {
    fn deliver(&mut self, broadcast: &Broadcast) {
        let data = broadcast.packet.data();
        let large =
            || data.decode().map(|(event, author, number, _): (_, _, _, String)| (event, author, number));
        if broadcast.responder.is_none()
            && !broadcast.sockets.is_empty()
            && let Ok((event, author, number)) = data.decode::<(String, String, u32)>().or_else(|_| large())
            && event == NUMBER
        {
            self.books().heard.entry(author).or_default().push(number);
        }
    }

    fn acknowledge(&mut self, socket: &ByteString, _packet: &Payload) -> Option<Payload> {
        Some(Payload::encode(&**socket).unwrap())
    }

    fn asked(&mut self, _nsp: &ByteString, _packet: &Payload, _answer_wanted: bool) -> Option<Payload> {
        Some(Payload::encode("pong").unwrap())
    }

    fn disconnect(&mut self, _nsp: &ByteString, sockets: Vec<ByteString>) {
        self.books().disconnected.extend(sockets);
    }

    fn told(&mut self, event: Event) {
        self.books().reports.push(report(event));
    }
}

fn report(event: Event) -> Report {
    match event {
        Event::Gap { after, until, lost, .. } => Report::Gap { after, until, lost },
        Event::Rewound { cursor, last, lost, .. } => Report::Rewound { cursor, last, lost },
        Event::Repeated { id, from, .. } => Report::Repeated { id, from },
        Event::Refused { lane, error, .. } => Report::Refused { lane, error },
        Event::Link { lane, link } => Report::Link { lane, link },
        other => Report::Other(format!("{other:?}")),
    }
}
