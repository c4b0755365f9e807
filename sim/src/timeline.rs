//! A run as text, with a line for each event.

use core::fmt::Write;

use crate::trace::{Kind, Place, Record};

/// The sign of a kind of line.
fn sign(kind: Kind) -> char {
    match kind {
        Kind::Entry => '+',
        Kind::Push => '»',
        Kind::Delivery => '←',
        Kind::Answer => '·',
        Kind::Call => '▸',
        Kind::Down => '✂',
        Kind::Up => '○',
        Kind::Fault => '!',
        Kind::Notice => '?',
        Kind::Wire => ' ',
        Kind::Violation => '✗',
    }
}

/// The record as text: time in milliseconds, where, what. Every command and reply too, if `wire`.
pub fn text(records: &[Record], wire: bool) -> String {
    let mut out = String::new();
    for Record { at, place, kind, text, .. } in
        records.iter().filter(|record| wire || record.kind != Kind::Wire)
    {
        let place = match place {
            Place::Server => "redis".to_owned(),
            Place::Host(host) => format!("host{host}"),
        };
        let millis = at.as_micros() as f64 / 1_000.0;
        // Writing to a string does not fail.
        let _ = writeln!(out, "{millis:12.3}  {place:<6} {} {text}", sign(*kind));
    }
    out
}
