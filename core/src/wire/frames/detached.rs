//! Values apart from their binary parts, as the parsers of frameworks hold them.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::FrameError;
use super::attachments::Places;
use crate::msgpack;
use crate::payload::{Encoding, MAX_PAYLOAD, Payload};

impl Payload {
    /// Takes the value apart: into JSON in which placeholders stand for the binary values, and those
    /// values, in the order of their numbers. Socket.IO's default parser sends values in this form,
    /// and servers that use it hold them so.
    ///
    /// ```
    /// use serde_bytes::Bytes;
    /// use sio_streams_core::Payload;
    ///
    /// let image = Payload::encode(&("image", Bytes::new(&[1, 2, 3]))).unwrap();
    /// let (json, attachments) = image.detach();
    /// assert_eq!(json, r#"["image",{"_placeholder":true,"num":0}]"#);
    /// assert_eq!(attachments, [&[1, 2, 3][..]]);
    /// assert_eq!(Payload::attach(json.into_bytes(), &attachments).unwrap(), image);
    /// ```
    pub fn detach(&self) -> (ByteString, Vec<Bytes>) {
        match self.encoding() {
            // The text shares the payload's bytes.
            Encoding::Json => (self.bytes().clone().try_into().unwrap_or_default(), Vec::new()),
            Encoding::MsgPack => {
                let (json, attachments) = detached(self);
                (json.into_owned().into(), attachments)
            }
        }
    }

    /// Puts a value together again: from JSON, and the binary values for its placeholders. Without
    /// attachments the JSON is taken as it is.
    ///
    /// # Errors
    ///
    /// [`FrameError::Placeholder`] if a placeholder names no attachment; [`FrameError::TooLarge`];
    /// [`FrameError::Payload`] if the value can't be carried.
    pub fn attach(json: impl Into<Bytes>, attachments: &[Bytes]) -> Result<Self, FrameError> {
        let json = Payload::from_json(json)?;
        match attachments.len() {
            0 => Ok(json),
            count => Places::find(json, count)?.fill(attachments, MAX_PAYLOAD),
        }
    }
}

/// Takes a value apart. JSON is borrowed.
pub(super) fn detached(value: &Payload) -> (Cow<'_, str>, Vec<Bytes>) {
    let mut attachments = Vec::new();
    let json = match value.encoding() {
        Encoding::Json => Cow::Borrowed(value.as_json().unwrap_or_default()),
        Encoding::MsgPack => Cow::Owned(msgpack::to_json(value.bytes(), |out, content| {
            msgpack::placeholder(out, attachments.len());
            attachments.push(content);
        })),
    };
    (json, attachments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadError;

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let json = Payload::from_json(r#"["a",{"b":[1,null]}]"#).unwrap();
        let binary = Payload::encode(&(
            "a",
            serde_bytes::Bytes::new(b"one"),
            [serde_bytes::Bytes::new(b"")],
            "\u{e9}",
        ));
        for payload in [json, binary.unwrap()] {
            let (text, attachments) = payload.detach();
            assert_eq!(Payload::attach(text.into_bytes(), &attachments).unwrap(), payload);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let attachments = [Bytes::from_static(b"one")];
        for json in [r#"[{"_placeholder":true,"num":1}]"#, r#"[{"_placeholder":true}]"#] {
            let error = Payload::attach(json, &attachments).unwrap_err();
            assert!(matches!(error, FrameError::Placeholder { attachments: 1 }), "{error}");
        }
        let error = Payload::attach("[1,", &attachments).unwrap_err();
        assert!(matches!(error, FrameError::Payload(PayloadError::Json(_))), "{error}");
        // Without attachments an object with this key is one like others.
        let plain = r#"[{"_placeholder":true,"num":1}]"#;
        assert_eq!(Payload::attach(plain, &[]).unwrap().as_json(), Some(plain));
    }
}
