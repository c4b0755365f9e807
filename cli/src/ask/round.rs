//! One question to all servers, and their answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sio_streams_driver::backend::{
    Backend as _, BoxedBackend, BoxedConnection, Connection as _, PushReceiver, PushSender,
};
use sio_streams_driver::sio_streams_core::{
    Body, BroadcastOptions, ByteString, Command, EntryId, Lane, NodeId, Observed, Observer, RemoteSocket,
    Reply, RequestId, wire::entry,
};
use tokio::time::timeout;

use super::{ClusterArgs, Error};

/// The time limit for a connection, and for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of answers, and of their bytes, that may wait to be looked at.
const WAITING: (usize, usize) = (50_000, 256 << 20);

/// The number of entries that are read at once.
const PAGE: u32 = 1_000;

/// The time for which a read waits for an entry.
const BLOCK: Duration = Duration::from_secs(1);

/// What the stream shows of a server that sends heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The time since its last message, when the question was asked.
    pub(super) ago: Duration,
    /// It said that it also hears Pub/Sub: a server of both generations.
    pub(super) is_bridge: bool,
}

/// The answer of a server.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// In the classic dialect, servers do not say who they are.
    pub(super) node: Option<NodeId>,
    pub(super) after: Duration,
    pub(super) sockets: Vec<RemoteSocket>,
}

/// A question and what became of it.
#[derive(Debug)]
pub(super) struct Round {
    /// The number of servers that were counted by their subscriptions.
    pub(super) subscribers: Option<u64>,
    /// The servers that sent heartbeats in time, where servers do.
    pub(super) heard: BTreeMap<NodeId, Heard>,
    /// The answers, in their order.
    pub(super) answers: Vec<Answer>,
    by_heartbeats: bool,
}

impl Round {
    /// Returns the servers that are known by name and have not answered.
    pub(super) fn silent(&self) -> Vec<&NodeId> {
        let answered = |node: &NodeId| self.answers.iter().any(|answer| answer.node.as_ref() == Some(node));
        self.heard.keys().filter(|node| self.by_heartbeats && !answered(node)).collect()
    }

    /// Returns the number of servers that have not answered and whose names are not known.
    pub(super) fn silent_unnamed(&self) -> u64 {
        match self.subscribers {
            Some(subscribers) => subscribers.saturating_sub(self.answers.len() as u64),
            None => 0,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.silent().is_empty() && self.silent_unnamed() == 0
    }
}

/// Returns the name of a server for people, who are told if it is not known.
pub(super) fn node_name(node: Option<&NodeId>) -> &str {
    node.map_or("(no name)", NodeId::as_str)
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The connections on which a cluster is asked.
pub(super) struct Asker {
    observer: Observer,
    nsp: String,
    patience: Duration,
    heartbeat_timeout: Duration,
    writer: BoxedConnection,
    /// The connection that hears the answers, and those that came. `None` if they come by the
    /// stream.
    subscriber: Option<(BoxedConnection, PushReceiver)>,
    reader: Option<BoxedConnection>,
}

async fn connect(backend: &BoxedBackend, lane: Lane, pushes: PushSender) -> Result<BoxedConnection, Error> {
    match timeout(PATIENCE, backend.connect(&lane, pushes)).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(Error::Silent(PATIENCE)),
    }
}

/// Executes one command within the time limit.
async fn execute(connection: &mut BoxedConnection, command: Command) -> Result<Reply, Error> {
    match timeout(PATIENCE, connection.execute(vec![command])).await {
        Ok(mut replies) => Ok(replies.pop().ok_or(Error::Unexpected)??),
        Err(_) => Err(Error::Silent(PATIENCE)),
    }
}

/// Draws an id that nobody else has.
fn request_id() -> Result<RequestId, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(RequestId::new(format!("{:016x}", u64::from_be_bytes(bytes))))
}

impl Asker {
    /// Connects to the server, and begins to listen.
    pub(super) async fn connect(args: &ClusterArgs) -> Result<Self, Error> {
        let backend = args.server.backend()?;
        let config = args.config();
        let heartbeat_timeout = config.heartbeat_timeout;
        let observer = Observer::new(config)?;
        // A namespace that can't be asked is an error before anything is connected.
        observer.fetch_sockets(&args.nsp, BroadcastOptions::all(), request_id()?)?;
        let nobody = || PushSender::to(|_, _| {});
        let writer = connect(&backend, Lane::Writer, nobody()).await?;
        let subscriber = match observer.listen(&args.nsp) {
            Some(listen) => {
                let (sender, pushes) = PushSender::bounded(WAITING.0, WAITING.1);
                let mut connection = connect(&backend, Lane::Subscriber, sender).await?;
                execute(&mut connection, listen).await?;
                Some((connection, pushes))
            }
            None => None,
        };
        let reader = match (&subscriber, observer.stream(&args.nsp)) {
            (None, Some(stream)) => Some(connect(&backend, Lane::Reader(stream), nobody()).await?),
            _ => None,
        };
        Ok(Asker {
            observer,
            nsp: args.nsp.clone(),
            patience: args.timeout,
            heartbeat_timeout,
            writer,
            subscriber,
            reader,
        })
    }

