//! The properties that must hold for every input. The targets under `targets/` only pass the inputs
//! on.

pub mod engine;
pub mod frames;
pub mod ids;
pub mod memory;
pub mod readers;
pub mod resp;
pub mod rooms;
pub mod wire;
