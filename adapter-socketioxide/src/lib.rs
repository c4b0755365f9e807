#![doc = include_str!("../README.md")]
//!
//! # In this crate
//!
//! A [`Cluster`] is made of a node and its events. It is the state of each namespace's
//! [`SioStreamsAdapter`], and the handle for what socketioxide has no methods for. One task for each
//! node takes its events, and does what they say with the sockets of its namespaces.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod addressees;
mod aliases;
mod cluster;
mod encoding;
mod error;

pub use adapter::{Init, SioStreamsAdapter};
pub use cluster::{Cluster, SocketDescription};
pub use encoding::AckStream;
pub use error::{Error, SetupError};
pub use sio_streams_driver;
pub use sio_streams_driver::hosts::{Notice, Notices};
