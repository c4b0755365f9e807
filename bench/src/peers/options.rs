//! The command line of `cargo xtask bench peers`.

use super::contender::CONTENDERS;
use super::measure::PAYLOADS;

/// The usage of the command.
pub const USAGE: &str = "\
usage: bench peers [--rounds <n>] [--quick] [--only <payload>[,..]] [--contenders <name>[,..]] [--docs]
  --rounds <n>        medians of n rounds (default 5)
  --quick             one short round, to see that all works
  --only ..           payloads: small, 1k-json, 1k-binary, 64k-json
  --contenders ..     streams-0.3.1 always takes part; streams-0.3.1-ioredis, streams-0.2.3, classic, socketioxide,
                      socketioxide-sio-streams, redis, fred, bare-redis, bare-fred, socket,
                      socket-adds-only
  --docs              keeps the figures in bench/results, and shows them in docs/performance.md";

/// The choice of measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The number of rounds.
    pub rounds: usize,
    /// Less of everything.
    pub quick: bool,
    /// Keys of payloads.
    pub payloads: Vec<&'static str>,
    /// Keys of contenders.
    pub contenders: Vec<&'static str>,
    /// `true` to write the documentation.
    pub docs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            rounds: 5,
            quick: false,
            payloads: PAYLOADS.iter().map(|payload| payload.key).collect(),
            contenders: CONTENDERS.iter().map(|contender| contender.key).collect(),
            docs: false,
        }
    }
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// With the usage.
    pub fn parse<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Options::default();
        let mut rounds = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value\n{USAGE}"));
            match arg {
                "--quick" => options.quick = true,
                "--docs" => options.docs = true,
                "--rounds" => {
                    let count = value()?.parse().ok().filter(|count| *count > 0);
                    rounds = Some(count.ok_or_else(|| format!("--rounds wants a number\n{USAGE}"))?);
                }
                "--only" => options.payloads = chosen(value()?, &options.payloads)?,
                "--contenders" => {
                    options.contenders = chosen(value()?, &options.contenders)?;
                    // The others' figures are ratios to its own.
                    let first = CONTENDERS[0].key;
                    if !options.contenders.contains(&first) {
                        options.contenders.insert(0, first);
                    }
                }
                _ => return Err(format!("{arg} is not known\n{USAGE}")),
            }
        }
        options.rounds = rounds.unwrap_or(if options.quick { 1 } else { options.rounds });
        Ok(options)
    }
}

/// The named elements of a list, in the list's order.
fn chosen(names: &str, from: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let names: Vec<&str> = names.split(',').collect();
    if let Some(unknown) = names.iter().find(|name| !from.contains(name)) {
        return Err(format!("{unknown:?} is none of {}\n{USAGE}", from.join(", ")));
    }
    Ok(from.iter().copied().filter(|key| names.contains(key)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace())
    }

    #[test]
    fn everything_five_times_by_default() {
        let options = parse("").unwrap();
        assert_eq!((options.rounds, options.payloads.len()), (5, PAYLOADS.len()));
        assert_eq!(options.contenders.len(), CONTENDERS.len());
        assert_eq!(parse("--quick").unwrap().rounds, 1);
        assert_eq!(parse("--rounds 3 --quick").unwrap().rounds, 3);
    }

    #[test]
    fn some_can_be_chosen() {
        let options = parse("--only 64k-json,small --contenders fred").unwrap();
        assert_eq!(options.payloads, ["small", "64k-json"]);
        assert_eq!(options.contenders, ["streams-0.3.1", "fred"]);
    }

    #[test]
    fn the_usage_names_everything() {
        let words = |key: &&str| USAGE.contains(*key);
        assert!(Options::default().payloads.iter().all(words));
        assert!(Options::default().contenders.iter().all(words));
    }

    #[test]
    fn the_unknown_is_refused() {
        for line in ["--rounds", "--rounds 0", "--rounds x", "--only large", "--contenders x", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
