//! Reading frames one after the other.

use core::mem;

use bytes::Bytes;
use bytestring::ByteString;

use super::attachments::Places;
use super::{ACK, BINARY, CONNECT, CONNECT_ERROR, DISCONNECT, FrameError};
use crate::json_text;
use crate::packet::EVENT;
use crate::payload::{DEPTH, Encoding, Payload, PayloadError};
use crate::wire::data::check_event;

/// The bounds on what a [`FrameReader`] accepts and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// `maxAttachments` of Socket.IO's parser: the largest number of binary values in a packet. The
    /// default is 10, as there.
    pub attachments: usize,
    /// The largest size of a packet, in bytes: of all its frames together, and of the value that
    /// is put together from them. The default is 16 MiB. Engine.IO's `maxPayload` bounds single
    /// frames, by default to 1 MB.
    pub bytes: usize,
    /// The deepest nesting of arrays and objects in a packet's data. The default is 95, and more is
    /// not accepted: nothing deeper can be broadcast.
    pub depth: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        FrameLimits { attachments: 10, bytes: 16 << 20, depth: DEPTH }
    }
}

/// A packet that the other side of a connection has sent. In each, `nsp` is the namespace, with its
/// leading `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A client wants to be in the namespace, or its server accepts it.
    Connect {
        /// The namespace.
        nsp: ByteString,
        /// An object: what the client authenticates itself with, or `{sid, pid}` from a server. With
        /// connection state recovery, the client's object holds `pid` and `offset` if it comes back.
        auth: Option<Payload>,
    },
    /// The other side leaves the namespace.
    Disconnect {
        /// The namespace.
        nsp: ByteString,
    },
    /// An event.
    Event {
        /// The namespace.
        nsp: ByteString,
        /// `[event, …args]`. The name is a string, or a number, and is not reserved.
        data: Payload,
        /// The id under which the other side expects an acknowledgement: see
        /// [`Frames::ack`](super::Frames::ack).
        id: Option<u64>,
    },
    /// An acknowledgement of an event.
    Ack {
        /// The namespace.
        nsp: ByteString,
        /// The id of the event.
        id: u64,
        /// The arguments, an array.
        args: Payload,
    },
    /// A server refuses a client. Clients don't send this.
    ConnectError {
        /// The namespace.
        nsp: ByteString,
        /// An object with a `message`, or a string in older versions.
        error: Option<Payload>,
    },
}

/// Reads the frames that come through one connection, and puts the packets together.
///
/// It accepts what `socket.io-parser` 4.2 accepts (revision 5 of Socket.IO's protocol). The few
/// differences are in `docs/fuzzing.md`. Engine.IO's own marks, such as the `4` before a text, are
/// not part of a frame.
///
/// A packet with binary values comes as a text frame and as many binary ones. The reader holds them
/// until the last has come, within its [`FrameLimits`]. After an error, close the connection.
///
/// ```
/// use sio_streams_core::wire::{FrameReader, Frames, Received};
///
/// let mut reader = FrameReader::default();
/// let packet = reader.text(r#"0/chat,{"token":"abc"}"#).unwrap();
/// let Some(Received::Connect { nsp, auth: Some(auth) }) = packet else { panic!() };
/// assert_eq!((&*nsp, &*auth.to_json()), ("/chat", r#"{"token":"abc"}"#));
/// let accepted = Frames::connect(&nsp, "the socket's id", None);
///
/// // An event with a binary value, which wants to be acknowledged.
/// let packet = reader.text(r#"51-/chat,7["image",{"_placeholder":true,"num":0},"a cat"]"#).unwrap();
/// assert!(packet.is_none() && reader.missing() == 1);
/// let packet = reader.binary(&b"\x89PNG"[..]).unwrap();
/// let Some(Received::Event { nsp, data, id: Some(id) }) = packet else { panic!() };
/// assert_eq!(data.event_name().as_deref(), Some("image"));
/// assert_eq!(data.arg::<serde_bytes::ByteBuf>(0).unwrap(), &b"\x89PNG"[..]);
/// assert_eq!(data.arg::<String>(1).unwrap(), "a cat");
/// ```
#[derive(Debug, Default)]
pub struct FrameReader {
    limits: FrameLimits,
    partial: Option<Partial>,
}

/// A packet that lacks binary frames.
#[derive(Debug)]
struct Partial {
    head: Head,
    places: Places,
    wanted: usize,
    attachments: Vec<Bytes>,
    /// The size of all frames that have come, in bytes.
    size: usize,
}

/// The part of a text frame before the data.
#[derive(Debug)]
struct Head {
    /// The packet's type without binary values.
    kind: u8,
    nsp: ByteString,
    id: Option<u64>,
}

impl FrameReader {
    /// Creates a reader for a connection.
    pub fn new(limits: FrameLimits) -> Self {
        FrameReader { limits, partial: None }
    }

