//! The server loses acknowledged entries, or trims unread ones. The reports must say exactly that.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use fastrand::Rng;
use sio_streams_driver::Options;
use sio_streams_driver::sio_streams_core::{Config, Dialect, EntryId, Lane, LinkState, Lost};
use sio_streams_testkit::{Proxy, RedisServer};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::cluster::{Books, entries, stream_end, until};
use crate::server::quick;
use crate::{Client, Cluster, Report, Server};

/// The ways in which a server loses its last entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is killed, and every write is on disk.
    AppendAlways,
    /// It is killed, and the end of its append-only file never reached the disk.
    AppendEverySecond,
    /// It is killed, and nothing is on disk.
    NoPersistence,
    /// A replica that lags takes its place.
    LaggingReplica,
}

/// The cost of a crash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Entries that were acknowledged to their senders, and are gone.
    pub published: usize,
    /// Entries that a server that only listens had read, and that are gone.
    pub read: u64,
    /// The time until everybody answered everything again.
    pub alive: Duration,
    /// The fates of the messages.
    pub books: Books,
}

impl Cost {
    /// Checks that everybody answered within one heartbeat timeout after the server, as they do on
    /// a machine that isn't too busy.
    ///
    /// # Errors
    ///
    /// Says how long it took.
    pub fn in_time(&self) -> Result<(), String> {
        match self.alive <= quick(Dialect::Streams03).config.heartbeat_timeout {
            true => Ok(()),
            false => Err(format!("not everybody answered within {:?}", self.alive)),
        }
    }
}

