//! The adapter of one namespace.

use core::fmt;
use core::pin::Pin;
use core::str::FromStr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::stream::{BoxStream, StreamExt};
use sio_streams_driver::sio_streams_core::{self as wire, ByteString, CallError, Payload};
use sio_streams_driver::{Error as NodeError, Namespace, Publishing};
use socketioxide_core::adapter::errors::{BroadcastError, SocketError};
use socketioxide_core::adapter::{
    BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, RemoteSocketData, Room, RoomParam,
    SocketEmitter, Spawnable,
};
use socketioxide_core::packet::Packet;
use socketioxide_core::{Sid, Uid};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::acks::{self, AckStream};
use crate::addressees::{self, Target};
use crate::cluster::Cluster;
use crate::encoding::{self, Form};
use crate::error::Error;
use crate::registry::{Local, Registration};

/// The longest time for which acknowledgements are waited for that another server wants.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The pause between two attempts to open a namespace.
const PAUSE: Duration = Duration::from_secs(1);

/// Connects a namespace of socketioxide to the cluster. Name it as the adapter, with a [`Cluster`] as
/// its state: `SocketIo::builder().with_adapter::<SioStreamsAdapter<_>>(cluster)`.
pub struct SioStreamsAdapter<E> {
    cluster: Cluster,
    nsp: ByteString,
    form: Form,
    local: CoreLocalAdapter<E>,
    place: Mutex<Option<Place>>,
}

/// The adapter's place in its namespace.
struct Place {
    registration: Registration,
    /// Opens the namespace, if that goes on after the application was told that it is there.
    opening: Option<Opening>,
}

/// A task, which ends with this.
struct Opening(AbortHandle);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<E> fmt::Debug for SioStreamsAdapter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SioStreamsAdapter")
            .field("nsp", &self.nsp)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl<E> DefinedAdapter for SioStreamsAdapter<E> {}

impl<E: SocketEmitter> CoreAdapter<E> for SioStreamsAdapter<E> {
    type Error = Error;
    type State = Cluster;
    type AckStream = AckStream<E::AckError>;
    type InitRes = Init;

    fn new(cluster: &Cluster, local: CoreLocalAdapter<E>) -> Self {
        SioStreamsAdapter {
            cluster: cluster.clone(),
            nsp: local.path().as_str().into(),
            form: Form::of(local.parser()),
            local,
            place: Mutex::new(None),
        }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) -> Init {
        Init(Box::pin(async move {
            let adapter: Weak<dyn Local> = Arc::<Self>::downgrade(&self);
            let (registration, opened) = self.cluster.registry().enter(self.nsp.clone(), adapter);
            let opening = if self.cluster.joins_later() {
                let open = keep_opening(self.cluster.clone(), self.nsp.clone(), opened);
                Some(Opening(tokio::spawn(open).abort_handle()))
            } else {
                opened.get_or_try_init(|| self.cluster.node().open(self.nsp.clone())).await?;
                None
            };
            *self.place() = Some(Place { registration, opening });
            on_success();
            Ok(())
        }))
    }

    /// Leaves the namespace. That is in line when this is first polled: socketioxide polls it once.
    async fn close(&self) -> Result<(), Error> {
        let left = self.place().take().and_then(|place| {
            drop(place.opening);
            place.registration.delete()
        });
        match left {
            Some(closed) => Ok(closed.await?),
            None => Ok(()),
        }
    }

    async fn server_count(&self) -> Result<u16, Error> {
        let count = self.namespace()?.server_count().await?;
        Ok(u16::try_from(count).unwrap_or(u16::MAX))
    }

    async fn broadcast(&self, packet: Packet, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        let publishing = match self.target(&opts)? {
            Target::Here => None,
            Target::Cluster(to) => Some(self.namespace()?.broadcast(encoding::to_wire(&packet)?, to)),
        };
        let sent = self.act(publishing, || self.local.broadcast(packet, opts)).await?;
        sent.map_err(BroadcastError::from)
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        opts: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Error> {
        let others = match self.target(&opts)? {
            Target::Here => None,
            Target::Cluster(to) => {
                let to = to.timeout(timeout.unwrap_or(self.local.ack_timeout()));
                // This does not wait for Redis.
                let asked = self.namespace()?.broadcast_with_ack(encoding::to_wire(&packet)?, to).await?;
                Some(acks::remote(asked, self.form))
            }
        };
        let (here, _) = self.local.broadcast_with_ack(packet, opts, timeout);
        Ok(acks::all(here, others))
    }

    async fn add_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let publishing = match self.target(&opts)? {
            Target::Here => None,
            Target::Cluster(to) => Some(self.namespace()?.sockets_join(to, names(&rooms))),
        };
        self.act(publishing, || self.local.add_sockets(opts, rooms)).await
    }

