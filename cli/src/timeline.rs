//! The output of the demo: sections, events with their time and place, and the results of checks.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The source of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Its name.
    pub(crate) name: &'static str,
    /// The colour of its name, as a terminal counts them.
    pub(crate) colour: u8,
}

/// Prints, and keeps count of the checks.
#[derive(Debug)]
pub(crate) struct Timeline {
    started: Instant,
    coloured: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing is printed before the headline.
    begun: bool,
    sections: u32,
    section: String,
    passed: u32,
    failed: Vec<String>,
}

const BOLD: &str = "1";
const FAINT: &str = "2";
const GREEN: &str = "32";
const RED: &str = "1;31";

impl Timeline {
    pub(crate) fn new() -> Self {
        // https://no-color.org: set and not empty.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Timeline {
            started: Instant::now(),
            coloured: io::stdout().is_terminal() && !unwanted,
            state: Mutex::default(),
        }
    }

    /// The time since the demo started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The headline.
    pub(crate) fn title(&self, title: &str, lines: &[String]) {
        let mut state = self.lock();
        state.begun = true;
        self.print(&state, &self.paint(BOLD, title));
        for line in lines {
            self.print(&state, line);
        }
    }

    /// Begins a section. `lines` explain it.
    pub(crate) fn section(&self, title: &str, lines: &[&str]) {
        let mut state = self.lock();
        state.sections += 1;
        state.section = title.to_owned();
        let heading = format!("{:>2}  {title}", state.sections);
        self.print(&state, "");
        self.print(&state, &self.paint(BOLD, &heading));
        for line in lines {
            self.print(&state, &self.paint(FAINT, &format!("    {line}")));
        }
    }

    /// A server does something of its own accord.
    pub(crate) fn act(&self, who: Actor, what: &str) {
        self.line(who, &format!("{} {what}", self.paint(BOLD, "▸")));
    }

    /// Something reaches a server, or happens to it.
    pub(crate) fn note(&self, who: Actor, what: &str) {
        self.line(who, &format!("  {what}"));
    }

    fn line(&self, who: Actor, what: &str) {
        let elapsed = self.elapsed().as_secs_f64() * 1_000.0;
        // Padded before it is painted: the escapes would count.
        let time = self.paint(FAINT, &format!("{elapsed:9.1}"));
        let name = self.paint(&format!("1;{}", who.colour), &format!("{:<4}", who.name));
        self.print(&self.lock(), &format!("{time}  {name}  {what}"));
    }

    /// Something is as it should be.
    pub(crate) fn passed(&self, what: &str) {
        let mut state = self.lock();
        state.passed += 1;
        let text = self.paint(GREEN, &format!("✓ {what}"));
        self.print(&state, &format!("           {text}"));
    }

    /// Something is not as it should be; `details` say what is wrong.
    pub(crate) fn failed(&self, what: &str, details: &[String]) {
        let mut state = self.lock();
        let text = self.paint(RED, &format!("✗ {what}"));
        self.print(&state, &format!("           {text}"));
        for line in details {
            self.print(&state, &format!("             {line}"));
        }
        let story = format!(
            "{}: {what}{}",
            state.section,
            details.iter().map(|d| format!("\n    {d}")).collect::<String>()
        );
        state.failed.push(story);
    }

    /// Prints the last line. Returns `true` if all checks passed.
    pub(crate) fn summary(&self) -> bool {
        let state = self.lock();
        let seconds = self.elapsed().as_secs_f64();
        let State { passed, failed, .. } = &*state;
        self.print(&state, "");
        if failed.is_empty() {
            let text = format!("demo: {passed} checks passed in {seconds:.1} s");
            self.print(&state, &self.paint("1;32", &text));
        } else {
            let text = format!(
                "demo: {} of {} checks failed, in {seconds:.1} s",
                failed.len(),
                passed + failed.len() as u32
            );
            self.print(&state, &self.paint(RED, &text));
            for story in failed {
                self.print(&state, &format!("  {story}"));
            }
        }
        failed.is_empty()
    }

    fn paint(&self, style: &str, text: &str) -> String {
        match self.coloured {
            true => format!("\x1b[{style}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Holding the state keeps lines whole and in order. A reader who has left does not stop the
    /// demo: it has to tidy up after itself.
    fn print(&self, state: &State, line: &str) {
        if state.begun {
            let _ = writeln!(io::stdout(), "{line}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
