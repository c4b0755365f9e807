//! Compares nodes of ours with their peers: `cargo xtask bench peers`.
//!
//! ```text
//! peers [options]               measures, and prints what came of it in Markdown
//! peers --worker <kind> <url>   one of the processes that are measured
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use sio_streams_bench::docs;
use sio_streams_bench::peers::contender::CONTENDERS;
use sio_streams_bench::peers::measure::{self, PAYLOADS, Plan};
use sio_streams_bench::peers::options::Options;
use sio_streams_bench::peers::results::Results;
use sio_streams_bench::peers::worker::{self, Kind};
use sio_streams_bench::peers::{Result, chart, report};
use sio_streams_testkit::RedisServer;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--worker", kind, url] => {
            let kind = Kind::named(kind).ok_or_else(|| format!("no such worker: {kind}"))?;
            // A Node server has one thread too.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(worker::run(kind, url))
        }
        ref options => compare(&Options::parse(options.iter().copied())?),
    }
}

fn compare(options: &Options) -> Result<()> {
    let began = Instant::now();
    let server = RedisServer::start()?;
    let loads: Vec<_> = PAYLOADS.into_iter().filter(|load| options.payloads.contains(&load.key)).collect();
    let wanted = CONTENDERS.into_iter().filter(|contender| options.contenders.contains(&contender.key));
    let (contenders, missing): (Vec<_>, Vec<_>) = wanted.partition(|contender| contender.is_there());
    let mut failures: Vec<String> =
        missing.iter().map(|contender| format!("{}: its program was not built", contender.name)).collect();
    let plan = if options.quick { Plan::QUICK } else { Plan::WHOLE };
    let payloads = measure::rounds(&server, plan, &loads, &contenders, options.rounds, |failure| {
        failures.push(failure);
    })?;
    let results = Results {
        date: docs::today(),
        machine: machine(&server)?,
        rounds: options.rounds,
        quick: options.quick,
        failures,
        payloads,
    };
    let text = report::markdown(&results);
    println!("{text}");
    let picture = chart::svg(&results);
    if options.docs {
        docs::publish("peers", &results, &text)?;
        fs::write(docs::file("docs/performance.svg"), picture)?;
    } else {
        let place = env::temp_dir().join("sio-streams-peers.svg");
        fs::write(&place, picture)?;
        eprintln!("a chart is in {}", place.display());
    }
    eprintln!("measured for {} s", began.elapsed().as_secs());
    match results.failures.is_empty() {
        true => Ok(()),
        false => Err(format!("some figures are missing:\n{}", results.failures.join("\n")).into()),
    }
}

fn machine(server: &RedisServer) -> Result<String> {
    let info = server.try_command(&["INFO", "server"])?;
    let redis =
        info.as_str().and_then(|text| text.lines().find_map(|line| line.strip_prefix("redis_version:")));
    let node = Command::new("node").arg("--version").output()?;
    Ok(format!(
        "{}, Redis {}, Node.js {}",
        docs::processors(),
        redis.unwrap_or("of some version").trim(),
        String::from_utf8_lossy(&node.stdout).trim().trim_start_matches('v')
    ))
}
