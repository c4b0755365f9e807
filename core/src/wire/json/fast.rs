//! The fast path for JSON as Node's adapters and this crate write it: no blanks between keys, no
//! escapes in names, no values of unexpected types.
//!
//! Nearly every message has that form, and is read in a single pass. For any other input the
//! functions return `None`, and the general reader in [`json`](super) takes over. If they return a
//! value, the general reader gives the same.

use bytes::Bytes;

use super::scanner::Scanner;
use crate::id::RequestId;
use crate::javascript::may_be_number;
use crate::message::Body;
use crate::packet::{BroadcastOptions, Flags, Packet};
use crate::payload::Encoding;
use crate::wire::data::{BROADCAST, Data, PacketData, RawPacket, Scalar, check_event, uses};
use crate::wire::encoder::is_plain;

/// Reads the data of a message of this kind. The text must be UTF-8.
pub(in crate::wire) fn read(kind: u8, text: &Bytes) -> Option<Data> {
    let mut scanner = Scanner::new(text);
    let mut data = Data::default();
    scanner.object(|key, value| {
        match key {
            key if !uses(kind, key) => value.skip()?,
            "packet" if kind == BROADCAST => data.packet = Some(PacketData::Packet(packet(value)?)),
            // A null value counts as absent.
            "packet" if value.peek() == Some(b'n') => return None,
            "packet" => data.packet = Some(PacketData::Value(value.payload()?)),
            "opts" => data.opts = Some(opts(value)?),
            "requestId" => data.request_id = Some(value.name()?),
            "rooms" => data.rooms = Some(value.names()?),
            "close" => data.close = Some(value.switch()?),
            "clientCount" => data.client_count = Some(value.count()?),
            _ => return None,
        }
        Some(())
    })?;
    scanner.is_at_end().then_some(data)
}

