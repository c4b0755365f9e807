//! placeholder
mod app;
pub mod campaign;
mod chance;
mod digest;
mod fault;
mod minimise;
mod oracle;
mod page;
mod peer;
mod plan;
mod responder;
mod swarm;
mod timeline;
mod trace;
mod trial;
mod watch;
mod world;

pub use app::{App, Hand, Node};
pub use fault::{Data, Fault, Lanes, Refusal};
pub use page::page;
pub use peer::{Generation, Question};
pub use timeline::text;
pub use trace::{Kind, Place, Record, Tracer};
pub use trial::Report;
pub use watch::{Happening, PeerNote, Watch};
pub use world::{HostOptions, Network, World};
