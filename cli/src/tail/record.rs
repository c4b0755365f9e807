//! A line of the output: a decoded message, or one that can't be read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use clap::ValueEnum;
use sio_streams_driver::backend::Push;
use sio_streams_driver::sio_streams_core::wire::classic::{self, Asked, Request, Response};
use sio_streams_driver::sio_streams_core::wire::{WireError, entry, pubsub};
use sio_streams_driver::sio_streams_core::{
    Body, ByteString, Bytes, Entry, EntryId, Message, NodeId, Payload, RequestId,
};

/// The kinds of message, of all dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    #[value(alias = "1")]
    InitialHeartbeat,
    #[value(alias = "2")]
    Heartbeat,
    #[value(alias = "3")]
    Broadcast,
    #[value(alias = "4")]
    Join,
    #[value(alias = "5")]
    Leave,
    #[value(alias = "6")]
    Disconnect,
    #[value(alias = "7")]
    FetchSockets,
    #[value(alias = "8")]
    Sockets,
    #[value(alias = "9")]
    ServerSideEmit,
    #[value(alias = "10")]
    ServerSideAnswer,
    #[value(alias = "11")]
    ClientCount,
    #[value(alias = "12")]
    Ack,
    #[value(alias = "13")]
    Close,
    /// Classic: asks for the ids of sockets
    FetchIds,
    /// Classic: answers fetch-ids
    Ids,
    /// Classic: asks for the names of all rooms
    FetchRooms,
    /// Classic: answers fetch-rooms
    Rooms,
    /// Classic, older form: one socket joins a room
    RemoteJoin,
    /// Classic, older form: one socket leaves a room
    RemoteLeave,
    /// Classic, older form: one socket is disconnected
    RemoteDisconnect,
    /// Classic: confirms one of the remote- messages
    Done,
    /// Classic: answers a question that was not seen
    Answer,
    /// Not a message that a server can read
    Unreadable,
}

impl Kind {
    /// The name, as the options know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::InitialHeartbeat => "initial-heartbeat",
            Kind::Heartbeat => "heartbeat",
            Kind::Broadcast => "broadcast",
            Kind::Join => "join",
            Kind::Leave => "leave",
            Kind::Disconnect => "disconnect",
            Kind::FetchSockets => "fetch-sockets",
            Kind::Sockets => "sockets",
            Kind::ServerSideEmit => "server-side-emit",
            Kind::ServerSideAnswer => "server-side-answer",
            Kind::ClientCount => "client-count",
            Kind::Ack => "ack",
            Kind::Close => "close",
            Kind::FetchIds => "fetch-ids",
            Kind::Ids => "ids",
            Kind::FetchRooms => "fetch-rooms",
            Kind::Rooms => "rooms",
            Kind::RemoteJoin => "remote-join",
            Kind::RemoteLeave => "remote-leave",
            Kind::RemoteDisconnect => "remote-disconnect",
            Kind::Done => "done",
            Kind::Answer => "answer",
            Kind::Unreadable => "unreadable",
        }
    }
}

/// The place where a message was found.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Stream { name: Arc<str>, id: EntryId },
    Channel(ByteString),
}

#[derive(Debug)]
pub(crate) enum Content {
    Message(Body),
    Request(Request),
    Response(Response),
    /// An answer without the question, which would tell how to read it.
    Answer(RequestId),
    Unreadable {
        reason: String,
        /// The fields of the entry, or the message, as they came.
        raw: Vec<(Bytes, Bytes)>,
    },
}

/// A message that was found.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) source: Source,
    /// In milliseconds since 1970: of the entry, or of the message's arrival.
    pub(crate) time: u64,
    /// In bytes.
    pub(crate) size: usize,
    pub(crate) node: Option<ByteString>,
    pub(crate) nsp: Option<ByteString>,
    pub(crate) content: Content,
}

fn text(bytes: &Bytes) -> ByteString {
    match ByteString::try_from(bytes.clone()) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}

fn named(uid: &NodeId) -> Option<ByteString> {
    (*uid != NodeId::UNNAMED).then(|| uid.as_str().into())
}

