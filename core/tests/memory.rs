//! Decoding takes memory in proportion to its input.
//!
//! There is one test in a binary of its own, because the allocator counts for the whole process.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{ByteString, Fields, Rooms};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Returns the peak of memory during some work, and the memory that is left allocated.
fn taken<T>(work: impl FnOnce() -> T) -> (usize, T) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let out = work();
    (HEAP.peak_usage() - before, out)
}

/// Checks that at most `per_byte` bytes are taken per byte of input, for every size. `make` gets a
/// size.
fn in_proportion(what: &str, per_byte: usize, make: impl Fn(usize) -> (usize, Box<dyn FnOnce()>)) {
    for size in [1_000, 10_000, 100_000] {
        let (len, work) = make(size);
        let (taken, ()) = taken(work);
        assert!(taken <= per_byte * len + 16_384, "{what}: {len} bytes took {taken}");
    }
}

fn read_entry(kind: &'static str, data: String) -> (usize, Box<dyn FnOnce()>) {
    let len = data.len();
    let mut fields: Fields = [("uid", "u"), ("nsp", "/"), ("type", kind)].into_iter().collect();
    fields.push("data", data);
    (len, Box::new(move || drop(entry::decode(&fields).unwrap())))
}

fn read_message(kind: u8, data: &[u8]) -> (usize, Box<dyn FnOnce()>) {
    let bytes = [b"\x84\xa3uid\xa1u\xa3nsp\xa1/\xa4type", &[kind][..], b"\xa4data", data].concat();
    let bytes = Bytes::from(bytes);
    (bytes.len(), Box::new(move || drop(pubsub::decode(&bytes).unwrap())))
}

#[test]
#[cfg_attr(miri, ignore = "a measurement of memory")]
fn memory_in_proportion_to_the_input() {
    // Payloads and names are slices of the input.
    in_proportion("a text", 1, |n| {
        read_entry("12", format!(r#"{{"requestId":"r","packet":"{}"}}"#, "x".repeat(n)))
    });
    in_proportion("a payload of many values", 1, |n| {
        read_entry("12", format!(r#"{{"requestId":"r","packet":[{}0]}}"#, "[{}],".repeat(n)))
    });
    in_proportion("packed, keys that nobody uses", 1, |n| {
        let len = u32::try_from(n + 2).unwrap().to_be_bytes();
        let data =
            [b"\xdf", &len[..], b"\xa9requestId\xa1r\xa6packet\xc0", &b"\xa4key!\x91\xc0".repeat(n)].concat();
        read_message(12, &data)
    });
    // The shortest names cost the most: 32 bytes each, in a vector that has just doubled.
    in_proportion("rooms", 60, |n| {
        read_entry("4", format!(r#"{{"opts":{{}},"rooms":[{}"r"]}}"#, r#""","#.repeat(n)))
    });
    in_proportion("packed rooms", 100, |n| {
        let len = u32::try_from(n).unwrap().to_be_bytes();
        read_message(4, &[b"\x82\xa4opts\x80\xa5rooms\xdd", &len[..], &b"\xa0".repeat(n)].concat())
    });
    in_proportion("flags", 60, |n| {
        read_entry("4", format!(r#"{{"opts":{{"flags":{{{}"x":1}}}},"rooms":[]}}"#, r#""":1,"#.repeat(n)))
    });
    in_proportion("sockets", 60, |n| {
        read_entry("8", format!(r#"{{"requestId":"r","sockets":[{}{{"id":0}}]}}"#, r#"{"id":0},"#.repeat(n)))
    });

    // Each membership is stored twice, and nowhere else.
    let names: Vec<ByteString> = (0..300).map(|n| format!("{n:08}").into()).collect();
    let mut rooms = Rooms::new([1; 16]);
    names.iter().for_each(|name| drop(rooms.add(name.clone())));
    let (taken, ()) = taken(|| {
        for name in &names {
            // The sockets join in steps, so that the list of changes does not count.
            names.chunks(10).for_each(|some| drop(rooms.join(name, some.iter().cloned())));
        }
    });
    assert!(taken <= 40 * names.len() * names.len(), "{taken} bytes for the memberships");
    // Removed sockets take no memory.
    names.iter().for_each(|name| drop(rooms.remove(name)));
    assert_eq!((rooms.socket_count(), rooms.room_count()), (0, 0));
}
