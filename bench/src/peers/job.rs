//! The jobs of workers and their results: a line of JSON each. `tests/interop/peers/bench.mjs` is
//! the worker in Node.

use serde::{Deserialize, Serialize};

/// The argument of the broadcasts: `size` times the letter x, as a string or as bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// Bytes instead of a string.
    pub binary: bool,
    /// The size in bytes.
    pub size: usize,
}

/// A job for a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "lowercase")]
pub enum Job {
    /// Broadcast as fast as Redis takes it. Ends when Redis has all.
    Send {
        /// The number of messages.
        count: u64,
        /// The payload.
        payload: Payload,
    },
    /// Broadcast at an even rate, each with the time just before it goes.
    Pace {
        /// The number of messages.
        count: u64,
        /// The number of messages in a second.
        rate: u64,
        /// The payload.
        payload: Payload,
    },
    /// Tell what the process has used.
    Tell,
    /// Hear broadcasts. Answered twice: by [`Line::listening`], and when all are there.
    Receive {
        /// The number of messages.
        count: u64,
        /// `true` if they bear times.
        timed: bool,
    },
}

/// The result of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// It can be given jobs.
    pub ready: bool,
    /// It counts what it hears from now on.
    pub listening: bool,
    /// The time from the first message to the last, in microseconds.
    pub micros: u64,
    /// The processor time that the process has used, of all threads: microseconds.
    pub cpu: u64,
    /// The most memory that the process ever had: bytes.
    pub rss: u64,
    /// The delay of each message, in microseconds.
    pub delays: Vec<u64>,
}
