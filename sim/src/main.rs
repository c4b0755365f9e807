//! The simulator's command.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod campaign_log;
mod dev_commands;
mod speed;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use clap::{Parser, Subcommand};
use sio_streams_sim::Rooms;
use sio_streams_sim::campaign::{self, Campaign, Failure, Summary};
use sio_streams_sim::explore::{self, Scenario};
use sio_streams_sim::{Family, hashes, page, text};

/// Regression seeds: each line has a seed, and the bug that it found.
const SEEDS: &str = include_str!("../seeds.txt");

/// Simulates Socket.IO clusters over Redis Streams in bad times, reproducibly.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// The rooms are those of the simulated applications, not of the engine.
    #[arg(long, global = true)]
    own_rooms: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds; fails if one of them breaks a rule.
    Run {
        /// The number of seeds.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The number of the first seed of each family; the others follow. By default it is drawn
        /// at random, and printed.
        #[arg(long)]
        first: Option<u64>,
        /// Only seeds of this family.
        #[arg(long, value_enum)]
        family: Option<Only>,
        /// The number of threads. The default is the number of processors.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Runs seeds of all families by turns, in parts that are logged. Run again, it goes on where it
    /// was interrupted. Needs the source tree, and git.
    Campaign {
        /// The number of seeds of the present sources that the log is to have, of all families together.
        #[arg(long, default_value_t = 1_000_000)]
        seeds: u64,
        /// The number of threads. The default is the number of processors.
        #[arg(long)]
        jobs: Option<usize>,
        /// The log.
        #[arg(long, default_value = "sim/campaigns.txt")]
        log: PathBuf,
    },
    /// Tries all orders in which things can happen in small worlds. Fails if one breaks a rule, or if
    /// some are left out.
    Explore {
        /// Only the scenario of this name.
        #[arg(long)]
        scenario: Option<String>,
        /// Also the scenarios that take minutes.
        #[arg(long)]
        long: bool,
        /// The largest number of worlds of each scenario.
        #[arg(long, default_value_t = 1_000_000)]
        states: usize,
        /// The number of threads. The default is the number of processors.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Runs the regression seeds: those that once broke a rule.
    Regressions,
    /// Runs the seeds of a file, and compares what happens with the hashes in it.
    Hashes {
        /// The file.
        #[arg(long, default_value = "sim/hashes.txt")]
        check: PathBuf,
        /// Records the hashes in the file instead: what happens was changed on purpose.
        #[arg(long)]
        write: bool,
        /// The number of threads. The default is the number of processors.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Runs a seed twice, and shows what happens.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Writes an HTML page that can be zoomed.
        #[arg(long)]
        html: Option<PathBuf>,
        /// Shows every command and reply too.
        #[arg(long)]
        wire: bool,
        /// Shows only whether the two runs are the same.
        #[arg(long)]
        quiet: bool,
    },
    /// Looks for the shortest run that breaks the same rule as a seed, and shows it.
    Minimise {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Writes an HTML page that can be zoomed.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Builds an engine with deliberate bugs, and checks that each is found. Needs the source tree.
    Mutants {
        /// The number of seeds of each family that each bug may take.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// Only the bugs whose names contain this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Sends the same random commands to the simulated Redis and to a real one. Needs the source
    /// tree, and redis-server.
    Differential {
        /// The number of commands.
        #[arg(long, default_value_t = 100_000)]
        commands: u64,
    },
    /// Measures how fast the simulation is.
    Speed,
}

/// A family of seeds.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Only {
    /// The dialects with streams.
    Streams,
    /// The dialects without: classic and sharded Pub/Sub.
    Channels,
    /// Clients that drop and recover.
    Recovery,
    /// Rare circumstances.
    Adverse,
}

impl Only {
    fn families(only: Option<Self>) -> &'static [Family] {
        match only {
            None => &Family::ALL,
            Some(Only::Streams) => &[Family::Streams],
            Some(Only::Channels) => &[Family::Channels],
            Some(Only::Recovery) => &[Family::Recovery],
            Some(Only::Adverse) => &[Family::Adverse],
        }
    }
}

fn main() -> ExitCode {
    let Args { command, own_rooms } = Args::parse();
    let rooms = if own_rooms { Rooms::Application } else { Rooms::Engine };
    let passed = match command {
        Command::Run { seeds, first, family, threads } => {
            let threads = threads.unwrap_or_else(processors);
            run(seeds, first, Only::families(family), rooms, threads)
        }
        Command::Campaign { seeds, jobs, log } => {
            let jobs = jobs.unwrap_or_else(processors);
            campaign_log::campaign(seeds, &log, rooms, jobs).unwrap_or_else(|error| {
                println!("{}: {error}", log.display());
                false
            })
        }
        Command::Explore { scenario, long, states, jobs } => {
            explore(scenario.as_deref(), long, states, jobs.unwrap_or_else(processors))
        }
        Command::Regressions => regressions(rooms),
        Command::Hashes { check, write, threads } => {
            let threads = threads.unwrap_or_else(processors);
            let passed =
                if write { write_hashes(&check, threads) } else { check_hashes(&check, rooms, threads) };
            passed.unwrap_or_else(|error| {
                println!("{}: {error}", check.display());
                false
            })
        }
        Command::Replay { seed, html, wire, quiet } => replay(seed, rooms, html, wire, quiet),
        Command::Minimise { seed, html } => minimise(seed, rooms, html),
        Command::Mutants { seeds, only } => dev_commands::mutants(seeds, only.as_deref()),
        Command::Differential { commands } => dev_commands::differential(commands),
        Command::Speed => {
            speed::measure();
            true
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn tell(failure: &Failure) {
    let details: String = failure.details.chars().take(400).collect();
    println!("seed {} breaks a rule: {}; {details}", failure.seed, failure.rule);
}

fn run(seeds: u64, first: Option<u64>, families: &'static [Family], rooms: Rooms, threads: usize) -> bool {
    let first = first.unwrap_or_else(|| fastrand::u64(..1 << 48));
    for family in families {
        println!("{family:?}: seeds from {}", family.seed(first));
    }
    let campaign = Campaign { families, first, seeds, threads, until_first: false, rooms };
    let summary = campaign::run(campaign, tell);
    finish(&summary, rooms)
}

fn explore(only: Option<&str>, long: bool, states: usize, jobs: usize) -> bool {
    let scenarios = match only {
        Some(name) => Scenario::named(name).into_iter().collect(),
        None if long => [Scenario::small(), Scenario::long()].concat(),
        None => Scenario::small(),
    };
    let passed = AtomicBool::new(!scenarios.is_empty());
    campaign::spread(jobs, |number| {
        let Some(scenario) = usize::try_from(number).ok().and_then(|number| scenarios.get(number)) else {
            return false;
        };
        let started = std::time::Instant::now();
        let explored = explore::explore(scenario, states);
        let seconds = started.elapsed().as_secs_f64();
        println!("{}: {}: {explored}, {seconds:.1} s", scenario.name, scenario.about);
        if explored.violation.is_some() || !explored.complete {
            passed.store(false, Ordering::Relaxed);
        }
        true
    });
    passed.into_inner()
}

/// Shows the first failure in its shortest form, and sums up.
fn finish(summary: &Summary, rooms: Rooms) -> bool {
    if let Some(failure) = summary.failures.first() {
        println!("\nthe shortest run found that breaks the rule of seed {}:\n", failure.seed);
        match campaign::minimise_seed(failure.seed, rooms) {
            Some(minimised) => print!("{}", minimised.text()),
            None => println!("none: replay --seed {}", failure.seed),
        }
        println!();
    }
    println!("{}", summary.line());
    summary.failures.is_empty()
}

/// The seeds that once broke a rule, and what they found; or a line that is neither.
pub(crate) fn recorded() -> impl Iterator<Item = Result<(u64, &'static str), &'static str>> {
    let lines = SEEDS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.split_once(' ').map(|(seed, found)| (seed.parse(), found)) {
        Some((Ok(seed), found)) => Ok((seed, found)),
        _ => Err(line),
    })
}

fn regressions(rooms: Rooms) -> bool {
    let mut summary = Summary::default();
    let started = std::time::Instant::now();
    for line in recorded() {
        let Ok((seed, found)) = line else {
            println!("not a seed and what it found: {line:?}");
            return false;
        };
        let (failure, report) = campaign::check_seed(seed, rooms);
        summary.seeds += 1;
        summary.simulated += report.simulated;
        summary.events += report.events;
        if let Some(failure) = failure {
            println!("once: {}", found.trim());
            tell(&failure);
            summary.failures.push(failure);
        }
    }
    summary.wall = started.elapsed();
    finish(&summary, rooms)
}

/// The number of seeds of each family whose hashes are in the file.
const HASHED: u64 = 300;

fn check_hashes(path: &Path, rooms: Rooms, threads: usize) -> Result<bool, Box<dyn Error>> {
    let recorded = hashes::read(&fs::read_to_string(path)?)?;
    let seeds: Vec<u64> = recorded.iter().map(|line| line.seed).collect();
    let lines = hashes::run(&seeds, rooms, threads);
    let differ = Vec::from_iter(lines.iter().zip(&recorded).filter(|(line, recorded)| line != recorded));
    for (line, _) in &differ {
        println!("seed {}: other things happen than were recorded", line.seed);
    }
    println!("hashes {}, others {}", recorded.len(), differ.len());
    Ok(differ.is_empty() && !recorded.is_empty())
}

fn write_hashes(path: &Path, threads: usize) -> Result<bool, Box<dyn Error>> {
    let lines = hashes::run(&Vec::from_iter(hashes::seeds(HASHED)), Rooms::Engine, threads);
    let failed = lines.iter().filter(|line| line.hash.is_none());
    failed.for_each(|line| println!("seed {} breaks a rule", line.seed));
    let passed = lines.iter().all(|line| line.hash.is_some());
    if passed {
        fs::write(path, hashes::write(&lines))?;
        println!("hashes {}, written to {}", lines.len(), path.display());
    }
    Ok(passed)
}

fn write_page(html: Option<PathBuf>, title: &str, records: &[sio_streams_sim::Record]) -> bool {
    let Some(path) = html else { return true };
    match fs::write(&path, page(title, records)) {
        Ok(()) => {
            println!("written: {}", path.display());
            true
        }
        Err(error) => {
            println!("{} can't be written: {error}", path.display());
            false
        }
    }
}

fn replay(seed: u64, rooms: Rooms, html: Option<PathBuf>, wire: bool, quiet: bool) -> bool {
    let (one, two) = (campaign::record_seed(seed, rooms), campaign::record_seed(seed, rooms));
    if !quiet {
        print!("{}", text(&one.records, wire));
    }
    let verdict = one.failure().unwrap_or_else(|| "no rule is broken".to_owned());
    println!("seed {seed}: {verdict}");
    println!("seed {seed}: trace {:016x}, and again {:016x}", one.hash, two.hash);
    let title = format!("seed {seed}: {}", one.rule().unwrap_or("no rule is broken"));
    let written = write_page(html, &title, &one.records);
    one.hash == two.hash && one.failure().is_none() && written
}

fn minimise(seed: u64, rooms: Rooms, html: Option<PathBuf>) -> bool {
    let Some(minimised) = campaign::minimise_seed(seed, rooms) else {
        println!("seed {seed} breaks no rule");
        return true;
    };
    print!("{}", minimised.text());
    println!("after {} runs", minimised.runs);
    let title = format!("seed {seed}, minimised: {}", minimised.report.rule().unwrap_or_default());
    write_page(html, &title, &minimised.report.records);
    false
}
