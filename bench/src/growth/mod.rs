//! The growth of work with its load, counted in instructions by `src/bin/growth.rs`.

mod found;
mod namespaces;
mod nodes;
mod recovery;
mod requests;
mod sockets;
mod streams;

use std::hint::black_box;

use sio_streams_core::wire::entry::encode;
use sio_streams_core::{Body, Config, Dialect, Event, Fields, Limits, Message, NodeId};

use crate::cases::Work;
use crate::node::{self, BATCH, Node};

pub use found::{Found, table};

/// The allowed growth of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grows {
    /// It is done in the presence of the load, and must not depend on it. It is done for a batch of
    /// [`BATCH`] each time.
    Not,
    /// It is done once, for all of it.
    Linearly,
}

/// A kind of work, in the presence of a load or for all of it.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// The load, which grows.
    pub of: &'static str,
    /// The work.
    pub work: &'static str,
    /// The allowed growth.
    pub grows: Grows,
    /// The sizes.
    pub sizes: &'static [usize],
    /// Prepares the work.
    pub make: fn(usize) -> Work,
}

const fn beside(
    of: &'static str,
    work: &'static str,
    sizes: &'static [usize],
    make: fn(usize) -> Work,
) -> Curve {
    Curve { of, work, grows: Grows::Not, sizes, make }
}

const fn all(
    of: &'static str,
    work: &'static str,
    sizes: &'static [usize],
    make: fn(usize) -> Work,
) -> Curve {
    Curve { of, work, grows: Grows::Linearly, sizes, make }
}

const THOUSANDS: &[usize] = &[1, 100, 1_000, 10_000];
const MANY: &[usize] = &[1, 100, 10_000, 100_000];

/// All curves.
pub fn curves() -> Vec<Curve> {
    [nodes::CURVES, namespaces::CURVES, sockets::CURVES, requests::CURVES, streams::CURVES, recovery::CURVES]
        .concat()
}

/// No bound is met.
fn roomy() -> Config {
    let limits = Limits {
        in_flight: 1 << 20,
        in_flight_bytes: 1 << 30,
        requests: 1 << 20,
        nodes: 1 << 20,
        namespaces: 1 << 20,
        ..Limits::default()
    };
    Config { limits, ..node::config() }
}

fn heartbeating() -> Config {
    Config { dialect: Dialect::Streams02, ..roomy() }
}

fn uid(at: usize) -> NodeId {
    NodeId::new(format!("{at:016x}"))
}

fn named(at: usize) -> String {
    format!("/namespace {at}")
}

fn message_in(nsp: &str, from: usize, body: Body) -> Fields {
    encode(&Message { uid: uid(from), nsp: nsp.into(), body }).expect("a message that can be written")
}

fn message(from: usize, body: Body) -> Fields {
    message_in("/", from, body)
}

fn batched(mut once: impl FnMut() + 'static) -> Work {
    Box::new(move || (0..BATCH).for_each(|_| once()))
}

/// Entries of an ordinary broadcast come, to this room, and it is found out which sockets get them.
fn coming(node: Node, room: &str) -> Work {
    let data = node::envelope("hi").replace(r#""room""#, &format!("{room:?}"));
    delivering(node, node::entry(data))
}

fn delivering(mut node: Node, fields: Fields) -> Work {
    Box::new(move || {
        node.feed(core::iter::repeat_n(&fields, BATCH).cloned());
        assert_eq!(deliver(&mut node), BATCH);
    })
}

/// Takes all events as a framework does. Returns the number of broadcasts among them.
fn deliver(node: &mut Node) -> usize {
    let mut deliveries = Vec::with_capacity(BATCH);
    node.settle_with(|event| {
        if let Event::Broadcast(delivery) = event {
            deliveries.push(delivery);
        }
    });
    for delivery in &deliveries {
        let rooms = node.engine.rooms(&delivery.nsp).expect("an open namespace");
        black_box(rooms.matching(&delivery.opts));
    }
    deliveries.len()
}

fn publishing(mut node: Node) -> Work {
    let packet = node::packet("hi");
    batched(move || {
        let opts = sio_streams_core::BroadcastOptions::all();
        node.engine.broadcast(node.now(), "/", packet.clone(), opts).expect("a broadcast");
        assert_eq!(node.settle(), 1);
    })
}

fn asked_for_timeouts(node: Node) -> Work {
    batched(move || {
        black_box(node.engine.poll_timeout());
    })
}

/// A namespace comes and goes.
fn opened_and_closed(mut node: Node) -> Work {
    batched(move || {
        node.open("/another");
        node.engine.close_namespace(node.now(), "/another").expect("it is open");
        node.settle();
    })
}

/// The exponent of the growth of the cost, at the largest sizes.
pub fn exponent(costs: &[(usize, u64)]) -> f64 {
    let &[.., (fewer, less), (more, most)] = costs else { return 0.0 };
    (most.max(1) as f64 / less.max(1) as f64).ln() / (more as f64 / fewer as f64).ln()
}

/// Returns `true` if it grows too much. Hash tables that are full make a tenth of difference.
pub fn is_too_much(grows: Grows, exponent: f64) -> bool {
    match grows {
        Grows::Not => exponent > 0.1,
        Grows::Linearly => exponent > 1.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_can_be_done() {
        for curve in curves() {
            for size in &curve.sizes[..2] {
                let mut work = (curve.make)(*size);
                work();
                if curve.grows == Grows::Not {
                    work();
                }
            }
        }
    }

    #[test]
    fn an_exponent_is_a_power() {
        assert!((exponent(&[(1, 9), (10, 100), (100, 1_000)]) - 1.0).abs() < 1e-9);
        assert!((exponent(&[(10, 7), (100, 700)]) - 2.0).abs() < 1e-9);
        assert!(exponent(&[(10, 7), (100, 7)]).abs() < 1e-9);
        assert!(is_too_much(Grows::Not, 0.2) && !is_too_much(Grows::Linearly, 1.0));
    }
}
