//! The channels of the dialects that use Pub/Sub: how they are called, and who hears them.

use core::ops::Bound::{Included, Unbounded};

use bytestring::ByteString;

use super::{Engine, Purpose};
use crate::command::{Command, Lane};
use crate::config::{Config, Dialect, SubscriptionMode};
use crate::message::Body;
use crate::packet::BroadcastOptions;
use crate::rooms::RoomChange;

/// What comes through a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Any message.
    Messages,
    /// Sharded: messages to a room, as long as a socket of this node is in it.
    Room,
    /// Classic: broadcasts.
    Broadcasts,
    /// Classic: requests.
    Requests,
    /// Classic: responses.
    Responses,
}

impl Config {
    /// Whether Pub/Sub is the sharded kind.
    pub(crate) fn sharded(&self) -> bool {
        self.use_sharded_pub_sub && self.dialect != Dialect::Classic || self.dialect == Dialect::Sharded
    }

    /// Whether rooms have channels that look like those of nodes.
    pub(crate) fn rooms_are_channels(&self) -> bool {
        self.dialect == Dialect::Sharded && self.subscription_mode != SubscriptionMode::Static
    }

    /// The channel on which a namespace's nodes ask each other. They are counted here.
    pub(crate) fn request_channel(&self, nsp: &str) -> ByteString {
        let kind = if self.dialect == Dialect::Classic { "-request" } else { "" };
        format!("{}{kind}#{nsp}#", self.channel_prefix).into()
    }

    /// How the channels begin on which nodes get their answers.
    pub(crate) fn response_prefix(&self, nsp: &str) -> ByteString {
        let kind = if self.dialect == Dialect::Classic { "-response" } else { "" };
        format!("{}{kind}#{nsp}#", self.channel_prefix).into()
    }

    /// The channel on which one node gets its answers.
    pub(crate) fn private_channel(&self, nsp: &str, node: &str) -> ByteString {
        format!("{}{node}#", self.response_prefix(nsp)).into()
    }

    /// The channel on which a node's answers are awaited.
    pub(crate) fn response_channel(&self, nsp: &str, node: &str) -> ByteString {
        match self.dialect == Dialect::Classic && !self.publish_on_specific_response_channel {
            true => self.response_prefix(nsp),
            false => self.private_channel(nsp, node),
        }
    }

    /// The channel of a broadcast that asks for nothing.
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

    /// The channel on which a message goes out that is no answer.
    pub(crate) fn channel_for(&self, nsp: &str, body: &Body) -> ByteString {
        match body {
            Body::Broadcast { opts, request_id: None, .. } if !self.dialect.has_streams() => {
                self.broadcast_channel(nsp, opts)
            }
            _ => self.request_channel(nsp),
        }
    }

    /// The channels that every node of the namespace hears.
    pub(super) fn channels(&self, nsp: &str, node: &str) -> Vec<(ByteString, Carries)> {
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

    /// How the channels begin that carry the namespace's broadcasts, if each room has one: they are heard by a pattern.
    pub(super) fn broadcast_prefix(&self, nsp: &str) -> Option<ByteString> {
        (self.dialect == Dialect::Classic).then(|| format!("{}#{nsp}#", self.channel_prefix).into())
    }

    /// The pattern that every node of the namespace hears.
    pub(super) fn pattern(&self, nsp: &str) -> Option<ByteString> {
        self.broadcast_prefix(nsp).map(|prefix| format!("{}*", escape_glob(&prefix)).into())
    }

    /// The channels of rooms in which this node has sockets.
    pub(super) fn room_channels<'a>(
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

impl Engine {
    /// The namespace that a channel belongs to, and what comes through it, if that is of interest.
    pub(super) fn carried(&self, channel: &str) -> Option<(ByteString, Carries)> {
        if let Some(known) = self.channels.get(channel) {
            return Some(known.clone());
        }
        let ends = channel.match_indices('#').map(|(at, _)| at + 1);
        let by_prefix = |end: usize| Some((self.channels.get(&channel[..end])?, &channel[end..]));
        let ((nsp, carries), rest) =
            ends.filter_map(by_prefix).find(|((_, carries), _)| *carries == Carries::Broadcasts)?;
        // Nobody here is in the room.
        let room = rest.strip_suffix('#')?;
        let heard = self.namespaces.get(nsp)?.rooms.has_room(room) || mutant!(EmptyRoomHeard);
        heard.then(|| (nsp.clone(), *carries))
    }

    /// The open namespace whose rooms' channels can't be told from those of this one.
    pub(super) fn overlapping(&self, nsp: &str) -> Option<&ByteString> {
        if self.config.dialect != Dialect::Classic && !self.config.rooms_are_channels() {
            return None;
        }
        let mut shorter = nsp.match_indices('#').map(|(at, _)| &nsp[..at]);
        let shorter = shorter.find_map(|name| Some(self.namespaces.get_key_value(name)?.0));
        shorter.or_else(|| {
            let begins = format!("{nsp}#");
            let longer = self.hashed.range::<str, _>((Included(&*begins), Unbounded)).next();
            longer.filter(|longer| longer.starts_with(&begins))
        })
    }

    /// Hears the channels of rooms that this node has sockets in now, and no longer those of rooms that it has none in.
    pub(super) fn rooms_changed(&mut self, nsp: &str, changes: &[RoomChange]) {
        if self.config.dialect != Dialect::Sharded {
            return;
        }
        let created = changes.iter().filter_map(|change| match change {
            RoomChange::Create { room } => Some(room),
            _ => None,
        });
        let deleted = changes.iter().filter_map(|change| match change {
            RoomChange::Delete { room } => Some(room),
            _ => None,
        });
        // A room may bear the name of this node, or of another channel: then that is heard anyway, and goes on to be.
        let mut created = self.config.room_channels(nsp, created);
        created.retain(|channel| !self.channels.contains_key(channel));
        let mut deleted = self.config.room_channels(nsp, deleted);
        deleted.retain(|channel| {
            self.channels.get(channel).is_some_and(|(_, carries)| *carries == Carries::Room)
        });
        let Some((name, _)) = self.namespaces.get_key_value(nsp) else { return };
        let name = name.clone();
        if !deleted.is_empty() && !mutant!(RoomChannelKept) {
            for channel in &deleted {
                self.channels.remove(channel);
            }
            self.command(Command::Unsubscribe { channels: deleted, sharded: true }, Purpose::Unheard);
        }
        if !created.is_empty() && !mutant!(RoomChannelUnheard) {
            for channel in &created {
                self.channels.insert(channel.clone(), (name.clone(), Carries::Room));
            }
            self.command(Command::Subscribe { channels: created, sharded: true }, Purpose::Rooms(name));
        }
    }

    /// Redis has refused to end subscriptions. They would live on as long as the connection, so it is asked once more about those that nobody wants
    /// again.
    pub(super) fn unsubscribe_again(&mut self, command: Command) {
        let Command::Unsubscribe { mut channels, sharded } = command else { return };
        channels.retain(|channel| !self.channels.contains_key(channel));
        if !channels.is_empty() && !mutant!(RefusedGoodbyeForgotten) {
            self.command(Command::Unsubscribe { channels, sharded }, Purpose::Unheard);
            self.rest(&Lane::Subscriber);
        }
    }
}

/// A pattern that matches just this text.
pub(super) fn escape_glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
