//! A cluster, and the checks of its deliveries.

use core::fmt::Display;
use core::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::json;
use sio_streams_driver::Options;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, EntryId, Packet, Payload};
use sio_streams_interop::{Acks, Peer, Responses, Select};
use sio_streams_testkit::{RedisServer, Reply};
use tokio::time::{sleep, timeout};

use crate::node::NODE;
use crate::server::{NSP, REQUEST_TIMEOUT};
use crate::verdict::{Count, judge, without_repeats};
use crate::{Client, Fate, Links, NodeServer, Report, Server};

/// The time limit for anything that is only waited for. It is generous: a loaded machine is no
/// failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// After so long without an answer the same is asked once more.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// The key of the stream.
pub const STREAM: &str = "socket.io";

/// Servers of ours, each behind links of its own, and perhaps a Node server, whose connection is
/// its own business.
#[derive(Debug)]
pub struct Cluster<C, L = Links> {
    /// The servers of ours.
    pub servers: Vec<Server<L>>,
    /// The Node server.
    pub node: Option<NodeServer>,
    rooms: AtomicU32,
    client: PhantomData<C>,
}

/// The fates of all messages, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    /// Messages of ours that were published.
    pub published: usize,
    /// Messages of ours whose failure was reported.
    pub failed: usize,
    /// Messages that reached a server of ours from another server.
    pub heard: usize,
    /// Deliveries of published messages that did not happen, for reasons that were reported.
    pub excused: usize,
    /// Entries that servers of ours passed over because they had come before.
    pub repeated: usize,
    /// Messages that reached the Node server.
    pub node_heard: usize,
    /// The messages that it got more than once.
    pub node_repeats: usize,
}

/// Looks at a condition until it is met.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

impl<C: Client> Cluster<C> {
    /// Starts `count` servers of ours, `a`, `b`, and so on, and a Node server if `node_url` says
    /// where it connects.
    pub async fn start(redis: &RedisServer, options: &Options, count: u8, node_url: Option<&str>) -> Self {
        let node = match node_url {
            Some(url) => Some(NodeServer::start(url).await),
            None => None,
        };
        let mut servers = Vec::new();
        for letter in b'a'..b'a' + count {
            servers.push(Server::start::<C>(&char::from(letter).to_string(), redis, options.clone()).await);
        }
        let cluster = Cluster::of(servers, node);
        cluster.alive().await;
        cluster
    }
}

impl<C, L> Cluster<C, L> {
    /// A cluster of these servers.
    pub fn of(servers: Vec<Server<L>>, node: Option<NodeServer>) -> Self {
        Cluster { servers, node, rooms: AtomicU32::new(0), client: PhantomData }
    }

    /// The number of servers.
    pub fn size(&self) -> usize {
        self.servers.len() + usize::from(self.node.is_some())
    }

