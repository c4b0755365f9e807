//! The settings that decide when a stream's node is full.

/// A node of this size is never exceeded, whatever the settings.
const MAX_BYTES: usize = 1 << 30;

/// The maximum size of the nodes of a stream. Trimming by `MAXLEN ~` removes whole nodes only: a
/// stream is longer than asked for by up to one node, and how many entries that is depends on these
/// settings and on the entries' size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `stream-node-max-entries`; 0 for no limit.
    pub entries: u64,
    /// `stream-node-max-bytes`; 0 for no limit.
    pub bytes: usize,
}

impl Default for NodeLimits {
    /// Redis' own defaults: 100 entries, 4096 bytes.
    fn default() -> Self {
        NodeLimits { entries: 100, bytes: 4096 }
    }
}

impl NodeLimits {
    pub(crate) fn max_bytes(self) -> usize {
        match self.bytes {
            1..MAX_BYTES => self.bytes,
            _ => MAX_BYTES,
        }
    }

    /// The number of entries that one XADD may trim.
    pub(crate) fn entries_trimmed_at_once(self) -> u64 {
        match self.entries {
            0 => 10_000,
            entries => entries.saturating_mul(100).min(1_000_000),
        }
    }
}
