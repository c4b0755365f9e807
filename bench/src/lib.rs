//! Measures sio-streams.
//!
//! - `benches/engine.rs`: how long the engine's work takes, by itself;
//! - [`cases`]: the same work, to be counted: allocations in the tests, instructions by `src/bin/instructions.rs`;
//! - `src/bin/frames.rs`: from an entry to what goes to clients, beside Node;
//! - [`growth`]: how work grows with what there is of it, by `src/bin/growth.rs`;
//! - [`peers`]: whole nodes in processes of their own, beside Node's, by `src/bin/peers.rs`.
//!
//! What came of it is in `docs/performance.md`.

pub mod cases;
pub mod docs;
pub mod growth;
pub mod instructions;
pub mod node;
pub mod peers;
