//! The number of entries that are read at once.

use crate::command::Entry;

/// Returns the maximum number of entries of this size in bytes that are asked for at once. They
/// take about a mebibyte together, because all of a reply is held in memory. The number is at least
/// one.
pub(super) fn entries_at_once(size: usize) -> u32 {
    const BYTES: usize = 1 << 20;
    u32::try_from(BYTES / size.max(1)).unwrap_or(u32::MAX).max(1)
}

/// Returns the mean size of these entries in bytes, or `None` if the slice is empty.
pub(super) fn mean_size(entries: &[Entry]) -> Option<usize> {
    entries.iter().map(|entry| entry.fields.size()).sum::<usize>().checked_div(entries.len())
}
