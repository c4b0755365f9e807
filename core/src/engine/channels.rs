//! The channels of the dialects that use Pub/Sub, and which nodes hear them.

use core::ops::Bound::{Included, Unbounded};

use bytestring::ByteString;

use super::{Engine, Purpose};
use crate::channel::Carries;
use crate::command::{Command, Lane};
use crate::config::Dialect;
use crate::rooms::RoomChange;

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
        if self.cx.config.dialect != Dialect::Classic && !self.cx.config.rooms_are_channels() {
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
        if self.cx.config.dialect != Dialect::Sharded {
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
        let mut created = self.cx.config.room_channels(nsp, created);
        created.retain(|channel| !self.channels.contains_key(channel));
        let mut deleted = self.cx.config.room_channels(nsp, deleted);
        deleted.retain(|channel| {
            self.channels.get(channel).is_some_and(|(_, carries)| *carries == Carries::Room)
        });
        let Some((name, _)) = self.namespaces.get_key_value(nsp) else { return };
        let name = name.clone();
        if !deleted.is_empty() && !mutant!(RoomChannelKept) {
            for channel in &deleted {
                self.channels.remove(channel);
            }
            self.cx.command(Command::Unsubscribe { channels: deleted, sharded: true }, Purpose::Unheard);
        }
        if !created.is_empty() && !mutant!(RoomChannelUnheard) {
            for channel in &created {
                self.channels.insert(channel.clone(), (name.clone(), Carries::Room));
            }
            self.cx.command(Command::Subscribe { channels: created, sharded: true }, Purpose::Rooms(name));
        }
    }

    /// Redis has refused to end subscriptions. They would live on as long as the connection, so it is asked once more about those that nobody wants
    /// again.
    pub(super) fn unsubscribe_again(&mut self, command: Command) {
        let Command::Unsubscribe { mut channels, sharded } = command else { return };
        channels.retain(|channel| !self.channels.contains_key(channel));
        if !channels.is_empty() && !mutant!(RefusedGoodbyeForgotten) {
            self.cx.command(Command::Unsubscribe { channels, sharded }, Purpose::Unheard);
            self.cx.rest(&Lane::Subscriber);
        }
    }
}
