//! A node of ours.

use core::future::Future;
use std::collections::VecDeque;

use sio_streams_core::{BroadcastOptions, Config, Dialect, Packet};
use sio_streams_driver::backend::Backend;
use sio_streams_driver::{Event, Events, Namespace};

use super::{IN_FLIGHT, MAX_LEN, Tally, pace, say, serve};
use crate::peers::job::{Job, Line, Payload};
use crate::peers::{Result, packet};

pub(super) async fn run<B: Backend>(backend: B) -> Result<()> {
    let config = Config { dialect: Dialect::Streams03, max_len: MAX_LEN, ..Config::default() };
    let (node, mut events) = sio_streams_driver::start(config, backend)?;
    let nsp = node.open("/").await?;
    nsp.add_socket("somebody").await?;
    serve(async |job| match job {
        Job::Tell => Err("not for a node".into()),
        Job::Receive { count, timed } => hear(&mut events, count, timed).await,
        // Its own broadcasts are delivered here too, and have to be taken.
        Job::Send { count, payload } => beside(send(&nsp, count, payload), &mut events).await,
        Job::Pace { count, rate, payload } => {
            let one = |now| Ok(broadcast(&nsp, now, payload));
            beside(pace(count, rate, one), &mut events).await
        }
    })
    .await
}

/// Bytes of payload of those that are under way. A node takes a little more, by default.
const BYTES_IN_FLIGHT: usize = 64_000_000;

/// An application would await its oldest message, too, when many are open.
async fn send(nsp: &Namespace, count: u64, payload: Payload) -> Result<Line> {
    let in_flight = IN_FLIGHT.min(BYTES_IN_FLIGHT / payload.size.max(1));
    let mut open = VecDeque::new();
    for _ in 0..count {
        if open.len() >= in_flight
            && let Some(oldest) = open.pop_front()
        {
            oldest.await?;
        }
        // Each is encoded, as an application's would be.
        open.push_back(nsp.broadcast(packet(0, payload)?, BroadcastOptions::all()));
    }
    for publishing in open {
        publishing.await?;
    }
    Ok(Line::default())
}

async fn broadcast(nsp: &Namespace, now: u64, payload: Payload) -> Result<()> {
    nsp.broadcast(packet(now, payload)?, BroadcastOptions::all()).await?;
    Ok(())
}

/// Takes events until the work is done.
async fn beside(work: impl Future<Output = Result<Line>>, events: &mut Events) -> Result<Line> {
    let mut work = core::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            // First: a node takes no calls while too many events wait.
            event = events.next() => drop(event.ok_or("the node is closed")?),
            done = &mut work => return done,
        }
    }
}

async fn hear(events: &mut Events, count: u64, timed: bool) -> Result<Line> {
    let mut tally = Tally::new(count);
    say(&Line { listening: true, ..Line::default() })?;
    loop {
        if let Event::Broadcast(broadcast) = events.next().await.ok_or("the node is closed")? {
            let sent = match timed {
                true => Some(sent(&broadcast.packet)?),
                false => None,
            };
            if tally.heard(sent) {
                return Ok(tally.line());
            }
        }
    }
}

fn sent(packet: &Packet) -> Result<u64> {
    Ok(packet.data().decode::<(serde::de::IgnoredAny, u64, serde::de::IgnoredAny)>()?.1)
}
