//! A message of the classic Pub/Sub adapter.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::wire::classic(input));
