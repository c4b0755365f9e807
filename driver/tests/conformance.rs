//! The in-memory backend, by the suite for all backends.

use sio_streams_core::Lane;
use sio_streams_driver::conformance::{Faults, Suite};
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};

struct Broken(MemoryBackend);

impl Faults for Broken {
    fn cut(&self) {
        self.0.cut();
    }

    fn restore(&self) {
        self.0.restore();
    }

    fn hold_replies(&self) {
        self.0.lose_next_reply(&Lane::Writer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    let redis = MemoryRedis::new();
    let fragile = redis.backend();
    let faults = Broken(fragile.clone());
    let report = Suite::new(move || redis.backend()).faults(move || fragile.clone(), faults).run().await;
    report.assert_passed();
    assert!(report.skipped.is_empty(), "{report}");
}
