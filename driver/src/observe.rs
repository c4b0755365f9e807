//! Observability for operators: rare events are logged by `tracing`, and `metrics` counts the
//! others. Both are features of this crate.
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
//! | `sio_streams_refused_total` | counter | `lane`: reported refusals of the server's |
//! | `sio_streams_notice_failed_total` | counter | heartbeats and answers that were not published |
//! | `sio_streams_name_taken_total` | counter | `stream` |
//! | `sio_streams_link_lost_total` | counter | `lane` |
//! | `sio_streams_reconnects_total` | counter | `lane`: lost connections that were opened again |
//! | `sio_streams_nodes_down_total` | counter | `reason`: `closed` or `silent` |
//! | `sio_streams_undelivered_total` | counter | events that a framework's host could not follow |
//! | `sio_streams_in_flight` | gauge | `node`: messages whose fate is not known |
//! | `sio_streams_waiting_entries` | gauge | `node`, `stream`: read, and not taken by the application |
//! | `sio_streams_unread_entries` | gauge | `node`, `stream`: not read yet, where the server counts them |
//! | `sio_streams_lag_seconds` | gauge | `node`, `stream`: the age of the last delivered entry, by this machine's clock; 0 if the node is not behind |
//!
//! Gauges are set every second, even if nothing happens. They go to 0 when their stream is not read
//! any more, or their node is closed. `node` is the node's name. In log lines, the control
//! characters of texts from outside are escaped.

use core::fmt::{self, Write as _};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "metrics")]
use metrics::{Gauge, counter, gauge};
use sio_streams_core::{ByteString, CommandError, DownReason, Event, Lag, Lane, LinkState, Lost, NodeId};

use crate::error::Error;
#[cfg(not(feature = "metrics"))]
use crate::unobserved::metrics::{Gauge, counter, gauge};
#[cfg(not(feature = "tracing"))]
use crate::unobserved::tracing;

/// Counts of frequent events, until they are added to the counters.
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

/// Counts a message that was refused after its caller had lost interest.
pub(crate) fn refused(error: &Error) {
    counter!("sio_streams_publish_failed_total").increment(1);
    tracing::warn!(error = %Clean(error), "not published");
}

/// Reports that clients were not asked for acknowledgements.
pub(crate) fn not_asked(error: &CommandError) {
    tracing::warn!(error = %Clean(error), "acknowledgements of other nodes' clients were not asked for");
}

/// Logs that a namespace can't be opened, since no caller waits for the error.
pub(crate) fn not_opened(error: &Error) {
    tracing::error!(error = %Clean(error), "a namespace could not be opened");
}

/// Reports that a host's answer did not go out.
pub(crate) fn not_answered(error: &Error) {
    tracing::warn!(error = %Clean(error), "another node got no answer, or not all of it");
}

/// Reports that a host could not follow an event.
pub(crate) fn undelivered(nsp: &str, reason: &str) {
    counter!("sio_streams_undelivered_total").increment(1);
    tracing::warn!(nsp = %Clean(nsp), reason = %Clean(reason), "clients did not get what another node sent");
}

/// Reports the first of some notices that the application does not get.
pub(crate) fn untold(notice: &impl fmt::Debug) {
    tracing::warn!(notice = %Clean(format_args!("{notice:?}")), "notices are dropped, as too many wait to be taken");
}

fn event(event: &Event) {
    match event {
        Event::PublishFailed { ticket, error } => {
            counter!("sio_streams_publish_failed_total").increment(1);
            tracing::warn!(%ticket, error = %Clean(error), "not published");
        }
        Event::RequestDone { ticket, outcome } => {
            let complete = outcome.is_complete();
            counter!("sio_streams_requests_total", "complete" => if complete { "true" } else { "false" })
                .increment(1);
            if !complete {
                tracing::warn!(
                    %ticket,
                    missing = %Clean(format_args!("{:?}", outcome.missing)),
                    missing_unnamed = outcome.missing_unnamed,
                    timed_out = outcome.timed_out,
                    "a request was not answered by everyone"
                );
            }
        }
        Event::Skipped { source, reason } => {
            counter!("sio_streams_skipped_total").increment(1);
            tracing::warn!(source = %Clean(format_args!("{source:?}")), reason = %Clean(reason), "skipped what is no message");
        }
        Event::Rewound { stream, cursor, last, lost } => {
            counter!("sio_streams_rewound_total", "stream" => stream.to_string()).increment(1);
            tracing::error!(stream = %Clean(stream), %cursor, %last, ?lost, "the server has lost entries that had been read");
        }
        Event::Gap { stream, after, until, lost } => {
            counter!("sio_streams_gaps_total", "stream" => stream.to_string()).increment(1);
            if let Lost::Exactly(lost) = lost {
                counter!("sio_streams_lost_total", "stream" => stream.to_string()).increment(*lost);
            }
            tracing::error!(stream = %Clean(stream), %after, %until, ?lost, "entries were trimmed before they were read");
        }
        Event::Repeated { stream, id, from } => {
            counter!("sio_streams_repeated_total", "stream" => stream.to_string()).increment(1);
            tracing::warn!(stream = %Clean(stream), %id, from = %Clean(from), "passed over an entry that came before");
        }
        Event::NameTaken { stream, id } => {
            counter!("sio_streams_name_taken_total", "stream" => stream.to_string()).increment(1);
            tracing::error!(stream = %Clean(stream), %id, "another node bears this node's name");
        }
        Event::NoticeFailed { stream, error } => {
            counter!("sio_streams_notice_failed_total").increment(1);
            tracing::warn!(stream = %Clean(stream), error = %Clean(error), "a heartbeat or an answer was not published");
        }
        Event::Refused { lane, channel, error } => {
            counter!("sio_streams_refused_total", "lane" => lane.to_string()).increment(1);
            let channel = Clean(channel.as_deref().unwrap_or_default());
            tracing::error!(lane = %Clean(lane), %channel, error = %Clean(error), "Redis refuses");
        }
        Event::NodeUp { nsp, node } => tracing::info!(nsp = %Clean(nsp), node = %Clean(node), "node up"),
        Event::NodeDown { nsp, node, reason } => {
            let reason = match reason {
                DownReason::Closed => "closed",
                DownReason::Silent => "silent",
                _ => "other",
            };
            counter!("sio_streams_nodes_down_total", "reason" => reason).increment(1);
            tracing::info!(nsp = %Clean(nsp), node = %Clean(node), reason, "node down");
        }
        Event::Ready { nsp } => tracing::debug!(nsp = %Clean(nsp), "ready"),
        Event::Closed { nsp } => tracing::debug!(nsp = %Clean(nsp), "closed"),
        _ => {}
    }
}

