//! Counts of the nodes that subscribe in a namespace, and the names of these nodes.

use bytestring::ByteString;

use super::Cluster;
use crate::command::{Command, CommandError, Reply};
use crate::engine::context::Context;
use crate::engine::roll::{Census, Roll};
use crate::id::NodeId;

impl Cluster {
    /// Returns the command that asks which nodes subscribe, and what it asks about. `also` names
    /// further nodes that must be checked.
    pub(in crate::engine) fn census(
        &self,
        cx: &Context,
        nsp: &str,
        also: impl IntoIterator<Item = NodeId>,
    ) -> Option<(Census, Command)> {
        let (nsp, namespace) = self.namespaces.get_key_value(nsp)?;
        let bridges = namespace.members.bridge_names().filter(|_| !mutant!(BridgeCountedTwice));
        let mut names: Vec<NodeId> = namespace.known.iter().chain(bridges).cloned().chain(also).collect();
        names.retain(|name| *name != cx.uid);
        names.sort_unstable();
        names.dedup();
        let private = |name: &NodeId| cx.config.private_channel(nsp, name.as_str());
        let channels = [namespace.channel.clone(), private(&cx.uid)];
        let channels = channels.into_iter().chain(names.iter().map(private)).collect();
        let census = Census { nsp: nsp.clone(), names, own: namespace.subscribed_since() };
        Some((census, Command::PubSubNumSub { channels, sharded: cx.config.sharded() }))
    }

    /// Evaluates the numbers of a census. The names of nodes that do not subscribe any more are
    /// forgotten.
    pub(in crate::engine) fn roll(
        &mut self,
        cx: &Context,
        census: Census,
        reply: Result<Reply, CommandError>,
    ) -> Result<Roll, CommandError> {
        let counts = match reply {
            Ok(Reply::Counts(counts)) if counts.len() == census.names.len() + 2 => counts,
            other => return Err(CommandError::of(other)),
        };
        let sharded = cx.config.sharded();
        let namespace = self.namespaces.get(&census.nsp);
        // The channels of sharded Pub/Sub lie on several servers, whose numbers are taken at
        // different moments. Moreover, a room may have a channel that looks like a node's.
        // Therefore at most one own subscription is believed, and only if this node knows that it
        // was in force all the time.
        let steady = census.own.is_some_and(|since| {
            namespace.is_some_and(|namespace| namespace.subscribed_since() == Some(since))
        });
        let own = if mutant!(OwnSubscriptionTaken) {
            1
        } else if sharded {
            counts[1].min(steady.into())
        } else {
            counts[1]
        };
        let one = |count: u64| if sharded { count.min(1) } else { count };
        let mut roll = Roll { may_have_own: sharded && !steady, ..Roll::default() };
        let total = counts[0].saturating_sub(own);
        let (mut named, mut present) = (0_u64, 0_u64);
        for (name, count) in census.names.into_iter().zip(counts.into_iter().skip(2)) {
            // A room may bear the name of the node, here or elsewhere. Its subscription can't be told
            // from the node's, so the node counts as present.
            let count = one(count);
            named = named.saturating_add(count);
            present += u64::from(count > 0);
            roll.named.insert(name, count);
        }
        // There are more named nodes than nodes in total, so other nodes have rooms that are named
        // like nodes.
        roll.is_doubtful = named > total;
        roll.others = match roll.is_doubtful {
            true => total,
            false => present.saturating_add(total - named),
        };
        if let Some(namespace) = self.namespaces.get_mut(&census.nsp) {
            namespace.known.retain(|name| roll.named.get(name) != Some(&0));
        }
        Ok(roll)
    }

    /// Handles the list of a namespace's channels. Each node has a channel of its own, which bears
    /// the node's name.
    pub(in crate::engine) fn listed(&mut self, cx: &Context, nsp: &ByteString, channels: &[ByteString]) {
        let Some(namespace) = self.namespaces.get_mut(nsp) else { return };
        let prefix = cx.config.response_prefix(nsp);
        let room = cx.config.limits.nodes.saturating_sub(namespace.known.len());
        let name_in = |channel: &ByteString| {
            let name = channel.strip_prefix(&*prefix)?.strip_suffix('#')?;
            // The adapters draw names of this form. Any other channel belongs to a namespace whose
            // name begins with the same text.
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let is_name = name.len() == 16 && name.bytes().all(is_digit);
            is_name.then(|| NodeId::new(name.to_owned()))
        };
        let known = &namespace.known;
        let new = channels.iter().filter_map(name_in);
        let new = new.filter(|name| *name != cx.uid && !known.contains(name)).take(room);
        let new: Vec<NodeId> = new.collect();
        namespace.known.extend(new);
    }

    /// Remembers the name of a node that subscribes, so that the node can be named if its answer is
    /// missing.
    pub(in crate::engine) fn note_sender(&mut self, cx: &Context, nsp: &ByteString, uid: &NodeId) {
        if !cx.config.dialect.subscribes() || uid.is_emitter() {
            return;
        }
        let limit = cx.config.limits.nodes;
        match self.namespaces.get_mut(nsp) {
            Some(namespace) if namespace.known.len() < limit && !namespace.known.contains(uid) => {
                namespace.known.insert(uid.owned());
            }
            _ => {}
        }
    }

    /// Returns `true` if a bridge is known whose subscription the census did not ask for by name.
    pub(in crate::engine) fn has_other_bridges(&self, nsp: &str, roll: &Roll) -> bool {
        let members = self.namespaces.get(nsp).map(|namespace| &namespace.members);
        let is_unnamed = |name: &NodeId| roll.has(name).is_none() && !mutant!(BridgeCountedTwice);
        members.is_some_and(|all| all.bridge_names().any(is_unnamed))
    }

    /// Returns the number of nodes that are known by their heartbeats and are not in the roll.
    pub(in crate::engine) fn others_than(&self, nsp: &str, roll: &Roll) -> usize {
        let subscribes = |name: &&NodeId| roll.has(name) == Some(true);
        let members = self.namespaces.get(nsp).map(|namespace| &namespace.members);
        members.map_or(0, |all| all.names().filter(|name| !subscribes(name)).count())
    }
}
