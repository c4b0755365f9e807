//! The engine in a cluster, under virtual time.

mod members;
mod publishing;
mod reading;
mod requests;
mod world;