/// Has two servers talk to a third and to a Node server, makes the server crash meanwhile, and
/// compares what is reported with what was lost.
///
/// # Errors
///
/// Says what was not reported, or was reported wrongly.
///
/// # Panics
///
/// If something never comes that is only waited for.
pub async fn crash<C: Client>(crash: Crash, rng: &mut Rng) -> Result<Cost, String> {
    let settings = match crash {
        Crash::AppendAlways => &["appendonly yes", "appendfsync always"][..],
        Crash::AppendEverySecond => &["appendonly yes", "appendfsync everysec"],
        Crash::NoPersistence | Crash::LaggingReplica => &[],
    };
    let builder = settings.iter().fold(RedisServer::builder(), |builder, line| builder.config(*line));
    let redis = builder.start().unwrap();
    let replica = (crash == Crash::LaggingReplica).then(|| Replica::start(&redis));
    let door = Proxy::start(redis.addr()).unwrap();
    let options = quick(Dialect::Streams03);
    let cluster = Cluster::<C>::start(&redis, &options, 3, Some(&door.url())).await;
    cluster.settle().await;
    let [a, b, listener] = &cluster.servers[..] else { unreachable!() };
    // The listener hears an entry of theirs that it reads, or passes it over.
    let taken = || {
        let heard: usize = ["a", "b"].map(|author| listener.count_heard(author)).iter().sum();
        (heard + listener.count_repeats()) as u64
    };
    let mut others = 0;
    until("the listener has read all", async || {
        let (last, added) = stream_end(&redis);
        let lags = listener.node().lags().await.unwrap();
        listener.takes_all().await;
        others = added - taken();
        // Nor has anything come that was not counted.
        lags.iter().all(|(_, lag)| lag.position == Some(last)) && stream_end(&redis) == (last, added)
    })
    .await;
    if let Some(replica) = &replica {
        replica.in_sync(&redis).await;
    }

    let (one, two) = (rng.fork(), rng.fork());
    let talk = async |server: &Server, mut rng: Rng| {
        for _ in 0..rng.u32(2..5) {
            server.say(rng.u32(50..400)).await;
        }
    };
    let trouble = async {
        sleep(Duration::from_millis(rng.u64(5..200))).await;
        if let Some(replica) = &replica {
            replica.link.stall_replies();
            sleep(Duration::from_millis(rng.u64(5..100))).await;
        }
        // Nobody writes to what comes back before it has been looked at.
        redis.kill();
        cluster.servers.iter().for_each(|server| server.links().cut());
        // Entries and acknowledgements that had come are told before the loss of the link is. A
        // link may be lost for being slow; it is refused only when it has been cut.
        until("everybody knows that nothing more comes", async || {
            cluster.servers.iter().all(|server| {
                let reports = server.reports();
                let refused = |wanted: fn(&Lane) -> bool| {
                    reports.iter().any(|report| match report {
                        Report::Link { lane, link: LinkState::Down { reason, .. } } => {
                            wanted(lane) && reason.contains("refused")
                        }
                        _ => false,
                    })
                };
                refused(|lane| matches!(lane, Lane::Reader(_))) && refused(|lane| *lane == Lane::Writer)
            })
        })
        .await;
        // Some may be held until the server says whether anything is missing before them; others
        // are on their way to the application.
        let held = async || -> usize {
            listener.node().lags().await.unwrap().iter().map(|(_, lag)| lag.waiting).sum()
        };
        let mut read = 0;
        until("what had come is taken, or held", async || {
            let before = held().await;
            listener.takes_all().await;
            read = others + taken() + before as u64;
            // Nothing is added to what is held: as long as it is as much, nothing was told in
            // between.
            held().await == before
        })
        .await;
        let crashed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let now: &RedisServer = match (&replica, crash) {
            (Some(replica), _) => replica.promote(),
            (None, Crash::AppendEverySecond) => {
                lose_tail(&redis, rng).unwrap();
                &redis
            }
            (None, _) => &redis,
        };
        if replica.is_none() {
            block_in_place(|| redis.restart()).unwrap();
        }
        let (last, added) = stream_end(now);
        let kept = BTreeSet::from_iter(entries(now));
        door.retarget(now.addr());
        door.drop_connections();
        // The readers first: what is found before anybody writes again is exact.
        for server in &cluster.servers {
            server.links().retarget(now.addr());
            server.links().reader.restore().unwrap();
        }
        until("all have asked where the stream ends", async || {
            let one_each = cluster.servers.iter().all(|server| server.links().reader.connections() == 1);
            one_each && reading(now) == cluster.servers.len()
        })
        .await;
        cluster.servers.iter().for_each(|server| server.links().restore().unwrap());
        let alive = cluster.alive().await;
        (read, crashed, last, added, kept, alive)
    };
    let ((), (), (read, crashed, last, added, kept, alive)) =
        tokio::join!(talk(a, one), talk(b, two), trouble);
    cluster.settle().await;

    // The server's clock is this one. What it has acknowledged may be noted later.
    let before =
        |server: &Server| server.published().into_iter().filter(|id| id.ms <= crashed).collect::<Vec<_>>();
    let own = [a, b].map(before);
    let mut cost = Cost { alive, ..Cost::default() };
    let rewound = |server: &Server| {
        server.reports().into_iter().find_map(|report| match report {
            Report::Rewound { cursor, last, lost } => Some((cursor, last, lost)),
            _ => None,
        })
    };
    // The one who listens knows how many of the entries that it had read are lost.
    cost.read = read.saturating_sub(added);
    match rewound(listener) {
        // It may know all the same of entries that it had not read.
        None | Some((.., Lost::Unknown)) if cost.read == 0 => {}
        Some((.., Lost::Exactly(lost))) if lost == cost.read => {}
        other => {
            return Err(format!("{} of {read} entries that had been read are lost: {other:?}", cost.read));
        }
    }
    let gone: BTreeSet<EntryId> = own.iter().flatten().copied().filter(|id| !kept.contains(id)).collect();
    cost.published = gone.len();
    // A sender knows which of its messages: those that were published before, above the place at
    // which the stream goes on.
    for (server, own) in [a, b].into_iter().zip(&own) {
        let gone: Vec<_> = own.iter().filter(|id| gone.contains(id)).collect();
        let told: Vec<_> = match rewound(server) {
            Some((_, last, _)) => own.iter().filter(|id| **id > last).collect(),
            None => Vec::new(),
        };
        if told != gone {
            return Err(format!("{} has lost {gone:?}, and was told {told:?}", server.name()));
        }
    }
    if crash == Crash::AppendAlways && !gone.is_empty() {
        return Err(format!("the server has lost {gone:?}, above {last}"));
    }
    cost.books = cluster.judge(|_, id| gone.contains(&id)).await?;
    Ok(cost)
}

