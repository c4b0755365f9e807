//! Opening connections.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError,
    RedisResult, Value, cmd,
};
use sio_streams_core::{ByteString, Bytes, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::wire::{Address, Dialer, TaskWire, WireConnection, client_name};

use crate::config::{Protocols, RedisBackend};
use crate::wire::{Link, RedisWire};
use crate::{direct, error};

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
    /// Opens a connection of its own for a lane. Pub/Sub messages go to `on_push`, in order. It
    /// must not block.
    ///
    /// This is [`Backend::connect`] for programs that do without the driver. It has no time limit
    /// of its own, so the caller should set one.
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
            // A refusal that comes again was about something else.
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
        let origin = Origin {
            info: info.clone().set_redis_settings(settings),
            #[cfg(feature = "tls")]
            tls: &self.tls,
            #[cfg(not(feature = "tls"))]
            tls: core::marker::PhantomData,
        };
        let wire = direct::connect(&origin, lane).await?;
        let link = match lane {
            Lane::Subscriber => {
                Link::Subscriber(TaskWire::spawn(wire.into_subscriber(pushes.clone()), pushes.clone()))
            }
            _ => Link::Direct(wire),
        };
        Ok(WireConnection::new(RedisWire(link), self.heartbeat))
    }
}

/// The server to connect to, and the settings of the connection.
pub(crate) struct Origin<'a> {
    pub(crate) info: ConnectionInfo,
    #[cfg(feature = "tls")]
    pub(crate) tls: &'a Option<std::sync::Arc<rustls::ClientConfig>>,
    #[cfg(not(feature = "tls"))]
    pub(crate) tls: core::marker::PhantomData<&'a ()>,
}

/// Returns a configuration without time limits. The driver sets them, and knows how long a command
/// may block. The crate's defaults are 1 s for connecting and 500 ms for every reply, blocking or
/// not.
pub(crate) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// Returns `true` if the server was not even reached. Any other error may be about `HELLO`. Proxies
/// have many words for not knowing it, and some just close the connection.
fn never_asked(error: &RedisError) -> bool {
    error.is_connection_refusal() || matches!(error.kind(), ErrorKind::InvalidClientConfig)
}

/// Says the connection's name, and finds out whether it can be used at all.
pub(crate) async fn introduce(connection: &mut MultiplexedConnection, lane: &Lane) -> RedisResult<()> {
    let name = cmd("CLIENT").arg("SETNAME").arg(client_name(lane)).take();
    match connection.send_packed_command(&name).await? {
        // With RESP2 and without a password, nothing has been sent so far whose refusal the crate
        // minds.
        Value::ServerError(refusal) if refusal.code() == "NOAUTH" => Err(refusal.into()),
        // The name is for people who look at CLIENT LIST. It does without the right to set it.
        _ => Ok(()),
    }
}
