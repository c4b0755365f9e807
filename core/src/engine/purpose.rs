//! The purposes of commands: what is to be done with their replies.

use bytestring::ByteString;

use super::asking::Census;
use super::outbox::Destination;
use crate::id::Ticket;

/// What a command is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Where does the stream end?
    Locate(ByteString),
    /// How many entries does the server count?
    Check(ByteString),
    /// What is new in the stream?
    Read(ByteString),
    /// Hear these namespaces' patterns, and then their channels.
    Patterns(Vec<ByteString>),
    /// Hear these namespaces' channels.
    Subscribe(Vec<ByteString>),
    /// Hear channels of the namespace's rooms.
    Rooms(ByteString),
    /// Hear channels no longer.
    Unheard,
    /// Say the message of this number.
    Publish { destination: Destination, number: u64 },
    /// Was it added?
    Search(ByteString),
    /// Who will hear the question?
    CountFor(Ticket, Box<Census>),
    /// Who is still there to answer in the namespace?
    Recheck(Box<Census>),
    /// Which names do the namespace's subscribers bear?
    Names(ByteString),
    /// How many servers are there?
    ServerCount(Ticket, Box<Census>),
    /// Store a session.
    SaveSession(Ticket),
    /// What is stored of the session?
    ReadSession(Ticket),
    /// Take the session, before somebody else does.
    TakeSession(Ticket),
    /// What came before the stream's window?
    Page(ByteString),
    /// Leave the namespace, which was closed as the one of this number.
    Leave(ByteString, u64),
    /// Give up the connection.
    Release,
}

impl Purpose {
    /// Whether the command serves a request, which may be over before the reply comes.
    pub(super) fn asks(&self) -> bool {
        matches!(self, Purpose::CountFor(..) | Purpose::ServerCount(..))
    }

    /// Returns `true` if the command subscribes to something.
    pub(super) fn subscribes(&self) -> bool {
        matches!(self, Purpose::Patterns(_) | Purpose::Subscribe(_) | Purpose::Rooms(_))
    }

    /// The namespaces that the command subscribes to as a whole.
    pub(super) fn subscribed_names(&self) -> &[ByteString] {
        match self {
            Purpose::Patterns(names) | Purpose::Subscribe(names) => names,
            _ => &[],
        }
    }
}
