//! A message, read in every way that there is.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sio_streams_fuzz::readers::readers(input));