impl Record {
    /// Decodes an entry.
    pub(crate) fn of_entry(stream: &Arc<str>, entry: &Entry) -> Self {
        let Entry { id, fields } = entry;
        let (node, nsp, content) = match entry::decode(fields) {
            Ok(Message { uid, nsp, body }) => (named(&uid), Some(nsp), Content::Message(body)),
            Err(error) => {
                let field = |name| fields.get(name).map(text).filter(|text| !text.is_empty());
                let raw = fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                let content = Content::Unreadable { reason: error.to_string(), raw };
                (field("uid"), field("nsp"), content)
            }
        };
        let source = Source::Stream { name: Arc::clone(stream), id: *id };
        Record { source, time: id.ms, size: fields.size(), node, nsp, content }
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.content {
            Content::Message(body)
            | Content::Request(Request::Common(body))
            | Content::Response(Response::Common(body)) => match body {
                Body::InitialHeartbeat => Kind::InitialHeartbeat,
                Body::Heartbeat => Kind::Heartbeat,
                Body::Broadcast { .. } => Kind::Broadcast,
                Body::SocketsJoin { .. } => Kind::Join,
                Body::SocketsLeave { .. } => Kind::Leave,
                Body::DisconnectSockets { .. } => Kind::Disconnect,
                Body::FetchSockets { .. } => Kind::FetchSockets,
                Body::FetchSocketsResponse { .. } => Kind::Sockets,
                Body::ServerSideEmit { .. } => Kind::ServerSideEmit,
                Body::ServerSideEmitResponse { .. } => Kind::ServerSideAnswer,
                Body::BroadcastClientCount { .. } => Kind::ClientCount,
                Body::BroadcastAck { .. } => Kind::Ack,
                Body::AdapterClose => Kind::Close,
            },
            Content::Request(Request::SocketIds { .. }) => Kind::FetchIds,
            Content::Request(Request::AllRooms { .. }) => Kind::FetchRooms,
            Content::Request(Request::RemoteJoin { .. }) => Kind::RemoteJoin,
            Content::Request(Request::RemoteLeave { .. }) => Kind::RemoteLeave,
            Content::Request(Request::RemoteDisconnect { .. }) => Kind::RemoteDisconnect,
            Content::Response(Response::SocketIds { .. }) => Kind::Ids,
            Content::Response(Response::Rooms { .. }) => Kind::Rooms,
            Content::Response(Response::Done { .. }) => Kind::Done,
            Content::Answer(_) => Kind::Answer,
            Content::Unreadable { .. } => Kind::Unreadable,
        }
    }

    /// The content, if all adapters have it.
    pub(crate) fn body(&self) -> Option<&Body> {
        match &self.content {
            Content::Message(body)
            | Content::Request(Request::Common(body))
            | Content::Response(Response::Common(body)) => Some(body),
            _ => None,
        }
    }

    /// The rooms whose sockets are addressed.
    pub(crate) fn rooms(&self) -> &[ByteString] {
        match &self.content {
            Content::Request(Request::SocketIds { rooms, .. }) => rooms,
            Content::Request(
                Request::RemoteJoin { socket, .. }
                | Request::RemoteLeave { socket, .. }
                | Request::RemoteDisconnect { socket, .. },
            ) => core::slice::from_ref(socket),
            _ => self.body().and_then(Body::opts).map_or(&[], |opts| &opts.rooms),
        }
    }

    /// The rooms whose sockets are left out.
    pub(crate) fn except(&self) -> &[ByteString] {
        self.body().and_then(Body::opts).map_or(&[], |opts| &opts.except)
    }

    /// The rooms to join or to leave, or the names of an answer.
    pub(crate) fn names(&self) -> Option<&[ByteString]> {
        Some(match &self.content {
            Content::Request(Request::RemoteJoin { room, .. } | Request::RemoteLeave { room, .. }) => {
                core::slice::from_ref(room)
            }
            Content::Response(Response::SocketIds { sockets, .. }) => sockets,
            Content::Response(Response::Rooms { rooms, .. }) => rooms,
            _ => match self.body()? {
                Body::SocketsJoin { rooms, .. } | Body::SocketsLeave { rooms, .. } => rooms,
                _ => return None,
            },
        })
    }

    /// `[event, …args]`.
    pub(crate) fn event(&self) -> Option<&Payload> {
        match self.body()? {
            Body::Broadcast { packet, .. } => Some(packet.data()),
            Body::ServerSideEmit { packet, .. } => Some(packet),
            _ => None,
        }
    }

    /// The value of an answer.
    pub(crate) fn value(&self) -> Option<&Payload> {
        match self.body()? {
            Body::ServerSideEmitResponse { packet, .. } | Body::BroadcastAck { packet, .. } => Some(packet),
            _ => None,
        }
    }

