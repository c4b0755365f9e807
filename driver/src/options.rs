//! The options of a node.

use core::time::Duration;

use sio_streams_core::Config;

use crate::backend::Timing;

/// The options of a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine's options.
    pub config: Config,
    /// The time limits for Redis.
    pub timing: Timing,
    /// The number of events that wait for the application before the streams are not read any
    /// further, and before calls are refused with
    /// [`Error::EventsNotTaken`](crate::Error::EventsNotTaken) at twice that number. 1 024 by
    /// default. An application that only publishes need not take events: from half of this number
    /// on, broadcasts and orders that concern no socket of this node are not told. It may also drop
    /// [`Events`](crate::Events): then nothing is kept for it.
    pub event_buffer: usize,
    /// The number of Pub/Sub messages that may wait for the node. 16 384 by default.
    ///
    /// While this many wait, no more are read from the connection. Redis keeps them, within its
    /// `client-output-buffer-limit`; if they exceed it, Redis closes the connection. If the client
    /// crate can't be kept from reading, the connection is given up, and opened again when there is
    /// room. Either way, [`Event::Link`](crate::Event::Link) tells the application.
    pub push_buffer: usize,
    /// The number of bytes of Pub/Sub messages that may wait for the node. 16 MiB by default.
    pub push_buffer_bytes: usize,
    /// The time that [`Node::open`](crate::Node::open) waits for Redis, at most. One minute by
    /// default.
    pub open_within: Duration,
    /// The seed of the node's name and its request ids. `None`: the operating system's randomness
    /// is used.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::default(),
            timing: Timing::default(),
            event_buffer: 1_024,
            push_buffer: 16_384,
            push_buffer_bytes: 16 << 20,
            open_within: Duration::from_secs(60),
            seed: None,
        }
    }
}

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        Options { config, ..Options::default() }
    }
}
