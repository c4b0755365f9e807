//! Records for JavaScript, in the same form as those that come from it.

use bytes::Bytes;
use sio_streams_driver::{BroadcastOptions, ByteString, EntryId, Payload};

/// Records, and the binary values that belong to them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) text: Vec<u8>,
    pub(crate) attachments: Vec<Bytes>,
    attached: usize,
}

impl Records {
    /// Returns the size in bytes, with the binary values.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + self.attached
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Appends records.
    pub(crate) fn append(&mut self, mut more: Records) {
        self.text.append(&mut more.text);
        self.attachments.append(&mut more.attachments);
        self.attached += more.attached;
    }

    /// Appends a field, which has no control characters.
    pub(crate) fn field(&mut self, text: &str) -> &mut Self {
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'\n');
        self
    }

    pub(crate) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.field(itoa::Buffer::new().format(number))
    }

    pub(crate) fn optional(&mut self, number: Option<impl itoa::Integer>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.field(""),
        }
    }

    /// Appends a text of any kind.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.write_name(name);
        self.text.push(b'\n');
        self
    }

    fn write_name(&mut self, name: &str) {
        // A text can be written, and a vector takes whatever is written to it.
        let _ = serde_json::to_writer(&mut self.text, name);
    }

    /// Appends an array of texts. An empty one is an empty field.
    pub(crate) fn names(&mut self, names: &[ByteString]) -> &mut Self {
        for (at, name) in names.iter().enumerate() {
            self.text.push(if at == 0 { b'[' } else { b',' });
            self.write_name(name);
        }
        if !names.is_empty() {
            self.text.push(b']');
        }
        self.text.push(b'\n');
        self
    }

    /// Appends the addressees and the flags.
    pub(crate) fn opts(&mut self, opts: &BroadcastOptions) -> &mut Self {
        self.names(&opts.rooms).names(&opts.except);
        let flags = &opts.flags;
        let switches = [(b'v', flags.volatile), (b'c', flags.compress), (b's', flags.expect_single_response)];
        for (name, value) in switches {
            if let Some(value) = value {
                self.text.extend([name, b'0' + u8::from(value)]);
            }
        }
        if let Some(timeout) = flags.timeout {
            self.text.push(b't');
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.text.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
        }
        self.text.push(b'\n');
        self
    }

    /// Appends an event for clients, with the offset as its last argument if there is one: the number
    /// of its binary values, and JSON with their placeholders.
    pub(crate) fn event(&mut self, event: &Payload, offset: Option<EntryId>) -> &mut Self {
        let with_offset = offset.and_then(|offset| event.with_offset(offset));
        let (json, attachments) = with_offset.as_ref().unwrap_or(event).detach();
        self.number(attachments.len());
        self.attach(attachments);
        self.json(&json)
    }

    /// Appends a value of another server: `j` and JSON, or `m` for MessagePack among the binary values.
    pub(crate) fn value(&mut self, value: &Payload) -> &mut Self {
        match value.as_json() {
            Some(json) => {
                self.text.push(b'j');
                self.json(json)
            }
            None => {
                self.attach([value.bytes().clone()]);
                self.field("m")
            }
        }
    }

    fn attach(&mut self, attachments: impl IntoIterator<Item = Bytes>) {
        for attachment in attachments {
            self.attached += attachment.len();
            self.attachments.push(attachment);
        }
    }

    /// Appends JSON as it came. Control characters in it are white space between tokens.
    fn json(&mut self, json: &str) -> &mut Self {
        let start = self.text.len();
        self.field(json);
        let end = self.text.len() - 1;
        if self.text[start..end].iter().any(|byte| *byte < b' ') {
            self.text[start..end].iter_mut().filter(|byte| **byte < b' ').for_each(|byte| *byte = b' ');
        }
        self
    }
}
