//! From stream entries to the frames for clients, compared with Node: `cargo xtask bench
//! frames`.
//!
//! ```text
//! frames [--docs]    prints a table in Markdown: medians of five rounds; fails if Node makes other frames of an entry
//! ```
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::env;
use std::fmt::Write;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sio_streams_bench::docs::{self, Result};
use sio_streams_bench::peers::job::Payload;
use sio_streams_bench::peers::packet;
use sio_streams_core::wire::Frames;
use sio_streams_core::wire::entry::{decode, encode};
use sio_streams_core::{Body, BroadcastOptions, EntryId, Fields, Message, NodeId};

const ROUNDS: usize = 5;

/// The time for each variant in a round. Node runs it for as long before, to warm up.
const MILLIS: u64 = 150;

const ID: EntryId = EntryId { ms: 1_700_000_000_000, seq: 0 };

const PAYLOADS: [(&str, Payload); 4] = [
    ("small JSON", Payload { binary: false, size: 16 }),
    ("1 KiB JSON", Payload { binary: false, size: 1 << 10 }),
    ("1 KiB binary", Payload { binary: true, size: 1 << 10 }),
    ("64 KiB JSON", Payload { binary: false, size: 64 << 10 }),
];

/// The figures of one payload: nanoseconds for one, by round.
#[derive(Serialize, Deserialize)]
struct Found {
    title: String,
    ours: Vec<f64>,
    node: Vec<f64>,
}

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let publish = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--docs"] => true,
        _ => return Err("usage: bench frames [--docs]".into()),
    };
    let entries = PAYLOADS.into_iter().map(|(_, payload)| entry(payload)).collect::<Result<Vec<_>>>()?;
    let mut all: Vec<Found> = PAYLOADS
        .into_iter()
        .map(|(title, _)| Found { title: title.into(), ours: Vec::new(), node: Vec::new() })
        .collect();
    for _ in 0..ROUNDS {
        let by_node = node(&entries)?;
        for ((found, fields), (theirs, nanos)) in all.iter_mut().zip(&entries).zip(by_node) {
            let ours = of_entry(ID, fields)?;
            if ours != theirs {
                return Err(format!("{}: Node makes {theirs:?}, we make {ours:?}", found.title).into());
            }
            found.ours.push(measure(fields));
            found.node.push(nanos);
        }
    }
    let text = table(&all);
    println!("{text}");
    if publish {
        docs::publish("frames", &all, &text)?;
    }
    Ok(())
}

/// The way from an entry to the frames for a client.
fn of_entry(id: EntryId, fields: &Fields) -> Result<Frames> {
    let message = decode(fields)?;
    let Body::Broadcast { packet, .. } = message.body else { return Err("no broadcast".into()) };
    Ok(packet.frames(&message.nsp, Some(id)))
}

fn entry(payload: Payload) -> Result<Fields> {
    let body = Body::Broadcast {
        packet: packet(1_700_000_000_000_000, payload)?,
        opts: BroadcastOptions::all(),
        request_id: None,
    };
    Ok(encode(&Message { uid: NodeId::new("d0a1b2c3d4e5f607"), nsp: "/".into(), body })?)
}

/// Nanoseconds for one.
fn measure(fields: &Fields) -> f64 {
    let (began, mut done) = (Instant::now(), 0);
    loop {
        for _ in 0..16 {
            // The first run has shown that it succeeds.
            let _ = black_box(of_entry(ID, black_box(fields)));
        }
        done += 16;
        let time = began.elapsed();
        if time >= Duration::from_millis(MILLIS) {
            return time.as_nanos() as f64 / f64::from(done);
        }
    }
}

#[derive(Deserialize)]
struct Said {
    nanos: f64,
    text: String,
    attachments: Vec<String>,
}

/// The frames that Node makes of each, and its nanoseconds for one.
fn node(entries: &[Fields]) -> Result<Vec<(Frames, f64)>> {
    let field = |fields: &Fields, name| {
        fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    let entries: Vec<_> = entries
        .iter()
        .map(|fields| json!({ "id": ID.to_string(), "nsp": field(fields, "nsp"), "data": field(fields, "data") }))
        .collect();
    let script = docs::file("tests/interop/peers/frames.mjs");
    let job = json!({ "millis": MILLIS, "entries": entries }).to_string();
    let output = Command::new("node").arg(script).arg(job).output()?;
    if !output.status.success() {
        return Err(format!("node failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut all = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let Said { nanos, text, attachments } = serde_json::from_str(line)?;
        let attachments =
            attachments.iter().map(|text| Ok(STANDARD.decode(text)?.into())).collect::<Result<_>>()?;
        all.push((Frames { text: text.into(), attachments }, nanos));
    }
    Ok(all)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(all: &[Found]) -> String {
    let mut out = String::from("| | Node µs | sio-streams µs | ratio |\n|---|---:|---:|---:|\n");
    for Found { title, ours, node } in all {
        let ratio = median(ours.iter().zip(node).map(|(ours, node)| ours / node));
        let micros = |values: &[f64]| median(values.iter().copied()) / 1e3;
        let _ = writeln!(out, "| {title} | {:.2} | {:.2} | × {ratio:.2} |", micros(node), micros(ours));
    }
    out
}
