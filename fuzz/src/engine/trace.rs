//! The outputs of an engine, as a hash.

use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};

/// A digest of all outputs in order.
#[derive(Debug)]
pub(super) struct Trace {
    digest: DefaultHasher,
    count: u64,
}

impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        (self.digest.finish(), self.count) == (other.digest.finish(), other.count)
    }
}

impl Trace {
    pub(super) fn new() -> Self {
        Trace { digest: DefaultHasher::new(), count: 0 }
    }

    pub(super) fn note(&mut self, output: &impl Debug) {
        self.count += 1;
        // Hashing does not fail.
        let _ = write!(self, "{output:?}");
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.digest.write(text.as_bytes());
        Ok(())
    }
}
