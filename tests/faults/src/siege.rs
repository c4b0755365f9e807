//! A long run on a cluster or behind sentinels: gust after gust of faults while all servers send,
//! and a count after each.
#![allow(clippy::print_stderr, reason = "it tells what it does, for whoever looks for a cause")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use sio_streams_driver::Options;
use sio_streams_driver::backend::Timing;
use sio_streams_driver::sio_streams_core::{Config, Dialect, EntryId, LinkState};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::sleep;

use crate::cluster::{Books, until};
use crate::server::REQUEST_TIMEOUT;
use crate::topology::{Deed, Kind, Topology};
use crate::{Client, Cluster, Fate, Fred, RedisRs, Report, Server, Ways, memory, ways};

/// The number of gusts after which all nodes are closed, and others take their place.
const GUSTS: usize = 12;

/// The time limit for a reply and for a sign of life.
const SILENCE: Duration = Duration::from_millis(1_500);

/// The time that a gust lasts longer if an entry does not come through.
const AROUND: Duration = Duration::from_secs(30);

/// The memory may be larger at the end by this part of what it was, and this much more: the system
/// takes back what is freed as it likes.
const GROWTH: (usize, usize) = (5, 16 << 20);

/// The sums of a run.
#[derive(Debug, Default)]
pub struct Sums {
    /// Gusts of faults.
    pub gusts: usize,
    /// Sets of nodes, one after the other.
    pub sets: usize,
    /// The fates of the messages.
    pub books: Books,
    /// The number of times that each thing happened to servers.
    pub deeds: BTreeMap<Deed, usize>,
    /// The number of times that each thing happened to links.
    pub links: BTreeMap<&'static str, usize>,
    /// Entries that were acknowledged, and that Redis lost.
    pub lost: usize,
    /// Reports of entries that had been read, and that Redis lost.
    pub rewinds: usize,
    /// Reports of entries that were missed.
    pub gaps: usize,
    /// Deliveries that did not happen because two servers were masters at the same time: the
    /// receiver read from the one while the other took the message. In the first number the
    /// receiver was told that something is lost, in the second it could not know.
    pub forked: (usize, usize),
    /// Reports of lost links.
    pub downs: usize,
    /// Attempts of lanes to connect.
    pub attempts: usize,
    /// The longest time after a gust until everything had come to everybody.
    pub slowest: Duration,
    /// The memory in bytes after a first part of the run, and at its end. All nodes are closed then.
    pub memory: Option<(usize, usize)>,
}

