//! The subcommands that need the source tree: mutants of the engine, and the tests of the simulated
//! Redis.

use std::env;
use std::process::Command;

/// The directory of this package, as it was when this was built.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(PACKAGE);
    command
}

fn passes(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("cargo can't be run: {error}");
            false
        }
    }
}

/// Runs this program again, built with the deliberate bugs, in a target directory of its own.
#[cfg(not(sio_streams_mutants))]
pub(crate) fn mutants(seeds: u64, only: Option<&str>) -> bool {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--target-dir", "../target/mutants", "--", "mutants"]);
    command.args(["--seeds", &seeds.to_string()]);
    command.args(only.into_iter().flat_map(|only| ["--only", only]));
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    passes(command.env("RUSTFLAGS", format!("{flags} --cfg sio_streams_mutants")))
}

/// Puts each deliberate bug in force, one after the other, and runs seeds until one breaks a rule. If
/// none does, the recorded seeds are run: some bugs show themselves once in a hundred thousand.
#[cfg(sio_streams_mutants)]
pub(crate) fn mutants(seeds: u64, only: Option<&str>) -> bool {
    use sio_streams_core::mutants;
    use sio_streams_sim::Family;
    use sio_streams_sim::campaign::{self, Campaign};

    // The failure says what the bug breaks.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut wanted, mut rare, mut needed) = (0, 0, Vec::new());
    for (index, (_, name, what)) in mutants::ALL.iter().enumerate() {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        wanted += 1;
        mutants::activate(Some(index));
        let families = &Family::ALL;
        let seeds = seeds.saturating_mul(families.len() as u64);
        let campaign = Campaign {
            families,
            first: 0,
            seeds,
            threads: crate::processors(),
            until_first: true,
            rooms: sio_streams_sim::Rooms::Engine,
        };
        let summary = campaign::run(campaign, |_| {});
        let recorded = || {
            let seeds = crate::recorded().filter_map(Result::ok).map(|(seed, _)| seed);
            seeds.filter_map(|seed| campaign::check_seed(seed, sio_streams_sim::Rooms::Engine).0).next()
        };
        let found = summary.failures.first();
        let again = if found.is_none() { recorded() } else { None };
        mutants::activate(None);
        if let Some(failure) = again {
            rare += 1;
            println!("found   {name:<26} by the recorded seed {}: {}", failure.seed, failure.rule);
            continue;
        }
        match found {
            Some(failure) => {
                let (family, number) = Family::of(failure.seed);
                needed.push(number + 1);
                let family = format!("{family:?}").to_lowercase();
                println!("found   {name:<26} after {:>5} {family} seeds: {}", number + 1, failure.rule);
            }
            None => println!("MISSED  {name:<26} in {seeds} seeds of all families: {what}"),
        }
    }
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or_default();
    println!(
        "found {} of {wanted}, median {median} seeds; {rare} by recorded seeds only",
        needed.len() + rare
    );
    needed.len() + rare == wanted
}

/// Compares the simulated Redis with a real one, with this number of commands.
pub(crate) fn differential(commands: u64) -> bool {
    let mut command = cargo();
    command.args([
        "test",
        "--release",
        "--package",
        "sio-streams-redis-model",
        "--test",
        "differential",
        "--",
    ]);
    command.arg("--nocapture");
    passes(command.env("SIO_STREAMS_COMMANDS", commands.to_string()))
}
