//! The questions of a simulated Node server, and how it counts the answers.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_streams_core::{Body, BroadcastOptions, NodeId, Packet, Payload, RequestId, Time};

use crate::watch::PeerNote;

/// A question to the other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Asks for the sockets that match.
    FetchSockets(BroadcastOptions),
    /// An event that every server answers: `[event, …args]`.
    Emit(Payload),
    /// A packet that every matching client acknowledges.
    Broadcast(Payload, BroadcastOptions),
}

#[derive(Debug)]
struct Open {
    id: RequestId,
    deadline: Time,
    /// 0.2: the nodes that have not answered yet. 0.3 counts answers.
    names: Option<BTreeSet<NodeId>>,
    expected: u64,
    answers: u64,
    /// For acknowledgements: how many clients were asked, and how many have answered.
    clients: u64,
    acks: u64,
    /// `true` if a node that is gone counts as one that has answered.
    forgives: bool,
}

impl Open {
    fn is_over(&self) -> bool {
        let answered = match &self.names {
            Some(names) => names.is_empty(),
            None => self.answers >= self.expected,
        };
        answered && self.acks >= self.clients
    }
}

#[derive(Debug, Default)]
pub(super) struct Questions {
    prepared: BTreeMap<u64, (ByteString, Question)>,
    open: BTreeMap<u64, Open>,
}

impl Questions {
    pub(super) fn prepare(&mut self, number: u64, nsp: ByteString, question: Question) {
        self.prepared.insert(number, (nsp, question));
    }

    pub(super) fn prepared(&mut self, number: u64) -> Option<(ByteString, Question)> {
        self.prepared.remove(&number)
    }

    /// The servers could not even be counted.
    pub(super) fn fail(&mut self, number: u64) -> Option<PeerNote> {
        self.prepared.remove(&number)?;
        Some(PeerNote::TimedOut { question: number, answers: 0, expected: 0 })
    }

    /// Opens a question; what is to be published for it. Nothing if nobody is expected to answer.
    pub(super) fn open(
        &mut self,
        number: u64,
        id: RequestId,
        question: &Question,
        deadline: Time,
        names: Option<Vec<NodeId>>,
        count: u64,
    ) -> Option<Body> {
        let expected = names.as_ref().map_or(count, |names| names.len() as u64);
        if expected == 0 {
            return None;
        }
        let request_id = id.clone();
        let (body, forgives) = match question.clone() {
            Question::FetchSockets(opts) => (Body::FetchSockets { opts, request_id }, true),
            Question::Emit(packet) => (Body::ServerSideEmit { packet, request_id: Some(request_id) }, true),
            Question::Broadcast(data, opts) => {
                let packet = Packet::new(data).expect("simulated servers name their events");
                (Body::Broadcast { packet, opts, request_id: Some(request_id) }, false)
            }
        };
        let names = names.map(|names| names.into_iter().collect());
        let open = Open { id, deadline, names, expected, answers: 0, clients: 0, acks: 0, forgives };
        self.open.insert(number, open);
        Some(body)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.open.values().map(|open| open.deadline).min()
    }

    pub(super) fn timeout(&mut self, now: Time) -> Vec<PeerNote> {
        let due: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.deadline <= now).map(|(number, _)| *number).collect();
        let close = |question: u64| {
            let Open { answers, expected, .. } = self.open.remove(&question)?;
            Some(PeerNote::TimedOut { question, answers, expected })
        };
        due.into_iter().filter_map(close).collect()
    }

    /// An answer, with the number of clients that were asked if it is one to a broadcast.
    pub(super) fn answered(
        &mut self,
        id: &RequestId,
        from: &NodeId,
        clients: Option<u64>,
    ) -> Option<PeerNote> {
        let (&number, open) = self.open.iter_mut().find(|(_, open)| open.id == *id)?;
        open.answers += 1;
        open.clients += clients.unwrap_or_default();
        if let Some(names) = &mut open.names {
            names.remove(from);
        }
        self.close_if_over(number)
    }

    pub(super) fn acknowledged(&mut self, id: &RequestId) -> Option<PeerNote> {
        let (&number, open) = self.open.iter_mut().find(|(_, open)| open.id == *id)?;
        open.acks += 1;
        self.close_if_over(number)
    }

    /// A node is gone: it counts as one that has answered, except where acknowledgements are
    /// wanted.
    pub(super) fn gone(&mut self, node: &NodeId) -> Vec<PeerNote> {
        let mut numbers = Vec::new();
        for (number, open) in &mut self.open {
            if open.forgives && open.names.as_mut().is_some_and(|names| names.remove(node)) {
                numbers.push(*number);
            }
        }
        numbers.into_iter().filter_map(|number| self.close_if_over(number)).collect()
    }

    fn close_if_over(&mut self, number: u64) -> Option<PeerNote> {
        if !self.open.get(&number)?.is_over() {
            return None;
        }
        self.open.remove(&number);
        Some(PeerNote::Answered { question: number })
    }
}
