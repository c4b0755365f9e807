//! The subscribers of a namespace: the question, and its result.

use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::id::NodeId;

/// The subject of one `PUBSUB NUMSUB`. It asks for the number of subscriptions to the namespace's
/// channel, to this node's own channel, and to the channels of the other nodes whose names are
/// known.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) nsp: ByteString,
    pub(super) names: Vec<NodeId>,
    /// The number of this node's own subscription, if it was in force when the command was made.
    pub(super) own: Option<u64>,
}

/// The subscribers of a namespace at one moment, without this node.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// The number of nodes that subscribe.
    pub(super) others: u64,
    /// The number of subscriptions of each node whose name was known.
    pub(super) named: BTreeMap<NodeId, u64>,
    /// `true` if this node's own subscription may be counted among the others, because it was just
    /// being made.
    pub(super) may_have_own: bool,
    /// `true` if some of the names are not those of nodes.
    pub(super) is_doubtful: bool,
}

impl Roll {
    /// Returns `true` if the node subscribes, or `None` if that was not asked.
    pub(super) fn has(&self, node: &NodeId) -> Option<bool> {
        self.named.get(node).map(|count| *count > 0)
    }

    /// Returns the nodes that subscribe and whose names are known.
    pub(super) fn present(&self) -> impl Iterator<Item = &NodeId> {
        self.named.iter().filter(|(_, count)| **count > 0).map(|(node, _)| node)
    }
}
