//! A cluster, and a master with sentinels: links break, servers hang, die, hand over and move slots,
//! all at once. Each run has nodes on each Redis client. This is the short form of `cargo xtask soak
//! --cluster` and `--sentinel`.

use std::time::Duration;

use sio_streams_faults::seed::{rng, rounds};
use sio_streams_faults::siege::{Sums, siege};
use sio_streams_faults::topology::Kind;

async fn besieged(kind: Kind) {
    let mut sums = Sums::default();
    let time = Duration::from_secs(rounds(30, 300) as u64);
    let outcome = siege(kind, time, &mut rng(), &mut sums).await;
    eprintln!("{sums:?}");
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_short() {
    besieged(Kind::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_in_short() {
    besieged(Kind::Sentinel).await;
}
