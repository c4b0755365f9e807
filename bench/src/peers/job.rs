//! What workers are told, and what they say: a line of JSON each. `interop/peers/bench.mjs` is the worker in Node.

use serde::{Deserialize, Serialize};

/// The argument of the broadcasts: `size` times the letter x, as a string or as bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// Bytes instead of a string.
    pub binary: bool,
    /// How long it is.
    pub size: usize,
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "lowercase")]
pub enum Job {
    /// Broadcast as fast as Redis takes it. Ends when Redis has all.
    Send {
        /// How many.
        count: u64,
        /// What.
        payload: Payload,
    },
    /// Broadcast at an even rate, each with the time just before it goes.
    Pace {
        /// How many.
        count: u64,
        /// How many in a second.
        rate: u64,
        /// What.
        payload: Payload,
    },
    /// Tell what the process has used.
    Tell,
    /// Hear broadcasts. Answered twice: by [`Line::listening`], and when all are there.
    Receive {
        /// How many.
        count: u64,
        /// Whether they bear times.
        timed: bool,
    },
}

/// What a worker says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// It can be given jobs.
    pub ready: bool,
    /// It counts what it hears from now on.
    pub listening: bool,
    /// How long it took from the first message to the last: microseconds.
    pub micros: u64,
    /// The processor time that the process has used, of all threads: microseconds.
    pub cpu: u64,
    /// The most memory that the process ever had: bytes.
    pub rss: u64,
    /// How late each message was heard: microseconds.
    pub delays: Vec<u64>,
}
