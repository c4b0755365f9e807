//! What must hold for every input, whatever it is. The targets under `targets/` only bring the inputs.

pub mod engine;
pub mod ids;
pub mod memory;
pub mod readers;
pub mod rooms;
pub mod wire;
