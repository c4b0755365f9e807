//! Rooms against a naive model.
#![no_main]

use sio_streams_fuzz::rooms::{Step, against_model};

libfuzzer_sys::fuzz_target!(|input: ([u8; 16], Vec<Step>)| against_model(input.0, &input.1));
