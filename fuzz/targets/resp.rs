//! What a Redis server sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::resp::resp(input));
