//! The work grows with the length of a reply, and not with the number of its pieces.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::time::Duration;

use cpu_time::ThreadTime;
use sio_streams_resp::{Reader, Value};

/// The time is far longer than any of these takes unoptimised on a slow machine, and far shorter
/// than quadratic work would take.
const GENEROUS: Duration = Duration::from_secs(60);

/// Reads a reply that comes in pieces of this size. Time in which the process is not scheduled does
/// not count.
fn read(reply: &[u8], piece: usize) -> Value {
    let begin = ThreadTime::now();
    let mut reader = Reader::default();
    let mut received = None;
    for piece in reply.chunks(piece) {
        assert_eq!(received, None);
        reader.feed(piece);
        received = reader.read().unwrap();
        assert!(begin.elapsed() < GENEROUS);
    }
    received.unwrap().value
}

#[test]
fn a_long_reply_may_come_in_small_pieces() {
    const LENGTH: usize = 1 << 20;
    let text = "x".repeat(LENGTH);
    let whole = Value::Bytes(text.clone().into());
    for reply in [format!("${LENGTH}\r\n{text}\r\n"), format!("+{text}\r\n")] {
        assert_eq!(read(reply.as_bytes(), 3), whole);
    }
    let many = format!("*{}\r\n{}", LENGTH / 4, ":1\r\n".repeat(LENGTH / 4));
    assert_eq!(read(many.as_bytes(), 3), Value::List(vec![Value::Int(1); LENGTH / 4]));
    let deep = format!(
        "*{}\r\n{}",
        LENGTH / 32,
        "*2\r\n$5\r\nhello\r\n|1\r\n+a\r\n+b\r\n*0\r\n".repeat(LENGTH / 32)
    );
    assert_eq!(read(deep.as_bytes(), 1).list().unwrap().len(), LENGTH / 32);
}
