//! Compares the reader of frames with `socket.io-parser`, which servers and clients on Node use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use serde_json::json;
use sio_streams_driver::sio_streams_core::Payload;
use sio_streams_driver::sio_streams_core::wire::{FrameReader, Received};

use crate::node::{self, Theirs};
use crate::value::{Written, text};
use crate::{Ours, inputs, made_up, rng};

/// The differences that stay. `docs/fuzzing.md` has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// A blank stands where a digit may stand, or nothing in the place of the type. Node takes both
    /// for 0.
    Blank,
    /// The number of attachments is written like `1e0`, `0x1` or `+1`.
    OddCount,
    /// An id beyond 64 bits.
    HugeId,
    /// An event without data.
    NoData,
    /// An acknowledgement without an id.
    NoId,
    /// A placeholder has a number that is not whole. Node puts `undefined` in its place.
    NotWhole,
    /// A packet with attachments has a key `__proto__`.
    Proto,
    /// Nested deeper than 95.
    TooDeep,
    /// A number beyond what a float holds.
    HugeNumber,
    /// Half of a surrogate pair.
    HalfCharacter,
}

/// A connection's frames.
#[derive(Clone, Debug)]
struct Connection(Vec<Frame>);

#[derive(Clone, Debug)]
enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

impl Connection {
    fn to_json(&self) -> Vec<u8> {
        let frame = |frame: &Frame| match frame {
            Frame::Text(text) => json!(["t", STANDARD.encode(text)]),
            Frame::Binary(bytes) => json!(["b", STANDARD.encode(bytes)]),
        };
        json!(self.0.iter().map(frame).collect::<Vec<_>>()).to_string().into_bytes()
    }
}

/// The packets as `decoders.mjs` writes them.
fn ours(connection: &Connection) -> Ours {
    let (mut reader, mut packets) = (FrameReader::default(), Vec::new());
    for frame in &connection.0 {
        let packet = match frame {
            Frame::Text(text) => reader.text(&**text),
            Frame::Binary(bytes) => reader.binary(bytes.clone()),
        };
        if let Some(packet) = packet.map_err(|error| error.to_string())? {
            packets.push(written(packet)?);
        }
    }
    Ok(format!("[{}]", packets.join(",")))
}

