//! Messages to the other nodes of a namespace, and requests to them.

use sio_streams_core::{BroadcastOptions, ByteString, Packet, Payload};
use tokio::sync::{mpsc, oneshot};

use crate::admission::{address_size, names_size};
use crate::error::Error;
use crate::namespace::Namespace;
use crate::outcomes::{Acks, Responses, Sockets};
use crate::publishing::Publishing;
use crate::queued::Queued;
use crate::waiting::Waiter;

impl Namespace {
    /// Sends a packet to the clients that `opts` match, on all nodes. Resolves to the packet's id
    /// in the stream when the packet is there.
    ///
    /// The packet is queued when this returns. To have many packets on their way at once, call this
    /// many times, and await the oldest call when there are enough: the packets are published in
    /// the order of the calls.
    ///
    /// Packets that exceed the limits are refused, with [`CallError::Full`]:
    /// [`Limits::in_flight`](sio_streams_core::Limits::in_flight) and
    /// [`in_flight_bytes`](sio_streams_core::Limits::in_flight_bytes) bound how much may wait to be
    /// published. The same amount once more may wait for the node's own task, which may get its
    /// turn too rarely. So a node never holds more than twice that.
    ///
    /// [`CallError::Full`]: sio_streams_core::CallError::Full
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. [`Error::Command`]: the packet was not published, or (with
    /// [`CommandError::Lost`](sio_streams_core::CommandError::Lost)) it may have been published;
    /// this node's own clients have got it.
    pub fn broadcast(&self, packet: Packet, opts: BroadcastOptions) -> Publishing {
        self.publish(packet.data().bytes().len() + address_size(&opts), |engine, now, nsp| {
            engine.broadcast(now, nsp, packet, opts)
        })
    }

    /// Sends a packet to the clients that `opts` match, on all nodes, and collects their
    /// acknowledgements.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: nothing has happened. Later failures are told by the [`Outcome`](sio_streams_core::Outcome).
    pub fn broadcast_with_ack(&self, packet: Packet, opts: BroadcastOptions) -> Queued<Acks> {
        let (sender, answers) = mpsc::unbounded_channel();
        let (done, outcome) = oneshot::channel();
        let started = self.start(
            move |engine, now, nsp| engine.broadcast_with_ack(now, nsp, packet, opts),
            Waiter::Acks { answers: sender, done },
        );
        Queued::new(async { started.await.map(|()| Acks { answers, outcome }) })
    }

    /// Makes the sockets that `opts` match join rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn sockets_join(
        &self,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Publishing {
        let rooms: Vec<ByteString> = rooms.into_iter().collect();
        self.publish(address_size(&opts) + names_size(&rooms), |engine, now, nsp| {
            engine.sockets_join(now, nsp, opts, rooms)
        })
    }

    /// Makes the sockets that `opts` match leave rooms, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn sockets_leave(
        &self,
        opts: BroadcastOptions,
        rooms: impl IntoIterator<Item = ByteString>,
    ) -> Publishing {
        let rooms: Vec<ByteString> = rooms.into_iter().collect();
        self.publish(address_size(&opts) + names_size(&rooms), |engine, now, nsp| {
            engine.sockets_leave(now, nsp, opts, rooms)
        })
    }

    /// Disconnects the sockets that `opts` match, on all nodes. With `close`, their underlying
    /// connections are closed, too.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn disconnect_sockets(&self, opts: BroadcastOptions, close: bool) -> Publishing {
        self.publish(address_size(&opts), move |engine, now, nsp| {
            engine.disconnect_sockets(now, nsp, opts, close)
        })
    }

    /// Emits an event to the other servers. `packet` is `[event, …args]`: see [`Payload::event`].
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Namespace::broadcast).
    pub fn server_side_emit(&self, packet: Payload) -> Publishing {
        self.publish(packet.bytes().len(), |engine, now, nsp| engine.server_side_emit(now, nsp, packet))
    }

    /// Emits an event to the other servers and collects their answers. Servers that don't answer
    /// don't make the call fail: the outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the request could not be published;
    /// [`Error::Closed`].
    pub fn server_side_emit_with_ack(&self, packet: Payload) -> Queued<Responses> {
        let (done, answers) = oneshot::channel();
        let started = self.start(
            move |engine, now, nsp| engine.server_side_emit_with_ack(now, nsp, packet),
            Waiter::Responses { responses: Vec::new(), done },
        );
        Queued::answers(started, answers, |responses| &mut responses.outcome)
    }

    /// Returns the sockets of all nodes that `opts` match. Nodes that don't answer don't make the
    /// call fail: the outcome names them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`] if the request could not be published;
    /// [`Error::Closed`].
    pub fn fetch_sockets(&self, opts: BroadcastOptions) -> Queued<Sockets> {
        let (done, found) = oneshot::channel();
        let started = self.start(
            move |engine, now, nsp| engine.fetch_sockets(now, nsp, opts),
            Waiter::Sockets { found: Vec::new(), done },
        );
        Queued::answers(started, found, |sockets| &mut sockets.outcome)
    }

    /// Returns the number of servers that the namespace has, including this one.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; [`Error::Command`]; [`Error::Closed`].
    pub fn server_count(&self) -> Queued<u64> {
        let (done, count) = oneshot::channel();
        let started = self.start(|engine, now, nsp| engine.server_count(now, nsp), Waiter::Count(done));
        Queued::new(async {
            started.await?;
            Ok(count.await.map_err(|_| Error::Closed)??)
        })
    }
}
