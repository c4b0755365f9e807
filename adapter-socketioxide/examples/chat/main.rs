//! A chat on two servers, one in Rust and one on Node.js, which form one cluster over Redis.
//!
//! ```console
//! $ cargo run --manifest-path adapter-socketioxide/Cargo.toml --example chat
//! ```
//!
//! The example starts a Redis server of its own, unless `--redis` names one, and both servers, each
//! behind a link that the page can break. [`server`] and `server.mjs` are what an application would
//! have; the rest makes it a show.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod launcher;
mod server;

use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The npm packages that the project's tests install.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop/peers/node_modules");

/// A chat on two servers, one in Rust and one on Node.js, in one Socket.IO cluster
#[derive(Debug, Parser)]
struct Options {
    /// URL of a Redis server, such as redis://127.0.0.1:6379; by default one is started
    #[arg(long)]
    redis: Option<String>,
    /// Port of the Rust server; the Node.js server has the next one. 0: any that are free
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Be the Rust server; the launcher runs this program again with it
    #[arg(long, hide = true, requires = "redis")]
    serve: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let ran = match (options.serve, options.redis) {
        (true, Some(redis)) => server::run(&redis, options.port).await,
        (_, redis) => launcher::run(redis, options.port).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says something to the launcher, on a line.
fn to_launcher(line: &Value) {
    println!("{line}");
}

/// Takes the lines of the launcher until it closes the standard input.
async fn from_launcher(told: impl AsyncFn(Value)) {
    // The launcher decides when to end, not the terminal.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(line) = serde_json::from_str(&line) {
            told(line).await;
        }
    }
}
