//! What backends have in common: commands as words, replies from values, and a heartbeat.
//!
//! A client crate that can send words and hand out what came for them is made a backend by implementing [`Wire`]; [`WireConnection`] is then the
//! rest of a [`Connection`]. If it can also connect to any address that it is given, it is a [`Dialer`], and works with
//! [Redis Cluster](crate::cluster) and [Sentinel](crate::sentinel) without knowing of them.

mod entries;
mod login;
mod pushed;
mod reply;
mod request;
mod resp;
mod task;
mod words;

use core::fmt;
use core::time::Duration;

use sio_streams_core::{ByteString, Bytes, Command, CommandError, Lane, Reply};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::backend::{ConnectError, Connection, PushSender};
pub use login::Login;
pub use reply::{Frame, Opened, Value, refusal};
use request::Request;
pub use resp::RespWire;
pub use task::TaskWire;
pub use words::Words;

/// One connection of a client crate.
pub trait Wire: Send + 'static {
    /// The client crate's replies; [`Value`] if it has none worth keeping.
    type Frame: Frame;

    /// Sends commands, in order, and returns as many results, in the same order. A refusal is an [`Opened::Error`].
    ///
    /// Nothing is sent twice. [`CommandError::NotSent`] and [`CommandError::Lost`] are told apart as [`Connection::execute`] demands.
    fn send(
        &mut self,
        commands: Vec<Words>,
    ) -> impl Future<Output = Vec<Result<Self::Frame, CommandError>>> + Send;

    /// Subscribes to channels, or ends subscriptions. Completes when the server has confirmed all of it. There is at least one channel.
    fn subscribe(&mut self, change: Subscription) -> impl Future<Output = Result<(), CommandError>> + Send;

    /// The same for several changes, in order: as many results. A wire that can send all of them before the first is confirmed should do so: thousands
    /// of rooms that are joined one by one would take as many round trips.
    fn subscribe_all(
        &mut self,
        changes: Vec<Subscription>,
    ) -> impl Future<Output = Vec<Result<(), CommandError>>> + Send {
        async {
            let mut results = Vec::with_capacity(changes.len());
            for change in changes {
                results.push(self.subscribe(change).await);
            }
            results
        }
    }

    /// Completes when the connection is known to be lost, with words for the log. May be dropped and called again.
    fn lost(&mut self) -> impl Future<Output = String> + Send;

    /// Whether messages that have come are held back, because there is no [room](PushSender::poll_room) for them. Whatever is answered is read
    /// only behind them.
    fn is_stalled(&self) -> bool {
        false
    }

    /// How many replies have come so far, if it counts them. An answer to a [`ping`](Wire::ping) whose future was dropped is noticed by this number; without
    /// it, the next one is asked, and its time begins anew.
    fn replies(&self) -> Option<u64> {
        None
    }

    /// Asks for a sign of life. A refusal is one.
    ///
    /// May be dropped: the reply that comes later must not be taken for another command's.
    fn ping(&mut self) -> impl Future<Output = Result<(), CommandError>> + Send {
        async {
            match self.send(vec![[Bytes::from_static(b"PING")].into()]).await.pop() {
                Some(Err(error)) => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// A change of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channels, or the patterns.
    pub channels: Vec<ByteString>,
    /// To what.
    pub kind: SubscriptionKind,
    /// Whether to subscribe; otherwise the subscriptions end.
    pub on: bool,
}

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionKind {
    /// Channels: `SUBSCRIBE`.
    Channels,
    /// Channels of sharded Pub/Sub: `SSUBSCRIBE`, one for each.
    Sharded,
    /// Patterns: `PSUBSCRIBE`.
    Patterns,
}

/// Connects to any server.
pub trait Dialer: Send + Sync + 'static {
    /// A connection.
    type Wire: Wire;

    /// The address that it was given: a standalone server's, or one to start from.
    fn home(&self) -> Address;

    /// Opens a connection for a lane, with the same user, password and TLS for every address. It waits as long as it takes: the caller bounds
    /// the time.
    fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> impl Future<Output = Result<WireConnection<Self::Wire>, ConnectError>> + Send;
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A name or an IP address, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(std::path::PathBuf),
}

impl Address {
    /// From `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// If it is not of this form.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains([':', '/', '@'])) {
            return Err(wrong());
        }
        Ok(Address::Tcp(host.to_owned(), port.parse().map_err(|_| wrong())?))
    }
}

