//! How the engine's work grows with what there is of it: `cargo xtask bench growth`.
//!
//! ```text
//! growth [--docs] [word]    counts instructions, prints a table in Markdown, and fails if anything grows too much; a word selects
//! growth --work <curve> <size> <times>
//!                           does the work, to be counted by Valgrind
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::env;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use sio_streams_bench::docs::{self, Result};
use sio_streams_bench::growth::{CURVES, Curve, Grows, exponent, is_too_much};
use sio_streams_bench::instructions::of_this_program;
use sio_streams_bench::node::BATCH;

/// How often work that must not grow is done: less often, and more often. What grows at first has grown then.
const TIMES: (usize, usize) = (2, 6);

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--work", curve, size, times] => work(curve.parse()?, size.parse()?, times.parse()?),
        [] => measure("", false),
        ["--docs"] => measure("", true),
        [word] if !word.starts_with('-') => measure(word, false),
        _ => Err("usage: bench growth [--docs] [word]".into()),
    }
}

fn work(curve: usize, size: usize, times: usize) -> Result<()> {
    let curve = CURVES.get(curve).ok_or("no such curve")?;
    let mut work = (curve.make)(size);
    (0..times).for_each(|_| work());
    Ok(())
}

/// What was found.
#[derive(Serialize, Deserialize)]
struct Found {
    of: String,
    work: String,
    grows: bool,
    costs: Vec<(usize, u64)>,
    exponent: f64,
    too_much: bool,
}

fn measure(word: &str, publish: bool) -> Result<()> {
    let chosen: Vec<usize> = (0..CURVES.len()).filter(|at| is_meant(&CURVES[*at], word)).collect();
    if chosen.is_empty() {
        return Err(format!("no curve has {word:?} in its name").into());
    }
    // Instructions don't mind company: on each processor one.
    let next = AtomicUsize::new(0);
    let turn = || {
        let mut found = Vec::new();
        while let Some(at) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let curve = find(*at)?;
            eprintln!("{}: {}: {:?}, exponent {:.2}", curve.of, curve.work, curve.costs, curve.exponent);
            found.push((*at, curve));
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(found)
    };
    let mut all = Vec::new();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(turn)).collect();
        for thread in running {
            all.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    all.sort_by_key(|(at, _)| *at);
    let all: Vec<Found> = all.into_iter().map(|(_, found)| found).collect();
    let text = table(&all);
    println!("{text}");
    if publish {
        docs::publish("growth", &all, &text)?;
    }
    let over: Vec<_> = all.iter().filter(|found| found.too_much).collect();
    match over[..] {
        [] => Ok(()),
        _ => Err(over.iter().fold("grows too much:".to_owned(), |text, found| {
            format!("{text}\n  {}: {} (exponent {:.2})", found.of, found.work, found.exponent)
        }))?,
    }
}

fn is_meant(curve: &Curve, word: &str) -> bool {
    curve.of.contains(word) || curve.work.contains(word)
}

fn find(at: usize) -> Result<Found> {
    let curve = CURVES[at];
    let mut costs = Vec::new();
    for size in curve.sizes {
        let count = |times: usize| {
            of_this_program(&["--work".into(), at.to_string(), size.to_string(), times.to_string()])
        };
        let cost = match curve.grows {
            Grows::Not => {
                let (fewer, more) = TIMES;
                (count(more)?.saturating_sub(count(fewer)?)) / ((more - fewer) * BATCH) as u64
            }
            Grows::Linearly => count(1)?.saturating_sub(count(0)?),
        };
        costs.push((*size, cost));
    }
    let exponent = exponent(&costs);
    Ok(Found {
        of: curve.of.into(),
        work: curve.work.into(),
        grows: curve.grows == Grows::Linearly,
        exponent,
        too_much: is_too_much(curve.grows, exponent),
        costs,
    })
}

fn table(all: &[Found]) -> String {
    let mut out =
        String::from("| of | work | instructions, by their number | exponent | |\n|---|---|---|---:|---|\n");
    for found in all {
        let costs: Vec<String> = found
            .costs
            .iter()
            .map(|(size, cost)| match found.grows {
                // For one of them.
                true => format!("{size}: {} each", cost / *size as u64),
                false => format!("{size}: {cost}"),
            })
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.2} | {} |",
            found.of,
            found.work,
            costs.join(", "),
            found.exponent,
            if found.too_much { "**too much**" } else { "" }
        );
    }
    out
}
