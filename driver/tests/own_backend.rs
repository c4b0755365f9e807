//! The example of a backend of one's own, by the suite for all backends: on one server, in a
//! cluster, and with links that break.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::Duration;

use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::conformance::{Proxy, Suite};
use sio_streams_testkit::{RedisCluster, RedisServer};

#[path = "../examples/own_backend.rs"]
#[allow(unreachable_pub, reason = "it is an example of a library")]
mod example;

use example::OwnBackend;

/// A busy machine takes its time for a case.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_on_one_server() {
    let redis = RedisServer::start().unwrap();
    let proxy = Proxy::start(redis.addr()).unwrap();
    let (direct, fragile) = (redis.addr().to_string(), proxy.address().to_string());
    let report = Suite::new(move || OwnBackend::new(&direct).unwrap())
        .faults(move || OwnBackend::new(&fragile).unwrap(), proxy)
        .patience(PATIENCE)
        .run()
        .await;
    report.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_in_a_cluster() {
    let cluster = tokio::task::block_in_place(|| RedisCluster::start_without_replicas(3)).unwrap();
    let address = cluster.addrs()[0].to_string();
    let suite = Suite::new(move || Cluster::new(OwnBackend::new(&address).unwrap()));
    let report = suite.patience(PATIENCE).run().await;
    report.assert_passed();
}
