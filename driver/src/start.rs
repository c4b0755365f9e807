//! Starting a node.

use std::sync::Arc;

use sio_streams_core::{ConfigError, Engine, Time};

use crate::admission::Admission;
use crate::backend::{Backend, Timing};
use crate::call::calls;
use crate::node::{Node, Patience};
use crate::options::Options;
use crate::queue::{Events, queue};
use crate::run::{Loop, Run};

/// The reason that a node can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The engine's options are not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A time limit is zero, so that nothing could ever be done within it.
    #[error("{0} must not be zero")]
    NoTime(&'static str),
    /// The operating system gives no randomness.
    #[error("no randomness for the node's name: {0}; give a seed")]
    Randomness(getrandom::Error),
}

/// Starts a node. It has no connection and no namespace yet: see [`Node::open`].
///
/// # Errors
///
/// If the options are not valid, or the operating system gives no randomness.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn start<B: Backend>(options: impl Into<Options>, backend: B) -> Result<(Node, Events), StartError> {
    let mut options = options.into();
    options.event_buffer = options.event_buffer.max(1);
    let Timing { response, connect, .. } = options.timing;
    let times =
        [(response, "timing.response"), (connect, "timing.connect"), (options.open_within, "open_within")];
    if let Some((_, name)) = times.into_iter().find(|(time, _)| time.is_zero()) {
        return Err(StartError::NoTime(name));
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(StartError::Randomness)?,
    };
    let engine = Engine::new(options.config.clone(), seed, Time::ZERO)?;
    let (calls, inbox) = calls();
    let (teller, events) = queue(options.event_buffer);
    let node = Node {
        admission: Arc::new(Admission::new(options.config.limits)),
        uid: engine.uid().clone(),
        patience: Patience {
            open: options.open_within,
            accept: options
                .config
                .recovery
                .as_ref()
                .map_or(options.timing.response, |recovery| recovery.timeout),
            close: options.timing.response,
        },
        config: Arc::new(options.config.clone()),
        calls,
    };
    let run = Run::new(engine, options, node.calls.downgrade(), teller, Arc::clone(&node.admission));
    tokio::spawn(Loop::new(run, backend, inbox).run());
    Ok((node, events))
}
