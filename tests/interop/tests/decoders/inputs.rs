//! The inputs: messages that the peers wrote, what the fuzzer found worth keeping, and generated
//! values.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use fastrand::Rng;
use flate2::read::GzDecoder;
use tar::Archive;

/// The inputs that the project keeps for a fuzz target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/corpus/{target}.tar.gz"));
    let read = || -> io::Result<Vec<Vec<u8>>> {
        let mut inputs = Vec::new();
        for file in Archive::new(GzDecoder::new(File::open(&path)?)).entries()? {
            let mut input = Vec::new();
            file?.read_to_end(&mut input)?;
            inputs.push(input);
        }
        Ok(inputs)
    };
    let inputs = read().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!inputs.is_empty());
    inputs
}

/// A byte or a few are changed, left out, doubled.
pub(crate) fn damaged(rng: &mut Rng, input: &[u8]) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=out.len());
        match rng.u8(0..5) {
            0 if at < out.len() => out[at] = rng.u8(..),
            1 if at < out.len() => out[at] ^= 1 << rng.u8(0..8),
            2 if at < out.len() => drop(out.remove(at)),
            3 => out.truncate(at),
            _ => out.insert(at, rng.u8(..)),
        }
    }
    out
}

/// A MessagePack value, often in a longer form than necessary.
pub(crate) fn packed(rng: &mut Rng, depth: usize, out: &mut Vec<u8>) {
    let kinds = if depth == 0 { 0..14 } else { 0..20 };
    match rng.u8(kinds) {
        0 => out.push(0xc0),
        1 => out.push(rng.choice([0xc2, 0xc3]).unwrap_or(0xc2)),
        2 => out.push(rng.u8(0..0x80)),
        3 => out.push(rng.u8(0xe0..)),
        // Integers and floats, with any bits.
        4..=6 => {
            let marker = rng.u8(0xca..0xd4);
            out.push(marker);
            let len = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8][usize::from(marker - 0xca)];
            let extreme = rng.choice([None, None, Some(0), Some(0xff), Some(0x7f)]).flatten();
            out.extend((0..len).map(|_| extreme.unwrap_or_else(|| rng.u8(..))));
        }
        7..=9 => packed_text(rng, out),
        10 | 11 => {
            let len = rng.u8(0..5);
            out.extend(
                rng.choice([&[0xc4, len][..], &[0xc5, 0, len], &[0xc6, 0, 0, 0, len]]).unwrap_or_default(),
            );
            out.extend((0..len).map(|_| rng.u8(..)));
        }
        12 => {
            let (marker, len) =
                rng.choice([(0xd4, 1), (0xd5, 2), (0xd6, 4), (0xd7, 8), (0xd8, 16)]).unwrap_or((0xd4, 1));
            out.extend([marker, rng.choice([0xff, 5, 0]).unwrap_or(0)]);
            out.extend((0..len).map(|_| rng.u8(..)));
        }
        13 => {
            let len = rng.choice([0, 3, 12]).unwrap_or(0);
            out.extend([0xc7, len, rng.choice([0xff, 5]).unwrap_or(5)]);
            // Dates around now, before 1970, and far away.
            let zeros = rng.u8(0..=len);
            out.extend(
                (0..len).map(|at| if at < zeros { rng.choice([0, 0xff]).unwrap_or(0) } else { rng.u8(..) }),
            );
        }
        14..=16 => {
            let len = rng.u8(0..5);
            let heads = [&[0x90 | len][..], &[0xdc, 0, len], &[0xdd, 0, 0, 0, len]];
            out.extend(rng.choice(heads).unwrap_or_default());
            (0..len).for_each(|_| packed(rng, depth - 1, out));
        }
        _ => {
            let len = rng.u8(0..5);
            let heads = [&[0x80 | len][..], &[0xde, 0, len], &[0xdf, 0, 0, 0, len]];
            out.extend(rng.choice(heads).unwrap_or_default());
            for _ in 0..len {
                match rng.u8(0..20) {
                    0 => packed(rng, 0, out),
                    1 => out.extend(b"\xa9__proto__"),
                    _ => packed_text(rng, out),
                }
                packed(rng, depth - 1, out);
            }
        }
    }
}

