//! The connections on which the servers of one dialect are asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sio_streams_driver::backend::{
    Backend as _, BoxedBackend, BoxedConnection, Connection as _, PushReceiver, PushSender,
};
use sio_streams_driver::sio_streams_core::{
    AckSays, Body, BroadcastOptions, ByteString, Bytes, Command, Config, EntryId, Fields, Lane, NodeId,
    Observed, ObservedAck, Observer, Packet, Payload, Reply, RequestId, wire::entry,
};
use tokio::time::timeout;

use super::Error;
use super::round::{Answer, Heard, Round};

/// The time limit for a connection, and for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of answers, and of their bytes, that may wait to be looked at.
const WAITING: (usize, usize) = (50_000, 256 << 20);

/// The number of entries that are read at once.
const PAGE: u32 = 1_000;

/// The time for which a read waits for an entry.
const BLOCK: Duration = Duration::from_secs(1);

/// The connections on which servers of one dialect are asked.
pub(crate) struct Road {
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

impl Road {
    /// Connects to the server, and begins to listen.
    pub(crate) async fn connect(
        backend: BoxedBackend,
        nsp: &str,
        patience: Duration,
        config: Config,
    ) -> Result<Self, Error> {
        let heartbeat_timeout = config.heartbeat_timeout;
        let observer = Observer::new(config)?;
        // A namespace that can't be asked is an error before anything is connected.
        observer.fetch_sockets(nsp, BroadcastOptions::all(), request_id()?)?;
        let nobody = || PushSender::to(|_, _| {});
        let writer = connect(&backend, Lane::Writer, nobody()).await?;
        let subscriber = match observer.listen(nsp) {
            Some(listen) => {
                let (sender, pushes) = PushSender::bounded(WAITING.0, WAITING.1);
                let mut connection = connect(&backend, Lane::Subscriber, sender).await?;
                execute(&mut connection, listen).await?;
                Some((connection, pushes))
            }
            None => None,
        };
        let reader = match (&subscriber, observer.stream(nsp)) {
            (None, Some(stream)) => Some(connect(&backend, Lane::Reader(stream), nobody()).await?),
            _ => None,
        };
        Ok(Road { observer, nsp: nsp.to_owned(), patience, heartbeat_timeout, writer, subscriber, reader })
    }

    /// Asks all servers for the sockets that `opts` match. Waits until all that are expected have
    /// answered, or the time is up.
    pub(super) async fn ask(&mut self, opts: BroadcastOptions) -> Result<Round, Error> {
        let id = request_id()?;
        let question = self.observer.fetch_sockets(&self.nsp, opts, id.clone())?;
        let round = Round {
            subscribers: self.subscribers().await?,
            heard: BTreeMap::new(),
            answers: Vec::new(),
            by_heartbeats: self.subscriber.is_none(),
            generations: None,
        };
        let mut asked = Asked { id, at: Instant::now(), round };
        self.send(question, &mut asked).await?;
        Ok(asked.round)
    }

    /// Sends an event to the clients that `opts` match, and waits for their answers.
    pub(crate) async fn broadcast(&mut self, packet: Packet, opts: BroadcastOptions) -> Result<Acked, Error> {
        let id = request_id()?;
        let question = self.observer.broadcast_with_ack(&self.nsp, packet, opts, id.clone())?;
        let mut acked = Acked {
            id,
            subscribers: self.subscribers().await?,
            heard: BTreeMap::new(),
            clients: Vec::new(),
            answers: Vec::new(),
        };
        self.send(question, &mut acked).await?;
        Ok(acked)
    }

