//! `campaign`: a long campaign in parts, with a log from which it is resumed. The log has one line
//! for each state of the sources that decide what happens in a run, so it can be kept in the
//! repository.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

use sio_streams_sim::campaign::{self, Campaign, Summary};
use sio_streams_sim::{Family, Rooms};

use crate::tell;

/// The number of seeds after which the log is written.
const PART: u64 = 10_000;

const FAMILIES: u64 = Family::ALL.len() as u64;

/// A line of the log: the seeds that were run of one state of the source tree.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    /// The hash of the sources.
    sources: String,
    /// The owner of the rooms: `engine` or `application`.
    rooms: String,
    /// The number of the first seed of each family.
    first: u64,
    /// The number of seeds, of all families together.
    seeds: u64,
    /// The simulated time.
    hours: f64,
    events: u64,
    /// The seeds that broke a rule.
    violations: Vec<u64>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { sources, rooms, first, seeds, hours, events, violations } = self;
        write!(f, "sources {sources}, rooms {rooms}, first {first}, seeds {seeds}, ")?;
        write!(f, "hours {hours:.1}, events {events}, violations {}", violations.len())?;
        violations.iter().try_for_each(|seed| write!(f, " {seed}"))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no line of a campaign: {0:?}")]
struct NoLine(String);

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(text: &str) -> Result<Self, NoLine> {
        fn value<'a>(text: &mut &'a str, name: &str) -> Option<&'a str> {
            let rest = text.strip_prefix(name)?.strip_prefix(' ')?;
            let (value, rest) = rest.split_once(", ").unwrap_or((rest, ""));
            *text = rest;
            Some(value)
        }
        let mut rest = text;
        let mut parse = || {
            let line = Line {
                sources: value(&mut rest, "sources")?.to_owned(),
                rooms: value(&mut rest, "rooms")?.to_owned(),
                first: value(&mut rest, "first")?.parse().ok()?,
                seeds: value(&mut rest, "seeds")?.parse().ok()?,
                hours: value(&mut rest, "hours")?.parse().ok()?,
                events: value(&mut rest, "events")?.parse().ok()?,
                violations: Vec::new(),
            };
            let mut violations = value(&mut rest, "violations")?.split(' ');
            let count: usize = violations.next()?.parse().ok()?;
            let violations = violations.map(|seed| seed.parse().ok()).collect::<Option<Vec<u64>>>()?;
            (violations.len() == count).then_some(Line { violations, ..line })
        };
        parse().ok_or_else(|| NoLine(text.to_owned()))
    }
}

impl Line {
    fn add(&mut self, part: &Summary) {
        self.seeds += part.seeds;
        self.hours += part.simulated.as_secs_f64() / 3_600.0;
        self.events += part.events;
        self.violations.extend(part.failures.iter().map(|failure| failure.seed));
    }
}

fn read(log: &Path) -> Result<Vec<Line>, Box<dyn Error>> {
    let text = match fs::read_to_string(log) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::parse).collect::<Result<_, _>>()?)
}

/// Writes the log as a whole, so that an interruption leaves the old one or the new one.
fn write(log: &Path, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let mut text =
        "# Campaigns, resumed and written by `sim -- campaign`: see docs/simulator.md.\n".to_owned();
    lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    let new = log.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, log)?)
}

/// The directories whose files decide what happens in a run.
const SOURCES: [&str; 3] = ["core/src", "redis-model/src", "sim/src"];

/// Returns a hash of the sources as they are in the working tree: of the files that git knows, and
/// of the changes that are not committed.
fn sources() -> Result<String, Box<dyn Error>> {
    let files = git(&[&["ls-files", "--stage", "--"][..], &SOURCES].concat(), "")?;
    let changes = git(&[&["diff", "HEAD", "--"][..], &SOURCES].concat(), "")?;
    let hash = git(&["hash-object", "--stdin"], &format!("{files}{changes}"))?;
    Ok(hash.trim().chars().take(12).collect())
}

fn git(args: &[&str], input: &str) -> Result<String, Box<dyn Error>> {
    let mut git = Command::new("git");
    let mut running =
        git.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    running.stdin.take().into_iter().try_for_each(|mut stdin| stdin.write_all(input.as_bytes()))?;
    let output = running.wait_with_output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("git {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Runs seeds of all families until the log counts this many seeds for the present sources. Returns
/// `true` if none of them breaks a rule.
pub(crate) fn campaign(seeds: u64, log: &Path, rooms: Rooms, threads: usize) -> Result<bool, Box<dyn Error>> {
    run(&sources()?, seeds, log, rooms, threads)
}

fn run(sources: &str, seeds: u64, log: &Path, rooms: Rooms, threads: usize) -> Result<bool, Box<dyn Error>> {
    let owner = match rooms {
        Rooms::Engine => "engine",
        _ => "application",
    };
    let is_this = |line: &Line| line.sources == sources && line.rooms == owner;
    let none = || {
        let (sources, rooms, first) = (sources.to_owned(), owner.to_owned(), fastrand::u64(..1 << 48));
        Line { sources, rooms, first, seeds: 0, hours: 0.0, events: 0, violations: Vec::new() }
    };
    let mut line = read(log)?.into_iter().find(is_this).unwrap_or_else(none);
    while line.seeds < seeds {
        let part = Campaign {
            families: &Family::ALL,
            first: line.first + line.seeds / FAMILIES,
            seeds: PART.min((seeds - line.seeds).next_multiple_of(FAMILIES)),
            threads,
            until_first: false,
            rooms,
        };
        line.add(&campaign::run(part, tell));
        println!("{line}");
        // Another campaign may have written its own line meanwhile.
        let mut lines = read(log)?;
        match lines.iter_mut().find(|line| is_this(line)) {
            Some(place) => place.clone_from(&line),
            None => lines.push(line.clone()),
        }
        write(log, &lines)?;
    }
    println!("{line}");
    Ok(line.violations.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seeds: u64, violations: &[u64]) -> Line {
        Line {
            sources: "0123456789ab".into(),
            rooms: "engine".into(),
            first: 42,
            seeds,
            hours: 1.5,
            events: 7,
            violations: violations.into(),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for line in [line(0, &[]), line(10_000, &[1, u64::MAX])] {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        let text = line(1, &[5]).to_string();
        for bad in ["", "x", &text[1..], &text[..text.len() - 2], &text.replace("seeds 1", "seeds one")] {
            assert!(bad.parse::<Line>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_campaign_is_resumed_where_it_ended() {
        let log = std::env::temp_dir().join(format!("sio-streams-campaign-{}.txt", std::process::id()));
        let after = |sources, seeds| {
            assert!(run(sources, seeds, &log, Rooms::Engine, 1).unwrap());
            read(&log).unwrap()
        };
        let (some, more, same) = (after("a", 4), after("a", 8), after("a", 8));
        let other = after("b", 4);
        fs::remove_file(&log).unwrap();
        assert_eq!((some.len(), more.len(), other.len()), (1, 1, 2));
        assert_eq!(other[0], more[0]);
        assert_eq!((some[0].seeds, more[0].seeds, more[0].first), (4, 8, some[0].first));
        assert!(more[0].events > some[0].events);
        assert_eq!(same, more);
    }
}
