//! The command line.

use std::str::FromStr;

pub(crate) const HELP: &str = "\
The chores of the sio-streams workspace.

Usage: cargo xtask <task> [options]

Tasks:
  setup [--no-interop]
        Makes this machine ready for the tests: a redis-server (6.2 or later), Node.js with npm, and the pinned npm
        peers; and Valgrind, for the budgets. Installs redis-server and Valgrind with apt-get or brew where they are
        missing. --no-interop leaves out Node.js.
  test [--no-interop] [cargo test arguments..]
        setup, then `cargo test --workspace --locked --no-fail-fast` with the given arguments; with -p <package> it is
        that package instead of the workspace. --no-interop also leaves out the tests that need Node.js.
            cargo xtask test
            cargo xtask test -p sio-streams-interop a_pair_of_0_3 -- --nocapture
  fuzz [--seconds <n>] [--seed <n>] [target..]
        Runs the fuzz targets, all or those named, for n seconds altogether (default 60). Needs a nightly toolchain;
        installs cargo-fuzz where it is missing.
  fuzz --coverage [target..]
        Shows which lines of core the inputs reach that are kept, and those that runs on this machine have added.
  miri [cargo test arguments..]
        Runs core's tests under Miri, an interpreter that sees undefined behaviour: all but the documentation's examples, or those
        that the arguments name. Needs a nightly toolchain; installs Miri where it is missing.
            cargo xtask miri --lib --test vectors
  soak [--minutes <n>] [--seed <n>]
        Breaks links and servers at random for n minutes (default 10), and counts what was said against what arrived. Fails at the
        first violation, with its seed.
  bench recovery
        10 000 sessions restored at once: within the window, by pages, and by streams-0.3.1, in one run.
  bench peers [--rounds <n>] [--quick] [--only <payload>[,..]] [--contenders <name>[,..]] [--docs]
        Measures nodes of ours beside Node's with the official adapters, socketioxide's, and bare Redis clients, on one Redis, and
        prints tables in Markdown: medians of n rounds (default 5), about a quarter of an hour on a quiet machine. --quick: one
        short round. --docs writes them to docs/performance.md, with a chart.
            cargo xtask bench peers --only small,1k-json --contenders redis,bare-redis
  bench frames [--docs]
        From stream entries to the frames for Socket.IO clients, beside Node.
  bench growth [--docs] [word]
        Counts with Valgrind how the engine's work grows with nodes, namespaces, sockets and the like, and fails if
        it grows too much. A word selects.
  bench budgets [--record]
        Counts the engine's instructions with Valgrind, and fails if there are over a tenth more than recorded.
  ci    Everything that a change must pass: formatting, lints, documentation, the minimum Rust version, the tests, the budgets, a
        short simulation, a short fuzz run. Stops at the first failure.
  help  This text.

Environment:
  SIO_STREAMS_FAULTS_SEED    repeats a test of faults with the seed that it printed
  SIO_STREAMS_FAULTS_FULL    set to anything: the tests of faults in their long form
  SIO_STREAMS_REDIS_SERVER   the Redis or Valkey server binary to test with, instead of `redis-server` on the PATH";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Setup(Interop),
    Test { interop: Interop, args: Vec<String> },
    Fuzz(FuzzOptions),
    Miri(Vec<String>),
    Soak(Vec<String>),
    BenchRecovery,
    BenchPeers(Vec<String>),
    BenchBudgets(Vec<String>),
    BenchGrowth(Vec<String>),
    BenchFrames(Vec<String>),
    Ci,
}

/// Whether the tests against real Node peers take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interop {
    With,
    Without,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FuzzOptions {
    /// For all targets together.
    pub(crate) seconds: u64,
    /// Chosen when absent.
    pub(crate) seed: Option<u32>,
    /// Nothing is looked for; it is shown what the inputs reach.
    pub(crate) coverage: bool,
    /// All when empty.
    pub(crate) targets: Vec<String>,
}

