//! The suite for all backends, on real servers.

use core::time::Duration;
use std::sync::Arc;

use super::common::CASE;
use crate::Backend;
use sio_streams_driver::conformance::{Faults, Suite};
use sio_streams_testkit::{Proxy, RedisServer};

/// Over RESP2 the redis crate notices a link that was closed by the next PING only.
const SHORT: Duration = Duration::from_millis(50);

const LONG: Duration = Duration::from_secs(30);

struct Link(Arc<Proxy>);

impl Faults for Link {
    fn cut(&self) {
        self.0.cut();
    }

    fn restore(&self) {
        self.0.unstall();
        self.0.restore().unwrap();
    }

    fn hold_replies(&self) {
        self.0.stall_replies();
    }
}

async fn standalone(query: &str, sharded: bool) {
    let redis = RedisServer::start().unwrap();
    let link = Arc::new(Proxy::start(redis.addr()).unwrap());
    let make = |url: String| {
        let url = format!("{url}/{query}");
        move || Backend::builder(&url).heartbeat(SHORT, LONG).build().unwrap()
    };
    let suite = Suite::new(make(redis.url())).faults(make(link.url()), Link(link)).sharded(sharded);
    suite.patience(CASE).run().await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_resp3() {
    standalone("?protocol=resp3", true).await;
}

/// Each lane as the backend chooses.
#[tokio::test(flavor = "multi_thread")]
async fn standalone_unasked() {
    standalone("", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_resp2() {
    standalone("?protocol=resp2", crate::SHARDED_OVER_RESP2).await;
}
