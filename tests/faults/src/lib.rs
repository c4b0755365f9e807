//! Clusters on real servers, behind links that break; and records of what was sent and what
//! arrived.
//!
//! The tests of this crate and the soak (`cargo xtask soak`) stand on it. A [`Server`] of ours
//! numbers what it broadcasts and notes the fate of each; every receiver notes the numbers that
//! reach it. [`verdict::judge`] then compares the two. All of it is generic over the Redis client.

#![allow(clippy::unwrap_used, reason = "only tests use this: what can't go on ends in a panic")]

pub mod client;
pub mod cluster;
pub mod links;
pub mod loss;
pub mod masters;
pub mod memory;
pub mod node;
pub mod pace;
pub mod seed;
pub mod server;
pub mod siege;
pub mod storm;
pub mod topology;
pub mod verdict;
pub mod ways;

pub use client::{Client, Fred, RedisRs};
pub use cluster::Cluster;
pub use links::Links;
pub use node::NodeServer;
pub use server::{Fate, Report, Server};
pub use ways::Ways;
