//! What operators see: `tracing` for what happens rarely, `metrics` for what is counted.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `sio_streams_delivered_total` | counter | |
//! | `sio_streams_published_total` | counter | |
//! | `sio_streams_publish_failed_total` | counter | |
//! | `sio_streams_requests_total` | counter | `complete`: `true` or `false` |
//! | `sio_streams_skipped_total` | counter | |
//! | `sio_streams_gaps_total` | counter | `stream` |
//! | `sio_streams_lost_total` | counter | `stream`: entries that were trimmed before they were read, where the server counts them |
//! | `sio_streams_rewound_total` | counter | `stream` |
//! | `sio_streams_repeated_total` | counter | `stream` |
//! | `sio_streams_waiting_entries` | gauge | `stream`: read, and not taken by the application |
//! | `sio_streams_unread_entries` | gauge | `stream`: not read yet, where the server counts them |
//! | `sio_streams_lag_seconds` | gauge | `stream`: how old the next entry is, by this machine's clock; 0 if there is none |
//! | `sio_streams_link_lost_total` | counter | `lane` |
//! | `sio_streams_nodes_down_total` | counter | `reason`: `closed` or `silent` |

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use sio_streams_core::{ByteString, DownReason, Event, Lag, Lane, Lost};

/// What happens with each message, until it is added to the counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    delivered: u64,
    published: u64,
}

impl Counts {
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Broadcast(_) => self.delivered += 1,
            Event::Published { .. } => self.published += 1,
            rare => self::event(rare),
        }
    }

    pub(crate) fn flush(&mut self) {
        let Counts { delivered, published } = core::mem::take(self);
        if delivered > 0 {
            counter!("sio_streams_delivered_total").increment(delivered);
        }
        if published > 0 {
            counter!("sio_streams_published_total").increment(published);
        }
    }
}

/// A message was not taken, and nobody waits for its fate.
pub(crate) fn refused(error: &crate::Error) {
    counter!("sio_streams_publish_failed_total").increment(1);
    tracing::warn!(%error, "not published");
}

fn event(event: &Event) {
    match event {
        Event::PublishFailed { ticket, error } => {
            counter!("sio_streams_publish_failed_total").increment(1);
            tracing::warn!(%ticket, %error, "not published");
        }
        Event::RequestDone { ticket, outcome } => {
            let complete = outcome.is_complete();
            counter!("sio_streams_requests_total", "complete" => if complete { "true" } else { "false" })
                .increment(1);
            if !complete {
                tracing::warn!(
                    %ticket,
                    missing = ?outcome.missing,
                    missing_unnamed = outcome.missing_unnamed,
                    timed_out = outcome.timed_out,
                    "a request was not answered by everyone"
                );
            }
        }
        Event::Skipped { source, reason } => {
            counter!("sio_streams_skipped_total").increment(1);
            tracing::warn!(?source, %reason, "skipped what is no message");
        }
        Event::Rewound { stream, cursor, last, lost } => {
            counter!("sio_streams_rewound_total", "stream" => stream.to_string()).increment(1);
            tracing::error!(%stream, %cursor, %last, ?lost, "the server has lost entries that had been read");
        }
        Event::Gap { stream, after, until, lost } => {
            counter!("sio_streams_gaps_total", "stream" => stream.to_string()).increment(1);
            if let Lost::Exactly(lost) = lost {
                counter!("sio_streams_lost_total", "stream" => stream.to_string()).increment(*lost);
            }
            tracing::error!(%stream, %after, %until, ?lost, "entries were trimmed before they were read");
        }
        Event::Repeated { stream, id, from } => {
            counter!("sio_streams_repeated_total", "stream" => stream.to_string()).increment(1);
            tracing::warn!(%stream, %id, %from, "passed over an entry that came before");
        }
        Event::NameTaken { stream, id } => {
            tracing::error!(%stream, %id, "another node bears this node's name");
        }
        Event::NoticeFailed { stream, error } => {
            tracing::warn!(%stream, %error, "a heartbeat or an answer was not published");
        }
        Event::Refused { lane, error } => tracing::error!(%lane, %error, "Redis refuses"),
        Event::NodeUp { nsp, node } => tracing::info!(%nsp, %node, "node up"),
        Event::NodeDown { nsp, node, reason } => {
            let reason = match reason {
                DownReason::Closed => "closed",
                DownReason::Silent => "silent",
            };
            counter!("sio_streams_nodes_down_total", "reason" => reason).increment(1);
            tracing::info!(%nsp, %node, reason, "node down");
        }
        Event::Ready { nsp } => tracing::debug!(%nsp, "ready"),
        Event::Closed { nsp } => tracing::debug!(%nsp, "closed"),
        _ => {}
    }
}

/// `changed`: whether it was not so before; else only the reason has changed.
pub(crate) fn link(lane: &Lane, up: bool, reason: &str, changed: bool) {
    if up {
        tracing::info!(%lane, "link up");
    } else if !changed {
        tracing::warn!(%lane, %reason, "link still down");
    } else {
        counter!("sio_streams_link_lost_total", "lane" => lane.to_string()).increment(1);
        tracing::warn!(%lane, %reason, "link down");
    }
}

/// How far the node is behind a stream.
pub(crate) fn lag(stream: &ByteString, lag: &Lag) {
    let label = || stream.to_string();
    gauge!("sio_streams_waiting_entries", "stream" => label()).set(lag.waiting as f64);
    if let Some(unread) = lag.unread {
        gauge!("sio_streams_unread_entries", "stream" => label()).set(unread as f64);
    }
    let behind = lag.waiting > 0 || lag.unread.is_some_and(|unread| unread > 0);
    gauge!("sio_streams_lag_seconds", "stream" => label()).set(if behind { age(lag) } else { 0.0 });
}

/// How long ago the entry was added that was delivered last, in seconds.
fn age(lag: &Lag) -> f64 {
    let Some(position) = lag.position else { return 0.0 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    (now - position.ms as f64 / 1_000.0).max(0.0)
}