    /// Counts the servers, where they subscribe.
    async fn subscribers(&mut self) -> Result<Option<u64>, Error> {
        let Some(count) = self.observer.count(&self.nsp) else { return Ok(None) };
        match execute(&mut self.writer, count).await? {
            Reply::Counts(counts) => Ok(Some(counts.first().copied().ok_or(Error::Unexpected)?)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Sends a question, and takes the answers until there are all, or the time is up.
    async fn send(&mut self, question: Command, taker: &mut impl Taker) -> Result<(), Error> {
        let asked = Instant::now();
        let reply = execute(&mut self.writer, question).await?;
        match (reply, self.observer.stream(&self.nsp)) {
            (Reply::Added(entry), Some(stream)) => {
                let heard = self.members(&stream, entry).await?;
                taker.expect(heard);
                self.read_answers(&stream, entry, asked, taker).await
            }
            _ => self.hear_answers(asked, taker).await,
        }
    }

    /// Finds those that were heard in the stream within the time limit for heartbeats.
    async fn members(
        &mut self,
        stream: &ByteString,
        question: EntryId,
    ) -> Result<BTreeMap<NodeId, Heard>, Error> {
        let mut all = BTreeMap::new();
        let span = u64::try_from(self.heartbeat_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut after = EntryId { ms: question.ms.saturating_sub(span), seq: 0 };
        loop {
            let page = Command::XRange { stream: stream.clone(), after, count: PAGE };
            let Reply::Entries(entries) = execute(&mut self.writer, page).await? else {
                return Err(Error::Unexpected);
            };
            for message in &entries {
                if message.id >= question {
                    return Ok(all);
                }
                // An entry that can't be read comes from nobody.
                let Ok(read) = entry::decode(&message.fields) else { continue };
                if read.nsp != self.nsp || read.uid.is_emitter() {
                    continue;
                }
                if matches!(read.body, Body::AdapterClose) {
                    all.remove(&read.uid);
                    continue;
                }
                let ago = Duration::from_millis(question.ms.saturating_sub(message.id.ms));
                let says = message.fields.get(entry::BRIDGE_FIELD).is_some();
                let heard = all.entry(read.uid).or_insert(Heard { ago, is_bridge: says });
                *heard = Heard { ago, is_bridge: heard.is_bridge || says };
            }
            match entries.last() {
                Some(last) => after = last.id,
                None => return Ok(all),
            }
        }
    }

    /// Takes answers from the stream.
    async fn read_answers(
        &mut self,
        stream: &ByteString,
        question: EntryId,
        asked: Instant,
        taker: &mut impl Taker,
    ) -> Result<(), Error> {
        let reader = self.reader.as_mut().ok_or(Error::Unexpected)?;
        let mut after = question;
        while !taker.is_complete() {
            let left = self.patience.saturating_sub(asked.elapsed());
            if left.is_zero() {
                break;
            }
            let block = left.clamp(Duration::from_millis(1), BLOCK);
            let read = Command::XRead { stream: stream.clone(), after, count: PAGE, block };
            let Reply::Entries(entries) = execute(reader, read).await? else { return Err(Error::Unexpected) };
            for entry in entries {
                after = entry.id;
                taker.entry(&self.observer, &entry.fields);
            }
        }
        Ok(())
    }

    /// Takes answers from the channel.
    async fn hear_answers(&mut self, asked: Instant, taker: &mut impl Taker) -> Result<(), Error> {
        let (connection, pushes) = self.subscriber.as_mut().ok_or(Error::Unexpected)?;
        while !taker.is_complete() {
            let left = self.patience.saturating_sub(asked.elapsed());
            let push = tokio::select! {
                push = pushes.recv() => push.ok_or(Error::Lost)?,
                _ = connection.lost() => return Err(Error::Lost),
                () = tokio::time::sleep(left) => break,
            };
            taker.message(&self.observer, &push.payload);
        }
        Ok(())
    }
}

/// Takes answers. Those of others may be unreadable, and are passed over.
trait Taker {
    /// Notes the servers that are expected to answer.
    fn expect(&mut self, heard: BTreeMap<NodeId, Heard>);
    fn entry(&mut self, observer: &Observer, fields: &Fields);
    fn message(&mut self, observer: &Observer, payload: &Bytes);
    fn is_complete(&self) -> bool;
}

/// A question for sockets.
struct Asked {
    id: RequestId,
    at: Instant,
    round: Round,
}

impl Asked {
    /// Takes an answer, if it is one to this question. A server answers once.
    fn take(&mut self, observed: Observed) {
        let known = |answer: &Answer| answer.node.is_some() && answer.node == observed.node;
        if observed.request_id == self.id && !self.round.answers.iter().any(known) {
            let Observed { node, sockets, .. } = observed;
            self.round.answers.push(Answer { node, after: self.at.elapsed(), sockets });
        }
    }
}

impl Taker for Asked {
    fn expect(&mut self, heard: BTreeMap<NodeId, Heard>) {
        self.round.heard = heard;
    }

    fn entry(&mut self, observer: &Observer, fields: &Fields) {
        if let Ok(Some(observed)) = observer.read_entry(fields) {
            self.take(observed);
        }
    }

    fn message(&mut self, observer: &Observer, payload: &Bytes) {
        if let Ok(Some(observed)) = observer.read(payload) {
            self.take(observed);
        }
    }

    fn is_complete(&self) -> bool {
        self.round.is_complete()
    }
}

/// A broadcast with acknowledgements, and what became of it.
#[derive(Debug)]
pub(crate) struct Acked {
    id: RequestId,
    /// The number of servers that were counted by their subscriptions.
    subscribers: Option<u64>,
    /// The servers that sent heartbeats in time, where servers do.
    heard: BTreeMap<NodeId, Heard>,
    /// How many clients each server asks.
    clients: Vec<(Option<NodeId>, u64)>,
    /// The clients' answers, in the order of arrival.
    pub(crate) answers: Vec<Payload>,
}

impl Acked {
    /// Returns the number of servers that have said how many clients they ask.
    pub(crate) fn servers(&self) -> usize {
        self.clients.len()
    }

    /// Returns the number of servers that have not.
    pub(crate) fn missing_servers(&self) -> u64 {
        match self.subscribers {
            Some(subscribers) => subscribers.saturating_sub(self.clients.len() as u64),
            None => {
                let has_said = |node: &&NodeId| self.clients.iter().any(|(by, _)| by.as_ref() == Some(node));
                self.heard.keys().filter(|node| !has_said(node)).count() as u64
            }
        }
    }

    /// Returns the number of clients that are asked.
    pub(crate) fn asked(&self) -> u64 {
        self.clients.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn take(&mut self, observed: ObservedAck) {
        if observed.request_id != self.id {
            return;
        }
        match observed.says {
            AckSays::Clients(count) => self.clients.push((observed.node, count)),
            AckSays::Answer(value) => self.answers.push(value),
        }
    }
}

impl Taker for Acked {
    fn expect(&mut self, heard: BTreeMap<NodeId, Heard>) {
        self.heard = heard;
    }

    fn entry(&mut self, observer: &Observer, fields: &Fields) {
        if let Ok(Some(observed)) = observer.read_ack_entry(fields) {
            self.take(observed);
        }
    }

    fn message(&mut self, observer: &Observer, payload: &Bytes) {
        if let Ok(Some(observed)) = observer.read_ack(payload) {
            self.take(observed);
        }
    }

    fn is_complete(&self) -> bool {
        self.missing_servers() == 0 && self.answers.len() as u64 >= self.asked()
    }
}
