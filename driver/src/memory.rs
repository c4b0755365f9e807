//! A Redis in this process's memory, for demonstrations, and for tests that need no server.
//!
//! It behaves as a real server does, as far as a cluster can tell: see [`sio_streams_redis_model`].
//! Nodes on backends of the same [`MemoryRedis`] form a cluster. The connections of each backend
//! can be cut and restored, as if the network of that node alone had failed. [`MemoryRedis::with`]
//! acts on the server itself.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sio_streams_core::{Command, CommandError, Lane, Reply};
use sio_streams_redis_model::{ClientId, Executed, RedisModel};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::backend::{Backend, ConnectError, Connection, PushSender};

/// The reason that is reported for a lost connection.
const GONE: &str = "the connection to the Redis in memory was cut";

/// After this time a blocked read looks at the clock by itself. A later instant may not be
/// representable.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A Redis in memory. All clones are the same server.
#[derive(Clone)]
pub struct MemoryRedis {
    shared: Arc<Shared>,
}

/// A backend on a [`MemoryRedis`], for one node. All clones are the same backend, with the same
/// faults.
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
    number: u64,
}

/// A connection of a [`MemoryBackend`].
pub struct MemoryConnection {
    shared: Arc<Shared>,
    client: ClientId,
    /// Notified when there is a reply to the blocked read, or the connection is lost.
    changed: Arc<Notify>,
}

struct Shared {
    state: Mutex<State>,
    started: Instant,
    /// The time of day when it was started, in milliseconds since 1970.
    started_ms: u64,
}

#[derive(Default)]
struct State {
    store: RedisModel,
    links: BTreeMap<ClientId, Link>,
    backends: u64,
    /// The faults of those backends that have any.
    faults: BTreeMap<u64, Faults>,
}

/// One connection, as the server sees it.
struct Link {
    backend: u64,
    lane: Lane,
    pushes: PushSender,
    changed: Arc<Notify>,
    /// The reply to a blocked read.
    reply: Option<Result<Reply, CommandError>>,
}

#[derive(Default)]
struct Faults {
    cut: bool,
    cut_lanes: BTreeSet<Lane>,
    lose_reply: BTreeSet<Lane>,
}

impl MemoryRedis {
    /// Creates an empty Redis.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a backend for one more node.
    pub fn backend(&self) -> MemoryBackend {
        let mut state = self.shared.lock();
        state.backends += 1;
        MemoryBackend { shared: Arc::clone(&self.shared), number: state.backends }
    }

    /// Acts on the server itself: it can look into streams, add foreign entries, empty the server,
    /// or make it refuse commands. The second argument is the server's time, in milliseconds since
    /// 1970.
    ///
    /// The server does nothing else meanwhile, so `action` must not use the same Redis. Clients
    /// that it disconnects see their connections lost.
    pub fn with<T>(&self, action: impl FnOnce(&mut RedisModel, u64) -> T) -> T {
        let mut state = self.shared.lock();
        let result = action(&mut state.store, self.shared.now_ms());
        state.close_links();
        state.deliver();
        result
    }
}

impl Default for MemoryRedis {
    fn default() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        MemoryRedis {
            shared: Arc::new(Shared { state: Mutex::default(), started: Instant::now(), started_ms }),
        }
    }
}

impl MemoryBackend {
    /// Cuts all connections, and refuses new ones, until [`restore`](Self::restore).
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.faults.entry(self.number).or_default().cut = true;
        state.disconnect(|link| link.backend == self.number);
    }

    /// Cuts one lane's connection, and refuses new ones, until [`restore`](Self::restore).
    pub fn cut_lane(&self, lane: &Lane) {
        let mut state = self.shared.lock();
        state.faults.entry(self.number).or_default().cut_lanes.insert(lane.clone());
        state.disconnect(|link| link.backend == self.number && link.lane == *lane);
    }

    /// Cuts all connections. New ones are opened at once.
    pub fn drop_connections(&self) {
        self.shared.lock().disconnect(|link| link.backend == self.number);
    }

    /// Carries out the next command on the lane, and then cuts the connection before the reply, so
    /// that the client can't know the command's fate. New connections are opened at once.
    pub fn lose_next_reply(&self, lane: &Lane) {
        self.shared.lock().faults.entry(self.number).or_default().lose_reply.insert(lane.clone());
    }

    /// Ends all faults.
    pub fn restore(&self) {
        self.shared.lock().faults.remove(&self.number);
    }
}

