//! Counts test results as they go by.

use std::fmt;

/// The sums of the `test result:` lines of a run of `cargo test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    runs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The line that is not yet complete.
    rest: Vec<u8>,
}

impl Tally {
    /// Takes the next piece of output, whole lines or not.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let mut lines = piece.split_inclusive(|byte| *byte == b'\n');
        for part in &mut lines {
            self.rest.extend_from_slice(part);
            if self.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.rest);
                self.line(&String::from_utf8_lossy(&line));
            }
        }
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let words: Vec<&str> = counts.split_whitespace().collect();
        let count = |name| {
            let at = words.iter().position(|word| word.trim_end_matches(';') == name)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        let (Some(passed), Some(failed), Some(ignored)) =
            (count("passed"), count("failed"), count("ignored"))
        else {
            return;
        };
        self.runs += 1;
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, passed, failed, ignored, .. } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {ignored} ignored, in {runs} test binaries and doc test runs"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n";
    const FAILED: &str =
        "test result: \u{1b}[31mFAILED\u{1b}[m. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        tally.feed(format!("running 4 tests\ntest a ... ok\n\n{OK}\n{FAILED}").as_bytes());
        assert_eq!((tally.runs, tally.passed, tally.failed, tally.ignored), (2, 5, 1, 1));
    }

    #[test]
    fn pieces_make_lines() {
        let mut tally = Tally::default();
        for byte in OK.bytes() {
            tally.feed(&[byte]);
        }
        assert_eq!((tally.runs, tally.passed), (1, 3));
    }

    #[test]
    fn other_lines_count_nothing() {
        let mut tally = Tally::default();
        tally.feed(b"test result: what? passed; failed; ignored;\n3 passed; 0 failed; 1 ignored\n\xff\n");
        assert_eq!(tally, Tally::default());
    }
}
