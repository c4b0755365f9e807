//! The growth of the engine's work with its load: `cargo xtask bench growth`.
//!
//! ```text
//! growth [--docs] [word]    counts instructions, prints a table in Markdown, and fails if anything grows too much; a word selects
//! growth --work <curve> <size>
//!                           does the work, to be counted by Valgrind
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sio_streams_bench::docs::{self, Result};
use sio_streams_bench::growth::{Curve, Found, Grows, curves, exponent, is_too_much, table};
use sio_streams_bench::instructions::{Program, count_these_instructions};
use sio_streams_bench::node::BATCH;

/// The number of times that work which must not grow is done before it is counted: tables that grow
/// at first have grown then.
const BEFORE: usize = 2;
/// The number of times that it is counted.
const COUNTED: usize = 4;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--work", curve, size] => work(curve.parse()?, size.parse()?),
        [] => measure("", false),
        ["--docs"] => measure("", true),
        [word] if !word.starts_with('-') => measure(word, false),
        _ => Err("usage: bench growth [--docs] [word]".into()),
    }
}

fn work(curve: usize, size: usize) -> Result<()> {
    let curve = *curves().get(curve).ok_or("no such curve")?;
    let mut work = (curve.make)(size);
    match curve.grows {
        Grows::Not => {
            (0..BEFORE).for_each(|_| work());
            count_these_instructions(&mut || (0..COUNTED).for_each(|_| work()));
        }
        Grows::Linearly => count_these_instructions(&mut work),
    }
    Ok(())
}

fn measure(word: &str, publish: bool) -> Result<()> {
    let curves = curves();
    let chosen: Vec<usize> = (0..curves.len()).filter(|at| is_meant(&curves[*at], word)).collect();
    if chosen.is_empty() {
        return Err(format!("no curve has {word:?} in its name").into());
    }
    // Other processes do not change the number of instructions, so each processor runs one.
    let next = AtomicUsize::new(0);
    let program = Program::of_this()?;
    let turn = || {
        let mut found = Vec::new();
        while let Some(at) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let curve = find(&program, *at, curves[*at])?;
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

fn find(program: &Program, at: usize, curve: Curve) -> Result<Found> {
    let mut costs = Vec::new();
    for size in curve.sizes {
        let count = program.counted(&["--work".into(), at.to_string(), size.to_string()])?;
        let times = match curve.grows {
            Grows::Not => COUNTED * BATCH,
            Grows::Linearly => 1,
        };
        costs.push((*size, count / times as u64));
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
