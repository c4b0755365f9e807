//! The hashes of many seeds' runs, kept in a file. They show that a changed engine still behaves as
//! before.

use std::fmt::Write as _;
use std::sync::Mutex;

use crate::adapter::Rooms;

use crate::campaign::{hash_seed, spread};
use crate::family::Family;

/// A seed and the hash of all that happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The seed.
    pub seed: u64,
    /// The hash. There is none if the seed breaks a rule, or panics.
    pub hash: Option<u64>,
}

/// A line of a file that is not one of hashes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} is not a seed and a hash of 16 digits: {line:?}")]
pub struct Malformed {
    /// Its number, from 1 on.
    pub number: usize,
    /// Its text.
    pub line: String,
}

/// The first seeds of every family.
pub fn seeds(of_each_family: u64) -> impl Iterator<Item = u64> {
    Family::ALL
        .into_iter()
        .flat_map(move |family| (1..=of_each_family).map(move |number| family.seed(number)))
}

/// Reads a file of hashes. Empty lines and those that begin with `#` are ignored.
///
/// # Errors
///
/// Names the first line that is neither.
pub fn read(text: &str) -> Result<Vec<Line>, Malformed> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let (seed, hash) = line.split_once(' ').unwrap_or_default();
            let hash = (hash.len() == 16).then(|| u64::from_str_radix(hash, 16).ok()).flatten();
            let line =
                seed.parse().ok().zip(hash).ok_or_else(|| Malformed { number: at + 1, line: line.into() });
            line.map(|(seed, hash)| Line { seed, hash: Some(hash) })
        })
        .collect()
}

/// The text of a file of these hashes. Seeds without a hash are left out.
pub fn write(lines: &[Line]) -> String {
    let mut text = String::from("# Seeds and the hashes of what happens in them: see docs/simulator.md.\n");
    for Line { seed, hash } in lines {
        if let Some(hash) = hash {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{seed} {hash:016x}");
        }
    }
    text
}

/// Runs these seeds, on so many threads, and hashes every byte of what happens.
pub fn run(seeds: &[u64], rooms: Rooms, threads: usize) -> Vec<Line> {
    let lines = Mutex::new(vec![None; seeds.len()]);
    spread(threads, |number| {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(&seed) = seeds.get(at) else { return false };
        let report = std::panic::catch_unwind(|| hash_seed(seed, rooms)).ok();
        let hash = report.filter(|report| report.rule().is_none()).map(|report| report.hash);
        lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at] = Some(Line { seed, hash });
        true
    });
    let lines = lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    lines.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes as they were recorded.
    const RECORDED: &str = include_str!("../hashes.txt");

    #[test]
    fn what_is_written_is_read() {
        let lines = [Line { seed: 7, hash: Some(0xab) }, Line { seed: u64::MAX, hash: Some(u64::MAX) }];
        assert_eq!(read(&write(&lines)).unwrap(), lines);
        for bad in ["7", "7 ab", "x 00000000000000ab", "7 00000000000000ab more", "7  0000000000000ab"] {
            assert_eq!(read(&format!("# first\n\n{bad}")).unwrap_err().number, 3, "{bad}");
        }
    }

    #[test]
    fn the_recorded_seeds_are_those_of_every_family() {
        let recorded = read(RECORDED).unwrap();
        assert_eq!(recorded.iter().map(|line| line.seed).collect::<Vec<_>>(), Vec::from_iter(seeds(300)));
    }

    /// A few of each family; `sim -- hashes` compares them all.
    #[test]
    fn what_happens_is_what_was_recorded() {
        let some: Vec<Line> = read(RECORDED).unwrap().into_iter().step_by(60).collect();
        let seeds: Vec<u64> = some.iter().map(|line| line.seed).collect();
        assert_eq!(run(&seeds, Rooms::Engine, 1), some);
    }
}
