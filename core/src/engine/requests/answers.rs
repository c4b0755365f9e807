//! The answers that come to this node's questions.

use super::{Requests, Taken};
use crate::engine::context::Context;
use crate::event::{Answer, Event};
use crate::id::{NodeId, Ticket};
use crate::message::Body;
use crate::wire::WireError;
use crate::wire::classic::{Keys, Response};

impl Requests {
    /// Returns `true` if an answer of this node shows that the question was published: until now
    /// its fate was unknown.
    pub(in crate::engine) fn is_in_doubt(&self, ticket: Ticket) -> bool {
        self.open.get(&ticket).is_some_and(|request| request.is_in_doubt())
    }

    /// Notes an answer of a node that gives its name. Returns `true` if the answer counts.
    pub(in crate::engine) fn counts_answer(
        &mut self,
        ticket: Ticket,
        from: &NodeId,
        answer: &Answer,
        by_stream: bool,
        limit: usize,
    ) -> bool {
        let Some(request) = self.open.get_mut(&ticket) else { return false };
        let counts = request.answer(from, answer, by_stream, limit);
        match request.awaits(from) {
            Some(false) => self.awaits_no_more(ticket, from),
            // The node may have answered unexpectedly, and may still owe acknowledgements.
            Some(true) => self.expect(ticket, from),
            None => {}
        }
        counts
    }

    /// Notes an answer that doesn't say which node answers. Returns `true` if the answer counts.
    pub(in crate::engine) fn counts_unnamed(&mut self, ticket: Ticket, answer: &Answer) -> bool {
        self.open.get_mut(&ticket).is_some_and(|request| request.answer_unnamed(answer))
    }

    /// Takes an answer that counts. Returns the order that its sender is to be sent, if there is
    /// one.
    pub(in crate::engine) fn take(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        from: &NodeId,
        answer: Answer,
    ) -> Option<Box<Body>> {
        match self.open.get_mut(&ticket)?.take(answer) {
            Taken::Answer(answer) => {
                cx.events.push_back(Event::Answer { ticket, from: from.clone().named(), answer });
                None
            }
            Taken::Owner(order) => Some(order),
            Taken::Nothing => None,
        }
    }

    /// Reads a response in the classic form. Such a response says which request it answers, but not
    /// which node answers. Returns `None` if the response is for another node, or comes too late.
    pub(in crate::engine) fn read_response(
        &self,
        keys: &Keys,
    ) -> Result<Option<(Ticket, Answer)>, WireError> {
        let Some(ticket) = keys.request_id()?.and_then(|id| self.find(&id)) else { return Ok(None) };
        let Some(request) = self.open.get(&ticket) else { return Ok(None) };
        let answer = match keys.response(request.wanted.asked())? {
            Response::SocketIds { sockets, .. } => Answer::SocketIds(sockets),
            Response::Rooms { rooms, .. } => Answer::Rooms(rooms),
            Response::Done { .. } => Answer::Done,
            Response::Common(body) => match body {
                Body::FetchSocketsResponse { sockets, .. } => Answer::Sockets(sockets),
                Body::ServerSideEmitResponse { packet, .. } => Answer::Emit(packet),
                Body::BroadcastClientCount { client_count, .. } => Answer::ClientCount(client_count),
                Body::BroadcastAck { packet, .. } => Answer::Ack(packet),
                // No other body is a response.
                _ => return Ok(None),
            },
        };
        Ok(Some((ticket, answer)))
    }
}
