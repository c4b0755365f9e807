//! The tests that every backend of this project must pass in addition to the public suite: what
//! needs a real server to be arranged for it. Each backend includes this directory as a module of
//! its own tests, and says in its crate's root what `Backend` and `Connection` are.

mod access;
mod cluster;
mod commands;
pub(crate) mod common;
mod limits;
mod links;
mod member;
mod nodes;
mod recovery;
mod refusals;
mod rights;
mod sentinel;
mod silence;
mod standalone;
mod states;
mod subscriptions;
