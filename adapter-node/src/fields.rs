//! The records of a batch, as JavaScript writes them: fields of text, each with a newline behind it.
//! No field contains one, since JSON escapes it. Binary values come beside the text.

use core::str::FromStr;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Error as JsonError;
use sio_streams_driver::sio_streams_core::wire::FrameError;
use sio_streams_driver::{BroadcastOptions, Flags, Payload};

/// A batch is not as this crate's own JavaScript writes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// The text ends within a record.
    #[error("a batch ends within a record")]
    End,
    /// A field has another form than it should.
    #[error("a batch has {0:?} where it should have {1}")]
    Field(String, &'static str),
    /// Names are no array of strings.
    #[error("a batch has names that can't be read: {0}")]
    Names(#[from] JsonError),
    /// There are fewer binary values than the text says.
    #[error("a batch has fewer binary values than it says")]
    Attachments,
}

type Result<T> = core::result::Result<T, Malformed>;

/// The fields of a batch that have not been read.
#[derive(Debug)]
pub(crate) struct Fields {
    text: Bytes,
    attachments: std::vec::IntoIter<Bytes>,
}

impl Fields {
    pub(crate) fn new(text: Bytes, attachments: Vec<Bytes>) -> Self {
        Fields { text, attachments: attachments.into_iter() }
    }

    /// Returns `true` if all records have been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let end = memchr::memchr(b'\n', &self.text).ok_or(Malformed::End)?;
        let mut field = self.text.split_to(end + 1);
        field.truncate(end);
        Ok(field)
    }

    pub(crate) fn text(&mut self) -> Result<ByteString> {
        let field = self.bytes()?;
        ByteString::try_from(field).map_err(|_| Malformed::Field(String::new(), "UTF-8"))
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T> {
        let field = self.text()?;
        field.parse().map_err(|_| Malformed::Field(field.to_string(), "a number"))
    }

    /// Reads a number, or `None` if the field is empty.
    pub(crate) fn optional<T: FromStr>(&mut self) -> Result<Option<T>> {
        let field = self.text()?;
        if field.is_empty() {
            return Ok(None);
        }
        field.parse().map(Some).map_err(|_| Malformed::Field(field.to_string(), "a number"))
    }

    /// Reads a JSON string.
    pub(crate) fn name(&mut self) -> Result<ByteString> {
        Ok(serde_json::from_slice::<String>(&self.bytes()?)?.into())
    }

    /// Reads a JSON array of strings. An empty field is an empty array.
    pub(crate) fn names(&mut self) -> Result<Vec<ByteString>> {
        let field = self.bytes()?;
        if field.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = serde_json::from_slice(&field)?;
        Ok(names.into_iter().map(ByteString::from).collect())
    }

    /// Reads the addressees and the flags.
    pub(crate) fn opts(&mut self) -> Result<BroadcastOptions> {
        let (rooms, except, flags) = (self.names()?, self.names()?, self.flags()?);
        Ok(BroadcastOptions { rooms, except, flags })
    }

    /// Reads flags: `v`, `c` and `s` with a 0 or a 1, and `t` with milliseconds.
    fn flags(&mut self) -> Result<Flags> {
        let field = self.text()?;
        let mut flags = Flags::default();
        let mut rest = &*field;
        while let Some(name) = rest.chars().next() {
            rest = &rest[name.len_utf8()..];
            let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, others) = rest.split_at(end);
            rest = others;
            let wrong = || Malformed::Field(field.to_string(), "flags");
            let value: u64 = digits.parse().map_err(|_| wrong())?;
            match name {
                'v' => flags.volatile = Some(value == 1),
                'c' => flags.compress = Some(value == 1),
                's' => flags.expect_single_response = Some(value == 1),
                't' => flags.timeout = Some(Duration::from_millis(value)),
                _ => return Err(wrong()),
            }
        }
        Ok(flags)
    }

    /// Reads an event for clients: JSON, and the binary values for its placeholders. The inner error
    /// says that the event can't be sent; the fields behind it can be read.
    pub(crate) fn event(&mut self) -> Result<core::result::Result<Payload, FrameError>> {
        let count: usize = self.number()?;
        let json = self.bytes()?;
        let attachments: Vec<Bytes> = self.attachments.by_ref().take(count).collect();
        if attachments.len() < count {
            return Err(Malformed::Attachments);
        }
        Ok(Payload::attach(json, &attachments))
    }

    /// Reads a value for another server: `j` and JSON, or `m` for MessagePack among the binary values.
    pub(crate) fn value(&mut self) -> Result<core::result::Result<Payload, FrameError>> {
        let mut field = self.bytes()?;
        if field.is_empty() {
            return Err(Malformed::Field(String::new(), "a value"));
        }
        let form = field.split_to(1);
        match &*form {
            b"j" => Ok(Payload::from_json(field).map_err(FrameError::from)),
            b"m" => {
                let value = self.attachments.next().ok_or(Malformed::Attachments)?;
                Ok(Payload::from_msgpack(value).map_err(FrameError::from))
            }
            _ => Err(Malformed::Field(String::from_utf8_lossy(&form).into_owned(), "a value")),
        }
    }
}
