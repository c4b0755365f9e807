//! Tests that every [`Backend`] must pass. Any backend can run them.
//!
//! ```
//! use sio_streams_driver::conformance::Suite;
//! use sio_streams_driver::memory::MemoryRedis;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let redis = MemoryRedis::new();
//! let report = Suite::new(move || redis.backend()).run().await;
//! report.assert_passed();
//! # });
//! ```
//!
//! The suite opens connections, starts nodes on them, and checks the backend's results. It needs
//! only the backend. With [`faults`](Suite::faults) it also breaks links, and checks the results of
//! the commands that were under way; [`Proxy`] is a link that it can break. Without, those cases are
//! reported as skipped.
//!
//! Every name that the suite uses begins with `conformance`, and is new in each run, so that it can
//! share a server with others. `docs/writing-a-backend.md` walks through an example backend.

mod commands;
mod links;
mod nodes;
mod proxy;
mod pubsub;
mod tools;

use core::fmt;
use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering};

use sio_streams_core::{ByteString, Command, CommandError, Lane, Reply};
use tokio::time::timeout;

use crate::backend::{Backend, Connection, PushReceiver, PushSender};
pub use proxy::Proxy;

/// The result of a case: the fault that it has found, if any.
type Outcome = Result<(), String>;

/// Breaks the links of one backend, and of no other. [`Proxy`] does it for any backend that connects
/// to an address.
///
/// Each fault is in force when the call returns: what the backend sends from then on does not reach
/// the server, or what the server answers does not reach the backend.
pub trait Faults: Send + Sync {
    /// Closes the backend's connections, and refuses new ones, or closes them at once.
    fn cut(&self);

    /// Lets new connections through again, with nothing held back.
    fn restore(&self);

    /// From now on, commands reach the server and are executed, but its answers do not arrive,
    /// until the links are [cut](Self::cut).
    fn hold_replies(&self);
}

type Make<B> = Box<dyn Fn() -> B + Send + Sync>;

/// The suite for one kind of backend, on one server or cluster of servers.
pub struct Suite<B> {
    make: Make<B>,
    fragile: Option<(Make<B>, Box<dyn Faults>)>,
    sharded: bool,
    patience: Duration,
    run: String,
    names: AtomicU32,
}

impl<B: Backend> Suite<B> {
    /// Creates a suite. `make` makes backends that are all on the same server.
    pub fn new(make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Suite {
            make: Box::new(make),
            fragile: None,
            sharded: true,
            patience: Duration::from_secs(60),
            run: format!("{:08x}", fastrand::u32(..)),
            names: AtomicU32::new(0),
        }
    }

    /// Also runs the cases about broken links, on backends that `make` makes, whose links `faults`
    /// breaks. They must be on the same server as the others, whose links must hold.
    #[must_use]
    pub fn faults(
        mut self,
        make: impl Fn() -> B + Send + Sync + 'static,
        faults: impl Faults + 'static,
    ) -> Self {
        self.fragile = Some((Box::new(make), Box::new(faults)));
        self
    }

    /// Says whether sharded Pub/Sub must work. By default it must. Servers before Redis 7 don't
    /// have it.
    #[must_use]
    pub fn sharded(mut self, sharded: bool) -> Self {
        self.sharded = sharded;
        self
    }