/// Reads the data of a broadcast whose keys are in the order in which Node's adapters and this
/// crate write them. Most of such a message is known in advance and only has to be compared. The
/// text must be UTF-8.
pub(in crate::wire) fn broadcast(text: &Bytes) -> Option<Body> {
    let mut scanner = Scanner::new(text);
    scanner.literal(br#"{"packet":{"type":2,"data":"#)?;
    if scanner.peek() != Some(b'[') {
        return None;
    }
    let data = scanner.payload()?;
    check_event(&data).ok()?;
    let nsp = if scanner.starts(br#","nsp":"#) { Some(scanner.name()?) } else { None };
    scanner.literal(b"}")?;
    let mut request_id = None;
    if scanner.starts(br#","requestId":"#) {
        request_id = Some(scanner.name()?);
    }
    scanner.literal(br#","opts":{"rooms":"#)?;
    let rooms = scanner.names()?;
    scanner.literal(br#","except":"#)?;
    let except = scanner.names()?;
    scanner.literal(br#","flags":"#)?;
    let flags = if scanner.starts(b"{}") { Flags::default() } else { flags(&mut scanner)? };
    scanner.literal(b"}")?;
    if scanner.starts(br#","requestId":"#) {
        request_id = Some(scanner.name()?);
    }
    scanner.literal(b"}")?;
    if !scanner.is_at_end() {
        return None;
    }
    let packet = Packet { data, nsp, id: None };
    let opts = BroadcastOptions { rooms, except, flags };
    Some(Body::Broadcast { packet, opts, request_id: request_id.map(RequestId::new) })
}

/// Writes the data of a broadcast, if it is an event for some rooms and nothing else, as most are.
/// The result equals that of [`encode::data`](crate::wire::encode::data), in a buffer of exactly
/// the right size.
pub(in crate::wire) fn write_broadcast(body: &Body) -> Option<Vec<u8>> {
    const PIECES: [&[u8]; 4] = [
        br#"{"packet":{"type":2,"data":"#,
        br#"},"opts":{"rooms":["#,
        br#"],"except":["#,
        br#"],"flags":{}}}"#,
    ];
    let Body::Broadcast { packet, opts, request_id: None } = body else { return None };
    let Packet { data, nsp: None, id: None } = packet else { return None };
    if data.encoding() != Encoding::Json || opts.flags != Flags::default() {
        return None;
    }
    let mut size = PIECES.iter().map(|piece| piece.len()).sum::<usize>() + data.bytes().len();
    for names in [&opts.rooms, &opts.except] {
        for name in names {
            // A room that is a number is written twice.
            if !is_plain(name.as_bytes()) || may_be_number(name) {
                return None;
            }
            // Each name takes two quotes and a comma.
            size += name.len() + 3;
        }
        size -= usize::from(!names.is_empty());
    }
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(PIECES[0]);
    out.extend_from_slice(data.bytes());
    for (piece, names) in [(PIECES[1], &opts.rooms), (PIECES[2], &opts.except)] {
        out.extend_from_slice(piece);
        for (at, name) in names.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(PIECES[3]);
    debug_assert_eq!(out.len(), size);
    Some(out)
}

fn packet(scanner: &mut Scanner<'_>) -> Option<RawPacket> {
    let mut packet = RawPacket::default();
    scanner.object(|key, value| {
        match key {
            "type" => packet.kind = Some(Scalar::Whole(value.count()?)),
            // A null value counts as absent.
            "data" if value.peek() == Some(b'n') => return None,
            "data" => packet.data = Some(value.payload()?),
            "nsp" => packet.nsp = Some(Scalar::Text(value.name()?)),
            "id" => packet.id = Some(Scalar::Whole(value.count()?)),
            _ => value.skip()?,
        }
        Some(())
    })?;
    Some(packet)
}

fn opts(scanner: &mut Scanner<'_>) -> Option<BroadcastOptions> {
    let mut opts = BroadcastOptions::default();
    scanner.object(|key, value| {
        match key {
            "rooms" => opts.rooms = value.names()?,
            "except" => opts.except = value.names()?,
            "flags" => opts.flags = flags(value)?,
            _ => value.skip()?,
        }
        Some(())
    })?;
    Some(opts)
}

fn flags(scanner: &mut Scanner<'_>) -> Option<Flags> {
    let mut flags = Flags::default();
    scanner.object(|key, value| {
        let known = match key {
            "timeout" => flags.set(key, None, Some(value.count()?)),
            _ => flags.set(key, Some(value.switch()?), None),
        };
        known.then_some(())
    })?;
    Some(flags)
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::wire::encoder::JsonEncoder;
    use crate::wire::{encode, json};

    /// Pieces of messages. Joined, they often make up a valid message, or nearly one.
    const PIECES: [&str; 60] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "{}",
        "[]",
        " ",
        "\n",
        "\"",
        "\\",
        "\\\"",
        "\\u00e9",
        "\\ud83d",
        "\\x",
        "\u{1}",
        "é",
        "0",
        "1",
        "-",
        "-0",
        "01",
        "1.5",
        "1.",
        "1e3",
        "1E+",
        "255",
        "256",
        "9007199254740993",
        "1234567890123456",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "\"a room with a long name\"",
        "\"packet\":",
        "\"opts\":",
        "\"requestId\":",
        "\"rooms\":",
        "\"except\":",
        "\"flags\":",
        "\"close\":",
        "\"clientCount\":",
        "\"type\":",
        "\"data\":",
        "\"nsp\":",
        "\"id\":",
        "\"volatile\":",
        "\"timeout\":",
        "\"mine\":",
        "\"sockets\":[]",
        "\"rooms\":[\"a\",\"b\"]",
        "\"except\":[]",
        "\"packet\":{\"type\":2,\"data\":[\"e\",{\"a\":[1.5,-2]}],\"nsp\":\"/\"}",
        "\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}}",
        "\"flags\":{\"volatile\":true,\"timeout\":500}",
        "\"requestId\":\"r\"",
        "\"clientCount\":3",
    ];

    fn agree(kind: u8, text: &str) -> bool {
        let text = ByteString::from(text);
        let Some(fast) = read(kind, text.as_bytes()) else { return false };
        assert_eq!(fast, json::read_any(kind, &text).unwrap(), "{kind}: {text}");
        true
    }

    fn agree_on_broadcast(text: &str) -> bool {
        let text = ByteString::from(text);
        let Some(body) = broadcast(text.as_bytes()) else { return false };
        assert_eq!(body, json::read_any(BROADCAST, &text).unwrap().into_body(BROADCAST).unwrap(), "{text}");
        true
    }

    /// Generates the data of a broadcast with its keys in order. Some keys may be missing, and some
    /// values unexpected.
    fn in_order() -> impl Strategy<Value = String> {
        let kind = select(&["2", "2", "2", "3", "\"2\""][..]);
        let data = select(&["[]", "[\"e\"]", "[\"e\",{\"a\":[\"\\\"é\"]}]", "[1,", "null", "{}"][..]);
        let nsp = select(&["", "", ",\"nsp\":\"/é\"", ",\"nsp\":null", ",\"id\":1"][..]);
        let names = || {
            select(
                &[
                    "[]",
                    "[\"a\"]",
                    "[\"a\",\"é\",\"c\"]",
                    "[\"\\n\"]",
                    "[1]",
                    "[\"5\",5,\"a\",\"-7\",-7]",
                    "[\"5.0\",5.0,5]",
                    "null",
                ][..],
            )
        };
        let flags = select(&["{}", "{\"volatile\":true,\"timeout\":500}", "{\"mine\":1}", "null"][..]);
        let id = || select(&["", "", ",\"requestId\":\"r\"", ",\"requestId\":null", " "][..]);
        (kind, data, nsp, id(), names(), names(), flags, id()).prop_map(
            |(kind, data, nsp, before, rooms, except, flags, behind)| {
                let packet = format!(r#"{{"type":{kind},"data":{data}{nsp}}}"#);
                let opts = format!(r#"{{"rooms":{rooms},"except":{except},"flags":{flags}}}"#);
                format!(r#"{{"packet":{packet}{before},"opts":{opts}{behind}}}"#)
            },
        )
    }

    fn message() -> impl Strategy<Value = String> {
        vec(select(&PIECES[..]), 0..6).prop_map(|pieces| format!("{{{}}}", pieces.join(",")))
    }

    proptest! {
        // Miri is slow.
        #![proptest_config(if cfg!(miri) { ProptestConfig::with_cases(10) } else { ProptestConfig::default() })]

        #[test]
        fn what_is_read_here_reads_the_same_there(
            text in message(),
            changes in vec((any::<Index>(), select(&PIECES[..]), 0..4_usize), 0..4),
            kind in 3..=12_u8,
        ) {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, piece, cut) in changes {
                let at = at.index(chars.len() + 1);
                chars.splice(at..(at + cut).min(chars.len()), piece.chars());
            }
            agree(kind, &chars.iter().collect::<String>());
        }

        #[test]
        fn a_broadcast_in_order_reads_the_same_there(
            text in in_order(),
            change in (any::<Index>(), select(&PIECES[..]), 0..4_usize, any::<bool>()),
        ) {
            agree_on_broadcast(&text);
            let (at, piece, cut, is_made) = change;
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            if is_made {
                chars.splice(at..(at + cut).min(chars.len()), piece.chars());
            }
            agree_on_broadcast(&chars.iter().collect::<String>());
        }

        #[test]
        fn a_value_that_is_skipped_is_json(text in vec(select(&PIECES[..]), 0..12).prop_map(|pieces| pieces.concat())) {
            agree(10, &format!(r#"{{"packet":{text},"requestId":"r"}}"#));
        }
    }

    #[test]
    fn the_fast_path_reads_what_node_writes() {
        let messages = [
            (
                3,
                r#"{"packet":{"type":2,"data":["hello",{"from":"ann","text":"a \"word\" \u2028é"},-1.5e-7,[[]],null,true],"nsp":"/"},"opts":{"rooms":["a","b"],"except":[],"flags":{}}}"#,
            ),
            (
                3,
                r#"{"packet":{"type":2,"data":["e"],"nsp":"/é"},"opts":{"rooms":[],"except":["x"],"flags":{"volatile":true,"compress":false,"timeout":500}},"requestId":"0123456789abcdef"}"#,
            ),
            (4, r#"{"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#),
            (6, r#"{"opts":{"rooms":[],"except":[]},"close":false}"#),
            (
                7,
                r#"{"opts":{"rooms":[],"except":[],"flags":{"timeout":5000,"expectSingleResponse":true}},"requestId":"r"}"#,
            ),
            (9, r#"{"packet":["event",1]}"#),
            (10, r#"{"requestId":"r","packet":[1,{"a":"b"}]}"#),
            (11, r#"{"type":"r","requestId":"r","clientCount":0}"#),
        ];
        for (kind, text) in messages {
            assert!(agree(kind, text), "{text}");
            assert_eq!(agree_on_broadcast(text), kind == BROADCAST, "{text}");
        }
    }

    #[test]
    fn what_this_crate_writes_is_in_order() {
        let opts = BroadcastOptions::to("a").and("b").except("c").volatile();
        for request_id in [None, Some(RequestId::new("r"))] {
            let packet = Packet::event("e", &("a \"word\"",)).unwrap();
            let body = Body::Broadcast { packet, opts: opts.clone(), request_id };
            let mut encoder = JsonEncoder::default();
            encode::data(&body, &mut encoder).unwrap();
            assert!(agree_on_broadcast(&String::from_utf8(encoder.out).unwrap()));
        }
    }

    #[test]
    fn every_byte_of_a_string_is_looked_at() {
        for (bad, at) in
            ["\u{0}", "\u{1f}", "\"", "\\"].into_iter().flat_map(|bad| (0..20).map(move |at| (bad, at)))
        {
            let fillers = ["x", "\u{7f}", "ÿ", "!", "#", "["];
            // Miri is slow.
            for filler in &fillers[..if cfg!(miri) { 1 } else { fillers.len() }] {
                let text = format!("{}{bad}{}", filler.repeat(at), filler.repeat(20 - at));
                assert!(!agree(4, &format!(r#"{{"rooms":["{text}"]}}"#)));
                assert!(!agree(10, &format!(r#"{{"packet":"{text}"}}"#)));
            }
        }
    }

    #[test]
    fn deep_nesting_is_left_to_the_general_reader() {
        let nested = |depth: usize| format!(r#"{{"packet":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(agree(10, &nested(128)));
        assert!(!agree(10, &nested(129)));
        let deep = if cfg!(miri) { 1_000 } else { 100_000 };
        assert!(json::read(10, &nested(deep).into()).is_ok());
    }

    #[test]
    fn a_broadcast_is_written_as_the_general_way_writes_it() {
        let event = Packet::event("e", &("é \" \n", 1)).unwrap();
        let (all, to) = (BroadcastOptions::all(), |room: &str| BroadcastOptions::to(room));
        let packets = [
            (event.clone(), true),
            (Packet { nsp: Some("/".into()), ..event.clone() }, false),
            (Packet { id: Some(1), ..event }, false),
        ];
        let options = [
            (all.clone(), true),
            (to("a"), true),
            (to("a").and("é").except("b").except("c").except(""), true),
            (to("5").and("-1.5").and("05").except("a").except("7").except("1e+21"), false),
            (all.clone().except("b"), true),
            (to("a \"room\""), false),
            (all.clone().except("\u{1}"), false),
            (all.volatile(), false),
        ];
        for (packet, packet_is) in &packets {
            for (opts, opts_are) in &options {
                let body = Body::Broadcast { packet: packet.clone(), opts: opts.clone(), request_id: None };
                let fast = write_broadcast(&body);
                assert_eq!(fast.is_some(), *packet_is && *opts_are, "{body:?}");
                let mut encoder = JsonEncoder::default();
                encode::data(&body, &mut encoder).unwrap();
                assert!(fast.is_none_or(|text| text == encoder.out), "{body:?}");
            }
        }
    }
}
