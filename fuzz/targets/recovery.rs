//! The engine, while clients go and come back.
#![no_main]

use sio_streams_fuzz::engine::{Away, run};

libfuzzer_sys::fuzz_target!(|away: Away| run(&away.into()));