impl Backend for MemoryBackend {
    type Connection = MemoryConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<MemoryConnection, ConnectError> {
        let mut state = self.shared.lock();
        if state.faults.get(&self.number).is_some_and(|faults| faults.cut || faults.cut_lanes.contains(lane))
        {
            return Err(ConnectError("the Redis in memory is cut off".to_owned()));
        }
        let (client, changed) = (state.store.connect(), Arc::new(Notify::new()));
        let (backend, lane) = (self.number, lane.clone());
        state
            .links
            .insert(client, Link { backend, lane, pushes, changed: Arc::clone(&changed), reply: None });
        Ok(MemoryConnection { shared: Arc::clone(&self.shared), client, changed })
    }
}

impl Connection for MemoryConnection {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let mut replies = Vec::with_capacity(commands.len());
        for command in &commands {
            replies.push(match self.shared.execute(self.client, command) {
                Executed::Reply(reply) => reply,
                Executed::Blocked => self.wait(command).await,
            });
        }
        replies
    }

    async fn lost(&mut self) -> String {
        while self.shared.lock().store.is_connected(self.client) {
            self.changed.notified().await;
        }
        GONE.to_owned()
    }
}

impl MemoryConnection {
    /// Waits for the reply to a blocked read.
    async fn wait(&self, command: &Command) -> Result<Reply, CommandError> {
        // If the caller gives up waiting, the connection is lost. Otherwise the reply would come to
        // a later command.
        let abandoned = DisconnectOnDrop(self);
        let block = match command {
            Command::XRead { block, .. } => *block,
            _ => Duration::ZERO,
        };
        let mut deadline = Instant::now() + block.min(LONGEST_WAIT);
        let reply = loop {
            match self.shared.take_reply(self.client) {
                Some(reply) => break reply,
                None => {
                    if timeout_at(deadline, self.changed.notified()).await.is_err() {
                        // The store's own clock may need another tick.
                        deadline = Instant::now() + Duration::from_millis(1);
                    }
                }
            }
        };
        core::mem::forget(abandoned);
        reply
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.shared.lock().disconnect_client(self.client);
    }
}

struct DisconnectOnDrop<'a>(&'a MemoryConnection);

impl Drop for DisconnectOnDrop<'_> {
    fn drop(&mut self) {
        self.0.shared.lock().disconnect_client(self.0.client);
    }
}

impl Shared {
    /// Locks the state. No code panics while holding the lock, except inside [`MemoryRedis::with`],
    /// and the store is consistent then, too.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server's time. It follows tokio's clock, which a test may have paused.
    fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(elapsed)
    }

    fn execute(&self, client: ClientId, command: &Command) -> Executed {
        let mut state = self.lock();
        // The clock is read under the lock, so that the server's time does not run backwards.
        let executed = state.store.execute(self.now_ms(), client, command);
        state.deliver();
        if state.loses_reply(client) {
            state.disconnect_client(client);
            return Executed::Reply(Err(CommandError::Lost(GONE.to_owned())));
        }
        executed
    }

    /// Returns the reply to a blocked read, if its time is up or it has been served.
    fn take_reply(&self, client: ClientId) -> Option<Result<Reply, CommandError>> {
        let mut state = self.lock();
        state.store.handle_timeout(self.now_ms());
        state.deliver();
        match state.links.get_mut(&client) {
            Some(link) => link.reply.take(),
            None => Some(Err(CommandError::Lost(GONE.to_owned()))),
        }
    }
}