impl Default for FuzzOptions {
    fn default() -> Self {
        Self { seconds: 60, seed: None, coverage: false, targets: Vec::new() }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("no task was given")]
    NoTask,
    #[error("there is no task `{0}`")]
    UnknownTask(String),
    #[error("`{task}` does not take `{argument}`")]
    UnknownArgument { task: &'static str, argument: String },
    #[error("`bench` wants the name of a benchmark: peers, frames, growth, budgets or recovery")]
    UnknownBench,
    #[error("`{0}` wants a number")]
    NotANumber(&'static str),
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Task, UsageError> {
    let mut args = args;
    let task = args.next().ok_or(UsageError::NoTask)?;
    let rest: Vec<String> = args.collect();
    let own: Vec<&String> = rest.iter().take_while(|arg| *arg != "--").collect();
    if own.iter().any(|arg| *arg == "--help" || *arg == "-h") {
        return Ok(Task::Help);
    }
    match task.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "setup" => {
            let (interop, others) = split_interop(rest);
            none("setup", others)?;
            Ok(Task::Setup(interop))
        }
        "test" => {
            let (interop, args) = split_interop(rest);
            Ok(Task::Test { interop, args })
        }
        "fuzz" => parse_fuzz(rest).map(Task::Fuzz),
        "miri" => Ok(Task::Miri(rest)),
        "soak" => Ok(Task::Soak(rest)),
        "bench" => parse_bench(rest),
        "ci" => none("ci", rest).map(|()| Task::Ci),
        _ => Err(UsageError::UnknownTask(task)),
    }
}

/// Takes `--no-interop` out, wherever it stands before `--`.
fn split_interop(mut args: Vec<String>) -> (Interop, Vec<String>) {
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    match args[..end].iter().position(|arg| arg == "--no-interop") {
        Some(at) => {
            args.remove(at);
            (Interop::Without, args)
        }
        None => (Interop::With, args),
    }
}

fn none(task: &'static str, args: Vec<String>) -> Result<(), UsageError> {
    match args.into_iter().next() {
        Some(argument) => Err(UsageError::UnknownArgument { task, argument }),
        None => Ok(()),
    }
}

fn parse_bench(mut args: Vec<String>) -> Result<Task, UsageError> {
    let what = if args.is_empty() { String::new() } else { args.remove(0) };
    match what.as_str() {
        "peers" => Ok(Task::BenchPeers(args)),
        "budgets" => Ok(Task::BenchBudgets(args)),
        "growth" => Ok(Task::BenchGrowth(args)),
        "frames" => Ok(Task::BenchFrames(args)),
        "recovery" => none("bench recovery", args).map(|()| Task::BenchRecovery),
        _ => Err(UsageError::UnknownBench),
    }
}

fn parse_fuzz(args: Vec<String>) -> Result<FuzzOptions, UsageError> {
    let mut options = FuzzOptions::default();
    let mut args = args.into_iter();
    while let Some(argument) = args.next() {
        match argument.as_str() {
            "--seconds" => options.seconds = number("--seconds", args.next())?,
            "--coverage" => options.coverage = true,
            "--seed" => options.seed = Some(number("--seed", args.next())?),
            other if other.starts_with('-') => {
                return Err(UsageError::UnknownArgument { task: "fuzz", argument });
            }
            _ => options.targets.push(argument),
        }
    }
    Ok(options)
}

fn number<N: FromStr>(option: &'static str, value: Option<String>) -> Result<N, UsageError> {
    value.and_then(|value| value.parse().ok()).ok_or(UsageError::NotANumber(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Task, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn test_passes_on_what_is_not_its_own() {
        let task = parse_words("test -p core --no-interop name -- --nocapture").unwrap();
        let args = ["-p", "core", "name", "--", "--nocapture"].map(str::to_owned).to_vec();
        assert_eq!(task, Task::Test { interop: Interop::Without, args });
    }

    #[test]
    fn after_two_dashes_nothing_is_ours() {
        let task = parse_words("test -- --no-interop --help").unwrap();
        let args = ["--", "--no-interop", "--help"].map(str::to_owned).to_vec();
        assert_eq!(task, Task::Test { interop: Interop::With, args });
    }

    #[test]
    fn fuzz_options() {
        let task = parse_words("fuzz --seconds 5 entry --seed 7").unwrap();
        let targets = vec!["entry".to_owned()];
        let options = FuzzOptions { seconds: 5, seed: Some(7), targets: targets.clone(), coverage: false };
        assert_eq!(task, Task::Fuzz(options));
        let task = parse_words("fuzz entry --coverage").unwrap();
        assert_eq!(task, Task::Fuzz(FuzzOptions { coverage: true, targets, ..FuzzOptions::default() }));
        assert_eq!(parse_words("fuzz --seconds"), Err(UsageError::NotANumber("--seconds")));
        assert_eq!(parse_words("fuzz --seconds -1"), Err(UsageError::NotANumber("--seconds")));
    }

    #[test]
    fn miri_passes_everything_on() {
        let args = ["--test", "vectors", "--", "--nocapture"].map(str::to_owned).to_vec();
        assert_eq!(parse_words("miri --test vectors -- --nocapture"), Ok(Task::Miri(args)));
    }

    #[test]
    fn benches_have_names() {
        let args = ["--rounds", "3"].map(str::to_owned).to_vec();
        assert_eq!(parse_words("bench peers --rounds 3"), Ok(Task::BenchPeers(args)));
        assert_eq!(parse_words("bench budgets"), Ok(Task::BenchBudgets(Vec::new())));
        assert_eq!(parse_words("bench growth rooms"), Ok(Task::BenchGrowth(vec!["rooms".to_owned()])));
        assert_eq!(parse_words("bench frames"), Ok(Task::BenchFrames(Vec::new())));
        assert_eq!(parse_words("bench recovery"), Ok(Task::BenchRecovery));
        for line in ["bench", "bench peer"] {
            assert_eq!(parse_words(line), Err(UsageError::UnknownBench), "{line}");
        }
    }

    #[test]
    fn help_is_asked_for_in_many_ways() {
        for line in ["help", "--help", "-h", "test --help", "ci -h"] {
            assert_eq!(parse_words(line), Ok(Task::Help), "{line}");
        }
    }

    #[test]
    fn the_unknown_is_refused() {
        assert_eq!(parse_words(""), Err(UsageError::NoTask));
        assert_eq!(parse_words("tset"), Err(UsageError::UnknownTask("tset".to_owned())));
        for line in ["ci --fast", "setup redis", "fuzz --fast"] {
            assert!(matches!(parse_words(line), Err(UsageError::UnknownArgument { .. })), "{line}");
        }
    }
}
