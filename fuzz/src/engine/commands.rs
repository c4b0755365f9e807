//! The commands that were handed out and wait for their replies.

use std::collections::BTreeMap;

use sio_streams_core::wire::entry::SEQUENCE_FIELD;
use sio_streams_core::wire::{entry, pubsub};
use sio_streams_core::{Body, ByteString, Command, CommandId, Limits, Message, NodeId, RequestId};

use super::plan::Which;

/// What the limits have to say about a command.
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
    own: NodeId,
    waiting: BTreeMap<CommandId, Command>,
    answered: Vec<(CommandId, Command)>,
    channels: Vec<ByteString>,
}

impl Commands {
    pub(super) fn new(limits: Limits, own: NodeId) -> Self {
        Commands { limits, own, waiting: BTreeMap::new(), answered: Vec::new(), channels: Vec::new() }
    }

    /// Takes a command that was handed out, and returns the id of the question that it puts.
    pub(super) fn took(&mut self, id: CommandId, command: Command) -> Option<RequestId> {
        if let Command::Subscribe { channels, .. } = &command {
            self.channels.extend(channels.iter().cloned());
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
        match message(command)?.body {
            Body::Broadcast { request_id, .. } | Body::ServerSideEmit { request_id, .. } => request_id,
            Body::FetchSockets { request_id, .. } => Some(request_id),
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
        assert!(count(Class::Question) <= self.limits.requests, "{:?}", self.waiting);
        assert!(
            count(Class::Heartbeat) <= self.limits.in_flight + 2 * self.limits.namespaces,
            "{:?}",
            self.waiting
        );
        assert!(bytes <= self.limits.in_flight_bytes, "{bytes} bytes in flight");
    }

    fn class(&self, command: &Command) -> Class {
        let Some(message) = message(command) else { return Class::Other };
        assert_eq!(message.uid, self.own, "published under another name: {command:?}");
        match message.body {
            Body::InitialHeartbeat | Body::Heartbeat => Class::Heartbeat,
            Body::AdapterClose => Class::Other,
            Body::Broadcast { request_id: Some(_), .. }
            | Body::ServerSideEmit { request_id: Some(_), .. }
            | Body::FetchSockets { .. } => Class::Question,
            _ => Class::Message,
        }
    }
}

/// The message that a command publishes. What this node writes, it can read.
fn message(command: &Command) -> Option<Message> {
    let decoded = match command {
        Command::XAdd { fields, .. } => entry::decode(fields),
        Command::Publish { payload, .. } => pubsub::decode(payload),
        _ => return None,
    };
    match decoded {
        Ok(message) => Some(message),
        Err(error) => panic!("{error}: {command:?}"),
    }
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
