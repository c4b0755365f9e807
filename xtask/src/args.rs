//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

/// Development tasks of the sio-streams workspace
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 100, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const ENVIRONMENT: &str = "\
`cargo xtask help <task>` explains one task and its options.

Environment:
  SIO_STREAMS_CHROMIUM       the binary of Chromium or Chrome to test with, instead of `chromium` on the PATH
  SIO_STREAMS_FAULTS_SEED    repeats a test of faults with the seed that it printed
  SIO_STREAMS_FAULTS_FULL    set to anything: the tests of faults in their long form
  SIO_STREAMS_REDIS_SERVER   the Redis or Valkey server binary to test with, instead of `redis-server` on the PATH
  SIO_STREAMS_SCREENSHOT     the absolute path of a file: the test in a browser takes a picture, as docs/chat.png";

/// The task that the command line asks for.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Task {
    /// Install what the tests need: redis-server, the pinned npm packages, Chromium, Valgrind
    ///
    /// Looks for redis-server (6.2 or later), Node.js with npm, the pinned npm packages, Chromium
    /// and Valgrind. Installs redis-server, Chromium and Valgrind with apt-get or brew, and the
    /// packages with npm. Says what it can't install.
    Setup {
        /// Leave out Node.js and the npm packages, and with them Chromium
        #[arg(long)]
        no_interop: bool,
        /// Leave out Chromium
        #[arg(long)]
        no_browser: bool,
    },
    /// Run setup, then all tests
    ///
    /// Runs `cargo test --workspace --locked --no-fail-fast` with the given arguments, and the same
    /// in the workspace of the adapter for socketioxide, and then the tests of the adapter for
    /// Node.js; with `-p <package>`, that package instead.
    #[command(after_help = "Examples:\n  cargo xtask test\n  \
                            cargo xtask test -p sio-streams-interop a_pair_of_0_3 -- --nocapture")]
    Test {
        /// Leave out the tests that need Node.js
        #[arg(long)]
        no_interop: bool,
        /// Leave out the adapter for socketioxide, which needs Rust 1.94
        #[arg(long)]
        no_socketioxide: bool,
        /// Leave out the test in a browser, which needs Chromium
        #[arg(long)]
        no_browser: bool,
        /// Arguments of `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the fuzz targets
    ///
    /// Needs a nightly toolchain; installs cargo-fuzz if it is missing.
    Fuzz(FuzzOptions),
    /// Change the inputs that the project keeps for the fuzz targets
    Corpus {
        #[command(subcommand)]
        change: CorpusChange,
    },
    /// Run core's tests under Miri, an interpreter that detects undefined behaviour
    ///
    /// Runs all tests except the documentation's examples, or those that the arguments name. Needs
    /// a nightly toolchain; installs Miri if it is missing.
    #[command(after_help = "Example:\n  cargo xtask miri --lib --test vectors")]
    Miri {
        /// Arguments of `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Break links and servers at random, and compare what was sent with what arrived
    ///
    /// Fails at the first violation, with its seed.
    #[command(after_help = "Example:\n  cargo xtask soak --cluster --minutes 30")]
    Soak {
        /// `--minutes <n>` (default 10), `--seed <n>`; `--cluster` or `--sentinel` in place of one
        /// server
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// Compare the public API of the published crates with the snapshots in api/
    Api {
        /// Write the snapshots instead
        #[arg(long)]
        write: bool,
    },
    /// Check the links between the pages of the repository, and from the crates' documentation to
    /// them
    Links,
    /// Check the spelling with typos; installs it if it is missing
    Spelling,
    /// Check the licences and sources of all dependencies, by deny.toml, and docs/dependencies.md
    Supply,
    /// Check what would be published
    ///
    /// Packs each crate, and builds it from its package alone; builds and runs the example of the
    /// README in a project outside of the repository; packs the command line, and the npm package
    /// with a compiled one for this platform, and installs both. Builds the documentation as
    /// docs.rs does, and the crates with the oldest dependencies that they allow. What was packed
    /// is in target/release-check. Takes some minutes. Nothing is published.
    Release {
        /// Check; there is nothing else to do here
        #[arg(long, required = true)]
        check: bool,
        /// Only these steps, with what was packed before: contents, packages, outside, program,
        /// docs.rs, minimal, npm
        #[arg(long, value_name = "STEP", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Check everything that a change must pass
    ///
    /// Checks formatting, links, spelling, licences, the packages' contents, lints, documentation,
    /// the minimum Rust version, the tests and the budgets, then simulates and fuzzes for a short
    /// time. Stops at the first failure.
    Ci,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Bench {
    /// Compare nodes of this project with Node's adapters, socketioxide and bare Redis clients
    ///
    /// Prints tables in Markdown. Takes about a quarter of an hour on a quiet machine.
    #[command(
        after_help = "Example:\n  cargo xtask bench peers --only small,1k-json --contenders redis,bare-redis"
    )]
    Peers {
        /// `--rounds <n>` (default 5), `--quick`, `--only <payload>[,..]`, `--contenders
        /// <name>[,..]`, and `--docs` to write docs/performance.md
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure the way from stream entries to the frames for clients, and compare with Node
    Frames {
        /// `--docs` to write docs/performance.md
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Count with Valgrind how the engine's work grows with nodes, namespaces, sockets and the like
    ///
    /// Fails if anything grows too much.
    Growth {
        /// A word that selects curves; or `--docs` to write docs/performance.md
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Count the engine's instructions with Valgrind
    ///
    /// Fails if there are over a tenth more than recorded.
    Budgets {
        /// `--record` to record them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Restore 10 000 sessions at once, and compare with streams-0.3.1
    Recovery,
}

/// The choice to run the tests against real Node peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interop {
    With,
    Without,
}

/// The choice to run the tests of the adapter for socketioxide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adapter {
    With,
    Without,
}

/// The choice to run the test in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Browser {
    With,
    Without,
}

impl Browser {
    pub(crate) fn unless(no_browser: bool) -> Self {
        if no_browser { Self::Without } else { Self::With }
    }
}

impl Adapter {
    pub(crate) fn unless(no_socketioxide: bool) -> Self {
        if no_socketioxide { Self::Without } else { Self::With }
    }
}

impl Interop {
    pub(crate) fn unless(no_interop: bool) -> Self {
        if no_interop { Self::Without } else { Self::With }
    }
}

#[derive(Debug, PartialEq, Eq, Args)]
pub(crate) struct FuzzOptions {
    /// Time for all targets together
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Seed of the mutations; drawn at random by default
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
    /// Show which lines of core the inputs reach, instead of searching
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Targets to run; all by default
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum CorpusChange {
    /// Add files to a target's corpus
    Add {
        target: String,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Add what runs on this machine found, as far as it reaches code that the corpus does not
    /// reach
    Merge {
        #[arg(required = true)]
        targets: Vec<String>,
    },
}

/// Reads the command line. Arguments behind `--` are never the task's own.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Task, clap::Error> {
    let mut own: Vec<String> = args.collect();
    let end = own.iter().position(|arg| arg == "--").unwrap_or(own.len());
    let rest = own.split_off(end);
    let mut task = Cli::try_parse_from(std::iter::once("xtask".to_owned()).chain(own))?.task;
    if let Task::Test { no_interop, no_socketioxide, no_browser, args } = &mut task {
        let flags = [
            (no_interop, "--no-interop"),
            (no_socketioxide, "--no-socketioxide"),
            (no_browser, "--no-browser"),
        ];
        // They may stand among the arguments of `cargo test`.
        for (flag, name) in flags {
            *flag |= args.iter().any(|arg| arg == name);
            args.retain(|arg| arg != name);
        }
    }
    match passed_on(&mut task) {
        Some(args) => args.extend(rest),
        None if rest.is_empty() => {}
        None => {
            let message = "this task passes no arguments on to another program, and takes no `--`";
            return Err(Cli::command().error(ErrorKind::UnknownArgument, message));
        }
    }
    Ok(task)
}

/// The arguments that a task passes on to another program.
fn passed_on(task: &mut Task) -> Option<&mut Vec<String>> {
    match task {
        Task::Test { args, .. } | Task::Miri { args } | Task::Soak { args } => Some(args),
        Task::Bench(
            Bench::Peers { args } | Bench::Frames { args } | Bench::Growth { args } | Bench::Budgets { args },
        ) => Some(args),
        Task::Bench(Bench::Recovery)
        | Task::Setup { .. }
        | Task::Fuzz(_)
        | Task::Corpus { .. }
        | Task::Api { .. }
        | Task::Links
        | Task::Spelling
        | Task::Supply
        | Task::Release { .. }
        | Task::Ci => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Task, ErrorKind> {
        parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.kind())
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The task `test` with these of its flags.
    fn test_without(interop: bool, socketioxide: bool, browser: bool, line: &str) -> Task {
        Task::Test {
            no_interop: interop,
            no_socketioxide: socketioxide,
            no_browser: browser,
            args: words(line),
        }
    }

    #[test]
    fn test_passes_on_what_is_not_its_own() {
        let expected = test_without(true, false, false, "-p core name -- --nocapture");
        assert_eq!(parse_words("test -p core --no-interop name -- --nocapture"), Ok(expected));
        let expected = test_without(true, true, false, "-p core");
        assert_eq!(parse_words("test --no-interop -p core --no-socketioxide"), Ok(expected));
        let expected = test_without(false, false, true, "name");
        assert_eq!(parse_words("test name --no-browser"), Ok(expected));
    }

    #[test]
    fn after_two_dashes_nothing_is_ours() {
        for line in ["-- --no-interop --help", "name -- --no-browser --help"] {
            let expected = test_without(false, false, false, line);
            assert_eq!(parse_words(&format!("test {line}")), Ok(expected));
        }
    }

    #[test]
    fn fuzz_options() {
        let targets = vec!["entry".to_owned()];
        let options = FuzzOptions { seconds: 5, seed: Some(7), targets: targets.clone(), coverage: false };
        assert_eq!(parse_words("fuzz --seconds 5 entry --seed 7"), Ok(Task::Fuzz(options)));
        let options = FuzzOptions { seconds: 60, seed: None, targets, coverage: true };
        assert_eq!(parse_words("fuzz entry --coverage"), Ok(Task::Fuzz(options)));
        for line in
            ["fuzz --seconds", "fuzz --seconds -1", "fuzz --seconds x", "fuzz --fast", "fuzz -- entry"]
        {
            assert!(parse_words(line).is_err(), "{line}");
        }
    }

    #[test]
    fn everything_is_passed_on() {
        let args = words("--test vectors -- --nocapture");
        assert_eq!(parse_words("miri --test vectors -- --nocapture"), Ok(Task::Miri { args }));
        let args = words("--rounds 3");
        assert_eq!(parse_words("bench peers --rounds 3"), Ok(Task::Bench(Bench::Peers { args })));
        let args = words("rooms");
        assert_eq!(parse_words("bench growth rooms"), Ok(Task::Bench(Bench::Growth { args })));
        assert_eq!(parse_words("bench budgets"), Ok(Task::Bench(Bench::Budgets { args: Vec::new() })));
        let args = words("--minutes 1");
        assert_eq!(parse_words("soak --minutes 1"), Ok(Task::Soak { args }));
    }

    #[test]
    fn a_release_is_checked_and_nothing_else() {
        assert_eq!(parse_words("release --check"), Ok(Task::Release { check: true, only: Vec::new() }));
        let only = vec!["outside".to_owned(), "npm".to_owned()];
        assert_eq!(
            parse_words("release --check --only outside,npm"),
            Ok(Task::Release { check: true, only })
        );
        assert_eq!(parse_words("release"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse_words("api --write"), Ok(Task::Api { write: true }));
    }

    #[test]
    fn help_is_asked_for_in_many_ways() {
        for line in ["help", "--help", "-h", "test --help", "ci -h", "help fuzz"] {
            assert_eq!(parse_words(line), Err(ErrorKind::DisplayHelp), "{line}");
        }
    }

    #[test]
    fn the_unknown_is_refused() {
        for line in ["", "tset", "ci --fast", "setup redis", "bench", "bench peer", "corpus add entry"] {
            let kind = parse_words(line).unwrap_err();
            assert_ne!(kind, ErrorKind::DisplayHelp, "{line}");
        }
    }
}