/// The number of connections that read on. On each, the server has been asked before where the
/// stream ends.
fn reading(redis: &RedisServer) -> usize {
    let clients = redis.command(&["CLIENT", "LIST"]);
    let reads = |line: &&str| line.contains("name=sio-streams:reader:") && line.contains(" cmd=xread ");
    clients.as_str().unwrap().lines().filter(reads).count()
}

/// Cuts off the end of the append-only file, in the middle of a command perhaps, as the loss of a
/// machine does.
fn lose_tail(redis: &RedisServer, rng: &mut Rng) -> io::Result<()> {
    let dir = redis.dir().join("appendonlydir");
    let increments = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    let file: PathBuf = increments
        .into_iter()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .unwrap();
    let length = fs::metadata(&file)?.len();
    let file = fs::OpenOptions::new().write(true).open(file)?;
    file.set_len(length - rng.u64(..(length / 4).min(40_000)))
}

/// A replica behind a link of its own.
pub(crate) struct Replica {
    redis: RedisServer,
    link: Proxy,
}

impl Replica {
    pub(crate) fn start(master: &RedisServer) -> Self {
        let link = Proxy::start(master.addr()).unwrap();
        let redis =
            RedisServer::builder().config(format!("replicaof 127.0.0.1 {}", link.port())).start().unwrap();
        Replica { redis, link }
    }

    pub(crate) async fn in_sync(&self, master: &RedisServer) {
        until("the replica has it all", async || stream_end(&self.redis) == stream_end(master)).await;
    }

    pub(crate) fn promote(&self) -> &RedisServer {
        self.link.cut();
        self.redis.command(&["REPLICAOF", "NO", "ONE"]);
        &self.redis
    }
}

/// A reader is away while far more is said than the stream keeps. How much was lost to it, and how
/// much it was told, must be the same.
///
/// # Errors
///
/// Says what the difference is.
pub async fn gap<C: Client>(kept: u64, said: u32) -> Result<u64, String> {
    let redis = RedisServer::start().unwrap();
    let Options { config, .. } = quick(Dialect::Streams03);
    let options = Options { config: Config { max_len: kept, ..config }, ..quick(Dialect::Streams03) };
    let cluster = Cluster::<C>::start(&redis, &options, 3, Some(&redis.url())).await;
    cluster.settle().await;
    let [a, away, _] = &cluster.servers[..] else { unreachable!() };
    let before = away.count_heard(a.name());
    away.links().reader.cut();
    until("the link is down", async || {
        away.reports()
            .iter()
            .any(|report| matches!(report, Report::Link { link: LinkState::Down { .. }, .. }))
    })
    .await;
    for _ in 0..said / 50 {
        // As much as those that are there can follow.
        a.say(50).await;
        let last = a.said() - 1;
        let there = &cluster.servers[2];
        until("it has come", async || there.has_come_to(a.name(), last)).await;
    }
    away.links().reader.restore().unwrap();
    cluster.settle().await;
    let missed = u64::from(a.said()) - away.count_heard(a.name()) as u64;
    let gap = |report| match report {
        Report::Gap { after, until, lost } => Some((after, until, lost)),
        _ => None,
    };
    let gaps: Vec<_> = away.reports().into_iter().filter_map(gap).collect();
    let [(after, until, lost)] = gaps[..] else { return Err(format!("not one gap: {gaps:?}")) };
    if lost != Lost::Exactly(missed) || missed == 0 {
        return Err(format!("{missed} of {} missed after {before}, but reported: {lost:?}", a.said()));
    }
    cluster.judge(|server, id| server.name() == away.name() && id > after && id < until).await?;
    Ok(missed)
}
