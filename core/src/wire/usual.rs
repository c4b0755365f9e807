//! Reading the `data` of a message from JSON as the peers write it: no blanks between keys, no escapes in names, no value of an odd kind.
//!
//! That is nearly every message, and it takes a single pass. Whatever else there is, is nothing here, and left to [`json`](super::json), which
//! knows what JavaScript makes of it. What is something here is the same there.

use core::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;

use super::data::{BROADCAST, Data, PacketData, RawPacket, Scalar, check_event, uses};
use crate::id::RequestId;
use crate::message::Body;
use crate::packet::{BroadcastOptions, EVENT, Flags, Packet};
use crate::payload::{Encoding, Payload};

/// Reads the data of a message of this kind, if it is written as usual. The text is UTF-8.
pub(super) fn read(kind: u8, text: &Bytes) -> Option<Data> {
    let mut reader = Reader { text, bytes: text, at: 0 };
    let mut data = Data::default();
    reader.object(|key, value| {
        match key {
            key if !uses(kind, key) => value.skip()?,
            "packet" if kind == BROADCAST => data.packet = Some(PacketData::Packet(packet(value)?)),
            // Null counts as nothing.
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
    (reader.at == reader.bytes.len()).then_some(data)
}

/// Reads the data of a broadcast, if it is written as Node's adapters and this crate write it: the same keys in the same order. Most of a message
/// then is what was expected, and only has to be compared. The text is UTF-8.
pub(super) fn broadcast(text: &Bytes) -> Option<Body> {
    let mut reader = Reader { text, bytes: text, at: 0 };
    reader.literal(br#"{"packet":{"type":2,"data":"#)?;
    if reader.peek() != Some(b'[') {
        return None;
    }
    let data = reader.payload()?;
    check_event(&data).ok()?;
    let nsp = if reader.starts(br#","nsp":"#) { Some(reader.name()?) } else { None };
    reader.literal(b"}")?;
    let mut request_id = None;
    if reader.starts(br#","requestId":"#) {
        request_id = Some(reader.name()?);
    }
    reader.literal(br#","opts":{"rooms":"#)?;
    let rooms = reader.names()?;
    reader.literal(br#","except":"#)?;
    let except = reader.names()?;
    reader.literal(br#","flags":"#)?;
    let flags = if reader.starts(b"{}") { Flags::default() } else { flags(&mut reader)? };
    reader.literal(b"}")?;
    if reader.starts(br#","requestId":"#) {
        request_id = Some(reader.name()?);
    }
    reader.literal(b"}")?;
    if reader.at != reader.bytes.len() {
        return None;
    }
    let packet = Packet { kind: EVENT, data, nsp, id: None };
    let opts = BroadcastOptions { rooms, except, flags };
    Some(Body::Broadcast { packet, opts, request_id: request_id.map(RequestId::new) })
}

fn packet(reader: &mut Reader<'_>) -> Option<RawPacket> {
    let mut packet = RawPacket::default();
    reader.object(|key, value| {
        match key {
            "type" => packet.kind = Some(Scalar::Whole(value.count()?)),
            // Null counts as nothing.
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

fn opts(reader: &mut Reader<'_>) -> Option<BroadcastOptions> {
    let mut opts = BroadcastOptions::default();
    reader.object(|key, value| {
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

fn flags(reader: &mut Reader<'_>) -> Option<Flags> {
    let mut flags = Flags::default();
    reader.object(|key, value| {
        let known = match key {
            "timeout" => flags.set(key, None, Some(value.count()?)),
            _ => flags.set(key, Some(value.switch()?), None),
        };
        known.then_some(())
    })?;
    Some(flags)
}

/// Reads values one after the other. Nothing: what stands there is not as usual, and may be wrong.
struct Reader<'a> {
    text: &'a Bytes,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Consumes this byte, if it is the next.
    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// Consumes this, if it comes next. Inlined, so that a constant is compared in a few steps.
    #[inline(always)]
    fn starts(&mut self, with: &[u8]) -> bool {
        let there = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(with));
        self.at += if there { with.len() } else { 0 };
        there
    }

    #[inline(always)]
    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        self.starts(rest).then_some(())
    }

    /// Reads an object with `each`, which gets a key and must consume its value.
    fn object(&mut self, mut each: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            let key = core::str::from_utf8(&self.bytes[self.plain()?]).ok()?;
            self.expect(b':')?;
            each(key, self)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Where a string stands that stands for itself.
    fn plain(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        (self.special()? == b'"').then(|| start..self.at - 1)
    }

    fn name(&mut self) -> Option<ByteString> {
        let name = self.plain()?;
        ByteString::try_from(self.text.slice(name)).ok()
    }

    fn names(&mut self) -> Option<Vec<ByteString>> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Some(Vec::new());
        }
        let mut names = Vec::with_capacity(1);
        loop {
            names.push(self.name()?);
            match self.next()? {
                b',' => {}
                b']' => return Some(names),
                _ => return None,
            }
        }
    }

    fn switch(&mut self) -> Option<bool> {
        match self.next()? {
            b't' => self.literal(b"rue").map(|()| true),
            b'f' => self.literal(b"alse").map(|()| false),
            _ => None,
        }
    }

    /// A number that every way of reading numbers agrees on.
    fn count(&mut self) -> Option<u64> {
        let start = self.at;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            count = count * 10 + u64::from(digit - b'0');
            self.at += 1;
            if self.at - start > 15 {
                return None;
            }
        }
        let zeros = self.bytes.get(start) == Some(&b'0') && self.at > start + 1;
        (self.at > start && !zeros && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(count)
    }

    fn payload(&mut self) -> Option<Payload> {
        let start = self.at;
        self.skip()?;
        Some(Payload::from_wire(Encoding::Json, self.text.slice(start..self.at)))
    }

    /// Consumes a value, whatever it is, if it is JSON and stands right here.
    fn skip(&mut self) -> Option<()> {
        // A bit for each container that is open, behind a first one: whether it is an object.
        let mut open: u128 = 1;
        loop {
            match self.next()? {
                b'"' => self.string()?,
                b'0' => self.number(b'0')?,
                digit @ (b'1'..=b'9' | b'-') => self.number(digit)?,
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                bracket @ (b'{' | b'[') => {
                    let object = bracket == b'{';
                    self.blanks();
                    if !self.eat(bracket + 2) {
                        // Deeper than there are bits, it is unusual.
                        open = (open.leading_zeros() > 0).then_some(open << 1 | u128::from(object))?;
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                if open == 1 {
                    return Some(());
                }
                self.blanks();
                let object = open & 1 == 1;
                match self.next()? {
                    b',' if object => break self.key()?,
                    b',' => break self.blanks(),
                    b'}' if object => open >>= 1,
                    b']' if !object => open >>= 1,
                    _ => return None,
                }
            }
        }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Consumes a key and its colon.
    fn key(&mut self) -> Option<()> {
        self.blanks();
        self.expect(b'"')?;
        self.string()?;
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Some(())
    }

    /// Consumes what is left of a string.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.special()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = self.bytes.get(self.at..self.at + 4)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.at += 4;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// Consumes a string's bytes up to one that means something: a quote, a backslash, a control character.
    fn special(&mut self) -> Option<u8> {
        const ONES: u64 = u64::MAX / 255;
        // The high bit of each byte that is zero; where none is, of none.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
        while let Some(chunk) = self.bytes[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*chunk);
            let control = word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7);
            let found =
                control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
            if found != 0 {
                // The first is right; those behind it may not be.
                self.at += found.trailing_zeros() as usize / 8;
                return self.next();
            }
            self.at += 8;
        }
        loop {
            if let special @ (b'"' | b'\\' | 0..0x20) = self.next()? {
                return Some(special);
            }
        }
    }

    /// Consumes what is left of a number.
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.eat(b'.') {
            self.digit()?;
            self.digits();
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digit()?;
            self.digits();
        }
        Some(())
    }

    fn digit(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then_some(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::wire::sink::JsonSink;
    use crate::wire::{data, json};

    /// Pieces of messages, so that what is put together often is one, or nearly.
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
        let Some(usual) = read(kind, text.as_bytes()) else { return false };
        assert_eq!(usual, json::read_any(kind, &text).unwrap(), "{kind}: {text}");
        true
    }

    fn agree_on_broadcast(text: &str) -> bool {
        let text = ByteString::from(text);
        let Some(body) = broadcast(text.as_bytes()) else { return false };
        assert_eq!(body, json::read_any(BROADCAST, &text).unwrap().into_body(BROADCAST).unwrap(), "{text}");
        true
    }

    /// The data of a broadcast with its keys in order, of which some may be missing, and some values odd.
    fn in_order() -> impl Strategy<Value = String> {
        let kind = select(&["2", "2", "2", "3", "\"2\""][..]);
        let data = select(&["[]", "[\"e\"]", "[\"e\",{\"a\":[\"\\\"é\"]}]", "[1,", "null", "{}"][..]);
        let nsp = select(&["", "", ",\"nsp\":\"/é\"", ",\"nsp\":null", ",\"id\":1"][..]);
        let names = || select(&["[]", "[\"a\"]", "[\"a\",\"é\",\"c\"]", "[\"\\n\"]", "[1]", "null"][..]);
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
        // Miri takes its time.
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
    fn what_node_writes_is_as_usual() {
        let usual = [
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
        for (kind, text) in usual {
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
            let mut sink = JsonSink::default();
            data::write(&body, &mut sink).unwrap();
            assert!(agree_on_broadcast(&String::from_utf8(sink.out).unwrap()));
        }
    }

    #[test]
    fn every_byte_of_a_string_is_looked_at() {
        for (bad, at) in
            ["\u{0}", "\u{1f}", "\"", "\\"].into_iter().flat_map(|bad| (0..20).map(move |at| (bad, at)))
        {
            let fillers = ["x", "\u{7f}", "ÿ", "!", "#", "["];
            // Miri takes its time.
            for filler in &fillers[..if cfg!(miri) { 1 } else { fillers.len() }] {
                let text = format!("{}{bad}{}", filler.repeat(at), filler.repeat(20 - at));
                assert!(!agree(4, &format!(r#"{{"rooms":["{text}"]}}"#)));
                assert!(!agree(10, &format!(r#"{{"packet":"{text}"}}"#)));
            }
        }
    }

    #[test]
    fn what_is_nested_deeply_is_not_as_usual_and_no_worse_for_it() {
        let nested = |depth: usize| format!(r#"{{"packet":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(agree(10, &nested(128)));
        assert!(!agree(10, &nested(129)));
        let deep = if cfg!(miri) { 1_000 } else { 100_000 };
        assert!(json::read(10, &nested(deep).into()).is_ok());
    }
}
