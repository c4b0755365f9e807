//! Base64, in which stream entries and stored sessions carry MessagePack.

use base64::Engine as _;

use crate::foreign::Base64Error;

/// Encodes MessagePack for a stream entry or a stored session.
pub(super) fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Decodes base64 as leniently as the peers' decoder, Node's `Buffer.from(text, "base64")`. It
/// needs no padding, takes more of it than is due, accepts the URL-safe alphabet, and skips line
/// breaks, because encoders of other languages produce such text. Node turns any other input into
/// garbage; here it is an error.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let decoded = LENIENT.decode(text).or_else(|_| {
        let standard = |byte: &u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        let mut digits: Vec<u8> =
            text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
        digits.truncate(digits.iter().rposition(|digit| *digit != b'=').map_or(0, |last| last + 1));
        LENIENT.decode(digits)
    });
    decoded.map_err(Base64Error::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_at_the_end_means_nothing() {
        for text in ["AAEC", "AAEC=", "AAEC==", "AAEC===", "AAEC\n=\n"] {
            assert_eq!(decode(text.as_bytes()).unwrap(), [0, 1, 2], "{text:?}");
        }
        for text in ["AAE", "AAE=", "AAE=="] {
            assert_eq!(decode(text.as_bytes()).unwrap(), [0, 1], "{text:?}");
        }
        for text in ["A", "A===", "AA=C", "AAECA"] {
            assert!(decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
