//! The engine in a cluster, under virtual time.

// A test that panics has failed, which is what these are for.
#![allow(clippy::unwrap_used)]

mod answers;
mod claims;
mod fates;
mod gaps;
mod members;
mod publishing;
mod pubsub;
mod reading;
mod recovery;
mod reopening;
mod requests;
mod unreadable;
mod world;
