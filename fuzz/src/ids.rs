//! Entry ids.

use std::cmp::Ordering;

use sio_streams_core::EntryId;

/// The text of one id, or of two with a blank between them.
///
/// # Panics
///
/// If something that must hold does not.
pub fn entry_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut ids = text.splitn(2, ' ').map(checked);
    if let (Some(Some(a)), Some(Some(b))) = (ids.next(), ids.next()) {
        // Redis compares the numbers, not the text.
        let expected = match a.ms.cmp(&b.ms) {
            Ordering::Equal => a.seq.cmp(&b.seq),
            unequal => unequal,
        };
        assert_eq!(a.cmp(&b), expected);
    }
}

fn checked(text: &str) -> Option<EntryId> {
    let parsed: Option<EntryId> = text.parse().ok();
    assert_eq!(parsed.map(|id| (id.ms, id.seq)), naive(text), "{text:?}");
    if let Some(id) = parsed {
        let printed = id.to_string();
        assert_eq!(printed.parse(), Ok(id));
        let plain = |part: &str| part.len() == 1 || !part.starts_with('0');
        assert_eq!(printed == text, text.split('-').all(plain), "{text:?}");
    }
    parsed
}

/// `^[0-9]+-[0-9]+$`, as far as 64 bits go, digit by digit.
fn naive(text: &str) -> Option<(u64, u64)> {
    let mut numbers = [None::<u128>; 2];
    let mut at = 0;
    for c in text.chars() {
        match c {
            '-' if at == 0 => at = 1,
            '0'..='9' => {
                let digit = u128::from(c as u32 - u32::from(b'0'));
                // Beyond 64 bits it stays beyond.
                let number = numbers[at].unwrap_or(0).min(1 << 64) * 10 + digit;
                numbers[at] = Some(number);
            }
            _ => return None,
        }
    }
    let [ms, seq] = numbers.map(|number| number.and_then(|number| u64::try_from(number).ok()));
    Some((ms?, seq?))
}
