//! Three servers, each on a runtime of its own like a process of its own, and the clients that are
//! connected to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sio_streams_driver::backend::{Backend, Timing};
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, NodeId, Packet};
use sio_streams_driver::{Events, Namespace, Node, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::server::{self, Seen, Server};
use super::{Error, USUAL};
use crate::link::Link;
use crate::timeline::{Actor, Timeline};

/// The servers. Their names have the same length, for the columns of the output.
pub(super) const SERVERS: [Actor; 3] = [
    Actor { name: "oslo", colour: 36 },
    Actor { name: "lima", colour: 33 },
    Actor { name: "pune", colour: 35 },
];

pub(super) const OSLO: usize = 0;
pub(super) const LIMA: usize = 1;
pub(super) const PUNE: usize = 2;

/// A client, as its server knows it.
#[derive(Debug)]
pub(super) struct Client {
    /// Real ids are 20 random characters.
    pub(super) id: &'static str,
    /// The server to which it is connected.
    pub(super) server: usize,
    /// The rooms that it is in from the beginning.
    pub(super) rooms: &'static [&'static str],
    /// The data that the application attached to its socket.
    pub(super) age: u32,
}

/// All clients.
pub(super) const CLIENTS: [Client; 6] = [
    Client { id: "ann", server: OSLO, rooms: &["chess"], age: 31 },
    Client { id: "ben", server: OSLO, rooms: &["music"], age: 27 },
    Client { id: "cleo", server: LIMA, rooms: &["chess", "music"], age: 45 },
    Client { id: "dan", server: LIMA, rooms: &[], age: 19 },
    Client { id: "eva", server: PUNE, rooms: &["chess"], age: 38 },
    Client { id: "finn", server: PUNE, rooms: &["music"], age: 22 },
];

/// The time limit for anything that should come soon. Only broken things take that long, not a slow
/// computer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two questions for a number until it is the expected one.
const ASK_AGAIN: Duration = Duration::from_millis(25);

/// A server, seen from outside.
#[derive(Debug)]
struct Member {
    /// A handle that is kept while the server lives. Without a handle the node would leave in an
    /// orderly way.
    node: Node,
    namespace: Option<Namespace>,
    events: Option<Events>,
    link: Link,
    runtime: Option<Runtime>,
}

/// The three servers.
#[derive(Debug)]
pub(super) struct Cluster {
    members: Vec<Member>,
    names: Arc<[NodeId]>,
    seen: Arc<watch::Sender<Seen>>,
    timeline: Arc<Timeline>,
    marks: u64,
    patience: Duration,
}

impl Cluster {
    /// Starts the servers. They have not joined yet. `patience` is the factor by which anything may
    /// take longer than usual.
    pub(super) fn start<B: Backend>(
        config: &Config,
        patience: u32,
        timeline: &Arc<Timeline>,
        backend: impl Fn() -> B,
    ) -> Result<Self, Error> {
        let mut members = Vec::new();
        for server in SERVERS {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name(server.name)
                .enable_all()
                .build()?;
            let link = Link::new();
            let timing = Timing {
                response: USUAL * patience,
                connect: USUAL * patience,
                backoff_max: Duration::from_secs(1),
                ..Timing::default()
            };
            let options = Options { timing, ..Options::from(config.clone()) };
            let entered = runtime.enter();
            let (node, events) = sio_streams_driver::start(options, link.around(backend()))?;
            drop(entered);
            members.push(Member {
                node,
                namespace: None,
                events: Some(events),
                link,
                runtime: Some(runtime),
            });
        }
        let names = members.iter().map(|member| member.node.uid().clone()).collect();
        let (seen, timeline) = (Arc::default(), timeline.clone());
        Ok(Cluster { members, names, seen, timeline, marks: 0, patience: PATIENCE * patience })
    }

    /// A server joins the cluster, and its clients connect to it.
    pub(super) async fn join(&mut self, place: usize) -> Result<(), Error> {
        let member = &mut self.members[place];
        if let (Some(runtime), Some(events)) = (&member.runtime, member.events.take()) {
            let server = Server {
                place,
                namespace: member.node.namespace("/"),
                names: self.names.clone(),
                seen: self.seen.clone(),
                timeline: self.timeline.clone(),
            };
            runtime.spawn(server.run(events));
        }
        let mut seen = self.seen.subscribe();
        let refused = async {
            match seen.wait_for(|seen| seen.refused.is_some()).await {
                Ok(seen) => seen.refused.clone().unwrap_or_default(),
                Err(_) => core::future::pending().await,
            }
        };
        let namespace = tokio::select! {
            opened = member.node.open("/") => opened?,
            reason = member.link.refused() => return Err(Error::Unreachable(reason)),
            reason = refused => return Err(Error::Unreachable(format!("it refuses: {reason}"))),
            () = sleep(self.patience) => return Err(Error::Unreachable("it does not answer".into())),
        };
        for client in CLIENTS.iter().filter(|client| client.server == place) {
            namespace.add_socket(client.id).await?;
            namespace.join(client.id, client.rooms.iter().map(|room| (*room).into())).await?;
        }
        member.namespace = Some(namespace);
        Ok(())
    }

