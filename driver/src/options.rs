//! The options of a node.

use core::time::Duration;

use sio_streams_core::Config;

use crate::backend::Timing;

/// The options of a node.
///
/// ```
/// use sio_streams_driver::{Config, Dialect, Options};
///
/// let options = Options::from(Config::default().dialect(Dialect::Bridge)).event_buffer(4_096);
/// # assert_eq!(options.event_buffer, 4_096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
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
    #[cfg_attr(feature = "serde", serde(with = "sio_streams_core::millis"))]
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

impl Options {
    /// Sets the engine's options.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Options { config, ..self }
    }

    /// Sets the time limits for Redis.
    #[must_use]
    pub fn timing(self, timing: Timing) -> Self {
        Options { timing, ..self }
    }

    /// Sets [`event_buffer`](field@Options::event_buffer).
    #[must_use]
    pub fn event_buffer(self, events: usize) -> Self {
        Options { event_buffer: events, ..self }
    }

    /// Sets [`push_buffer`](field@Options::push_buffer).
    #[must_use]
    pub fn push_buffer(self, messages: usize) -> Self {
        Options { push_buffer: messages, ..self }
    }

    /// Sets [`push_buffer_bytes`](field@Options::push_buffer_bytes).
    #[must_use]
    pub fn push_buffer_bytes(self, bytes: usize) -> Self {
        Options { push_buffer_bytes: bytes, ..self }
    }

    /// Sets [`open_within`](field@Options::open_within).
    #[must_use]
    pub fn open_within(self, time: Duration) -> Self {
        Options { open_within: time, ..self }
    }

    /// Sets [`seed`](field@Options::seed).
    #[must_use]
    pub fn seed(self, seed: impl Into<Option<u64>>) -> Self {
        Options { seed: seed.into(), ..self }
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_are_written() {
        let timing = Timing::default().response(Duration::from_millis(1_500));
        let options = Options::default().timing(timing).seed(5).push_buffer(7);
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""response":1500"#), "{text}");
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), Options::default());
        assert!(serde_json::from_str::<Options>(r#"{"event_bufer":1}"#).is_err());
    }
}
