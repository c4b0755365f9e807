//! The adapter of one namespace.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, Weak};

use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt as _;
use sio_streams_driver::hosts::{Answers, Host};
use sio_streams_driver::sio_streams_core::{self as wire, ByteString, RemoteSocket};
use sio_streams_driver::{Event, Namespace, Publishing};
use socketioxide_core::Uid;
use socketioxide_core::adapter::errors::{BroadcastError, SocketError};
use socketioxide_core::adapter::{
    AckStreamItem, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, RemoteSocketData, Room,
    RoomParam, SocketEmitter, Spawnable,
};
use socketioxide_core::packet::Packet;

use crate::addressees;
use crate::cluster::{Cluster, SocketDescription};
use crate::encoding::{self, AckStream, Form};
use crate::error::Error;

/// The longest wait for acknowledgements that another server has asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Connects a namespace of socketioxide to the cluster. Name it as the adapter, with a [`Cluster`] as
/// its state: `SocketIo::builder().with_adapter::<SioStreamsAdapter<_>>(cluster)`.
pub struct SioStreamsAdapter<E: SocketEmitter> {
    cluster: Cluster,
    nsp: Namespace,
    form: Form,
    local: CoreLocalAdapter<E>,
}

impl<E: SocketEmitter> fmt::Debug for SioStreamsAdapter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SioStreamsAdapter").field(&self.nsp.name()).field(&self.form).finish()
    }
}

impl<E: SocketEmitter> DefinedAdapter for SioStreamsAdapter<E> {}

impl<E: SocketEmitter> Drop for SioStreamsAdapter<E> {
    fn drop(&mut self) {
        // Nobody waits for the end.
        drop(self.cluster.hosts.leave(self.nsp.name(), self));
    }
}

impl<E: SocketEmitter> CoreAdapter<E> for SioStreamsAdapter<E> {
    type Error = Error;
    type State = Cluster;
    type AckStream = AckStream<E::AckError>;
    type InitRes = Init;

    fn new(cluster: &Cluster, local: CoreLocalAdapter<E>) -> Self {
        let nsp = cluster.node().namespace(local.path().as_str());
        SioStreamsAdapter { cluster: cluster.clone(), nsp, form: Form::of(local.parser()), local }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) -> Init {
        Init(Box::pin(async move {
            let host: Weak<dyn Host> = Arc::<Self>::downgrade(&self);
            match self.cluster.joins_later {
                true => self.cluster.hosts.enter_later(self.nsp.name(), host),
                false => self.cluster.hosts.enter(self.nsp.name(), host).await?,
            }
            on_success();
            Ok(())
        }))
    }

    /// Leaves the namespace. The call is in line after the first poll; socketioxide polls only once.
    async fn close(&self) -> Result<(), Error> {
        match self.cluster.hosts.delete(self.nsp.name(), self) {
            Some(closed) => Ok(closed.await?),
            None => Ok(()),
        }
    }

    async fn server_count(&self) -> Result<u16, Error> {
        Ok(u16::try_from(self.nsp.server_count().await?).unwrap_or(u16::MAX))
    }

    async fn broadcast(&self, packet: Packet, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        let order = match self.others(&opts)? {
            Some(to) => Some(self.nsp.broadcast(encoding::to_wire(&packet)?, to)),
            None => None,
        };
        Ok(obey(order, || self.local.broadcast(packet, opts)).await??)
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        opts: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Error> {
        let mut answers = AckStream::new();
        if let Some(to) = self.others(&opts)? {
            let to = to.timeout(timeout.unwrap_or(self.local.ack_timeout()));
            // This does not wait for Redis.
            let asked = self.nsp.broadcast_with_ack(encoding::to_wire(&packet)?, to).await?;
            answers.push(self.form.acks(asked).boxed());
        }
        answers.push(self.local.broadcast_with_ack(packet, opts, timeout).0.boxed());
        Ok(answers)
    }

    async fn add_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let order = self.others(&opts)?.map(|to| self.nsp.sockets_join(to, addressees::names(&rooms)));
        obey(order, || self.local.add_sockets(opts, rooms)).await
    }

    async fn del_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let order = self.others(&opts)?.map(|to| self.nsp.sockets_leave(to, addressees::names(&rooms)));
        obey(order, || self.local.del_sockets(opts, rooms)).await
    }

    async fn disconnect_socket(&self, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        let order = self.others(&opts)?.map(|to| self.nsp.disconnect_sockets(to, false));
        Ok(obey(order, || self.local.disconnect_socket(opts)).await??)
    }

    async fn rooms(&self, opts: BroadcastOptions) -> Result<Vec<Room>, Error> {
        let Some(to) = self.others(&opts)? else {
            let is_id = |room: &Room| addressees::is_id(&self.local, room);
            return Ok(self.local.rooms(opts).into_iter().filter(|room| !is_id(room)).collect());
        };
        // The rooms of ids are the wire's.
        let named = |socket: RemoteSocket| socket.rooms.into_iter().filter(move |room| *room != socket.id);
        let rooms: HashSet<ByteString> = self.find(to).await?.into_iter().flat_map(named).collect();
        Ok(addressees::rooms(&rooms))
    }

    async fn fetch_sockets(&self, opts: BroadcastOptions) -> Result<Vec<RemoteSocketData>, Error> {
        let Some(to) = self.others(&opts)? else { return Ok(self.local.fetch_sockets(opts)) };
        // This server has answered, too.
        let data = |socket: RemoteSocket| {
            let id = self.cluster.aliases.remember(&socket.id);
            // It is on another server; the answer does not say on which.
            let there = || RemoteSocketData { id, server_id: Uid::ZERO, ns: self.local.path().clone() };
            self.local.fetch_sockets(BroadcastOptions::new(id)).pop().unwrap_or_else(there)
        };
        Ok(self.find(to).await?.into_iter().map(data).collect())
    }

    fn get_local(&self) -> &CoreLocalAdapter<E> {
        &self.local
    }
}

