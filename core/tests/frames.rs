//! Frames in both directions. `tests/interop/tests/decoders` compares the reader with
//! `socket.io-parser`.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use serde_json::{Value, json};
use sio_streams_core::wire::{FrameError, FrameLimits, FrameReader, Frames, Received};
use sio_streams_core::{Encoding, Payload, PayloadError};

/// Reads a packet that is complete with its text frame.
fn read(text: &str) -> Result<Received, FrameError> {
    let mut reader = FrameReader::default();
    let packet = reader.text(text)?;
    assert_eq!(reader.missing(), 0);
    Ok(packet.expect("it is complete"))
}

/// Reads a packet with its attachments.
fn read_all(text: &str, attachments: &[&[u8]]) -> Result<Received, FrameError> {
    let mut reader = FrameReader::default();
    let mut packet = reader.text(text)?;
    for (at, attachment) in attachments.iter().enumerate() {
        assert_eq!((&packet, reader.missing()), (&None, attachments.len() - at));
        packet = reader.binary(attachment.to_vec())?;
    }
    Ok(packet.expect("it is complete"))
}

fn plain(json: &str) -> Payload {
    Payload::from_json(json.to_owned()).unwrap()
}

#[test]
fn each_kind_of_packet_is_read() {
    let (root, chat) = (|| "/".into(), || "/chat".into());
    let some = |json| Some(plain(json));
    for (text, packet) in [
        ("0", Received::Connect { nsp: root(), auth: None }),
        ("0{}", Received::Connect { nsp: root(), auth: some("{}") }),
        ("0/chat", Received::Connect { nsp: chat(), auth: None }),
        ("0/chat,", Received::Connect { nsp: chat(), auth: None }),
        (r#"0/chat,{"token":"[1,"}"#, Received::Connect { nsp: chat(), auth: some(r#"{"token":"[1,"}"#) }),
        ("0/chat?a=1,{}", Received::Connect { nsp: "/chat?a=1".into(), auth: some("{}") }),
        ("1", Received::Disconnect { nsp: root() }),
        ("1/chat,", Received::Disconnect { nsp: chat() }),
        (r#"2["a",1]"#, Received::Event { nsp: root(), data: plain(r#"["a",1]"#), id: None }),
        (r#"2/chat,["a"]"#, Received::Event { nsp: chat(), data: plain(r#"["a"]"#), id: None }),
        (r#"212["a"]"#, Received::Event { nsp: root(), data: plain(r#"["a"]"#), id: Some(12) }),
        (r#"2/chat,0["a"]"#, Received::Event { nsp: chat(), data: plain(r#"["a"]"#), id: Some(0) }),
        ("2[7]", Received::Event { nsp: root(), data: plain("[7]"), id: None }),
        ("3/chat,7[]", Received::Ack { nsp: chat(), id: 7, args: plain("[]") }),
        ("37", Received::Ack { nsp: root(), id: 7, args: plain("[]") }),
        (r#"4{"message":"no"}"#, Received::ConnectError { nsp: root(), error: some(r#"{"message":"no"}"#) }),
        (r#"4/chat,"no""#, Received::ConnectError { nsp: chat(), error: some(r#""no""#) }),
    ] {
        assert_eq!(read(text).unwrap(), packet, "{text}");
    }
}

#[test]
fn attachments_come_back_to_their_places() {
    let placeholder = |num: usize| json!({"_placeholder": true, "num": num});
    let data = json!(["a", placeholder(1), {"b": [placeholder(0), 1.5, null, -7, "ü"]}, placeholder(1)]);
    let packet = read_all(&format!("52-/chat,3{data}"), &[b"zero", b""]).unwrap();
    let Received::Event { nsp, data, id: Some(3) } = packet else { panic!("{packet:?}") };
    assert_eq!((&*nsp, data.encoding()), ("/chat", Encoding::MsgPack));
    assert_eq!(data.arg::<serde_bytes::ByteBuf>(0).unwrap(), b"");
    let buffer = |bytes: &[u8]| json!({"type": "Buffer", "data": bytes});
    let expected = json!(["a", buffer(b""), {"b": [buffer(b"zero"), 1.5, null, -7, "ü"]}, buffer(b"")]);
    assert_eq!(serde_json::from_str::<Value>(&data.to_json()).unwrap(), expected);

    // Further keys in a placeholder mean nothing, and the last of equal keys counts.
    let odd = r#"61-9[{"_placeholder":1,"num":5,"_placeholder":true,"x":[{"_placeholder":true}],"num":0.0}]"#;
    let packet = read_all(odd, &[b"x"]).unwrap();
    let Received::Ack { id: 9, args, .. } = packet else { panic!("{packet:?}") };
    assert_eq!(args.bytes(), &b"\x91\xc4\x01x"[..]);

    // A packet that does not name its attachments has no binary value.
    let packet = read_all(r#"51-["a",{"_placeholder":"true"}]"#, &[b"x"]).unwrap();
    let Received::Event { data, .. } = packet else { panic!("{packet:?}") };
    assert_eq!(data.as_json(), Some(r#"["a",{"_placeholder":"true"}]"#));
    // Without attachments an object that looks like a placeholder is an object.
    assert!(read(r#"2["a",{"_placeholder":true,"num":0}]"#).is_ok());
    // JavaScript's numbers are floats, and its texts may hold halves of characters.
    let huge = r#"51-["\ud83d",9007199254740993,-9007199254740993,{"_placeholder":true,"num":0}]"#;
    let Received::Event { data, .. } = read_all(huge, &[b"x"]).unwrap() else { panic!() };
    let (half, up, down, _): (String, f64, f64, serde_bytes::ByteBuf) = data.decode().unwrap();
    assert_eq!((&*half, up, down), ("\u{fffd}", 9_007_199_254_740_992.0, -9_007_199_254_740_992.0));
}

#[test]
fn what_is_no_frame_is_refused_with_the_reason() {
    use FrameError as E;
    fn is(text: &str, wanted: impl Fn(&FrameError) -> bool) {
        let error = read(text).expect_err(text);
        assert!(wanted(&error), "{text}: {error}");
    }
    for text in ["", "7", "9", "a", " ", "-1", "\u{664}"] {
        is(text, |error| matches!(error, E::Type(_)));
    }
    for text in ["5", "5-", "5[]", "50-[\"a\"]", "5+1-[\"a\"]", "51[\"a\"]", "61e0-[]", "6 1-[]"] {
        is(text, |error| matches!(error, E::AttachmentCount));
    }
    for text in ["511-[\"a\"]", "599999999999999999999999-[\"a\"]"] {
        is(text, |error| matches!(error, E::TooManyAttachments { limit: 10 }));
    }
    for text in ["2 [\"a\"]", "21 [\"a\"]", "2/a,\u{a0}[\"a\"]", "299999999999999999999[\"a\"]"] {
        is(text, |error| matches!(error, E::Id));
    }
    for text in ["3[]", "3", "3/a,[1]"] {
        is(text, |error| matches!(error, E::NoId));
    }
    for text in [
        "0[]", "0null", "0\"a\"", "01\"a\"", "1{}", "1[]", "2", "2/chat", "2{}", "2null", "31{}", "4[]",
        "51-", "61-7",
    ] {
        is(text, |error| matches!(error, E::Data { .. }));
    }
    for text in ["2[]", "2[null]", "2[[]]", "2[{}]", "2[true]", "2[\"connect\"]", "2[\"disconnec\\u0074\"]"] {
        is(text, |error| matches!(error, E::EventName));
    }
    for text in ["0{", "2[\"a\"", "2[\"a\"]]", "2\"a", "0{}{}", "31[1,]", "2[\"a\",\u{1}]"] {
        is(text, |error| matches!(error, E::Payload(PayloadError::Json(_))));
    }
    for num in ["1", "-1", "0.5", "\"0\"", "null", "1e99"] {
        is(&format!(r#"51-["a",{{"_placeholder":true,"num":{num}}}]"#), |error| {
            matches!(error, E::Placeholder { attachments: 1 })
        });
    }
    is(r#"51-["a",{"_placeholder":true}]"#, |error| matches!(error, E::Placeholder { .. }));
    // A name that MessagePack can't carry to Node.
    let named = read_all(r#"51-["a",{"__proto__":1},{"_placeholder":true,"num":0}]"#, &[b"x"]);
    assert!(matches!(named, Err(E::Payload(PayloadError::Key))), "{named:?}");
}

#[test]
fn frames_out_of_turn_are_refused_and_nothing_is_kept() {
    let mut reader = FrameReader::default();
    assert!(matches!(reader.binary(&b"x"[..]), Err(FrameError::UnexpectedBinary)));
    let two = r#"52-["a",{"_placeholder":true,"num":0}]"#;
    assert_eq!(reader.text(two).unwrap(), None);
    assert_eq!(reader.binary(&b"x"[..]).unwrap(), None);
    assert!(matches!(reader.text("0"), Err(FrameError::UnexpectedText { missing: 1 })));
    assert_eq!(reader.missing(), 0);
    assert!(matches!(reader.binary(&b"x"[..]), Err(FrameError::UnexpectedBinary)));
    assert!(reader.text("0").unwrap().is_some());
}

#[test]
fn limits_are_kept_to_the_byte() {
    let text = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let room = text.len() + 20;
    let reader = |bytes| FrameReader::new(FrameLimits { bytes, ..FrameLimits::default() });
    for (mut reader, fits) in [(reader(room), true), (reader(room - 1), false)] {
        assert_eq!(reader.text(text).unwrap(), None);
        assert_eq!(reader.binary(vec![0; 10]).unwrap(), None);
        match reader.binary(vec![0; 10]) {
            Ok(packet) => assert!(fits && packet.is_some()),
            Err(error) => {
                assert!(!fits && matches!(error, FrameError::TooLarge { limit } if limit == room - 1));
            }
        }
    }
    let refused = reader(text.len() - 1).text(text);
    assert!(matches!(refused, Err(FrameError::TooLarge { .. })));
    let limits = FrameLimits { attachments: 1, ..FrameLimits::default() };
    assert!(matches!(FrameReader::new(limits).text(text), Err(FrameError::TooManyAttachments { limit: 1 })));

    // One attachment in many places takes their room before anything is copied.
    let places = [r#"{"_placeholder":true,"num":0}"#; 1_000].join(",");
    let mut many = reader(1 << 20);
    assert_eq!(many.text(format!(r#"51-["a",{places}]"#)).unwrap(), None);
    let refused = many.binary(vec![0; 2_000]);
    assert!(matches!(refused, Err(FrameError::TooLarge { limit: 0x0010_0000 })), "{refused:?}");

    let nested = |depth: usize| format!("2[\"a\",{}1{}]", "[".repeat(depth - 1), "]".repeat(depth - 1));
    for (depth, limit) in [(95, 95), (10, 10), (95, 1_000)] {
        let deep = || FrameReader::new(FrameLimits { depth: limit, ..FrameLimits::default() });
        assert!(deep().text(nested(depth)).is_ok());
        let refused = deep().text(nested(depth + 1));
        assert!(matches!(refused, Err(FrameError::TooDeep { limit }) if limit == depth), "{refused:?}");
    }
    let deep = format!("2[\"a\",{}", "[".repeat(1 << 20));
    assert!(FrameReader::default().text(deep).is_err());
}

#[test]
fn acknowledgements_are_arrays_without_false_placeholders() {
    assert!(matches!(Frames::ack("/", 1, &plain("{}")), Err(PayloadError::NotAnArray)));
    assert_eq!(Frames::ack("/", 1, &plain("[]")).unwrap().text, "31[]");
    let false_place = b"\x92\xc4\x01x\x81\xac_placeholder\xc3";
    let args = Payload::from_msgpack(&false_place[..]).unwrap();
    assert!(matches!(Frames::ack("/", 1, &args), Err(PayloadError::Placeholder)));
}

#[test]
fn what_is_written_is_escaped() {
    let error = Frames::connect_error("/a", "\"\n\u{2028}", Some(&Payload::null()));
    assert_eq!(error.text, "4/a,{\"message\":\"\\\"\\n\u{2028}\",\"data\":null}");
    let binary = Payload::from_msgpack(&b"\xc4\x02\x01\x02"[..]).unwrap();
    let error = Frames::connect_error("/", "no", Some(&binary));
    assert_eq!(error.text, r#"4{"message":"no","data":{"type":"Buffer","data":[1,2]}}"#);
    assert!(error.attachments.is_empty());
    assert!(matches!(read(&error.text), Ok(Received::ConnectError { .. })));
    let accepted = Frames::connect("/", "a\"b", Some("p"));
    let Ok(Received::Connect { auth: Some(auth), .. }) = read(&accepted.text) else { panic!() };
    assert_eq!(auth.decode::<Value>().unwrap(), json!({"sid": "a\"b", "pid": "p"}));
    assert_eq!(read(&Frames::disconnect("/a").text).unwrap(), Received::Disconnect { nsp: "/a".into() });
}
