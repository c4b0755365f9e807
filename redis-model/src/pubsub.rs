//! Publish/subscribe: who hears which channel.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;

use crate::ClientId;
use crate::glob;

/// One namespace of channels. There are two: the plain and the sharded channels know nothing of
/// each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels {
    /// The subscribers of each channel, in the order in which they subscribed and hear a message.
    subscribers: BTreeMap<ByteString, Vec<ClientId>>,
    subscriptions: BTreeMap<ClientId, BTreeSet<ByteString>>,
}

impl Channels {
    pub(crate) fn subscribe(&mut self, client: ClientId, channel: &ByteString) {
        if self.subscriptions.entry(client).or_default().insert(channel.clone()) {
            self.subscribers.entry(channel.clone()).or_default().push(client);
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: ClientId, channel: &ByteString) {
        let Some(subscriptions) = self.subscriptions.get_mut(&client) else { return };
        if subscriptions.remove(channel) {
            if subscriptions.is_empty() {
                self.subscriptions.remove(&client);
            }
            self.forget(client, channel);
        }
    }

    pub(crate) fn unsubscribe_all(&mut self, client: ClientId) {
        for channel in self.subscriptions.remove(&client).unwrap_or_default() {
            self.forget(client, &channel);
        }
    }

    /// The subscriptions of a client.
    pub(crate) fn of(&self, client: ClientId) -> impl Iterator<Item = &ByteString> {
        self.subscriptions.get(&client).into_iter().flatten()
    }

    pub(crate) fn subscribers(&self, channel: &str) -> &[ClientId] {
        self.subscribers.get(channel).map_or(&[], Vec::as_slice)
    }

    /// If the channels are patterns: the clients that hear this channel, once for each pattern.
    pub(crate) fn subscribers_by_pattern(&self, channel: &str) -> impl Iterator<Item = ClientId> {
        let matches = |pattern: &str| glob::matches(pattern.as_bytes(), channel.as_bytes());
        let heard = self.subscribers.iter().filter(move |(pattern, _)| matches(pattern));
        heard.flat_map(|(_, clients)| clients.iter().copied())
    }

    /// The channels with subscribers whose names match, in alphabetical order.
    pub(crate) fn matching(&self, pattern: &str) -> Vec<ByteString> {
        let matches = |channel: &&ByteString| glob::matches(pattern.as_bytes(), channel.as_bytes());
        self.subscribers.keys().filter(matches).cloned().collect()
    }

    fn forget(&mut self, client: ClientId, channel: &ByteString) {
        if let Some(subscribers) = self.subscribers.get_mut(channel) {
            subscribers.retain(|subscriber| *subscriber != client);
            if subscribers.is_empty() {
                self.subscribers.remove(channel);
            }
        }
    }
}
