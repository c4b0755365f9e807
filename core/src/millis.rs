//! Times as whole milliseconds, as in the options of the peers: for `#[serde(with = "…")]`.
//!
//! ```
//! use core::time::Duration;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Options {
//!     #[serde(with = "sio_streams_core::millis")]
//!     pause: Duration,
//! }
//!
//! let options: Options = serde_json::from_str(r#"{"pause":1500}"#).unwrap();
//! assert_eq!(options.pause, Duration::from_millis(1_500));
//! ```

use core::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes the time. Parts of a millisecond are cut off.
///
/// # Errors
///
/// As the serializer.
pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a time.
///
/// # Errors
///
/// If it is negative, or not a whole number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