    /// Waits until every server has got something that every other one says from now on, and so
    /// everything before it that will ever come.
    pub async fn settle(&self) {
        for author in &self.servers {
            let mut number = 0;
            until("something is published", async || {
                author.say(1).await;
                number = author.said() - 1;
                matches!(author.fates().last(), Some(Fate::Published(_)))
            })
            .await;
            for server in &self.servers {
                until("it has come to everyone", async || server.has_come_to(author.name(), number)).await;
            }
            if let Some(node) = &self.node {
                until("it has come to Node", async || {
                    // Not the last one: a first try that is executed late comes to Node again,
                    // after it.
                    node.heard(author.name()).await.contains(&number)
                })
                .await;
            }
        }
        if let Some(node) = &self.node {
            // A message that it sends without a connection may be lost, as is Node's way.
            until("Node is heard", async || {
                node.say(1).await;
                let number = node.said() - 1;
                let soon = Instant::now() + Duration::from_secs(1);
                while Instant::now() < soon {
                    if self.servers.iter().all(|server| server.has_come_to(NODE, number)) {
                        return true;
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                false
            })
            .await;
        }
    }

    /// Compares what was said with what has come.
    ///
    /// Everything of ours must have come to each server of ours once and in order, or its failure
    /// was reported, or the loss of its entry was: `excused` says so, given the receiver. To the
    /// Node server the same applies, except that it may see again what servers of ours report as a
    /// repetition: it can't tell.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    pub async fn judge(&self, excused: impl Fn(&Server<L>, EntryId) -> bool) -> Result<Books, String> {
        let mut books = Books::default();
        for author in &self.servers {
            let (first, fates) = (author.first(), author.fates());
            for server in &self.servers {
                let heard = server.heard(author.name());
                let count = match server.name() == author.name() {
                    // Its own client gets what is given up as well, as with Node's adapters.
                    true => judge(first, &own(&fates), &heard, |_| false),
                    false => judge(first, &fates, &heard, |id| excused(server, id)),
                };
                let count = count.map_err(|why| {
                    let told = Vec::from_iter(server.reports().into_iter().filter(Report::is_loss));
                    format!("{} to {}: {why}; reported: {told:?}", author.name(), server.name())
                })?;
                let Count { published, failed, heard, excused } = count;
                if server.name() == author.name() {
                    (books.published, books.failed) = (books.published + published, books.failed + failed);
                } else {
                    (books.heard, books.excused) = (books.heard + heard, books.excused + excused);
                }
            }
            if let Some(node) = &self.node {
                let (heard, repeats) = without_repeats(&node.heard(author.name()).await);
                let uid = author.node().uid();
                let late = |server: &Server<L>| server.count_repeats_of(uid.as_str());
                let repeated: usize = repeats.values().map(|times| times - 1).sum();
                // Node may have missed what ours did not, but it can't have seen more; it may only
                // have seen it sooner.
                let deadline = Instant::now() + PATIENCE;
                while self.servers.iter().map(late).max().unwrap_or_default() < repeated {
                    if Instant::now() > deadline {
                        return Err(format!("Node got {repeats:?} again, which ours did not pass over"));
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                let count =
                    judge(first, &fates, &heard, |_| true).map_err(|why| format!("to Node: {why}"))?;
                books.node_heard += count.heard;
                books.node_repeats += repeated;
            }
        }
        for server in &self.servers {
            books.repeated += server.count_repeats();
            let heard = server.heard(NODE);
            if heard.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(format!("Node to {}: out of order, or twice: {heard:?}", server.name()));
            }
            books.heard += heard.len();
        }
        if let Some(node) = &self.node
            && !node.peer().events().is_empty()
        {
            return Err(format!("Node chokes: {:?}", node.peer().events()));
        }
        Ok(books)
    }

    /// The same where nothing may be lost at all: not of ours at ours and at the Node server, nor
    /// of the Node server's at ours.
    pub async fn nothing_is_lost(&self) -> Books {
        let books = self.judge(|_, _| false).await.unwrap();
        for author in &self.servers {
            let failed = author.fates().into_iter().find(|fate| !matches!(fate, Fate::Published(_)));
            assert!(failed.is_none(), "{} reports {failed:?}", author.name());
        }
        if let Some(node) = &self.node {
            for server in &self.servers {
                assert_eq!(server.heard(NODE), Vec::from_iter(0..node.said()), "to {}", server.name());
                let (heard, _) = without_repeats(&node.heard(server.name()).await);
                assert_eq!(heard, Vec::from_iter(0..server.said()), "{} to Node", server.name());
            }
        }
        books
    }

    /// Asks everybody everything, by each server, until everyone has answered. Says how long that
    /// took.
    pub async fn alive(&self) -> Duration {
        let started = Instant::now();
        for server in &self.servers {
            self.answers(server).await;
        }
        if let Some(node) = &self.node {
            self.answers_node(node.peer()).await;
        }
        started.elapsed()
    }

    /// Asks everybody everything, by this server.
    async fn answers(&self, server: &Server<L>) {
        let all = BroadcastOptions::all;
        let (who, nsp, size) = (server.name(), server.nsp(), self.size());
        answered(who, "servers", size, async || nsp.server_count().await.map(|count| count as usize)).await;
        let sockets = async |of: &BroadcastOptions| {
            let found = nsp.fetch_sockets(of.clone()).await?;
            Ok::<_, sio_streams_driver::Error>(found.sockets.len())
        };
        answered(who, "sockets", size, async || sockets(&all()).await).await;
        answered(who, "servers that answered", size - 1, async || {
            let pongs = nsp.server_side_emit_with_ack(Payload::encode(&("ping",)).unwrap()).await?;
            Ok::<_, sio_streams_driver::Error>(pongs.responses.len())
        })
        .await;
        answered(who, "acknowledgements", size, async || {
            let packet = Packet::event("ask", &("?",)).unwrap();
            let (acks, _) = nsp.broadcast_with_ack(packet, all()).await?.all().await?;
            Ok::<_, sio_streams_driver::Error>(acks.len())
        })
        .await;

        let room = format!("room {}", self.rooms.fetch_add(1, Ordering::Relaxed));
        let rooms = || vec![room.clone().into()];
        let members = BroadcastOptions::to(room.clone());
        until("all are to join", async || nsp.sockets_join(all(), rooms()).await.is_ok()).await;
        answered(who, "sockets in a room", size, async || sockets(&members).await).await;
        until("all are to leave", async || nsp.sockets_leave(members.clone(), rooms()).await.is_ok()).await;
        answered(who, "sockets in a room", 0, async || sockets(&members).await).await;
        for other in &self.servers {
            other.nsp().add_socket(room.clone()).await.unwrap();
        }
        until("all are to go", async || nsp.disconnect_sockets(members.clone(), true).await.is_ok()).await;
        for other in &self.servers {
            until("sockets are disconnected", async || other.was_disconnected(&room)).await;
            other.nsp().remove_socket(room.clone()).await.unwrap();
        }
    }

    /// The same, by the Node server.
    async fn answers_node(&self, peer: &Peer) {
        let (size, all) = (self.size(), Select::all(NSP).timeout(REQUEST_TIMEOUT.as_millis() as u64));
        answered(NODE, "sockets", size, async || peer.fetch_sockets(&all).await.map(|found| found.len()))
            .await;
        answered(NODE, "servers that answered", size - 1, async || {
            match peer.server_side_emit_with_ack(NSP, "ping", &[]).await {
                Ok(Responses::Complete { responses }) => Ok(responses.len()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        answered(NODE, "acknowledgements", size, async || {
            match peer.emit_with_ack(&all, "ask", &[json!("?")]).await {
                Ok(Acks::Complete { acks }) => Ok(acks.len()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

/// Asks until as many as wanted are counted. A question that went astray is soon asked again; an
/// answer that is slow is waited for all the same.
async fn answered<E: Display>(
    who: &str,
    what: &str,
    wanted: usize,
    question: impl AsyncFn() -> Result<usize, E>,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut why = "no answer".to_owned();
    let mut asked = FuturesUnordered::new();
    loop {
        assert!(Instant::now() < deadline, "{who} asks for {what}: {why}");
        asked.push(question());
        match timeout(ONCE_MORE, asked.next()).await {
            Ok(Some(Ok(count))) if count == wanted => return,
            Ok(Some(Ok(count))) => why = format!("{count} instead of {wanted}"),
            Ok(Some(Err(error))) => why = error.to_string(),
            Ok(None) | Err(_) => continue,
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The messages that an author's own client is to get: all that were taken.
fn own(fates: &[Fate]) -> Vec<Fate> {
    let own = |fate: &Fate| match fate {
        Fate::Failed(_) => Fate::Open,
        other => other.clone(),
    };
    fates.iter().map(own).collect()
}

/// The stream's last id and the number of entries that were ever added, as the server has them.
pub fn stream_end(redis: &RedisServer) -> (EntryId, u64) {
    let info = redis.command(&["XINFO", "STREAM", STREAM]);
    let last = info.field("last-generated-id").and_then(Reply::as_str).map(|id| id.parse().unwrap());
    let added = info.field("entries-added").and_then(Reply::as_int).map(|added| added as u64);
    (last.unwrap_or_default(), added.unwrap_or_default())
}

/// The ids of all entries.
pub fn entries(redis: &RedisServer) -> Vec<EntryId> {
    let all = redis.command(&["XRANGE", STREAM, "-", "+"]);
    all.items().iter().map(|entry| entry.items()[0].as_str().unwrap().parse().unwrap()).collect()
}
