//! Memory in proportion to the input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The memory that a decoder may take in addition to its input: the text of an error, a few small
/// tables.
const FLAT: usize = 16 << 10;

/// The memory that it may take for each byte of the input. A name of one byte becomes a
/// `ByteString` of 32, in a vector that has just doubled; a key and a value of a byte each become
/// two of them, and the key, if it is a number, a text of its own.
const PER_BYTE: usize = 200;

/// Runs `work` on an input of `len` bytes, and fails if the heap grew beyond what such an input may
/// cost.
///
/// # Panics
///
/// If it did.
pub fn bounded<T>(len: usize, work: impl FnOnce() -> T) -> T {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let out = work();
    let taken = HEAP.peak_usage().saturating_sub(before);
    assert!(taken <= FLAT + PER_BYTE * len, "an input of {len} bytes took {taken} bytes of memory");
    out
}