impl State {
    /// Delivers the store's messages and replies to its clients.
    fn deliver(&mut self) {
        while let Some((client, channel, payload)) = self.store.poll_push() {
            if let Some(link) = self.links.get(&client) {
                link.pushes.send(channel, payload);
            }
        }
        while let Some((client, reply)) = self.store.poll_wakeup() {
            if let Some(link) = self.links.get_mut(&client) {
                link.reply = Some(reply);
                link.changed.notify_one();
            }
        }
    }

    /// Returns `true`, once, if the reply to the command that was just executed is to be lost.
    fn loses_reply(&mut self, client: ClientId) -> bool {
        let Some(link) = self.links.get(&client) else { return false };
        self.faults.get_mut(&link.backend).is_some_and(|faults| faults.lose_reply.remove(&link.lane))
    }

    fn disconnect(&mut self, which: impl Fn(&Link) -> bool) {
        for (client, _) in self.links.iter().filter(|(_, link)| which(link)) {
            self.store.disconnect(*client);
        }
        self.close_links();
    }

    fn disconnect_client(&mut self, client: ClientId) {
        self.store.disconnect(client);
        if let Some(link) = self.links.remove(&client) {
            link.changed.notify_one();
        }
    }

    /// Notifies the clients whose connections are lost.
    fn close_links(&mut self) {
        self.links.retain(|client, link| {
            let open = self.store.is_connected(*client);
            if !open {
                link.changed.notify_one();
            }
            open
        });
    }
}

