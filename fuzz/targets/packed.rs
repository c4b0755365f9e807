//! A stream entry whose data is MessagePack.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::wire::packed(input));