fn written(packet: Received) -> Ours {
    let value = |payload: Payload| {
        payload.decode::<Written>().map(|Written(text)| text).map_err(|error| error.to_string())
    };
    let data = |payload: Option<Payload>| payload.map(value).transpose();
    let (kind, nsp, id, data) = match packet {
        Received::Connect { nsp, auth } => (0_u8, nsp, None, data(auth)?),
        Received::Disconnect { nsp } => (1, nsp, None, None),
        Received::Event { nsp, data: event, id } => (2, nsp, id, data(Some(event))?),
        Received::Ack { nsp, id, args } => (3, nsp, Some(id), data(Some(args))?),
        Received::ConnectError { nsp, error } => (4, nsp, None, data(error)?),
        other => panic!("{other:?}"),
    };
    let number = |number: f64| format!("n{:016x}", number.to_bits());
    let mut parts = vec![
        data.map(|data| format!("\"data\":{data}")),
        id.map(|id| format!("\"id\":{}", number(id as f64))),
        Some(format!("\"nsp\":{}", text(&nsp))),
        Some(format!("\"type\":{}", number(f64::from(kind)))),
    ];
    parts.retain(Option::is_some);
    Ok(format!("{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(",")))
}

/// The head of a text frame, as far as it goes: the type, the number of attachments, and what stands
/// behind the namespace.
fn parts(frame: &str) -> (Option<char>, Option<&str>, &str) {
    let mut chars = frame.chars();
    let kind = chars.next();
    let (count, rest) = match (kind, chars.as_str().split_once('-')) {
        (Some('5' | '6'), Some((count, rest))) => (Some(count), rest),
        _ => (None, chars.as_str()),
    };
    let rest = match rest.starts_with('/') {
        true => rest.split_once(',').map_or("", |(_, rest)| rest),
        false => rest,
    };
    (kind, count, rest)
}

fn known(connection: &Connection) -> Option<Known> {
    let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    for frame in &connection.0 {
        let Frame::Text(frame) = frame else { continue };
        let (kind, count, rest) = parts(frame);
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (id, data) = rest.split_at(digits);
        let squeezed: String = frame.split_whitespace().collect();
        let binary = count.is_some();
        let found = [
            (kind.is_none_or(blank) || data.starts_with(blank), Known::Blank),
            (
                count.is_some_and(|count| count.is_empty() || !count.bytes().all(|c| c.is_ascii_digit())),
                Known::OddCount,
            ),
            (!id.is_empty() && id.parse::<u64>().is_err(), Known::HugeId),
            (matches!(kind, Some('2' | '5')) && data.is_empty(), Known::NoData),
            (kind == Some('6') && data.is_empty(), Known::NoData),
            (matches!(kind, Some('3' | '6')) && id.is_empty(), Known::NoId),
            (binary && NOT_WHOLE.iter().any(|num| squeezed.contains(num)), Known::NotWhole),
            (binary && squeezed.contains("__proto__"), Known::Proto),
            (data.bytes().filter(|byte| b"[{".contains(byte)).count() > 95, Known::TooDeep),
        ];
        if let Some((_, known)) = found.into_iter().find(|(is, _)| *is) {
            return Some(known);
        }
        match crate::known_json(data.as_bytes()) {
            Some(crate::Known::HugeNumber) => return Some(Known::HugeNumber),
            Some(crate::Known::HalfCharacter) => return Some(Known::HalfCharacter),
            _ => {}
        }
    }
    None
}

/// The numbers of placeholders that are generated and are not whole.
const NOT_WHOLE: [&str; 2] = ["\"num\":0.5", "\"num\":1e-7"];

fn generated(rng: &mut Rng) -> Connection {
    let mut frames = Vec::new();
    for _ in 0..rng.usize(1..4) {
        let kind = rng.choice(["0", "1", "2", "2", "2", "3", "3", "4", "5", "5", "5", "6", "6"]);
        let mut frame = kind.unwrap_or("2").to_owned();
        let attachments = if matches!(&*frame, "5" | "6") { rng.usize(1..4) } else { 0 };
        if attachments > 0 {
            frame.push_str(&match rng.u8(0..30) {
                0 => rng.choice(["", "0", "11", "-1", "1e0", "0x1", " 1", "+1", "1.0"]).unwrap_or("").into(),
                1 => format!("0{attachments}"),
                _ => attachments.to_string(),
            });
            frame.push('-');
        }
        frame.push_str(
            rng.choice(["", "", "/,", "/a,", "/a", "/a/b?c=[1],", "/ü,", "//,"]).unwrap_or_default(),
        );
        let id = rng.choice(["", "", "0", "7", "0012", "9007199254740993", "1 2", " "]);
        frame.push_str(match id.unwrap_or_default() {
            odd @ ("1 2" | " ") if rng.u8(0..10) > 0 => odd.trim(),
            id if frame.starts_with(['3', '6']) && id.is_empty() && rng.u8(0..10) > 0 => "3",
            id => id,
        });
        data(rng, attachments, &mut frame);
        if rng.u8(0..8) == 0 {
            frame = String::from_utf8_lossy(&inputs::damaged(rng, frame.as_bytes())).into_owned();
        }
        frames.push(Frame::Text(frame));
        // Mostly as many attachments as there should be.
        let sent = if rng.u8(0..30) == 0 { rng.usize(0..4) } else { attachments };
        frames.extend((0..sent).map(|_| Frame::Binary(vec![rng.u8(..); rng.usize(0..3)])));
    }
    // A packet that still waits for attachments is an error now. Without this, its text may be one
    // here already, where the parser would look at it only with the last attachment.
    frames.push(Frame::Text(r#"2["end"]"#.to_owned()));
    Connection(frames)
}

/// Appends the data of a packet that begins like this.
fn data(rng: &mut Rng, attachments: usize, frame: &mut String) {
    match (frame.as_bytes()[0], rng.u8(0..12)) {
        (_, 0) | (b'1', 1..11) => {}
        (_, 1) => inputs::json(rng, 3, frame),
        (b'0' | b'4', _) => {
            frame.push_str(r#"{"message":"#);
            inputs::json(rng, 2, frame);
            frame.push('}');
        }
        (first, _) => {
            frame.push('[');
            if matches!(first, b'2' | b'5') {
                let names =
                    [r#""a""#, r#""""#, "7", "-1.5", r#""connect""#, r#""\u0063onnect""#, r#""ü""#, "null"];
                frame.push_str(rng.choice(names).filter(|_| rng.bool()).unwrap_or(r#""b""#));
                frame.push(',');
            }
            let places = rng.usize(0..3) + attachments;
            for at in 0..places {
                match rng.u8(0..4) {
                    0 => inputs::json(rng, 2, frame),
                    1 => {
                        frame.push_str(r#"{"k":["#);
                        placeholder(rng, attachments, frame);
                        frame.push_str("]}");
                    }
                    _ => placeholder(rng, attachments, frame),
                }
                frame.push_str(if at + 1 < places { "," } else { "" });
            }
            if places == 0 {
                frame.push('0');
            }
            frame.push(']');
        }
    }
}

fn placeholder(rng: &mut Rng, attachments: usize, frame: &mut String) {
    let mark = rng.choice(["1", "false", "\"true\""]).filter(|_| rng.u8(0..8) == 0).unwrap_or("true");
    let odd = rng.choice(["-1", "0.5", "1e-7", "\"0\"", "null", "9", "0.0", "-0", "1e0", "[0]"]);
    let num = odd
        .filter(|_| rng.u8(0..16) == 0)
        .map_or_else(|| rng.usize(..attachments.max(1)).to_string(), Into::into);
    frame.push_str(&match rng.u8(0..6) {
        0 => format!(r#"{{"num":9,"_placeholder":0,"num":{num},"_placeholder":{mark}}}"#),
        1 => format!(r#"{{"_placeholder":{mark},"in":{{"_placeholder":true,"num":7}},"num":{num}}}"#),
        _ => format!(r#"{{"_placeholder":{mark},"num":{num}}}"#),
    });
}

fn theirs(connections: &[Connection]) -> Vec<Theirs> {
    node::decode_all("parser", &connections.iter().map(Connection::to_json).collect::<Vec<_>>())
}

/// Takes the separated frames of an input of the fuzz target apart.
fn of_corpus(input: &[u8]) -> Connection {
    let frame = |part: &[u8]| match part.split_first() {
        Some((0, content)) => Frame::Binary(content.to_vec()),
        _ => Frame::Text(String::from_utf8_lossy(part).into_owned()),
    };
    Connection(input.split(|byte| *byte == 0xff).map(frame).collect())
}

#[test]
fn frames_mean_what_they_mean_to_the_parser() {
    let mut rng = rng();
    let mut connections: Vec<Connection> = inputs::corpus("frames").iter().map(|it| of_corpus(it)).collect();
    connections.extend((0..2 * made_up()).map(|_| generated(&mut rng)));
    let (mut same, mut whole, mut met, mut failed) = (0, 0, std::collections::BTreeMap::new(), Vec::new());
    for (connection, theirs) in connections.iter().zip(theirs(&connections)) {
        let ours = ours(connection);
        let equal = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        whole += usize::from(equal && theirs.is_ok());
        match (equal, known(connection)) {
            (true, _) => same += 1,
            (false, Some(known)) => *met.entry(known).or_insert(0) += 1,
            (false, None) => failed.push(format!("{connection:?}\n  ours   {ours:?}\n  theirs {theirs:?}")),
        }
    }
    println!("{same} the same, {whole} of them packets; known differences: {met:?}");
    assert!(
        failed.is_empty(),
        "{} differences:\n{}",
        failed.len(),
        failed[..failed.len().min(10)].join("\n")
    );
    assert!(made_up() < 1_000 || whole > made_up() / 4 && met.len() >= 4, "the inputs are too tame");
}

#[test]
fn each_known_difference_of_frames_is_one() {
    let place = r#"{"_placeholder":true,"num":0}"#;
    let deep = format!("2[\"a\",{}{}]", "[".repeat(96), "]".repeat(96));
    let connection = |text: &str, binary: bool| {
        let mut frames = vec![Frame::Text(text.to_owned())];
        frames.extend(binary.then(|| Frame::Binary(vec![1])));
        Connection(frames)
    };
    for (connection, difference) in [
        (connection("2 [\"a\"]", false), Known::Blank),
        (connection("", false), Known::Blank),
        (connection(" {}", false), Known::Blank),
        (connection(&format!("51e0-[\"a\",{place}]"), true), Known::OddCount),
        (connection("218446744073709551616[\"a\"]", false), Known::HugeId),
        (connection("2", false), Known::NoData),
        (connection("51-", true), Known::NoData),
        (connection("3[]", false), Known::NoId),
        (connection(r#"51-["a",{"_placeholder":true,"num":0.5}]"#, true), Known::NotWhole),
        (connection(&format!(r#"51-["a",{{"__proto__":1}},{place}]"#), true), Known::Proto),
        (connection(&deep, false), Known::TooDeep),
        (connection(&format!("51-[\"a\",1e400,{place}]"), true), Known::HugeNumber),
        (connection(r#"2["\ud83d"]"#, false), Known::HalfCharacter),
    ] {
        let theirs = theirs(std::slice::from_ref(&connection)).remove(0);
        assert_ne!(ours(&connection).ok(), theirs.ok(), "{difference:?}");
        assert_eq!(known(&connection), Some(difference));
    }
}
