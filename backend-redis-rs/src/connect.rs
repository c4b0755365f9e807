//! Opening connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::{MultiplexedConnection, PubSub, SendError};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, Value, cmd,
};
use sio_streams_core::{ByteString, Bytes, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::wire::{Address, Dialer, Gone, TaskWire, WireConnection, client_name};
use tokio_stream::StreamExt;

use crate::config::{Protocols, RedisBackend};
use crate::wire::{Forwarder, Link, RedisWire};
use crate::{direct, error, value};

/// A connection to Redis, for one lane. It is closed when it is dropped.
pub type RedisConnection = WireConnection<RedisWire>;

impl Backend for RedisBackend {
    type Connection = RedisConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<RedisConnection, ConnectError> {
        self.open_at(self.info.clone(), lane, &pushes).await
    }
}

impl Dialer for RedisBackend {
    type Wire = RedisWire;

    fn home(&self) -> Address {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Address::Tcp(host.clone(), *port)
            }
            // The crate may get others; `builder` takes none of them.
            other => Address::Tcp(other.to_string(), 0),
        }
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<RedisConnection, ConnectError> {
        let addr = match (address, self.info.addr()) {
            (Address::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (Address::Tcp(host, port), ConnectionAddr::TcpTls { insecure, tls_params, .. }) => {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure, tls_params }
            }
            (Address::Tcp(host, port), _) => ConnectionAddr::Tcp(host.clone(), *port),
        };
        self.open_at(self.info.clone().set_addr(addr), lane, &pushes).await
    }
}

impl RedisBackend {
    /// Opens a connection of its own for a lane. Pub/Sub messages go to `on_push`, in order; it must not block.
    ///
    /// This is [`Backend::connect`] for programs that do without the driver. It waits as long as it takes: bound the time.
    pub async fn open(
        &self,
        lane: &Lane,
        on_push: impl Fn(ByteString, Bytes) + Send + Sync + 'static,
    ) -> Result<RedisConnection, ConnectError> {
        self.open_at(self.info.clone(), lane, &PushSender::to(on_push)).await
    }

    async fn open_at(
        &self,
        info: ConnectionInfo,
        lane: &Lane,
        pushes: &PushSender,
    ) -> Result<RedisConnection, ConnectError> {
        let first = match self.protocols {
            Protocols::Only(protocol) => protocol,
            Protocols::Best => ProtocolVersion::RESP3,
        };
        let refusal = match self.open_speaking(first, &info, lane, pushes).await {
            Ok(connection) => return Ok(connection),
            Err(refusal) => refusal,
        };
        if self.protocols != Protocols::Best || never_asked(&refusal) {
            return Err(ConnectError(error::words(&refusal)));
        }
        self.open_speaking(ProtocolVersion::RESP2, &info, lane, pushes).await.map_err(|error| {
            let (first, second) = (error::words(&refusal), error::words(&error));
            // What is met again was about something else.
            ConnectError(if first == second {
                first
            } else {
                format!("{second} (RESP3 was refused: {first})")
            })
        })
    }

    async fn open_speaking(
        &self,
        protocol: ProtocolVersion,
        info: &ConnectionInfo,
        lane: &Lane,
        pushes: &PushSender,
    ) -> RedisResult<RedisConnection> {
        let settings = info.redis_settings().clone().set_protocol(protocol);
        let info = info.clone().set_redis_settings(settings);
        let (gone, leaving) = (Gone::new(), Arc::default());
        let direct = direct::connect(&info, lane).await?.map(|wire| match lane {
            Lane::Subscriber => {
                Link::Subscriber(TaskWire::spawn(wire.into_subscriber(pushes.clone()), pushes.clone()))
            }
            _ => Link::Direct(wire),
        });
        let link = match (direct, protocol, lane) {
            (Some(link), ..) => link,
            (None, ProtocolVersion::RESP2, Lane::Subscriber) => {
                subscribe_resp2(&Client::open(info)?, pushes, &gone).await?
            }
            (None, ProtocolVersion::RESP2, _) => multiplexed(&Client::open(info)?, config(), lane).await?,
            (None, ..) => {
                let config = config().set_push_sender(sorter(pushes, &gone, &leaving));
                multiplexed(&Client::open(info)?, config, lane).await?
            }
        };
        Ok(WireConnection::new(RedisWire { link, gone, leaving }, self.heartbeat))
    }
}