impl<E: SocketEmitter> SioStreamsAdapter<E> {
    /// Returns the addressees on the wire, or `None` if no other server is concerned.
    fn others(&self, opts: &BroadcastOptions) -> Result<Option<wire::BroadcastOptions>, Error> {
        addressees::others(&self.local, &self.cluster.aliases, opts)
    }

    /// Finds sockets on all servers. Servers that don't answer are left out.
    async fn find(&self, to: wire::BroadcastOptions) -> Result<Vec<RemoteSocket>, Error> {
        let found = self.nsp.fetch_sockets(to).await?;
        if !found.outcome.is_complete() {
            tracing::warn!(nsp = self.nsp.name(), outcome = ?found.outcome, "not all servers have told their sockets");
        }
        Ok(found.sockets)
    }

    /// Returns this server's sockets as other servers see them.
    fn sockets(&self, opts: BroadcastOptions) -> Vec<RemoteSocket> {
        let sockets = self.local.fetch_sockets(opts).into_iter();
        let tell = |RemoteSocketData { id: sid, .. }| {
            let SocketDescription { handshake, data } = self.cluster.description(self.nsp.name(), sid);
            // On the wire every socket is in the room of its id.
            let mut rooms = self.local.socket_rooms(sid);
            rooms.insert(sid.to_string().into());
            RemoteSocket { id: sid.as_str().into(), handshake, rooms: addressees::names(&rooms), data }
        };
        sockets.map(tell).collect()
    }
}

impl<E: SocketEmitter> Host for SioStreamsAdapter<E> {
    fn follow(&self, event: &Event, answers: &mut Answers) -> Result<(), String> {
        let here = |opts| addressees::here(&self.local, opts);
        match event {
            Event::Broadcast(it) => {
                let packet = self.form.packet(self.local.path(), &it.packet);
                let (packet, opts) = (packet.map_err(|error| error.to_string())?, here(&it.opts));
                if it.responder.is_none() {
                    return self.local.broadcast(packet, opts).map_err(text);
                }
                let within = it.opts.flags.timeout.map(|timeout| timeout.min(LONGEST_WAIT));
                let (acks, count) = self.local.broadcast_with_ack(packet, opts, within);
                answers.clients += u64::from(count);
                let pass_on = async |(sid, ack): AckStreamItem<E::AckError>| {
                    // The asking server sees by the number how many have not answered.
                    let ack = encoding::ack_to_wire(ack.ok()?);
                    ack.inspect_err(|error| tracing::warn!(%sid, %error, "an acknowledgement is lost")).ok()
                };
                answers.acks.push(acks.filter_map(pass_on).boxed());
            }
            Event::SocketsJoin(it) => self.local.add_sockets(here(&it.opts), addressees::rooms(&it.rooms)),
            Event::SocketsLeave(it) => self.local.del_sockets(here(&it.opts), addressees::rooms(&it.rooms)),
            Event::DisconnectSockets { opts, .. } => {
                self.local.disconnect_socket(here(opts)).map_err(text)?;
            }
            Event::FetchSockets { opts, .. } => answers.sockets.extend(self.sockets(here(opts))),
            _ => {}
        }
        Ok(())
    }
}

/// Does what an order says with this server's sockets as soon as it is in line to the others, and
/// waits until it is published. If it is refused, nothing happens.
async fn obey<T>(order: Option<Publishing>, obey: impl FnOnce() -> T) -> Result<T, Error> {
    let Some(mut order) = order else { return Ok(obey()) };
    if order.refusal().is_some() {
        (&mut order).await?;
    }
    let done = obey();
    order.await?;
    Ok(done)
}

fn text(errors: Vec<SocketError>) -> String {
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    format!("{} of the clients did not get it; the first: {first}", errors.len())
}

/// The future of [`SocketIo::ns`]: the namespace is there when it is connected to the cluster.
///
/// If Redis can't be reached within `Options::open_within` of the node, it ends with
/// [`NotOpened`](sio_streams_driver::Error::NotOpened), whose text says why. With
/// [`Cluster::join_later`] it does not wait for Redis.
///
/// [`SocketIo::ns`]: https://docs.rs/socketioxide/0.18/socketioxide/struct.SocketIo.html#method.ns
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Init(BoxFuture<'static, Result<(), Error>>);

impl Future for Init {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl Spawnable for Init {
    fn spawn(self) {
        tokio::spawn(self.inspect_err(|error| tracing::error!(%error, "a namespace could not be opened")));
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Init")
    }
}