    /// Returns the number of binary frames that must come next.
    pub fn missing(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.wanted - partial.attachments.len())
    }

    /// Takes a text frame. Returns its packet, unless binary frames must follow.
    ///
    /// # Errors
    ///
    /// Returns an error if the frame is not one of the protocol, or exceeds the limits.
    pub fn text(&mut self, frame: impl Into<ByteString>) -> Result<Option<Received>, FrameError> {
        let missing = self.missing();
        if mem::take(&mut self.partial).is_some() {
            return Err(FrameError::UnexpectedText { missing });
        }
        let frame = frame.into();
        let limit = self.limits.bytes;
        if frame.len() > limit {
            return Err(FrameError::TooLarge { limit });
        }
        let (head, wanted, rest) = self.head(&frame)?;
        let data = self.data(&head, wanted, &frame, rest)?;
        match (wanted, data) {
            (1.., Some(json)) => {
                let places = Places::find(json, wanted)?;
                let size = frame.len();
                self.partial = Some(Partial { head, places, wanted, attachments: Vec::new(), size });
                Ok(None)
            }
            (_, data) => head.packet(data).map(Some),
        }
    }

    /// Takes a binary frame. Returns the packet that it completes, if it is the last one.
    ///
    /// # Errors
    ///
    /// Returns an error if no packet waits for it, or if the packet exceeds the limits.
    pub fn binary(&mut self, frame: impl Into<Bytes>) -> Result<Option<Received>, FrameError> {
        let mut partial = mem::take(&mut self.partial).ok_or(FrameError::UnexpectedBinary)?;
        let (frame, limit) = (frame.into(), self.limits.bytes);
        partial.size = partial.size.saturating_add(frame.len());
        if partial.size > limit {
            return Err(FrameError::TooLarge { limit });
        }
        partial.attachments.push(frame);
        if partial.attachments.len() < partial.wanted {
            self.partial = Some(partial);
            return Ok(None);
        }
        let data = partial.places.fill(&partial.attachments, limit)?;
        partial.head.packet(Some(data)).map(Some)
    }

    /// Reads what stands before the data. Returns it with the number of attachments and the rest.
    fn head<'a>(&self, frame: &'a ByteString) -> Result<(Head, usize, &'a str), FrameError> {
        let first = frame.chars().next();
        let digit = first.and_then(|first| first.to_digit(10)).filter(|digit| *digit <= 6);
        let kind = digit.ok_or(FrameError::Type(first))? as u8;
        let (kind, binary) = if kind > CONNECT_ERROR { (kind - BINARY, true) } else { (kind, false) };
        let (mut rest, mut attachments) = (&frame[1..], 0);
        if binary {
            let (digits, behind) = rest.split_once('-').ok_or(FrameError::AttachmentCount)?;
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(FrameError::AttachmentCount);
            }
            let limit = self.limits.attachments;
            attachments = match digits.parse() {
                Ok(0) => return Err(FrameError::AttachmentCount),
                Ok(count) if count <= limit => count,
                _ => return Err(FrameError::TooManyAttachments { limit }),
            };
            rest = behind;
        }
        let mut nsp = ByteString::from_static("/");
        if rest.starts_with('/') {
            let (name, behind) = rest.split_once(',').unwrap_or((rest, ""));
            // The name is copied, so that it does not keep the whole frame.
            nsp = name.into();
            rest = behind;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        let id = match id {
            "" => None,
            id => Some(id.parse().map_err(|_| FrameError::Id)?),
        };
        // Node takes a blank for the digit 0.
        if data.starts_with(|next: char| next.is_whitespace() || next == '\u{feff}') {
            return Err(FrameError::Id);
        }
        Ok((Head { kind, nsp, id }, attachments, data))
    }

    /// Reads the data of a packet, and checks that a packet of this type may carry it.
    fn data(
        &self,
        head: &Head,
        attachments: usize,
        frame: &ByteString,
        data: &str,
    ) -> Result<Option<Payload>, FrameError> {
        let kind = head.kind;
        let wrong = |expected| FrameError::Data { kind, expected };
        if data.is_empty() {
            return match kind {
                EVENT => Err(wrong("an array")),
                ACK if attachments > 0 => Err(wrong("an array")),
                _ => Ok(None),
            };
        }
        let limit = self.limits.depth;
        let json = match Payload::from_json(frame.slice_ref(data).into_bytes()) {
            Ok(json) if json_text::is_deeper_than(json.bytes(), limit) => {
                return Err(FrameError::TooDeep { limit });
            }
            Err(PayloadError::Depth) => return Err(FrameError::TooDeep { limit: limit.min(DEPTH) }),
            json => json?,
        };
        let fits = |brackets: &[u8]| json.bytes().first().is_some_and(|first| brackets.contains(first));
        match kind {
            CONNECT if !fits(b"{") => return Err(wrong("an object")),
            DISCONNECT => return Err(wrong("absent")),
            CONNECT_ERROR if !fits(b"{\"") => return Err(wrong("an object or a string")),
            EVENT | ACK if !fits(b"[") => return Err(wrong("an array")),
            EVENT => check_event(&json).map_err(|_| FrameError::EventName)?,
            _ => {}
        }
        Ok(Some(json))
    }
}

impl Head {
    fn packet(self, data: Option<Payload>) -> Result<Received, FrameError> {
        let Head { kind, nsp, id } = self;
        let array = || Payload::from_wire(Encoding::Json, Bytes::from_static(b"[]"));
        Ok(match kind {
            CONNECT => Received::Connect { nsp, auth: data },
            DISCONNECT => Received::Disconnect { nsp },
            CONNECT_ERROR => Received::ConnectError { nsp, error: data },
            ACK => Received::Ack { nsp, id: id.ok_or(FrameError::NoId)?, args: data.unwrap_or_else(array) },
            _ => Received::Event { nsp, data: data.unwrap_or_else(array), id },
        })
    }
}