    async fn del_sockets(&self, opts: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let publishing = match self.target(&opts)? {
            Target::Here => None,
            Target::Cluster(to) => Some(self.namespace()?.sockets_leave(to, names(&rooms))),
        };
        self.act(publishing, || self.local.del_sockets(opts, rooms)).await
    }

    async fn disconnect_socket(&self, opts: BroadcastOptions) -> Result<(), BroadcastError> {
        let publishing = match self.target(&opts)? {
            Target::Here => None,
            Target::Cluster(to) => Some(self.namespace()?.disconnect_sockets(to, false)),
        };
        let closed = self.act(publishing, || self.local.disconnect_socket(opts)).await?;
        closed.map_err(BroadcastError::from)
    }

    async fn rooms(&self, opts: BroadcastOptions) -> Result<Vec<Room>, Error> {
        let Target::Cluster(to) = self.target(&opts)? else {
            let rooms = self.local.rooms(opts);
            return Ok(rooms.into_iter().filter(|room| !self.is_own_room(room)).collect());
        };
        let found = self.find(to).await?;
        let mut rooms = HashSet::new();
        for socket in &found {
            rooms.extend(socket.rooms.iter().filter(|room| **room != socket.id));
        }
        Ok(rooms.into_iter().map(|room| Cow::Owned(room.to_string())).collect())
    }

    async fn fetch_sockets(&self, opts: BroadcastOptions) -> Result<Vec<RemoteSocketData>, Error> {
        let target = self.target(&opts)?;
        let mut sockets = self.local.fetch_sockets(opts);
        if let Target::Cluster(to) = target {
            let here: HashSet<Sid> = sockets.iter().map(|socket| socket.id).collect();
            let found = self.find(to).await?;
            // This server has answered, too.
            let all = found.iter().map(|socket| self.cluster.aliases().remember(&socket.id));
            sockets.extend(all.filter(|id| !here.contains(id)).map(|id| RemoteSocketData {
                id,
                // Another server than this one; which, is not known here.
                server_id: Uid::ZERO,
                ns: self.local.path().clone(),
            }));
        }
        Ok(sockets)
    }

    fn get_local(&self) -> &CoreLocalAdapter<E> {
        &self.local
    }
}

impl<E: SocketEmitter> SioStreamsAdapter<E> {
    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the namespace, unless it was deleted.
    fn namespace(&self) -> Result<Namespace, Error> {
        match self.place().is_some() {
            true => Ok(self.cluster.node().namespace(self.nsp.clone())),
            false => Err(Error::Closed(self.nsp.clone())),
        }
    }

    /// Finds out which servers an operation concerns.
    fn target(&self, opts: &BroadcastOptions) -> Result<Target, Error> {
        addressees::enter_own_rooms(&self.local, opts);
        let is_here = |sid| addressees::is_here(&self.local, sid);
        addressees::target(opts, opts.is_local(self.local.server_id()), is_here, self.cluster.aliases())
    }

    /// Does something with this server's sockets when the message to the others is in line, and waits
    /// until that is published. If it is refused, nothing happens.
    async fn act<T>(&self, message: Option<Publishing>, act: impl FnOnce() -> T) -> Result<T, Error> {
        let Some(message) = message else { return Ok(act()) };
        if message.refusal().is_some() {
            message.await?;
            return Ok(act());
        }
        let done = act();
        message.await?;
        Ok(done)
    }

    /// Finds sockets on all servers. Servers that don't answer are left out.
    async fn find(&self, to: wire::BroadcastOptions) -> Result<Vec<wire::RemoteSocket>, Error> {
        let found = self.namespace()?.fetch_sockets(to).await?;
        if !found.outcome.is_complete() {
            tracing::warn!(nsp = %self.nsp, outcome = ?found.outcome, "not all servers have told their sockets");
        }
        Ok(found.sockets)
    }

    /// Returns `true` if the room is that of one of this server's sockets alone.
    fn is_own_room(&self, room: &str) -> bool {
        Sid::from_str(room).is_ok_and(|sid| addressees::is_here(&self.local, sid))
    }

