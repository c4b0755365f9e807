//! The names of Pub/Sub channels in each dialect.

use bytestring::ByteString;

use crate::config::{Config, Dialect, SubscriptionMode};
use crate::message::Body;
use crate::packet::BroadcastOptions;

/// The kind of message that a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Any message.
    Messages,
    /// Messages to one room, in the sharded dialect. The node hears the channel while it has a
    /// socket in the room.
    Room,
    /// Broadcasts, in the classic dialect.
    Broadcasts,
    /// Requests, in the classic dialect.
    Requests,
    /// Responses, in the classic dialect.
    Responses,
}

impl Config {
    /// Returns `true` if the node uses sharded Pub/Sub.
    pub(crate) fn sharded(&self) -> bool {
        self.use_sharded_pub_sub && self.dialect != Dialect::Classic || self.dialect == Dialect::Sharded
    }

    /// Returns `true` if rooms have channels, whose names have the same form as those of nodes.
    pub(crate) fn rooms_are_channels(&self) -> bool {
        self.dialect == Dialect::Sharded && self.subscription_mode != SubscriptionMode::Static
    }

    /// Returns the channel for requests between the nodes of a namespace. The number of its
    /// subscribers is the number of nodes.
    pub(crate) fn request_channel(&self, nsp: &str) -> ByteString {
        let kind = if self.dialect == Dialect::Classic { "-request" } else { "" };
        format!("{}{kind}#{nsp}#", self.channel_prefix).into()
    }

    /// Returns the common prefix of the channels on which nodes receive responses.
    pub(crate) fn response_prefix(&self, nsp: &str) -> ByteString {
        let kind = if self.dialect == Dialect::Classic { "-response" } else { "" };
        format!("{}{kind}#{nsp}#", self.channel_prefix).into()
    }

    /// Returns the channel on which one node receives responses.
    pub(crate) fn private_channel(&self, nsp: &str, node: &str) -> ByteString {
        format!("{}{node}#", self.response_prefix(nsp)).into()
    }

    /// Returns the channel to which a response for this node is published.
    pub(crate) fn response_channel(&self, nsp: &str, node: &str) -> ByteString {
        match self.dialect == Dialect::Classic && !self.publish_on_specific_response_channel {
            true => self.response_prefix(nsp),
            false => self.private_channel(nsp, node),
        }
    }

    /// Returns the channel of a broadcast without acknowledgements.
    pub(crate) fn broadcast_channel(&self, nsp: &str, opts: &BroadcastOptions) -> ByteString {
        let room = match &*opts.rooms {
            [room] if self.dialect == Dialect::Classic || self.subscription_mode.is_apart(room) => room,
            _ => return format!("{}#{nsp}#", self.channel_prefix).into(),
        };
        self.room_channel(nsp, room)
    }

    fn room_channel(&self, nsp: &str, room: &str) -> ByteString {
        format!("{}#{nsp}#{room}#", self.channel_prefix).into()
    }

    /// Returns the channel of a message that is not a response.
    pub(crate) fn channel_for(&self, nsp: &str, body: &Body) -> ByteString {
        match body {
            Body::Broadcast { opts, request_id: None, .. } if !self.dialect.has_streams() => {
                self.broadcast_channel(nsp, opts)
            }
            _ => self.request_channel(nsp),
        }
    }

    /// Returns the channels to which every node of the namespace subscribes.
    pub(crate) fn channels(&self, nsp: &str, node: &str) -> Vec<(ByteString, Carries)> {
        let private = self.private_channel(nsp, node);
        match self.dialect {
            Dialect::Classic => vec![
                (self.request_channel(nsp), Carries::Requests),
                (self.response_prefix(nsp), Carries::Responses),
                (private, Carries::Responses),
            ],
            _ => vec![(self.request_channel(nsp), Carries::Messages), (private, Carries::Messages)],
        }
    }

    /// Returns the common prefix of the channels that carry the namespace's broadcasts, if each
    /// room has one. Nodes subscribe to them by a pattern.
    pub(crate) fn broadcast_prefix(&self, nsp: &str) -> Option<ByteString> {
        (self.dialect == Dialect::Classic).then(|| format!("{}#{nsp}#", self.channel_prefix).into())
    }

    /// Returns the pattern to which every node of the namespace subscribes.
    pub(crate) fn pattern(&self, nsp: &str) -> Option<ByteString> {
        self.broadcast_prefix(nsp).map(|prefix| format!("{}*", escape_glob(&prefix)).into())
    }

    /// Returns the channels of these rooms, if the dialect gives rooms channels that a node must
    /// subscribe to.
    pub(crate) fn room_channels<'a>(
        &self,
        nsp: &str,
        rooms: impl IntoIterator<Item = &'a ByteString>,
    ) -> Vec<ByteString> {
        if self.dialect != Dialect::Sharded {
            return Vec::new();
        }
        let apart = rooms.into_iter().filter(|room| self.subscription_mode.is_apart(room));
        apart.map(|room| self.room_channel(nsp, room)).collect()
    }
}

/// Escapes the text, so that it is a glob pattern that matches only itself: for the patterns of
/// [`Command::PSubscribe`](crate::Command::PSubscribe) and
/// [`Command::PubSubChannels`](crate::Command::PubSubChannels).
///
/// ```
/// assert_eq!(sio_streams_core::escape_glob("room[1]*"), r"room\[1\]\*");
/// ```
pub fn escape_glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