/// Reports that a connection could not be opened, or was lost.
pub(crate) fn no_connection(lane: &Lane, reason: &str, failures: u32) {
    tracing::debug!(lane = %Clean(lane), reason = %Clean(reason), failures, "no connection");
}

/// Reports an entry that is too large to be read, and how the search goes on.
pub(crate) fn unreadable(lane: &Lane, way: &impl fmt::Debug) {
    tracing::warn!(lane = %Clean(lane), ?way, "an entry can't be read: too large for one reply");
}

/// Reports a link. With `changed` it was lost or reopened; otherwise only the reason has changed.
pub(crate) fn link(lane: &Lane, link: &LinkState, changed: bool) {
    match link {
        LinkState::Down { reason, .. } if changed => {
            counter!("sio_streams_link_lost_total", "lane" => lane.to_string()).increment(1);
            tracing::warn!(lane = %Clean(lane), reason = %Clean(reason), "link down");
        }
        LinkState::Down { reason, .. } => {
            tracing::warn!(lane = %Clean(lane), reason = %Clean(reason), "link still down");
        }
        _ => {
            if changed {
                counter!("sio_streams_reconnects_total", "lane" => lane.to_string()).increment(1);
            }
            tracing::info!(lane = %Clean(lane), "link up");
        }
    }
}

/// A node's gauges.
#[derive(Debug)]
pub(crate) struct Gauges {
    node: String,
    /// The streams that have gauges.
    streams: BTreeSet<ByteString>,
}

impl Gauges {
    pub(crate) fn new(node: &NodeId) -> Self {
        Gauges { node: node.to_string(), streams: BTreeSet::new() }
    }

    /// Sets the lags of all streams, and the number of messages whose fate is not known.
    pub(crate) fn set<'a>(&mut self, lags: impl Iterator<Item = (&'a ByteString, Lag)>, in_flight: usize) {
        let mut gone = core::mem::take(&mut self.streams);
        for (stream, lag) in lags {
            gone.remove(stream);
            self.streams.insert(stream.clone());
            let [waiting, unread, seconds] = self.of_stream(stream);
            waiting.set(lag.waiting as f64);
            if let Some(count) = lag.unread {
                unread.set(count as f64);
            }
            let behind = lag.waiting > 0 || lag.unread.is_some_and(|unread| unread > 0);
            seconds.set(if behind { age(&lag) } else { 0.0 });
        }
        for stream in gone {
            self.of_stream(&stream).iter().for_each(|gauge| gauge.set(0.0));
        }
        gauge!("sio_streams_in_flight", "node" => self.node.clone()).set(in_flight as f64);
    }

    /// Resets all gauges, since the node is closed.
    pub(crate) fn end(&mut self) {
        self.set(core::iter::empty(), 0);
    }

    fn of_stream(&self, stream: &ByteString) -> [Gauge; 3] {
        let (node, stream) = (|| self.node.clone(), || stream.to_string());
        [
            gauge!("sio_streams_waiting_entries", "node" => node(), "stream" => stream()),
            gauge!("sio_streams_unread_entries", "node" => node(), "stream" => stream()),
            gauge!("sio_streams_lag_seconds", "node" => node(), "stream" => stream()),
        ]
    }
}

/// Displays text from outside in a log line: escaped, on one line, and cut to a limit.
struct Clean<T>(T);

impl<T: fmt::Display> fmt::Display for Clean<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 500;
        struct Escape<'a, 'b> {
            out: &'a mut fmt::Formatter<'b>,
            left: usize,
        }
        impl fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    match self.left {
                        0 => return Ok(()),
                        1 => self.out.write_char('…')?,
                        _ if c.is_control() || is_invisible(c) => write!(self.out, "{}", c.escape_unicode())?,
                        _ => self.out.write_char(c)?,
                    }
                    self.left -= 1;
                }
                Ok(())
            }
        }
        write!(Escape { out: f, left: LONGEST }, "{}", self.0)
    }
}

/// Returns `true` for line ends that are not control characters, and for marks that change the
/// direction of text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the age of the last delivered entry, in seconds.
fn age(lag: &Lag) -> f64 {
    let Some(position) = lag.position else { return 0.0 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    (now - position.ms as f64 / 1_000.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_outside_stay_on_their_line() {
        let evil = "a\nb\r\u{1b}[2J\u{2028}\u{202e}é\u{7f}\u{85}";
        let clean = r"a\u{a}b\u{d}\u{1b}[2J\u{2028}\u{202e}é\u{7f}\u{85}";
        assert_eq!(Clean(evil).to_string(), clean);
        let long = Clean("x".repeat(10_000)).to_string();
        assert!(long.chars().count() == 500 && long.ends_with('…'), "{}", long.len());
    }
}
