//! A MessagePack value on its way to clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::wire::payload(input));
