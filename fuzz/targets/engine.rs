//! The whole engine.
#![no_main]

use sio_streams_fuzz::engine::{Scenario, run};

libfuzzer_sys::fuzz_target!(|scenario: Scenario| run(&scenario));
