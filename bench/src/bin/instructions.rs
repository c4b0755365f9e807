//! Counts instructions, and compares them with the recorded ones. Unlike time, they are the same on
//! a busy machine.
//!
//! ```text
//! instructions             counts, and fails if a case takes over a tenth more than its budget
//! instructions --record    counts, and records the budgets
//! instructions --work <case> <batches>
//!                          does the work, to be counted by Valgrind
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::{env, fs};

use sio_streams_bench::cases::CASES;
use sio_streams_bench::docs::{self, Result};
use sio_streams_bench::instructions::Program;
use sio_streams_bench::node::BATCH;

/// The recorded budgets: a line for each case, its instructions per message first.
const BUDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.txt");

/// The percentage by which a case may exceed its budget. Compilers and C libraries differ by less.
const TOLERANCE: u64 = 10;

/// Batches of the shorter run. The longer does twice as many: the start and the end of the process
/// are in both.
const BATCHES: usize = 50;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check(),
        ["--record"] => record(),
        ["--work", case, batches] => work(case.parse()?, batches.parse()?),
        _ => Err("usage: instructions [--record]".into()),
    }
}

fn work(case: usize, batches: usize) -> Result<()> {
    let (_, make) = CASES.get(case).ok_or("no such case")?;
    let mut work = make();
    (0..batches).for_each(|_| work());
    Ok(())
}

fn check() -> Result<()> {
    let recorded = fs::read_to_string(BUDGETS)?;
    let program = Program::of_this()?;
    let mut over = Vec::new();
    for (case, (name, _)) in CASES.into_iter().enumerate() {
        let budget = budget(&recorded, name)?;
        let count = count(&program, case)?;
        println!("{count:>8} instructions, {:+.1} %  {name}", (count as f64 / budget as f64 - 1.0) * 100.0);
        if count * 100 > budget * (100 + TOLERANCE) {
            over.push(name);
        }
    }
    match over.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "over their budgets by more than {TOLERANCE} %: {over:?}; if it is worth it, --record"
        )
        .into()),
    }
}

fn budget(recorded: &str, name: &str) -> Result<u64> {
    let mut lines = recorded.lines().filter_map(|line| line.trim().split_once("  "));
    let found = lines.find(|(_, case)| case.trim() == name);
    let (count, _) = found.ok_or_else(|| format!("{BUDGETS} has no budget for {name:?}: --record"))?;
    Ok(count.parse()?)
}

fn record() -> Result<()> {
    let program = Program::of_this()?;
    let mut lines = String::new();
    for (case, (name, _)) in CASES.into_iter().enumerate() {
        lines += &format!("{:>8}  {name}\n", count(&program, case)?);
    }
    print!("{lines}");
    fs::write(BUDGETS, &lines)?;
    docs::show("budgets", &format!("```text\n{lines}```"))
}

/// Instructions per message.
fn count(program: &Program, case: usize) -> Result<u64> {
    let (short, long) = (counted(program, case, BATCHES)?, counted(program, case, 2 * BATCHES)?);
    Ok(long.saturating_sub(short) / (BATCHES * BATCH) as u64)
}

fn counted(program: &Program, case: usize, batches: usize) -> Result<u64> {
    program.instructions(&["--work".into(), case.to_string(), batches.to_string()])
}