impl Sums {
    /// Checks that the memory has not grown. Nothing else may run in this process.
    ///
    /// # Errors
    ///
    /// Says how much it has grown.
    pub fn memory_is_flat(&self) -> Result<(), String> {
        match self.memory {
            Some((early, late)) if late > early + early / GROWTH.0 + GROWTH.1 => {
                Err(format!("the memory grew from {early} to {late} bytes"))
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, books: &Books) {
        self.books.published += books.published;
        self.books.failed += books.failed;
        self.books.heard += books.heard;
        self.books.excused += books.excused;
        self.books.repeated += books.repeated;
    }
}

/// Options for nodes that notice things soon, but do not connect more often than others.
fn options(dialect: Dialect, sharded: bool) -> Options {
    let config = Config {
        dialect,
        use_sharded_pub_sub: sharded,
        max_len: 20_000,
        block_time: Duration::from_secs(1),
        heartbeat_interval: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_secs(20),
        request_timeout: REQUEST_TIMEOUT,
        ..Config::default()
    };
    let timing = Timing { response: SILENCE, connect: Duration::from_secs(2), ..Timing::default() };
    Options { timing, ..Options::from(config) }
}

/// Runs for at least this time.
///
/// # Errors
///
/// Says what was lost without a report, doubled or out of order, or which lane connected too often.
///
/// # Panics
///
/// If somebody does not answer any more after a gust, or does not end when it is closed.
pub async fn siege(kind: Kind, time: Duration, rng: &mut Rng, sums: &mut Sums) -> Result<(), String> {
    let topology = Arc::new(block_in_place(|| Topology::start(kind)));
    let started = Instant::now();
    let before = memory::tasks();
    let mut early = None;
    while started.elapsed() < time {
        let nodes = nodes(&topology, rng).await;
        for _ in 0..GUSTS {
            gust(&topology, &nodes, rng, sums).await?;
            if started.elapsed() >= time {
                break;
            }
        }
        nodes.alive().await;
        for server in nodes.servers {
            sums.attempts += server.links().pace().check()?;
            server.node().clone().close().await;
        }
        sums.sets += 1;
        until("all tasks of the nodes end", async || memory::tasks() <= before).await;
        if started.elapsed() >= time / 4 {
            let now = memory::resident();
            let early = *early.get_or_insert(now);
            sums.memory = early.zip(now);
            eprintln!("bytes of memory, early and now: {:?}", sums.memory);
        }
    }
    Ok(())
}

/// Four servers of ours. Each Redis client has one behind links that break at any byte, and one
/// behind links with the habits of services.
async fn nodes(topology: &Topology, rng: &mut Rng) -> Cluster<(), Ways> {
    let (dialect, sharded) = [
        (Dialect::Streams02, false),
        (Dialect::Streams03, false),
        (Dialect::Streams03, true),
        (Dialect::Bridge, false),
    ][rng.usize(..4)];
    let options = || options(dialect, sharded);
    let (url, addrs) = (topology.url(), topology.addrs());
    let mut servers = Vec::new();
    for (name, ways) in [("a", Ways::of_bytes(&addrs)), ("b", Ways::of_habits(&addrs))] {
        let dialer = ways.through(RedisRs::backend(&url, SILENCE));
        servers.push(topology.join(name, ways, dialer, options()).await);
    }
    for (name, ways) in [("c", Ways::of_bytes(&addrs)), ("d", Ways::of_habits(&addrs))] {
        let dialer = ways.through(Fred::backend(&url, SILENCE));
        servers.push(topology.join(name, ways, dialer, options()).await);
    }
    let cluster = Cluster::of(servers, None);
    cluster.alive().await;
    cluster.settle().await;
    cluster.servers.iter().for_each(Server::forget);
    cluster
}

/// Faults for some seconds, and then a count.
async fn gust(
    topology: &Arc<Topology>,
    cluster: &Cluster<(), Ways>,
    rng: &mut Rng,
    sums: &mut Sums,
) -> Result<(), String> {
    let (over, large) = (AtomicBool::new(false), AtomicBool::new(false));
    let talk = async |server: &Server<Ways>, mut rng: Rng| {
        while !over.load(Ordering::Relaxed) {
            if large.swap(false, Ordering::Relaxed) {
                server.say_large(ways::LARGE).await;
            }
            server.say(rng.u32(1..30)).await;
            sleep(Duration::from_millis(rng.u64(50..300))).await;
        }
    };
    let mut own = rng.fork();
    let (mut story, mut forks) = (Vec::new(), false);
    let trouble = async {
        let mut end = Instant::now() + Duration::from_millis(own.u64(2_000..8_000));
        sleep(Duration::from_millis(own.u64(..500))).await;
        let at_servers = own.u8(..3);
        if at_servers < 2 {
            for server in &cluster.servers {
                if own.bool() {
                    let name = server.links().harm(&mut own);
                    *sums.links.entry(name).or_default() += 1;
                    story.push(format!("{}: {name}", server.name()));
                    if name == ways::LARGE_REPLIES {
                        // One entry does not come through, and the way around it takes a while.
                        end += AROUND;
                        large.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        if at_servers > 0 {
            let (its, mut chance) = (Arc::clone(topology), own.fork());
            let deed = spawn_blocking(move || its.harm(&mut chance)).await.unwrap();
            forks = topology.has_two_masters(deed);
            *sums.deeds.entry(deed).or_default() += 1;
            story.push(format!("{deed:?}"));
        }
        sleep(end.saturating_duration_since(Instant::now())).await;
        cluster.servers.iter().for_each(|server| server.links().calm());
        over.store(true, Ordering::Relaxed);
        Instant::now()
    };
    let [a, b, c, d] = &cluster.servers[..] else { unreachable!("there are four") };
    let (calm, ..) = tokio::join!(
        trouble,
        talk(a, rng.fork()),
        talk(b, rng.fork()),
        talk(c, rng.fork()),
        talk(d, rng.fork())
    );
    let story = story.join(", ");
    eprintln!("gust {}: {story}", sums.gusts);
    cluster.settle().await;
    sums.slowest = sums.slowest.max(calm.elapsed());
    count(topology, cluster, forks, sums).await.map_err(|why| format!("after {story}: {why}"))?;
    cluster.servers.iter().for_each(Server::forget);
    sums.gusts += 1;
    Ok(())
}

async fn count(
    topology: &Topology,
    cluster: &Cluster<(), Ways>,
    forks: bool,
    sums: &mut Sums,
) -> Result<(), String> {
    let published = BTreeSet::from_iter(cluster.servers.iter().flat_map(Server::published));
    let first = published.first().copied().unwrap_or_default();
    let kept = block_in_place(|| topology.entries(first));
    let (told, untold) = (Cell::new(0), Cell::new(0));
    let excused = |server: &Server<Ways>, id: EntryId| {
        if !kept.contains(&id) || is_in_a_gap(server, id) {
            return true;
        }
        let count = if server.reports().iter().any(Report::is_loss) { &told } else { &untold };
        count.set(count.get() + usize::from(forks));
        forks
    };
    let judged = cluster.judge(excused).await;
    let books = judged.inspect_err(|_| tell(cluster, &published, &kept))?;
    sums.add(&books);
    sums.forked = (sums.forked.0 + told.get(), sums.forked.1 + untold.get());
    sums.lost += published.difference(&kept).count();
    for server in &cluster.servers {
        let reports = server.reports();
        let count = |wanted: fn(&Report) -> bool| reports.iter().filter(|report| wanted(report)).count();
        let rewinds = count(|report| matches!(report, Report::Rewound { .. }));
        sums.rewinds += rewinds;
        sums.gaps += count(|report| matches!(report, Report::Gap { .. }));
        sums.downs += count(|report| matches!(report, Report::Link { link: LinkState::Down { .. }, .. }));
        if rewinds == 0
            && !forks
            && let Some(why) = shown_and_lost(server, cluster, &kept)
        {
            return Err(why);
        }
        server.links().pace().check().map_err(|why| format!("{}: {why}", server.name()))?;
    }
    Ok(())
}

/// Tells what was published and reported in a gust that ends in a violation.
fn tell(cluster: &Cluster<(), Ways>, published: &BTreeSet<EntryId>, kept: &BTreeSet<EntryId>) {
    let lost = Vec::from_iter(published.difference(kept));
    eprintln!(
        "{} published, of which Redis lost {}: {:?} to {:?}",
        published.len(),
        lost.len(),
        lost.first(),
        lost.last()
    );
    for server in &cluster.servers {
        for author in &cluster.servers {
            let heard = BTreeSet::from_iter(server.heard(author.name()));
            let missing =
                (author.first()..).zip(author.fates()).filter(|(number, _)| !heard.contains(number));
            let missing = Vec::from_iter(missing.map(|(_, fate)| fate));
            let (first, last) = (missing.first(), missing.last());
            eprintln!(
                "{} to {}: {} did not come: {first:?} to {last:?}",
                author.name(),
                server.name(),
                missing.len()
            );
        }
        for report in server.reports() {
            eprintln!("{}: {report:?}", server.name());
        }
    }
}

fn is_in_a_gap(server: &Server<Ways>, id: EntryId) -> bool {
    let covers =
        |report: &Report| matches!(report, Report::Gap { after, until, .. } if *after < id && id < *until);
    server.reports().iter().any(covers)
}

/// Returns a message of others that a server has shown to its clients, and that the stream does not
/// have any more.
fn shown_and_lost(
    server: &Server<Ways>,
    cluster: &Cluster<(), Ways>,
    kept: &BTreeSet<EntryId>,
) -> Option<String> {
    cluster.servers.iter().filter(|author| author.name() != server.name()).find_map(|author| {
        let heard = BTreeSet::from_iter(server.heard(author.name()));
        (author.first()..).zip(author.fates()).find_map(|(number, fate)| match fate {
            Fate::Published(id) if !kept.contains(&id) && heard.contains(&number) => Some(format!(
                "{} has shown {number} of {}, which is lost as {id}, and was not told",
                server.name(),
                author.name()
            )),
            _ => None,
        })
    })
}