fn packed_text(rng: &mut Rng, out: &mut Vec<u8>) {
    let mut text = String::new();
    for _ in 0..rng.usize(0..6) {
        text.push(
            rng.choice(['a', 'Z', '"', '\\', '\0', 'ü', '€', '\u{feff}', '\u{ffff}', '😀']).unwrap_or('a'),
        );
    }
    // Beyond 200 bytes the peers' decoder takes another way.
    let mut bytes = if rng.u8(0..20) == 0 { text.repeat(60).into_bytes() } else { text.into_bytes() };
    if rng.u8(0..30) == 0 {
        bytes.extend(
            rng.choice([&b"\xed\xa0\xbd"[..], b"\xff", b"\xc3", b"\xf4\x90\x80\x80"]).unwrap_or_default(),
        );
    }
    match u8::try_from(bytes.len()) {
        Ok(len @ 0..32) if rng.bool() => out.push(0xa0 | len),
        Ok(len) => out.extend(
            rng.choice([&[0xd9, len][..], &[0xda, 0, len], &[0xdb, 0, 0, 0, len]]).unwrap_or_default(),
        ),
        Err(_) => {
            out.push(0xda);
            out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(bytes);
}

/// A JSON text, spelled in odd ways.
pub(crate) fn json(rng: &mut Rng, depth: usize, out: &mut String) {
    let blank = rng.choice(["", "", "", " ", "\n\t", "\r"]).unwrap_or("");
    out.push_str(blank);
    let kinds = if depth == 0 { 0..10 } else { 0..16 };
    match rng.u8(kinds) {
        0 => out.push_str(rng.choice(["null", "true", "false"]).unwrap_or("null")),
        1..=3 => {
            let odd = [
                "0",
                "-0",
                "-0.0",
                "1e3",
                "1E+2",
                "1e-7",
                "9007199254740993",
                "18446744073709551616",
                "1e400",
                "5e-324",
                "2.2250738585072011e-308",
                "0.1",
                "123456789.123456789e-10",
                "-1",
            ];
            match rng.bool() {
                true => out.push_str(rng.choice(odd).unwrap_or("0")),
                false => out.push_str(
                    &format!("{}", f64::from_bits(rng.u64(..))).replace("NaN", "0").replace("inf", "1"),
                ),
            }
        }
        4..=9 => json_text(rng, out),
        10..=12 => {
            out.push('[');
            for at in 0..rng.u8(0..4) {
                if at > 0 {
                    out.push(',');
                }
                json(rng, depth - 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for at in 0..rng.u8(0..4) {
                if at > 0 {
                    out.push(',');
                }
                match rng.u8(0..10) {
                    0 => out.push_str("\"__proto__\""),
                    1 => out.push_str("\"7\""),
                    _ => json_text(rng, out),
                }
                out.push(':');
                json(rng, depth - 1, out);
            }
            out.push('}');
        }
    }
    out.push_str(blank);
}

fn json_text(rng: &mut Rng, out: &mut String) {
    let parts = [
        "a",
        "B",
        "\\n",
        "\\u0000",
        "\\u00fc",
        "ü",
        "\\ud83d\\ude00",
        "😀",
        "\\/",
        "\\\\",
        "\\\"",
        "\u{7f}",
        "\u{2028}",
        "\\uD83D",
    ];
    out.push('"');
    for _ in 0..rng.u8(0..5) {
        let last = if rng.u8(0..30) == 0 { parts.len() } else { parts.len() - 1 };
        out.push_str(parts[rng.usize(..last)]);
    }
    out.push('"');
}
