//! One question to all servers, and their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use sio_streams_driver::sio_streams_core::{BroadcastOptions, Dialect, NodeId, RemoteSocket};

use super::road::Road;
use super::{ClusterArgs, Error};

/// What the stream shows of a server that sends heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The time since its last message, when the question was asked.
    pub(super) ago: Duration,
    /// It said that it also hears Pub/Sub: a server of both generations.
    pub(super) is_bridge: bool,
}

/// The answer of a server.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// In the classic dialect, servers do not say who they are.
    pub(super) node: Option<NodeId>,
    pub(super) after: Duration,
    pub(super) sockets: Vec<RemoteSocket>,
}

/// A question and what became of it.
#[derive(Debug)]
pub(super) struct Round {
    /// The number of servers that were counted by their subscriptions.
    pub(super) subscribers: Option<u64>,
    /// The servers that sent heartbeats in time, where servers do.
    pub(super) heard: BTreeMap<NodeId, Heard>,
    /// The answers, in their order.
    pub(super) answers: Vec<Answer>,
    /// Servers are expected by their heartbeats.
    pub(super) by_heartbeats: bool,
    /// The generations of the servers, if several were asked.
    pub(super) generations: Option<BTreeMap<NodeId, Generation>>,
}

/// The generation that a server speaks, in a cluster that has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    V02,
    V03,
    Both,
}

impl Generation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Generation::V02 => "0.2",
            Generation::V03 => "0.3",
            Generation::Both => "both",
        }
    }
}

impl Round {
    /// Returns the servers that are known by name and have not answered.
    pub(super) fn silent(&self) -> Vec<&NodeId> {
        let answered = |node: &NodeId| self.answers.iter().any(|answer| answer.node.as_ref() == Some(node));
        self.heard.keys().filter(|node| self.by_heartbeats && !answered(node)).collect()
    }

    /// Returns the number of servers that have not answered and whose names are not known.
    pub(super) fn silent_unnamed(&self) -> u64 {
        match self.subscribers {
            Some(subscribers) => subscribers.saturating_sub(self.answers.len() as u64),
            None => 0,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.silent().is_empty() && self.silent_unnamed() == 0
    }

    /// Joins what servers of 0.2 have answered on the stream with what those of 0.3 have answered on
    /// the channel. A bridge answers both questions, and counts once.
    fn joined(old: Round, new: Round) -> Self {
        let mut generations = BTreeMap::new();
        let mut note = |node: Option<&NodeId>, generation| {
            if let Some(node) = node {
                let known = generations.entry(node.clone()).or_insert(generation);
                if *known != generation {
                    *known = Generation::Both;
                }
            }
        };
        old.answers.iter().for_each(|answer| note(answer.node.as_ref(), Generation::V02));
        new.answers.iter().for_each(|answer| note(answer.node.as_ref(), Generation::V03));
        for (node, heard) in &old.heard {
            note(Some(node), if heard.is_bridge { Generation::Both } else { Generation::V02 });
        }
        // A bridge that is silent on the stream has a name, and need not be missed without one, too.
        let has_answered =
            |node: &NodeId| new.answers.iter().any(|answer| answer.node.as_ref() == Some(node));
        let silent = old.silent();
        let is_missed = |node: &&&NodeId| old.heard[**node].is_bridge && !has_answered(node);
        let silent_bridges = silent.iter().filter(is_missed).count() as u64;
        let missing = new.silent_unnamed().saturating_sub(silent_bridges);
        let mut answers = old.answers;
        for answer in new.answers {
            match answers.iter_mut().find(|known| known.node.is_some() && known.node == answer.node) {
                Some(known) => known.after = known.after.min(answer.after),
                None => answers.push(answer),
            }
        }
        Round {
            subscribers: Some(answers.len() as u64 + missing),
            heard: old.heard,
            answers,
            by_heartbeats: true,
            generations: Some(generations),
        }
    }
}

/// Returns the name of a server for people, who are told if it is not known.
pub(super) fn node_name(node: Option<&NodeId>) -> &str {
    node.map_or("(no name)", NodeId::as_str)
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The connections on which a cluster is asked: one road, or one for each generation.
pub(crate) struct Asker {
    roads: Vec<Road>,
}

impl Asker {
    /// Connects to the server, and begins to listen.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self, Error> {
        let config = args.config();
        let dialects: &[Dialect] = match config.dialect {
            Dialect::Bridge => &[Dialect::Streams02, Dialect::Streams03],
            dialect => &[dialect],
        };
        let mut roads = Vec::with_capacity(dialects.len());
        for &dialect in dialects {
            let config = config.clone().dialect(dialect);
            roads.push(Road::connect(args.server.backend()?, &args.nsp, args.timeout, config).await?);
        }
        Ok(Asker { roads })
    }

    /// Asks all servers for the sockets that `opts` match. Waits until all that are expected have
    /// answered, or the time is up.
    pub(super) async fn ask(&mut self, opts: BroadcastOptions) -> Result<Round, Error> {
        match &mut self.roads[..] {
            [old, new] => {
                let (old, new) = tokio::try_join!(old.ask(opts.clone()), new.ask(opts))?;
                Ok(Round::joined(old, new))
            }
            [road, ..] => road.ask(opts).await,
            [] => Err(Error::Unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(nodes: &[&'static str]) -> Vec<Answer> {
        let answer = |node: &&'static str| Answer {
            node: Some(NodeId::new(*node)),
            after: Duration::from_millis(1),
            sockets: Vec::new(),
        };
        nodes.iter().map(answer).collect()
    }

    #[test]
    fn two_generations_are_one_cluster() {
        let heard = |is_bridge| Heard { ago: Duration::ZERO, is_bridge };
        let beats = [("old", false), ("mute", false), ("bridge", true), ("mute bridge", true)];
        let old = Round {
            subscribers: None,
            heard: beats.map(|(node, is_bridge)| (NodeId::new(node), heard(is_bridge))).into(),
            answers: answers(&["old", "bridge"]),
            by_heartbeats: true,
            generations: None,
        };
        // Of five subscribers two have answered; one of the others is the bridge that is mute.
        let new = Round {
            subscribers: Some(5),
            heard: BTreeMap::new(),
            answers: answers(&["new", "bridge"]),
            by_heartbeats: false,
            generations: None,
        };
        let joined = Round::joined(old, new);
        let names: Vec<_> = joined.answers.iter().filter_map(|answer| answer.node.as_ref()).collect();
        assert_eq!(names, [&NodeId::new("old"), &NodeId::new("bridge"), &NodeId::new("new")]);
        assert_eq!(joined.silent(), [&NodeId::new("mute"), &NodeId::new("mute bridge")]);
        assert_eq!(joined.silent_unnamed(), 2);
        let generations = joined.generations.unwrap();
        for (node, generation) in [("old", "0.2"), ("new", "0.3"), ("bridge", "both"), ("mute", "0.2")] {
            assert_eq!(generations[node].name(), generation, "{node}");
        }
    }
}
