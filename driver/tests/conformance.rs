//! The in-memory backend, by the suite for all backends.

use core::time::Duration;

use sio_streams_core::Lane;
use sio_streams_driver::backend::{Backend, BoxedBackend};
use sio_streams_driver::conformance::{Faults, Suite};
use sio_streams_driver::memory::{MemoryBackend, MemoryRedis};

/// A busy machine takes its time for a case.
const PATIENCE: Duration = Duration::from_secs(300);

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
    passes(|backend| backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_box() {
    passes(BoxedBackend::new).await;
}

async fn passes<B: Backend>(wrap: fn(MemoryBackend) -> B) {
    let redis = MemoryRedis::new();
    let fragile = redis.backend();
    let faults = Broken(fragile.clone());
    let suite = Suite::new(move || wrap(redis.backend())).faults(move || wrap(fragile.clone()), faults);
    let report = suite.patience(PATIENCE).run().await;
    report.assert_passed();
    assert!(report.skipped.is_empty(), "{report}");
}
