//! The purposes of commands, which decide how their replies are handled.

use bytestring::ByteString;

use super::destination::Destination;
use super::roll::Census;
use crate::command::Lane;
use crate::id::Ticket;

/// The purpose of a command.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The command asks where the stream ends.
    Locate(ByteString),
    /// The command asks how many entries the server counts in the stream.
    Check(ByteString),
    /// The command reads new entries of the stream.
    Read(ByteString),
    /// The command subscribes to the patterns of these namespaces. Their channels follow.
    Patterns(Vec<ByteString>),
    /// The command subscribes to the channels of these namespaces.
    Subscribe(Vec<ByteString>),
    /// The command subscribes to the namespace's channels other than those of its rooms. These
    /// follow.
    Own(ByteString),
    /// The command subscribes to channels of the namespace's rooms.
    Rooms(ByteString),
    /// The command unsubscribes from channels.
    Unheard,
    /// The command publishes the message of this number.
    Publish { destination: Destination, number: u64 },
    /// The command searches the stream for messages, to find out if they were added.
    Search(ByteString),
    /// The command counts the nodes that will hear the question.
    CountFor(Ticket, Box<Census>),
    /// The command asks which nodes of the namespace are still there to answer.
    Recheck(Box<Census>),
    /// The command asks for the names of the namespace's subscribers.
    Names(ByteString),
    /// The command counts the servers.
    ServerCount(Ticket, Box<Census>),
    /// The command stores a session.
    SaveSession(Ticket),
    /// The command reads what is stored of the session.
    ReadSession(Ticket),
    /// The command takes the session, before another server does.
    TakeSession(Ticket),
    /// The command reads the entries before the stream's window.
    Page(ByteString),
    /// The command leaves the namespace. The number tells the closed namespace from others of the
    /// same name.
    Leave(ByteString, u64),
    /// The command gives up the connection.
    Release,
}

impl Purpose {
    /// Returns `true` if the command serves a request. The request may be over before the reply
    /// comes.
    pub(super) fn asks(&self) -> bool {
        matches!(self, Purpose::CountFor(..) | Purpose::ServerCount(..))
    }

    /// Returns the lane that was of use if the command has succeeded. Commands that only prepare
    /// others, and questions beside the lane's work, show nothing.
    pub(super) fn serves(&self) -> Option<Lane> {
        match self {
            Purpose::Read(stream) => Some(Lane::Reader(stream.clone())),
            Purpose::Patterns(_)
            | Purpose::Subscribe(_)
            | Purpose::Own(_)
            | Purpose::Rooms(_)
            | Purpose::Unheard
            | Purpose::Leave(..) => Some(Lane::Subscriber),
            Purpose::Publish { .. } => Some(Lane::Writer),
            Purpose::SaveSession(_)
            | Purpose::ReadSession(_)
            | Purpose::TakeSession(_)
            | Purpose::Page(_) => Some(Lane::Recovery),
            Purpose::Locate(_)
            | Purpose::Check(_)
            | Purpose::Search(_)
            | Purpose::CountFor(..)
            | Purpose::Recheck(_)
            | Purpose::Names(_)
            | Purpose::ServerCount(..)
            | Purpose::Release => None,
        }
    }

    /// Returns `true` if the command subscribes to something.
    pub(super) fn subscribes(&self) -> bool {
        matches!(self, Purpose::Patterns(_) | Purpose::Subscribe(_) | Purpose::Own(_) | Purpose::Rooms(_))
    }

    /// Returns the namespaces that the command subscribes to as a whole.
    pub(super) fn subscribed_names(&self) -> &[ByteString] {
        match self {
            Purpose::Patterns(names) | Purpose::Subscribe(names) => names,
            Purpose::Own(nsp) => core::slice::from_ref(nsp),
            _ => &[],
        }
    }
}