/// An address is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: host:port is expected")]
pub struct AddressError(String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The name of a lane's connection, for CLIENT SETNAME: `sio-streams:reader:<stream>` and the like. The server accepts printable ASCII without
/// spaces.
pub fn client_name(lane: &Lane) -> String {
    let name = match lane {
        Lane::Writer => "sio-streams:writer".to_owned(),
        Lane::Reader(stream) => format!("sio-streams:reader:{stream}"),
        Lane::Subscriber => "sio-streams:subscriber".to_owned(),
        Lane::Recovery => "sio-streams:recovery".to_owned(),
    };
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// Words from outside as they may stand in a log: on one line, not too long, and without the arguments of a command that the server did not know. It
/// quotes them, and those of `HELLO` contain the password.
pub fn for_log(words: &str) -> String {
    const LONGEST: usize = 300;
    let words = words.split_once(", with args beginning with").map_or(words, |(before, _)| before);
    let mut line: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Whether a connection is known to be lost, and why: what a client crate's task notes, and its [`Wire`] looks at. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Gone(watch::Sender<Option<String>>);

impl Gone {
    /// Not lost.
    pub fn new() -> Self {
        Self::default()
    }

    /// It is lost. The first reason counts.
    pub fn set(&self, why: impl Into<String>) {
        self.0.send_if_modified(|known| {
            let news = known.is_none();
            known.get_or_insert_with(|| why.into());
            news
        });
    }

    /// Why it is lost, if it is.
    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Completes when it is lost.
    pub async fn wait(&self) -> String {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`, so that waiting can't fail.
        match changes.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the connection was closed".to_owned(),
        }
    }
}

/// When an idle connection is tried, and how long the answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How long a connection is idle before it is tried with a PING.
    pub interval: Duration,
    /// Within which time the answer must come, else the connection counts as lost.
    pub patience: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { interval: Duration::from_secs(5), patience: Duration::from_secs(5) }
    }
}

/// A [`Connection`] over a [`Wire`]. It is closed when it is dropped.
pub struct WireConnection<W> {
    wire: W,
    heartbeat: Heartbeat,
    /// Since when nothing has been heard.
    quiet: Instant,
    /// The sign of life that was asked for and has not come.
    asked: Option<Asked>,
    gone: Option<String>,
}

/// A sign of life that is awaited. It outlives the future that has asked for it: whoever drops that can't put off the end.
#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Instant,
    /// How many replies had come by then, if the wire counts them.
    replies: Option<u64>,
}

impl<W: Wire> WireConnection<W> {
    /// A connection that has just been opened.
    pub fn new(wire: W, heartbeat: Heartbeat) -> Self {
        WireConnection { wire, heartbeat, quiet: Instant::now(), asked: None, gone: None }
    }

    /// Sends one command that is not the engine's, such as `CLUSTER SLOTS`.
    ///
    /// # Errors
    ///
    /// As for [`Connection::execute`].
    pub async fn ask(&mut self, words: &[&str]) -> Result<Value, CommandError> {
        let words: Vec<_> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match self.send(vec![words.into()]).await.pop() {
            Some(result) => match Value::of(result?) {
                Value::Error { code, message } => Err(CommandError::Server { code, message }),
                value => Ok(value),
            },
            None => Err(missing()),
        }
    }

    async fn send(&mut self, commands: Vec<Words>) -> Vec<Result<W::Frame, CommandError>> {
        let count = commands.len();
        if let Some(why) = &self.gone {
            return (0..count).map(|_| Err(CommandError::NotSent(why.clone()))).collect();
        }
        let mut results = self.wire.send(commands).await;
        self.heard();
        results.resize_with(count, || Err(missing()));
        for result in &results {
            self.note(result);
        }
        results
    }

    /// After a failure that is no answer of the server's, the connection is not used any more.
    fn note<T>(&mut self, result: &Result<T, CommandError>) {
        if let Err(CommandError::Lost(why) | CommandError::NotSent(why)) = result {
            self.gone.get_or_insert_with(|| why.clone());
        }
    }

    /// Sends what has been gathered, if anything has, and appends the results.
    async fn flush(
        &mut self,
        words: &mut Vec<Words>,
        expected: &mut Vec<request::Expected>,
        results: &mut Vec<Result<Reply, CommandError>>,
    ) {
        if words.is_empty() {
            return;
        }
        let frames = self.send(core::mem::take(words)).await;
        let replies = frames.into_iter().zip(expected.drain(..));
        results
            .extend(replies.map(|(frame, expected)| frame.and_then(|frame| reply::parse(frame, expected))));
    }

    /// Changes the subscriptions as has been gathered, if anything has, and appends the results.
    async fn subscribe(
        &mut self,
        changes: &mut Vec<Subscription>,
        results: &mut Vec<Result<Reply, CommandError>>,
    ) {
        if changes.is_empty() {
            return;
        }
        let changes = core::mem::take(changes);
        let count = changes.len();
        if let Some(why) = &self.gone {
            return results.extend((0..count).map(|_| Err(CommandError::NotSent(why.clone()))));
        }
        let mut done = self.wire.subscribe_all(changes).await;
        self.heard();
        done.resize_with(count, || Err(missing()));
        done.iter().for_each(|result| self.note(result));
        results.extend(done.into_iter().map(|result| result.map(|()| Reply::Done)));
    }
}

impl<W: Wire> WireConnection<W> {
    /// Something has been answered.
    fn heard(&mut self) {
        self.quiet = Instant::now();
        self.asked = None;
    }

    /// How the connection is watched.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    /// Waits for the end, asking for a sign of life from time to time: a link can be dead and tell nobody. May be dropped and called again: the time that
    /// has passed without an answer counts.
    async fn watch(&mut self) -> String {
        let Heartbeat { interval, patience } = self.heartbeat;
        loop {
            if let Some(Asked { since, replies: Some(before) }) = self.asked {
                // It was asked by a future that has been dropped. It is not asked twice: whatever is answered now is the answer.
                let left = patience.saturating_sub(since.elapsed());
                let ended = timeout(left.min(patience / LOOKS), self.wire.lost()).await;
                match ended {
                    Ok(why) => return why,
                    Err(_) if self.wire.is_stalled() || self.wire.replies() != Some(before) => self.heard(),
                    Err(_) if left.is_zero() => return silence(patience),
                    Err(_) => {}
                }
                continue;
            }
            let left = interval.saturating_sub(self.quiet.elapsed());
            if let Ok(why) = timeout(left, self.wire.lost()).await {
                return why;
            }
            // What is held back stands before the answer, and its sender is alive.
            if self.wire.is_stalled() {
                self.heard();
                continue;
            }
            self.asked = Some(Asked { since: Instant::now(), replies: self.wire.replies() });
            let pong = timeout(patience, self.wire.ping()).await;
            self.heard();
            match pong {
                Ok(Ok(()) | Err(CommandError::Server { .. } | CommandError::Unusable(_))) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return silence(patience),
            }
        }
    }
}

/// How often it is looked, within the patience of a heartbeat, whether an answer has come that nobody waits for any more.
const LOOKS: u32 = 64;

fn silence(patience: Duration) -> String {
    format!("no answer to a PING within {patience:?}")
}

fn missing() -> CommandError {
    CommandError::Lost("a reply is missing".into())
}

impl<W: Wire> Connection for WireConnection<W> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let mut results = Vec::with_capacity(commands.len());
        let (mut batch, mut expected) =
            (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        let mut changes = Vec::new();
        let stream = match commands.as_slice() {
            [Command::XInfoStream { stream }] => Some(stream.clone()),
            _ => None,
        };
        for command in commands {
            // What follows has to wait for what precedes it. It is rare: subscriptions have a lane of their own.
            let result = match Request::of(command) {
                Request::Plain(words, expects) => {
                    self.subscribe(&mut changes, &mut results).await;
                    batch.push(words);
                    expected.push(expects);
                    continue;
                }
                Request::Subscription(change) => {
                    self.flush(&mut batch, &mut expected, &mut results).await;
                    changes.push(change);
                    continue;
                }
                Request::Nothing => Ok(Reply::Done),
                Request::Unknown => {
                    Err(CommandError::Unusable("this backend does not know the command".into()))
                }
            };
            self.subscribe(&mut changes, &mut results).await;
            self.flush(&mut batch, &mut expected, &mut results).await;
            results.push(result);
        }
        self.subscribe(&mut changes, &mut results).await;
        self.flush(&mut batch, &mut expected, &mut results).await;
        if let (Some(stream), [Err(CommandError::Server { code, .. })]) = (stream, results.as_slice())
            && code == "ERR"
        {
            let (mut words, mut expected) = (vec![Request::short(stream)], vec![request::Expected::Stream]);
            results.clear();
            self.flush(&mut words, &mut expected, &mut results).await;
        }
        results
    }

    async fn lost(&mut self) -> String {
        if let Some(why) = &self.gone {
            return why.clone();
        }
        let why = self.watch().await;
        self.gone.get_or_insert(why).clone()
    }
}

impl<W> fmt::Debug for WireConnection<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireConnection").field("gone", &self.gone).finish_non_exhaustive()
    }
}
