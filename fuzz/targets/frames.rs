//! Frames that come through a client's connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::frames::connection(input));