/// No time limits: the driver sets them, and knows how long a command may block. The crate's defaults are 1 s for connecting and 500 ms for every
/// reply, blocking or not.
pub(crate) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// Whether the server was not even reached. Anything else may be about `HELLO`: proxies find many words for not knowing it, and some just close the
/// connection.
fn never_asked(error: &RedisError) -> bool {
    error.is_connection_refusal() || matches!(error.kind(), ErrorKind::InvalidClientConfig)
}

/// Takes what the crate's task pushes. The crate calls it from within that task, so the order is that of arrival.
///
/// `Disconnection` comes from the crate itself, when reading fails or ends or writing fails, also while nothing is being executed: the
/// task always reads. After it the task writes nothing any more. The crate allows push senders on RESP3 connections only.
///
/// A sharded subscription that ends without having been asked to: its slot has moved to another server of the cluster.
fn sorter(
    pushes: &PushSender,
    gone: &Gone,
    leaving: &Arc<AtomicBool>,
) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static + use<> {
    let (pushes, gone, leaving) = (pushes.clone(), gone.clone(), Arc::clone(leaving));
    // The crate's task, which drops this when it ends, however it ends.
    let ended = Ended(gone.clone());
    move |push| {
        let _ = &ended;
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                // A channel whose name is not text is none that was subscribed to.
                if let Some((channel, payload)) = value::message(push.data) {
                    pushes.send(channel, payload);
                }
            }
            PushKind::PMessage => {
                // The pattern comes first.
                let data = push.data.into_iter().skip(1).collect();
                if let Some((channel, payload)) = value::message(data) {
                    pushes.send(channel, payload);
                }
            }
            PushKind::SUnsubscribe if !leaving.load(Ordering::Acquire) => {
                gone.set("the server has ended a subscription: its slot has moved");
            }
            PushKind::Disconnection => gone.set("the connection was closed"),
            _ => {}
        }
        Ok(())
    }
}

async fn multiplexed(client: &Client, config: AsyncConnectionConfig, lane: &Lane) -> RedisResult<Link> {
    // With what the crate spawns for it, it is dropped when this value is: it is never cloned.
    let mut connection: MultiplexedConnection =
        client.get_multiplexed_async_connection_with_config(&config).await?;
    introduce(&mut connection, lane).await?;
    Ok(Link::Multiplexed(connection))
}

/// Says the connection's name, and finds out whether it can be used at all.
pub(crate) async fn introduce(connection: &mut MultiplexedConnection, lane: &Lane) -> RedisResult<()> {
    let name = cmd("CLIENT").arg("SETNAME").arg(client_name(lane)).take();
    match connection.send_packed_command(&name).await? {
        // RESP2 without a password: nothing else has been sent so far whose refusal the crate minds.
        Value::ServerError(refusal) if refusal.code() == "NOAUTH" => Err(refusal.into()),
        // The name is for people who look at CLIENT LIST. It does without the right to set it.
        _ => Ok(()),
    }
}

/// Over RESP2 messages come as ordinary lists, which `MultiplexedConnection` takes for replies. The crate has another connection for that,
/// which can do nothing but subscribe and ping: it stays without a name.
async fn subscribe_resp2(client: &Client, pushes: &PushSender, gone: &Gone) -> RedisResult<Link> {
    let pubsub: PubSub = client.get_async_pubsub().await?;
    let (mut sink, mut messages) = pubsub.split();
    // Also here nothing has been refused yet if a password is missing.
    match sink.ping::<Value>().await.and_then(Value::extract_error) {
        Err(error) if error.code() == Some("NOAUTH") || error.is_io_error() => return Err(error),
        _ => {}
    }
    let (pushes, ended) = (pushes.clone(), Ended(gone.clone()));
    let forwarder = tokio::spawn(async move {
        let _ended = ended;
        // The stream ends with the connection. It is this task's: aborting the task closes the connection.
        while let Some(message) = messages.next().await {
            // What is not taken here waits with the server, as far as the crate lets it.
            pushes.room().await;
            let payload = Bytes::copy_from_slice(message.get_payload_bytes());
            pushes.send(message.get_channel_name().into(), payload);
        }
    });
    Ok(Link::PubSub { sink, _forwarder: Forwarder(forwarder) })
}

/// Notes that a connection is gone when the task that carries it ends, be it by a panic.
struct Ended(Gone);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set("the connection was closed");
    }
}