impl fmt::Debug for MemoryRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRedis")
            .field("connections", &self.shared.lock().links.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConnection").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_core::{EntryId, Fields};

    use super::*;
    use crate::backend::Push;

    const STREAM: &str = "s";

    fn reader() -> Lane {
        Lane::Reader(STREAM.into())
    }

    fn add() -> Command {
        Command::XAdd { stream: STREAM.into(), max_len: 10, fields: Fields::from_iter([("a", "b")]).into() }
    }

    fn read(block: Duration) -> Command {
        Command::XRead { stream: STREAM.into(), after: EntryId::ZERO, count: 10, block }
    }

    async fn connect(backend: &MemoryBackend, lane: Lane) -> MemoryConnection {
        let (sender, _) = PushSender::channel(1);
        backend.connect(&lane, sender).await.unwrap()
    }

    /// Starts a read, and returns once it blocks.
    async fn blocked_read(
        redis: &MemoryRedis,
        mut connection: MemoryConnection,
    ) -> tokio::task::JoinHandle<Vec<Result<Reply, CommandError>>> {
        let task = tokio::spawn(async move { connection.execute(vec![read(Duration::from_secs(60))]).await });
        while redis.with(|store, _| store.poll_timeout()).is_none() {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn a_blocked_read_is_served() {
        let redis = MemoryRedis::new();
        let (one, two) = (redis.backend(), redis.backend());
        let task = blocked_read(&redis, connect(&one, reader()).await).await;
        let added = connect(&two, Lane::Writer).await.execute(vec![add(), add()]).await;
        let [Ok(Reply::Added(first)), Ok(Reply::Added(second))] = added[..] else { panic!("{added:?}") };
        assert!(first < second);
        // The first addition serves it, as on a real server.
        let read = task.await.unwrap();
        assert!(
            matches!(&read[..], [Ok(Reply::Entries(entries))] if entries.len() == 1 && entries[0].id == first)
        );
    }

    #[tokio::test]
    async fn a_read_times_out() {
        let redis = MemoryRedis::new();
        let mut connection = connect(&redis.backend(), reader()).await;
        let replies = connection.execute(vec![read(Duration::from_millis(5)), add()]).await;
        assert_eq!(replies[0], Ok(Reply::Entries(Vec::new())));
        assert!(matches!(replies[1], Ok(Reply::Added(_))));
    }

    #[tokio::test]
    async fn pushes_come_in_order() {
        let (sender, mut received) = PushSender::channel(10);
        let backend = MemoryRedis::new().backend();
        let mut subscriber = backend.connect(&Lane::Subscriber, sender).await.unwrap();
        let subscribe = Command::Subscribe { channels: vec!["c".into()], sharded: false };
        assert_eq!(subscriber.execute(vec![subscribe]).await, [Ok(Reply::Done)]);
        let publish = |payload: &'static str| Command::Publish {
            channel: "c".into(),
            payload: payload.into(),
            sharded: false,
        };
        connect(&backend, Lane::Writer).await.execute(["1", "2", "3"].map(publish).to_vec()).await;
        // They have arrived already.
        let payloads = core::iter::from_fn(|| received.try_recv()).map(|Push { payload, .. }| payload);
        assert_eq!(payloads.collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_cut_backend_loses_everything_until_it_is_restored() {
        let redis = MemoryRedis::new();
        let (one, two) = (redis.backend(), redis.backend());
        let mut writer = connect(&one, Lane::Writer).await;
        let mut other = connect(&two, Lane::Writer).await;
        let task = blocked_read(&redis, connect(&one, reader()).await).await;
        one.cut();
        assert!(matches!(task.await.unwrap()[..], [Err(CommandError::Lost(_))]));
        assert_eq!(writer.lost().await, GONE);
        assert!(matches!(writer.execute(vec![add()]).await[..], [Err(CommandError::NotSent(_))]));
        let (sender, _) = PushSender::channel(1);
        one.connect(&Lane::Writer, sender).await.unwrap_err();
        assert!(matches!(other.execute(vec![add()]).await[..], [Ok(_)]));
        one.restore();
        assert!(matches!(connect(&one, Lane::Writer).await.execute(vec![add()]).await[..], [Ok(_)]));
    }

    #[tokio::test]
    async fn a_cut_lane_leaves_the_others() {
        let backend = MemoryRedis::new().backend();
        let mut writer = connect(&backend, Lane::Writer).await;
        let mut subscriber = connect(&backend, Lane::Subscriber).await;
        backend.cut_lane(&Lane::Subscriber);
        subscriber.lost().await;
        let (sender, _) = PushSender::channel(1);
        backend.connect(&Lane::Subscriber, sender).await.unwrap_err();
        assert!(matches!(writer.execute(vec![add()]).await[..], [Ok(_)]));
        // The connection is still up, so this ends by its bound.
        tokio::time::timeout(Duration::from_millis(1), writer.lost()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_lost_reply_hides_what_was_done() {
        let redis = MemoryRedis::new();
        let backend = redis.backend();
        backend.lose_next_reply(&Lane::Writer);
        let mut writer = connect(&backend, Lane::Writer).await;
        let replies = writer.execute(vec![add(), add()]).await;
        assert!(matches!(replies[..], [Err(CommandError::Lost(_)), Err(CommandError::NotSent(_))]));
        assert_eq!(redis.with(|store, _| store.entries(STREAM).count()), 1);
        writer.lost().await;
        assert!(matches!(connect(&backend, Lane::Writer).await.execute(vec![add()]).await[..], [Ok(_)]));
    }

    #[tokio::test]
    async fn an_abandoned_read_gives_up_the_connection() {
        let redis = MemoryRedis::new();
        let mut connection = connect(&redis.backend(), reader()).await;
        let bound = Duration::from_millis(1);
        let reading = connection.execute(vec![read(Duration::from_secs(60))]);
        tokio::time::timeout(bound, reading).await.unwrap_err();
        connection.lost().await;
        assert_eq!(redis.with(|store, _| store.poll_timeout()), None);
    }

    #[tokio::test]
    async fn a_server_can_lose_its_data_and_its_clients() {
        let redis = MemoryRedis::new();
        let mut writer = connect(&redis.backend(), Lane::Writer).await;
        writer.execute(vec![add()]).await;
        redis.with(|store, _| {
            store.flush();
            store.disconnect_all();
        });
        writer.lost().await;
        assert_eq!(redis.with(|store, _| store.stream_info(STREAM)), None);
    }
}