    /// Asks all servers for the sockets that `opts` match. Waits until all that are expected have
    /// answered, or the time is up.
    pub(super) async fn ask(&mut self, opts: BroadcastOptions) -> Result<Round, Error> {
        let id = request_id()?;
        let question = self.observer.fetch_sockets(&self.nsp, opts, id.clone())?;
        let subscribers = match self.observer.count(&self.nsp) {
            Some(count) => match execute(&mut self.writer, count).await? {
                Reply::Counts(counts) => Some(counts.first().copied().ok_or(Error::Unexpected)?),
                _ => return Err(Error::Unexpected),
            },
            None => None,
        };
        let asked = Instant::now();
        let reply = execute(&mut self.writer, question).await?;
        let mut round = Round {
            subscribers,
            heard: BTreeMap::new(),
            answers: Vec::new(),
            by_heartbeats: subscribers.is_none(),
        };
        match (reply, self.observer.stream(&self.nsp)) {
            (Reply::Added(entry), Some(stream)) => {
                self.members(&stream, entry, &mut round).await?;
                self.read_answers(&stream, entry, &id, asked, &mut round).await?;
            }
            _ => self.hear_answers(&id, asked, &mut round).await?,
        }
        Ok(round)
    }

    /// Finds those that were heard in the stream within the time limit for heartbeats.
    async fn members(
        &mut self,
        stream: &ByteString,
        question: EntryId,
        round: &mut Round,
    ) -> Result<(), Error> {
        let span = u64::try_from(self.heartbeat_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut after = EntryId { ms: question.ms.saturating_sub(span), seq: 0 };
        loop {
            let page = Command::XRange { stream: stream.clone(), after, count: PAGE };
            let Reply::Entries(entries) = execute(&mut self.writer, page).await? else {
                return Err(Error::Unexpected);
            };
            for message in &entries {
                if message.id >= question {
                    return Ok(());
                }
                // What can't be read comes from nobody.
                let Ok(read) = entry::decode(&message.fields) else { continue };
                if read.nsp != self.nsp || read.uid.is_emitter() {
                    continue;
                }
                if matches!(read.body, Body::AdapterClose) {
                    round.heard.remove(&read.uid);
                    continue;
                }
                let ago = Duration::from_millis(question.ms.saturating_sub(message.id.ms));
                let says = message.fields.get(entry::BRIDGE_FIELD).is_some();
                let heard = round.heard.entry(read.uid).or_insert(Heard { ago, is_bridge: says });
                *heard = Heard { ago, is_bridge: heard.is_bridge || says };
            }
            match entries.last() {
                Some(last) => after = last.id,
                None => return Ok(()),
            }
        }
    }

    /// Takes answers from the stream.
    async fn read_answers(
        &mut self,
        stream: &ByteString,
        question: EntryId,
        id: &RequestId,
        asked: Instant,
        round: &mut Round,
    ) -> Result<(), Error> {
        let reader = self.reader.as_mut().ok_or(Error::Unexpected)?;
        let mut after = question;
        while !round.is_complete() {
            let left = self.patience.saturating_sub(asked.elapsed());
            if left.is_zero() {
                break;
            }
            let block = left.clamp(Duration::from_millis(1), BLOCK);
            let read = Command::XRead { stream: stream.clone(), after, count: PAGE, block };
            let Reply::Entries(entries) = execute(reader, read).await? else { return Err(Error::Unexpected) };
            for entry in entries {
                after = entry.id;
                // The answers of others may be unreadable.
                if let Ok(Some(observed)) = self.observer.read_entry(&entry.fields) {
                    take(observed, id, asked, round);
                }
            }
        }
        Ok(())
    }

    /// Takes answers from the channel.
    async fn hear_answers(&mut self, id: &RequestId, asked: Instant, round: &mut Round) -> Result<(), Error> {
        let (connection, pushes) = self.subscriber.as_mut().ok_or(Error::Unexpected)?;
        while !round.is_complete() {
            let left = self.patience.saturating_sub(asked.elapsed());
            let push = tokio::select! {
                push = pushes.recv() => push.ok_or(Error::Lost)?,
                _ = connection.lost() => return Err(Error::Lost),
                () = tokio::time::sleep(left) => break,
            };
            if let Ok(Some(observed)) = self.observer.read(&push.payload) {
                take(observed, id, asked, round);
            }
        }
        Ok(())
    }
}

/// Takes an answer, if it is one to this question. A server answers once.
fn take(observed: Observed, id: &RequestId, asked: Instant, round: &mut Round) {
    let known = |answer: &Answer| answer.node.is_some() && answer.node == observed.node;
    if observed.request_id == *id && !round.answers.iter().any(known) {
        let Observed { node, sockets, .. } = observed;
        round.answers.push(Answer { node, after: asked.elapsed(), sockets });
    }
}
