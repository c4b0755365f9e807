//! The ids that appear on the wire or in the API.

use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use bytestring::ByteString;

/// The name of a node, which is a server's adapter. It is the `uid` of an entry.
///
/// Streams peers draw 16 hexadecimal characters at random. A name that arrives is kept unchanged,
/// because a peer may use another form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(ByteString);

impl NodeId {
    /// The uid of programs that publish without being members of the cluster. It is never counted
    /// as a node.
    pub const EMITTER: NodeId = NodeId(ByteString::from_static("emitter"));

    /// The empty name, which stands in a [`Message`](crate::Message) that names nobody. Events have
    /// `None` in its place.
    pub const UNNAMED: NodeId = NodeId(ByteString::from_static(""));

    /// Creates the id of the node with this name.
    pub fn new(uid: impl Into<ByteString>) -> Self {
        NodeId(uid.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if this is the uid of emitters, which are not nodes.
    pub fn is_emitter(&self) -> bool {
        *self == Self::EMITTER
    }

    /// Returns `true` if this can be the name of a node. The uid of emitters and the empty name
    /// can't.
    pub(crate) fn is_a_node(&self) -> bool {
        !self.is_emitter() && *self != Self::UNNAMED
    }

    /// Returns the same name with its own bytes. An id that is kept must not keep alive the whole
    /// message with which it came.
    pub(crate) fn owned(&self) -> Self {
        NodeId(self.as_str().into())
    }

    /// Returns the name, if there is one.
    pub(crate) fn named(self) -> Option<Self> {
        (self != Self::UNNAMED).then_some(self)
    }

    pub(crate) fn text(&self) -> &ByteString {
        &self.0
    }
}

impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.as_str())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id that Redis assigned to a stream entry: `<milliseconds>-<sequence>`.
///
/// It is also the *offset* that a client sends back in a cluster with connection state recovery.
///
/// ```
/// use sio_streams_core::EntryId;
///
/// let id: EntryId = "1700000000000-3".parse().unwrap();
/// assert_eq!(id, EntryId { ms: 1_700_000_000_000, seq: 3 });
/// assert!("1700000000000".parse::<EntryId>().is_err());
/// assert!(id < EntryId { ms: 1_700_000_000_000, seq: 10 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds of the server's clock when the entry was added.
    pub ms: u64,
    /// A sequence number among the entries of one millisecond.
    pub seq: u64,
}

impl EntryId {
    /// The position before every entry. Reading from here reads the whole stream.
    pub const ZERO: EntryId = EntryId { ms: 0, seq: 0 };

    /// Returns the next id.
    pub(crate) fn next(self) -> EntryId {
        match self.seq.checked_add(1) {
            Some(seq) => EntryId { ms: self.ms, seq },
            None => EntryId { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// Returns the preceding id. Reading after it begins with this entry.
    pub(crate) fn before(self) -> EntryId {
        match self {
            EntryId { ms, seq: 1.. } => EntryId { ms, seq: self.seq - 1 },
            EntryId { ms: 1.., .. } => EntryId { ms: self.ms - 1, seq: u64::MAX },
            EntryId::ZERO => EntryId::ZERO,
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The text is not an entry id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry id: two decimal 64-bit numbers joined by '-' are expected")]
pub struct InvalidEntryId;

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    /// Accepts what the peers accept, `^[0-9]+-[0-9]+$`, within the range that Redis supports.
    fn from_str(s: &str) -> Result<Self, InvalidEntryId> {
        // `u64::from_str` alone would also take a leading plus sign.
        let number = |part: &str| match part.as_bytes() {
            [b'+', ..] => Err(InvalidEntryId),
            _ => part.parse().map_err(|_| InvalidEntryId),
        };
        let (ms, seq) = s.split_once('-').ok_or(InvalidEntryId)?;
        Ok(EntryId { ms: number(ms)?, seq: number(seq)? })
    }
}

/// The name of a request on the wire, which its answers repeat. The engine uses 16 hexadecimal
/// characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(ByteString);

impl RequestId {
    /// Creates the id of the request with this name.
    pub fn new(id: impl Into<ByteString>) -> Self {
        RequestId(id.into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        RequestId(hex16(rng.u64(..)))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identifies a call whose result is reported by an event: a [`Published`](crate::Event::Published)
/// or [`PublishFailed`](crate::Event::PublishFailed), a [`RequestDone`](crate::Event::RequestDone),
/// a [`ServerCount`](crate::Event::ServerCount), a [`SessionSaved`](crate::Event::SessionSaved), a
/// [`Restored`](crate::Event::Restored) or a [`NotRecovered`](crate::Event::NotRecovered).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Formats the number as sixteen lower-case hexadecimal digits, the form of the streams peers'
/// random ids.
pub(crate) fn hex16(value: u64) -> ByteString {
    format!("{value:016x}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_is_two_plain_decimal_numbers() {
        for bad in [
            "",
            "-",
            "1-",
            "-1",
            "+1-1",
            "1-+1",
            "1-1-1",
            " 1-1",
            "1-1\n",
            "$",
            "a-b",
            "18446744073709551616-0",
        ] {
            assert_eq!(bad.parse::<EntryId>(), Err(InvalidEntryId), "{bad:?}");
        }
        let id: EntryId = "18446744073709551615-0".parse().unwrap();
        assert_eq!(id.to_string(), "18446744073709551615-0");
    }
}