    /// The time limit for anything that should come soon.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The namespace on a server.
    pub(super) fn at(&self, place: usize) -> Result<&Namespace, Error> {
        self.members[place].namespace.as_ref().ok_or(Error::Driver(sio_streams_driver::Error::Closed))
    }

    /// The link between a server and Redis.
    pub(super) fn link(&self, place: usize) -> &Link {
        &self.members[place].link
    }

    /// The name that a server bears in the cluster.
    pub(super) fn uid(&self, place: usize) -> &NodeId {
        &self.names[place]
    }

    /// A server for people, by its name in the cluster.
    pub(super) fn name_of(&self, node: Option<&NodeId>) -> String {
        server::name_of(&self.names, node)
    }

    /// The servers that are there.
    pub(super) fn living(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|place| self.members[*place].namespace.is_some()).collect()
    }

    /// The clients of the servers that are there, except those that were disconnected.
    pub(super) fn clients(&self) -> Vec<&'static Client> {
        let seen = self.seen.borrow();
        let here = |client: &&Client| {
            self.members[client.server].namespace.is_some() && !seen.disconnected.contains(client.id)
        };
        CLIENTS.iter().filter(here).collect()
    }

    /// Ends a server as a power cut would: without a farewell, and with all connections lost.
    pub(super) async fn kill(&mut self, place: usize) {
        let member = &mut self.members[place];
        if let Some(runtime) = member.runtime.take() {
            // Waits for its thread; in a thread of its own, since that is forbidden among
            // asynchronous code.
            let patience = self.patience;
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(patience)).await;
            // It can't do more than end.
            drop(ended);
        }
        // Dropped only now, because without a handle the node would leave in an orderly way.
        member.namespace = None;
    }

    /// A server leaves.
    pub(super) async fn leave(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.namespace.take().is_some() {
            // It has a time limit of its own.
            member.node.clone().close().await;
        }
    }

    /// Waits until the state is as expected. Returns `false` if it was not in time.
    pub(super) async fn until(&self, mut expected: impl FnMut(&Seen) -> bool) -> bool {
        let mut seen = self.seen.subscribe();
        timeout(self.patience, seen.wait_for(|seen| expected(seen))).await.is_ok_and(|seen| seen.is_ok())
    }

    /// The state of everything seen until now.
    pub(super) fn seen(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// Takes what the clients have received out of their hands.
    pub(super) fn take_inboxes(&self) -> BTreeMap<String, Vec<String>> {
        let mut inboxes = BTreeMap::new();
        self.seen.send_modify(|seen| inboxes = core::mem::take(&mut seen.inboxes));
        inboxes
    }

    /// Waits until every server that is there counts `expected` servers. Returns the last counts.
    pub(super) async fn counts(&self, expected: u64) -> Result<Vec<(usize, u64)>, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            let mut counts = Vec::new();
            for place in self.living() {
                counts.push((place, self.at(place)?.server_count().await?));
            }
            if counts.iter().all(|(_, count)| *count == expected) || Instant::now() >= deadline {
                return Ok(counts);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Waits until every server has read everything that was published until now. Returns `false`
    /// if that did not happen in time.
    ///
    /// The stream keeps its order: a server that has read another server's mark has read what stood
    /// before it. Only this shows that a client was left out, without waiting for a fixed time.
    pub(super) async fn settle(&mut self) -> Result<bool, Error> {
        let living = self.living();
        if living.len() < 2 {
            return Ok(true);
        }
        let mark = self.marks + 1;
        // Two servers send marks. A server's own mark tells it nothing, since its own messages
        // reach it before they are read.
        for place in &living[..2] {
            self.marks += 1;
            let packet = Packet::event(server::MARK, &(self.marks,))?;
            self.at(*place)?.broadcast(packet, BroadcastOptions::all()).await?;
        }
        Ok(self.until(|seen| living.iter().all(|place| seen.marks[*place] >= mark)).await)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Dropped in the ordinary way a runtime waits for its threads, which is forbidden among
        // asynchronous code.
        for runtime in self.members.iter_mut().filter_map(|member| member.runtime.take()) {
            runtime.shutdown_background();
        }
    }
}
