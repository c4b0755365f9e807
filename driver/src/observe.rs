//! What operators see: `tracing` for what happens rarely, `metrics` for what is counted.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `sio_streams_delivered_total` | counter | |
//! | `sio_streams_published_total` | counter | |
//! | `sio_streams_publish_failed_total` | counter | |
//! | `sio_streams_requests_total` | counter | `complete`: `true` or `false` |
//! | `sio_streams_skipped_total` | counter | |
//! | `sio_streams_rewound_total` | counter | `stream` |
//! | `sio_streams_link_lost_total` | counter | `lane` |
//! | `sio_streams_nodes_down_total` | counter | `reason`: `closed` or `silent` |

use metrics::counter;
use sio_streams_core::{DownReason, Event, Lane};

pub(crate) fn event(event: &Event) {
    match event {
        Event::Broadcast(_) => counter!("sio_streams_delivered_total").increment(1),
        Event::Published { .. } => counter!("sio_streams_published_total").increment(1),
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
        Event::Rewound { stream, cursor, last } => {
            counter!("sio_streams_rewound_total", "stream" => stream.to_string()).increment(1);
            tracing::error!(%stream, %cursor, %last, "the stream is behind what was already read");
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

pub(crate) fn link(lane: &Lane, up: bool, reason: &str) {
    if up {
        tracing::info!(%lane, "link up");
    } else {
        counter!("sio_streams_link_lost_total", "lane" => lane.to_string()).increment(1);
        tracing::warn!(%lane, %reason, "link down");
    }
}
