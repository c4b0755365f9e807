//! `cargo xtask soak`: all faults at random, for a given time, on one server, on a cluster, or
//! behind sentinels. A violation ends it, and prints the seed.

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]
#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fastrand::Rng;
use sio_streams_faults::cluster::Books;
use sio_streams_faults::loss::{self, Crash};
use sio_streams_faults::siege::{Sums, siege};
use sio_streams_faults::topology::Kind;
use sio_streams_faults::{Client, Fred, RedisRs, storm};

/// The sums so far.
#[derive(Debug, Default)]
struct Figures {
    rounds: usize,
    published: usize,
    failed: usize,
    heard: usize,
    node_heard: usize,
    node_repeats: usize,
    repeated: usize,
    faults: usize,
    cuts: usize,
    hangs: usize,
    kills: usize,
    crashes: usize,
    lost_published: usize,
    lost_read: u64,
    gaps: usize,
    missed: u64,
    slowest: Duration,
}

impl Figures {
    fn add(&mut self, books: &Books) {
        self.published += books.published;
        self.failed += books.failed;
        self.heard += books.heard;
        self.node_heard += books.node_heard;
        self.node_repeats += books.node_repeats;
        self.repeated += books.repeated;
    }

    fn print(&self, elapsed: Duration, violations: usize) {
        println!("{:>9} minutes, in {} rounds", elapsed.as_secs() / 60, self.rounds);
        println!("{:>9} messages of ours published, {} reported as failed", self.published, self.failed);
        println!("{:>9} deliveries at servers of ours, {} at Node servers", self.heard, self.node_heard);
        println!("{:>9} faults of links, {} times all links of a server", self.faults, self.cuts);
        println!("{:>9} servers killed with all on disk, {} hung or paused", self.kills, self.hangs);
        println!("{:>9} repeats passed over by ours, {} seen by Node", self.repeated, self.node_repeats);
        println!(
            "{:>9} crashes: {} messages lost after they were published, {} after they were read, all reported",
            self.crashes, self.lost_published, self.lost_read
        );
        println!("{:>9} gaps: {} messages missed, all reported", self.gaps, self.missed);
        println!("{:>9.1} s at most until everybody answered after a crash", self.slowest.as_secs_f64());
        println!("{violations:>9} violations");
    }
}

async fn round<C: Client>(rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
    match rng.u8(..8) {
        0 => {
            figures.missed += loss::gap::<C>(rng.u64(50..300), rng.u32(1_000..5_000)).await?;
            figures.gaps += 1;
        }
        kind @ 1..4 => {
            let crash = [Crash::AppendEverySecond, Crash::NoPersistence, Crash::LaggingReplica];
            let cost = loss::crash::<C>(crash[usize::from(kind) - 1], rng).await?;
            cost.in_time()?;
            figures.crashes += 1;
            figures.lost_published += cost.published;
            figures.lost_read += cost.read;
            figures.slowest = figures.slowest.max(cost.alive);
            figures.add(&cost.books);
        }
        _ => {
            let weather = storm::storm::<C>(rng.usize(5..15), rng).await?;
            figures.faults += weather.faults;
            figures.kills += weather.kills;
            figures.hangs += weather.hangs;
            figures.cuts += weather.cuts;
            figures.add(&weather.books);
        }
    }
    figures.rounds += 1;
    Ok(())
}

/// The options of the command.
struct Options {
    minutes: u64,
    seed: u64,
    /// One server by default.
    kind: Option<Kind>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { minutes: 10, seed: fastrand::u64(..), kind: None };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let mut number = || args.next().and_then(|value| value.parse().ok());
        let known = match &*name {
            "--minutes" => number().map(|value| options.minutes = value),
            "--seed" => number().map(|value| options.seed = value),
            "--cluster" => {
                options.kind = Some(Kind::Cluster);
                Some(())
            }
            "--sentinel" => {
                options.kind = Some(Kind::Sentinel);
                Some(())
            }
            _ => None,
        };
        if known.is_none() {
            return Err(format!("{name}: --minutes <n>, --seed <n>, --cluster and --sentinel are known"));
        }
    }
    Ok(options)
}

fn print(sums: &Sums, elapsed: Duration, violations: usize) {
    let books = &sums.books;
    println!("{:>9} minutes, {} gusts, {} sets of four nodes", elapsed.as_secs() / 60, sums.gusts, sums.sets);
    println!("{:>9} messages published, {} reported as failed", books.published, books.failed);
    println!("{:>9} deliveries at other nodes, {} repeats passed over", books.heard, books.repeated);
    let list = |counts: Vec<String>| counts.join(", ");
    let deeds = sums.deeds.iter().map(|(deed, count)| format!("{count} {deed:?}")).collect();
    println!(
        "{:>9} times something happened to servers: {}",
        sums.deeds.values().sum::<usize>(),
        list(deeds)
    );
    let links = sums.links.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!(
        "{:>9} times something happened to a node's links: {}",
        sums.links.values().sum::<usize>(),
        list(links)
    );
    println!("{:>9} links reported lost, {} attempts to connect", sums.downs, sums.attempts);
    println!(
        "{:>9} acknowledged messages lost by Redis, {} deliveries less for it; {} rewinds reported, {} gaps",
        sums.lost, books.excused, sums.rewinds, sums.gaps
    );
    let (told, untold) = sums.forked;
    println!(
        "{:>9} deliveries less because there were two masters, {untold} of them not reported",
        told + untold
    );
    println!("{:>9.1} s at most until everything had come to everybody", sums.slowest.as_secs_f64());
    if let Some((early, late)) = sums.memory {
        println!("{:>9} KiB of memory at the end, {} early on", late / 1_024, early / 1_024);
    }
    println!("{violations:>9} violations");
}

async fn on_several_servers(kind: Kind, options: &Options) -> ExitCode {
    let (started, mut sums) = (Instant::now(), Sums::default());
    let time = Duration::from_secs(60 * options.minutes);
    let outcome = siege(kind, time, &mut Rng::with_seed(options.seed), &mut sums).await;
    let outcome = outcome.and_then(|()| sums.memory_is_flat());
    print(&sums, started.elapsed(), usize::from(outcome.is_err()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("VIOLATION: {why}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            println!("{why}");
            return ExitCode::from(2);
        }
    };
    let Options { minutes, seed, kind } = options;
    println!("soak: seed {seed}");
    if let Some(kind) = kind {
        return on_several_servers(kind, &options).await;
    }
    let (started, end) = (Instant::now(), Duration::from_secs(60 * minutes));
    let (mut rng, mut figures) = (Rng::with_seed(seed), Figures::default());
    while started.elapsed() < end {
        // Each round has a seed of its own, by which it alone can be repeated: the first round of a
        // soak with that seed is the same.
        let round_seed = if figures.rounds == 0 { seed } else { rng.u64(..) };
        let mut own = Rng::with_seed(round_seed);
        let task = async {
            match own.bool() {
                true => round::<RedisRs>(&mut own, &mut figures).await,
                false => round::<Fred>(&mut own, &mut figures).await,
            }
        };
        if let Err(why) = task.await {
            figures.print(started.elapsed(), 1);
            println!("VIOLATION in the round of seed {round_seed}: {why}");
            return ExitCode::FAILURE;
        }
    }
    figures.print(started.elapsed(), 0);
    ExitCode::SUCCESS
}
