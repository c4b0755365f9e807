//! The commands that were handed out and wait for their replies.

use std::collections::BTreeMap;

use sio_streams_core::wire::classic::{self, Request};
use sio_streams_core::wire::entry::SEQUENCE_FIELD;
use sio_streams_core::wire::{WireError, entry, pubsub};
use sio_streams_core::{
    Body, ByteString, Bytes, Codec, Command, CommandId, Config, Dialect, Limits, Message, NodeId, RequestId,
};

use super::plan::{Reversed, Which};

/// The class of a command with regard to the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// A message of the application's, or an answer.
    Message,
    Heartbeat,
    Question,
    Other,
}

pub(super) struct Commands {
    limits: Limits,
    dialect: Dialect,
    /// `true` if the classic messages have another form.
    parser: bool,
    own: NodeId,
    waiting: BTreeMap<CommandId, Command>,
    answered: Vec<(CommandId, Command)>,
    channels: Vec<ByteString>,
}

impl Commands {
    pub(super) fn new(config: &Config, own: NodeId) -> Self {
        Commands {
            limits: config.limits,
            dialect: config.dialect,
            parser: config.parser.is_some(),
            own,
            waiting: BTreeMap::new(),
            answered: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Takes a command that was handed out, and returns the id of the question that it puts.
    pub(super) fn took(&mut self, id: CommandId, command: Command) -> Option<RequestId> {
        match &command {
            Command::Subscribe { channels, .. } => self.channels.extend(channels.iter().cloned()),
            Command::PSubscribe { patterns } => {
                let channels = ["", "n1#"]
                    .iter()
                    .flat_map(|rest| patterns.iter().map(move |pattern| pattern.replace('*', rest).into()));
                self.channels.extend(channels);
            }
            _ => {}
        }
        let asked = self.question(&command);
        let before = self.waiting.insert(id, command);
        assert!(before.is_none(), "{id} was handed out twice: {before:?}");
        self.check_limits();
        asked
    }

    pub(super) fn channels(&self) -> &[ByteString] {
        &self.channels
    }

    /// A command to answer: one that waits, or, now and then, one that was answered before.
    pub(super) fn answer(&mut self, which: Which) -> Option<(CommandId, Command)> {
        if which.0 == u8::MAX {
            return self.answered.last().cloned();
        }
        let at = usize::from(which.0).checked_rem(self.waiting.len())?;
        let id = *self.waiting.keys().nth(at)?;
        let command = self.waiting.remove(&id)?;
        self.answered.push((id, command.clone()));
        Some((id, command))
    }

    /// All that wait, to be answered now.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (CommandId, Command)> + use<> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    pub(super) fn put_back(&mut self, id: CommandId, command: Command) {
        self.waiting.insert(id, command);
    }

    fn question(&self, command: &Command) -> Option<RequestId> {
        match self.said(command)? {
            Said::Question(id) => Some(id),
            _ => None,
        }
    }

    fn check_limits(&self) {
        let (mut counts, mut bytes) = (BTreeMap::<Class, usize>::new(), 0);
        for command in self.waiting.values() {
            let class = self.class(command);
            *counts.entry(class).or_default() += 1;
            if class == Class::Message {
                bytes += size_of(command);
            }
        }
        let count = |class| counts.get(&class).copied().unwrap_or(0);
        assert!(count(Class::Message) <= self.limits.in_flight, "{:?}", self.waiting);
        assert!(count(Class::Question) <= self.limits.in_flight + self.limits.requests, "{:?}", self.waiting);
        assert!(
            count(Class::Heartbeat) <= self.limits.in_flight + 2 * self.limits.namespaces,
            "{:?}",
            self.waiting
        );
        assert!(bytes <= self.limits.in_flight_bytes, "{bytes} bytes in flight");
    }

    fn class(&self, command: &Command) -> Class {
        match self.said(command) {
            Some(Said::Heartbeat) => Class::Heartbeat,
            Some(Said::Question(_)) => Class::Question,
            Some(Said::Other) => Class::Message,
            Some(Said::Farewell) | None => Class::Other,
        }
    }

    /// The contents of a command for the other nodes. A node can read whatever it writes.
    fn said(&self, command: &Command) -> Option<Said> {
        let decoded = match (command, self.dialect) {
            (Command::Publish { channel, payload, .. }, Dialect::Classic) => {
                self.said_classic(channel, payload)
            }
            (Command::XAdd { fields, .. }, _) => entry::decode(fields).map(|message| self.said_by(message)),
            (Command::Publish { payload, .. }, _) => {
                pubsub::decode(payload).map(|message| self.said_by(message))
            }
            _ => return None,
        };
        match decoded {
            Ok(said) => Some(said),
            Err(error) => panic!("{error}: {command:?}"),
        }
    }

    fn said_by(&self, message: Message) -> Said {
        assert_eq!(message.uid, self.own, "published under another name");
        match message.body {
            Body::InitialHeartbeat | Body::Heartbeat => Said::Heartbeat,
            Body::AdapterClose => Said::Farewell,
            Body::Broadcast { request_id: Some(id), .. }
            | Body::ServerSideEmit { request_id: Some(id), .. }
            | Body::FetchSockets { request_id: id, .. } => Said::Question(id),
            _ => Said::Other,
        }
    }

    fn said_classic(&self, channel: &str, payload: &Bytes) -> Result<Said, WireError> {
        if channel.contains("-response#") {
            return Ok(Said::Other);
        }
        let payload = &match payload.first() {
            Some(b'{') => payload.clone(),
            _ if self.parser => Reversed.decode(payload).map_err(WireError::Codec)?,
            _ => payload.clone(),
        };
        if !channel.contains("-request#") {
            return classic::decode_broadcast(payload).map(|message| self.said_by(message));
        }
        let (uid, request) = classic::decode_request(payload)?;
        assert_eq!(uid, self.own, "published under another name");
        Ok(match request {
            Request::Common(body) => self.said_by(Message { uid, nsp: "/".into(), body }),
            Request::SocketIds { request_id, .. }
            | Request::AllRooms { request_id }
            | Request::RemoteJoin { request_id, .. }
            | Request::RemoteLeave { request_id, .. }
            | Request::RemoteDisconnect { request_id, .. } => Said::Question(request_id),
        })
    }
}

/// A statement of a node to the others.
enum Said {
    Heartbeat,
    Question(RequestId),
    Farewell,
    Other,
}

fn size_of(command: &Command) -> usize {
    match command {
        // The number is added as the message goes out.
        Command::XAdd { fields, .. } => fields
            .iter()
            .filter(|(name, _)| *name != SEQUENCE_FIELD)
            .map(|(name, value)| name.len() + value.len())
            .sum(),
        Command::Publish { channel, payload, .. } => channel.len() + payload.len(),
        _ => 0,
    }
}
