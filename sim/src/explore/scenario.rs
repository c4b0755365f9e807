//! The scenarios of exhaustive search.

use sio_streams_core::Dialect;

/// A call of a node's application, in the order of its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Broadcasts the next number.
    Broadcast,
    /// Asks all nodes for their sockets.
    Fetch,
    Close,
    Open,
    /// The node dies without a word.
    Die,
}

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// A description, in a sentence.
    pub about: &'static str,
    pub(super) dialect: Dialect,
    /// The script of each node.
    pub(super) scripts: Vec<Vec<Call>>,
    /// The number of links that are lost, at any moments.
    pub(super) cuts: usize,
    /// `true` if commands on a lost link may be executed later.
    pub(super) late: bool,
    /// The number of time-outs that happen while other things are under way.
    pub(super) ticks: usize,
    /// `true` if the server loses the first broadcast: a fault that must be found.
    pub(super) forgets: bool,
}

impl Scenario {
    fn new(name: &'static str, about: &'static str, dialect: Dialect, scripts: &[&[Call]]) -> Self {
        let scripts = scripts.iter().map(|script| script.to_vec()).collect();
        Scenario { name, about, dialect, scripts, cuts: 0, late: false, ticks: 0, forgets: false }
    }

    fn cuts(self, cuts: usize) -> Self {
        Scenario { cuts, ..self }
    }

    fn late(self) -> Self {
        Scenario { late: true, ..self }
    }

    fn ticks(self, ticks: usize) -> Self {
        Scenario { ticks, ..self }
    }

    /// Returns the scenarios all of whose orders can be tried in a minute.
    pub fn small() -> Vec<Scenario> {
        use Call::{Broadcast as B, Close, Die, Fetch, Open};
        let (v02, v03) = (Dialect::Streams02, Dialect::Streams03);
        let new = Scenario::new;
        vec![
            new("cut", "a publisher of two messages, and one cut", v02, &[&[B, B]]).cuts(1),
            new("late", "a publisher is cut, and its first try is executed late", v02, &[&[B, B]])
                .cuts(1)
                .late(),
            new("heard", "two messages, another node that reads them, and one cut", v02, &[&[B, B], &[]])
                .cuts(1),
            new("three", "two nodes and three messages", v02, &[&[B, B], &[B]]),
            new("both", "two nodes with a message each, and one cut", v02, &[&[B], &[B]]).cuts(1),
            new(
                "reopen",
                "one node broadcasts, the other closes the namespace and opens it",
                v02,
                &[&[B], &[Close, Open]],
            ),
            new("askers", "two nodes ask each other, and one of them dies", v03, &[&[Fetch], &[Fetch, Die]]),
            new("dying", "a question, an answerer that dies, and a time-out", v03, &[&[Fetch], &[Die]])
                .ticks(1),
            new("deaf", "a question, and one cut", v03, &[&[Fetch], &[]]).cuts(1),
        ]
    }

    /// Returns the scenarios that take minutes.
    pub fn long() -> Vec<Scenario> {
        use Call::{Broadcast as B, Close, Open};
        let v02 = Dialect::Streams02;
        let new = Scenario::new;
        vec![
            new("late-tick", "a cut, a late first try, and a time-out", v02, &[&[B]]).cuts(1).late().ticks(1),
            new("late-twice", "two cuts, and late first tries", v02, &[&[B, B]]).cuts(2).late(),
            new(
                "between",
                "a namespace is closed and opened again between two messages",
                v02,
                &[&[B, Close, Open, B], &[]],
            ),
        ]
    }

    /// Returns the scenario of this name.
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::small().into_iter().chain(Scenario::long()).find(|scenario| scenario.name == name)
    }
}
