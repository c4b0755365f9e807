//! Entry ids, which are the offsets that clients send back.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::ids::entry_id(input));