    /// Sets the time after which a case counts as stuck. One minute by default. Nodes wait half as
    /// long for Redis, and for answers.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs all cases, one after the other.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        macro_rules! cases {
            ($($module:ident { $($case:ident),* $(,)? })*) => {
                $($(
                    let name = concat!(stringify!($module), "::", stringify!($case));
                    let outcome = timeout(self.patience, $module::$case(self)).await;
                    report.add(name, outcome.unwrap_or_else(|_| Err("it is stuck".to_owned())));
                )*)*
            };
        }
        cases! {
            commands {
                a_stream_that_is_not_there,
                entries_come_back_as_they_were_added,
                a_read_begins_behind_its_place,
                a_range_comes_in_pages,
                a_range_is_read_backwards,
                a_session_is_stored_read_and_taken,
                a_read_is_served_while_it_blocks,
                a_blocked_read_holds_up_nobody,
                a_read_that_finds_nothing_ends,
                a_stream_is_trimmed_about_where_it_is_told,
                bytes_are_kept_as_they_are,
                a_batch_is_answered_in_order,
                many_streams_in_one_batch,
                a_refusal_leaves_the_others_alone,
                a_release_is_done,
            }
            pubsub {
                a_subscription_is_in_force_when_it_is_done,
                messages_keep_their_order_and_their_bytes,
                messages_arrive_while_commands_run,
                subscribers_are_counted_and_listed,
                a_subscription_ends,
                patterns_match_channels,
                a_dropped_connection_has_no_subscriptions,
            }
            links {
                a_healthy_connection_is_not_lost,
                an_abandoned_command_disturbs_nobody,
            }
            nodes {
                nodes_of_each_dialect_work_together,
                namespaces_on_many_streams,
            }
        }
        if self.sharded {
            cases! {
                pubsub {
                    sharded_subscriptions_are_in_force_when_they_are_done,
                    sharded_messages_keep_their_order_and_their_bytes,
                    sharded_subscribers_are_counted_and_listed,
                    a_sharded_subscription_ends,
                }
                nodes {
                    sharded_channels,
                    the_sharded_dialect_works,
                }
            }
        } else {
            report.skipped.push(("pubsub::sharded", "the backend or the server has no sharded Pub/Sub"));
        }
        if self.fragile.is_some() {
            cases! {
                links {
                    an_idle_link_that_is_cut_is_noticed,
                    a_blocked_read_whose_link_is_cut_is_lost,
                    a_write_whose_reply_is_lost_is_lost_and_not_repeated,
                    what_is_given_to_a_lost_connection_is_not_sent,
                    what_is_given_to_a_link_that_is_cut_ends,
                    a_server_that_cannot_be_reached_is_told_and_reached_later,
                }
                nodes { a_node_comes_back }
            }
        } else {
            report.skipped.push(("links::faults", "no links that can be broken were given"));
        }
        report
    }

    /// Returns a name that has not been used before.
    fn name(&self, what: &str) -> ByteString {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("conformance-{}-{what}-{number}", self.run).into()
    }

    fn backend(&self) -> B {
        (self.make)()
    }

    async fn connect(&self, lane: &Lane) -> Result<B::Connection, String> {
        Ok(self.listen(&self.backend(), lane).await?.0)
    }

    /// Opens a connection. Returns it with the receiver of its messages.
    async fn listen(&self, backend: &B, lane: &Lane) -> Result<(B::Connection, PushReceiver), String> {
        let (pushes, messages) = PushSender::channel(16_384);
        match backend.connect(lane, pushes).await {
            Ok(connection) => Ok((connection, messages)),
            Err(error) => Err(format!("no connection for the {lane}: {error}")),
        }
    }

    fn fragile(&self) -> Result<(B, &dyn Faults), String> {
        let (make, faults) = self.fragile.as_ref().ok_or("no links that can be broken were given")?;
        Ok((make(), &**faults))
    }
}

/// Ends the fault, even if the case fails.
struct Restore<'a>(&'a dyn Faults);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.0.restore();
    }
}

/// Executes one command.
async fn one<C: Connection>(connection: &mut C, command: Command) -> Result<Reply, CommandError> {
    let mut results = connection.execute(vec![command]).await;
    match (results.pop(), results.len()) {
        (Some(result), 0) => result,
        (_, rest) => Err(CommandError::Unusable(format!("{rest} results more than there should be"))),
    }
}

impl<B> fmt::Debug for Suite<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("run", &self.run)
            .field("sharded", &self.sharded)
            .finish_non_exhaustive()
    }
}

/// The results of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that failed, with the faults that they found.
    pub failed: Vec<(&'static str, String)>,
    /// The cases that were left out, with the reasons.
    pub skipped: Vec<(&'static str, &'static str)>,
}

impl Report {
    fn add(&mut self, name: &'static str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.passed.push(name),
            Err(why) => self.failed.push((name, why)),
        }
    }

    /// Checks the results in a test.
    ///
    /// # Panics
    ///
    /// If any case failed. The message tells all faults.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.failed.is_empty() && !self.passed.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases passed, {} failed", self.passed.len(), self.failed.len())?;
        for (name, why) in &self.failed {
            writeln!(f, "  failed:  {name}: {why}")?;
        }
        for (name, why) in &self.skipped {
            writeln!(f, "  skipped: {name}: {why}")?;
        }
        Ok(())
    }
}
