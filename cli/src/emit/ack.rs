//! An event that clients answer.

use std::io::Write as _;
use std::time::Duration;

use sio_streams_driver::backend::BoxedBackend;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, Dialect, Packet};

use super::Error;
use crate::ask::Road;
use crate::tail::text::clean;

/// Sends an event, and shows what clients answer. Returns `false` if an answer is missing, or the
/// word of a server.
pub(super) async fn send(
    backend: BoxedBackend,
    nsp: &str,
    config: Config,
    packet: Packet,
    mut opts: BroadcastOptions,
    timeout: Duration,
) -> Result<bool, Error> {
    if config.dialect == Dialect::Bridge {
        return Err(Error::AckOfTwo);
    }
    opts.flags.timeout = Some(timeout);
    let mut road = Road::connect(backend, nsp, timeout, config).await?;
    let acked = road.broadcast(packet, opts).await?;
    let mut out = std::io::stdout().lock();
    for answer in &acked.answers {
        writeln!(out, "{}", clean(&answer.to_json()))?;
    }
    out.flush()?;
    let (answers, asked) = (acked.answers.len() as u64, acked.asked());
    let (servers, missing) = (acked.servers() as u64, acked.missing_servers());
    // There is no other place to say it.
    let _ = writeln!(
        std::io::stderr(),
        "{answers} of {asked} clients answered, on {servers} of {} servers",
        servers + missing
    );
    Ok(missing == 0 && answers >= asked && servers > 0)
}
