//! Faults on real servers: every message arrives once and in order, or its loss is reported.
//!
//! Each scenario runs through each Redis client. Chance comes from a seed, which a failing test has
//! printed; `SIO_STREAMS_FAULTS_SEED` repeats it. `SIO_STREAMS_FAULTS_FULL` asks for the long
//! forms.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]
#![allow(clippy::print_stderr, reason = "a test that fails shows what it printed")]

/// Makes tests of scenarios: one for each Redis client.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        scenarios!(redis_rs, sio_streams_faults::RedisRs, $($name),+);
        scenarios!(fred, sio_streams_faults::Fred, $($name),+);
    };
    ($module:ident, $client:ty, $($name:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name::<$client>().await;
                }
            )+
        }
    };
}

mod crashes;
mod members;
mod publisher;
mod reader;
mod refusals;
mod topologies;
