//! A Node process that decodes as the peers do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The result of a decoder of the peers.
pub(crate) type Theirs = Result<String, String>;

/// Decodes all inputs with one decoder of `decoders.mjs`.
pub(crate) fn decode_all(decoder: &str, inputs: &[Vec<u8>]) -> Vec<Theirs> {
    let mut node = start();
    let mut stdin = node.stdin.take().unwrap();
    let stdout = node.stdout.take().unwrap();
    let lines: String =
        inputs.iter().map(|input| format!("{decoder} {}\n", STANDARD.encode(input))).collect();
    // Another thread writes: a pipe that nobody empties holds up both.
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let answers: Vec<Theirs> = BufReader::new(stdout).lines().map(|line| parse(&line.unwrap())).collect();
    writer.join().unwrap().unwrap();
    assert!(node.wait().unwrap().success());
    assert_eq!(answers.len(), inputs.len());
    answers
}

fn start() -> Child {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    assert!(dir.join("node_modules/notepack.io").exists(), "the npm packages are missing: cargo xtask setup");
    let mut command = Command::new("node");
    command.arg("decoders.mjs").current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("Node.js is needed: cargo xtask setup")
}

fn parse(line: &str) -> Theirs {
    match line.split_once(' ') {
        Some(("ok", value)) => Ok(value.to_owned()),
        Some(("error", why)) => Err(why.to_owned()),
        _ => panic!("not an answer: {line}"),
    }
}
