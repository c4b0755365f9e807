//! Tests of the engine in a cluster, under virtual time.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

mod answers;
mod claims;
mod cluster;
mod fates;
mod forks;
mod gaps;
mod members;
mod observer;
mod own_rooms;
mod publishing;
mod pubsub;
mod reading;
mod recovery;
mod refusals;
mod reopening;
mod requests;
mod unreadable;
