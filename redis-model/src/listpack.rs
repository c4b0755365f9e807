//! The size of an element in a listpack, the format in which Redis keeps the entries of a stream's
//! node.
//!
//! Trimming removes whole nodes, and a node is closed by its size: so the length of a trimmed
//! stream depends on these sizes.

/// Header and end mark.
pub(crate) const EMPTY: usize = 7;

/// The size of an integer.
pub(crate) fn integer(value: i64) -> usize {
    with_back_length(match value {
        0..=127 => 1,
        -4_096..=4_095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    })
}

/// The size of a string. One that reads as an integer is kept as one.
pub(crate) fn string(bytes: &[u8]) -> usize {
    if let Some(value) = as_integer(bytes) {
        return integer(value);
    }
    with_back_length(match bytes.len() {
        short @ 0..64 => 1 + short,
        middle @ 64..4_096 => 2 + middle,
        long => 5 + long,
    })
}

/// Each element is followed by its own length, for reading backwards.
fn with_back_length(size: usize) -> usize {
    size + match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// The integer that is written so, and not otherwise: no plus sign, no leading zeros, no `-0`.
fn as_integer(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"0" => Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] if bytes.len() <= 20 => {
            core::str::from_utf8(bytes).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(integer(127), 2);
        assert_eq!(integer(-1), 3);
        assert_eq!(integer(i64::MIN), 10);
        assert_eq!(string(b""), 2);
        assert_eq!(string(b"17"), 2);
        assert_eq!(string(b"017"), 5);
        assert_eq!(string(b"-0"), 4);
        assert_eq!(string(b"9223372036854775807"), 10);
        assert_eq!(string(b"9223372036854775808"), 21);
        assert_eq!(string(&[b'x'; 63]), 65);
        assert_eq!(string(&[b'x'; 64]), 67);
        assert_eq!(string(&[b'x'; 126]), 130);
    }
}
