//! Measures nodes of ours beside their peers: `cargo xtask bench peers`.
//!
//! ```text
//! peers [--rounds <n>]          prints tables in Markdown: medians of n rounds (default 5)
//! peers --worker <kind> <url>   one of the processes that are measured
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::env;

use sio_streams_bench::peers::measure::{PAYLOADS, round};
use sio_streams_bench::peers::worker::{self, Kind};
use sio_streams_bench::peers::{Result, report};
use sio_streams_testkit::RedisServer;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(5),
        ["--rounds", rounds] => compare(rounds.parse()?),
        ["--worker", kind, url] => {
            let kind = match kind {
                "redis-rs" => Kind::RedisRs,
                "fred" => Kind::Fred,
                "raw" => Kind::Raw,
                other => return Err(format!("no such worker: {other}").into()),
            };
            // A Node server has one thread too.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(worker::run(kind, url))
        }
        _ => Err("usage: peers [--rounds <n>]".into()),
    }
}

fn compare(rounds: usize) -> Result<()> {
    let server = RedisServer::start()?;
    for (title, payload, count) in PAYLOADS {
        let mut figures = Vec::new();
        for at in 1..=rounds {
            eprintln!("{title}: round {at} of {rounds}");
            figures.push(round(&server, payload, count)?);
        }
        println!("{}", report::table(title, &figures));
    }
    Ok(())
}
