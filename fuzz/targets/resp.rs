//! The bytes of a Redis server.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::resp::resp(input));
