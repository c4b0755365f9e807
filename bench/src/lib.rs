//! Measures sio-streams.
//!
//! - `benches/engine.rs`: how long the engine's work takes, by itself;
//! - [`cases`]: the same work, to be counted: allocations in the tests, instructions by
//!   `src/bin/instructions.rs`;
//! - `src/bin/frames.rs`: from an entry to the frames for clients, compared with Node;
//! - [`growth`]: the growth of work with its load, by `src/bin/growth.rs`;
//! - [`peers`]: whole nodes in processes of their own, compared with Node's, by `src/bin/peers.rs`.
//!
//! The results are in `docs/performance.md`.

pub mod cases;
pub mod docs;
pub mod growth;
pub mod instructions;
pub mod node;
pub mod peers;