    pub(crate) fn request_id(&self) -> Option<&RequestId> {
        match &self.content {
            Content::Request(
                Request::SocketIds { request_id, .. }
                | Request::AllRooms { request_id }
                | Request::RemoteJoin { request_id, .. }
                | Request::RemoteLeave { request_id, .. }
                | Request::RemoteDisconnect { request_id, .. },
            )
            | Content::Response(
                Response::SocketIds { request_id, .. }
                | Response::Rooms { request_id, .. }
                | Response::Done { request_id },
            )
            | Content::Answer(request_id) => Some(request_id),
            _ => match self.body()? {
                Body::Broadcast { request_id, .. } | Body::ServerSideEmit { request_id, .. } => {
                    request_id.as_ref()
                }
                Body::FetchSockets { request_id, .. }
                | Body::FetchSocketsResponse { request_id, .. }
                | Body::ServerSideEmitResponse { request_id, .. }
                | Body::BroadcastClientCount { request_id, .. }
                | Body::BroadcastAck { request_id, .. } => Some(request_id),
                _ => None,
            },
        }
    }
}

/// The languages of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Streams,
    Sharded,
    Classic,
}

/// Reads the messages of channels. A classic answer can be read only by what was asked.
#[derive(Debug)]
pub(crate) struct Listener {
    language: Language,
    prefix: String,
    asked: HashMap<RequestId, Asked>,
    /// The same ids, oldest first.
    order: VecDeque<RequestId>,
}

/// The number of questions whose answers can be read.
const QUESTIONS: usize = 10_000;

impl Listener {
    pub(crate) fn new(language: Language, prefix: &str) -> Self {
        Listener { language, prefix: prefix.to_owned(), asked: HashMap::new(), order: VecDeque::new() }
    }

    /// Decodes a message.
    pub(crate) fn hear(&mut self, push: Push, time: u64) -> Record {
        let Push { channel, payload } = push;
        let rest = channel.strip_prefix(&self.prefix).map(str::to_owned).unwrap_or_default();
        // The part before the first `#` is empty, `-request` or `-response`.
        let mut parts = rest.splitn(3, '#');
        let part = parts.next().unwrap_or_default();
        let nsp: Option<ByteString> = parts.next().filter(|nsp| !nsp.is_empty()).map(Into::into);
        let size = payload.len();
        let read = match (self.language, part) {
            (Language::Streams, _) => pubsub::decode(&payload).map(whole),
            (Language::Sharded, _) => pubsub::decode_sharded(&payload).map(whole),
            (Language::Classic, "-request") => classic::decode_request(&payload).map(|(uid, request)| {
                self.note(&request);
                (named(&uid), nsp.clone(), Content::Request(request))
            }),
            (Language::Classic, "-response") => {
                self.response(&payload).map(|content| (None, nsp.clone(), content))
            }
            (Language::Classic, _) => classic::decode_broadcast(&payload).map(whole),
        };
        let (node, nsp, content) = read.unwrap_or_else(|error| {
            let raw = vec![(Bytes::from_static(b"message"), payload)];
            (None, nsp, Content::Unreadable { reason: error.to_string(), raw })
        });
        Record { source: Source::Channel(channel), time, size, node, nsp, content }
    }

    fn note(&mut self, request: &Request) {
        let (id, asked) = match request {
            Request::SocketIds { request_id, .. } => (request_id, Asked::SocketIds),
            Request::AllRooms { request_id } => (request_id, Asked::Rooms),
            Request::RemoteJoin { request_id, .. }
            | Request::RemoteLeave { request_id, .. }
            | Request::RemoteDisconnect { request_id, .. } => (request_id, Asked::Remote),
            Request::Common(Body::FetchSockets { request_id, .. }) => (request_id, Asked::Sockets),
            Request::Common(Body::ServerSideEmit { request_id: Some(request_id), .. }) => {
                (request_id, Asked::Emit)
            }
            Request::Common(Body::Broadcast { request_id: Some(request_id), .. }) => {
                (request_id, Asked::Acks)
            }
            Request::Common(_) => return,
        };
        if self.asked.insert(id.clone(), asked).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > QUESTIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.asked.remove(&oldest);
        }
    }

    fn response(&self, payload: &Bytes) -> Result<Content, WireError> {
        // The form without anything but the id fits every answer.
        let Response::Done { request_id } = classic::decode_response(payload, Asked::Remote)? else {
            unreachable!("this is what a response to such a request is read as")
        };
        match self.asked.get(&request_id) {
            Some(asked) => classic::decode_response(payload, *asked).map(Content::Response),
            None => Ok(Content::Answer(request_id)),
        }
    }
}

fn whole(message: Message) -> (Option<ByteString>, Option<ByteString>, Content) {
    let Message { uid, nsp, body } = message;
    (named(&uid), Some(nsp), Content::Message(body))
}