    fn here(&self, opts: &wire::BroadcastOptions) -> BroadcastOptions {
        let opts = addressees::from_wire(opts);
        addressees::enter_own_rooms(&self.local, &opts);
        opts
    }
}

/// What other servers want of this one's sockets.
impl<E: SocketEmitter> Local for SioStreamsAdapter<E> {
    fn broadcast(&self, packet: &wire::Packet, opts: &wire::BroadcastOptions) -> Result<(), String> {
        let packet = self.form.packet(self.local.path(), packet).map_err(|error| error.to_string())?;
        self.local.broadcast(packet, self.here(opts)).map_err(|errors| text(&errors))
    }

    fn broadcast_with_ack(
        &self,
        packet: &wire::Packet,
        opts: &wire::BroadcastOptions,
    ) -> Result<(u64, BoxStream<'static, Payload>), String> {
        let packet = self.form.packet(self.local.path(), packet).map_err(|error| error.to_string())?;
        let within = opts.flags.timeout.map(|timeout| timeout.min(LONGEST_WAIT));
        let (answers, count) = self.local.broadcast_with_ack(packet, self.here(opts), within);
        let payloads = answers.filter_map(|(sid, answer)| async move {
            // The asking server sees by the number who has not answered.
            encoding::ack_to_wire(answer.ok()?)
                .inspect_err(|error| tracing::warn!(%sid, %error, "an acknowledgement can't be passed on"))
                .ok()
        });
        Ok((count.into(), payloads.boxed()))
    }

    fn join(&self, opts: &wire::BroadcastOptions, rooms: &[ByteString]) {
        self.local.add_sockets(self.here(opts), owned(rooms));
    }

    fn leave(&self, opts: &wire::BroadcastOptions, rooms: &[ByteString]) {
        self.local.del_sockets(self.here(opts), owned(rooms));
    }

    fn disconnect(&self, opts: &wire::BroadcastOptions) -> Result<(), String> {
        self.local.disconnect_socket(self.here(opts)).map_err(|errors| text(&errors))
    }

    fn sockets(&self, opts: &wire::BroadcastOptions) -> Vec<(Sid, Vec<Room>)> {
        let sockets = self.local.fetch_sockets(self.here(opts)).into_iter();
        sockets
            .map(|RemoteSocketData { id, .. }| (id, self.local.socket_rooms(id).into_iter().collect()))
            .collect()
    }
}

fn names(rooms: &[Room]) -> Vec<ByteString> {
    rooms.iter().map(|room| (**room).into()).collect()
}

fn owned(rooms: &[ByteString]) -> Vec<Room> {
    rooms.iter().map(|room| Cow::Owned(room.to_string())).collect()
}

fn text(errors: &[SocketError]) -> String {
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    format!("{} of the clients did not get it; the first: {first}", errors.len())
}

/// Opens a namespace, however long it takes.
async fn keep_opening(cluster: Cluster, nsp: ByteString, opened: Arc<OnceCell<Namespace>>) {
    loop {
        match opened.get_or_try_init(|| cluster.node().open(nsp.clone())).await {
            Ok(_) => return tracing::info!(%nsp, "this server is in the cluster"),
            // An earlier namespace of the name may have been deleted just now.
            Err(error @ (NodeError::NotOpened { .. } | NodeError::Call(CallError::NamespaceInUse(_)))) => {
                tracing::warn!(%error, "it is tried again");
            }
            Err(error) => return tracing::error!(%nsp, %error, "this server is not in the cluster"),
        }
        // The time limit for each attempt may be very short.
        tokio::time::sleep(PAUSE).await;
    }
}

/// The future of [`SocketIo::ns`]: the namespace is there when it is connected to the cluster.
///
/// If Redis can't be reached within `Options::open_within` of the node, it ends with
/// [`NotOpened`](NodeError::NotOpened), whose text says why. With
/// [`Builder::join_later`](crate::Builder::join_later) it does not wait for Redis.
///
/// [`SocketIo::ns`]: https://docs.rs/socketioxide/0.18/socketioxide/struct.SocketIo.html#method.ns
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Init(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>);

impl Future for Init {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl Spawnable for Init {
    fn spawn(self) {
        tokio::spawn(async move {
            if let Err(error) = self.await {
                tracing::error!(%error, "a namespace could not be opened");
            }
        });
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init").finish_non_exhaustive()
    }
}
