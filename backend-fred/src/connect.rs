//! Opening connections.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, ServerConfig, TcpConfig,
};
use sio_streams_core::{ByteString, Bytes, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::wire::{Address, Dialer, Gone, TaskWire, WireConnection, client_name, for_log};

use crate::config::{FredBackend, Protocols};
use crate::subscriber;
use crate::wire::{FredWire, Task};

/// A connection to Redis, for one lane. It is closed when it is dropped.
pub type FredConnection = WireConnection<FredWire>;

/// fred wants time limits. The caller's are shorter.
const ENDLESS: Duration = Duration::from_secs(24 * 60 * 60);

impl Backend for FredBackend {
    type Connection = FredConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<FredConnection, ConnectError> {
        self.open_at(&self.address, lane, &pushes).await
    }
}

impl Dialer for FredBackend {
    type Wire = FredWire;

    fn home(&self) -> Address {
        self.address.clone()
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<FredConnection, ConnectError> {
        self.open_at(address, lane, &pushes).await
    }
}

impl FredBackend {
    /// Opens a connection of its own for a lane. Pub/Sub messages go to `on_push`, in order; it
    /// must not block.
    ///
    /// This is [`Backend::connect`] for programs that do without the driver. It waits as long as it
    /// takes: bound the time.
    ///
    /// # Errors
    ///
    /// If the server can't be reached, or refuses.
    pub async fn open(
        &self,
        lane: &Lane,
        on_push: impl Fn(ByteString, Bytes) + Send + Sync + 'static,
    ) -> Result<FredConnection, ConnectError> {
        self.open_at(&self.address, lane, &PushSender::to(on_push)).await
    }

    async fn open_at(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: &PushSender,
    ) -> Result<FredConnection, ConnectError> {
        let wire = match lane {
            Lane::Subscriber => FredWire::subscriber(self.open_subscriber(address, pushes).await?),
            _ => self.open_fred(address, lane).await.map_err(|error| ConnectError(words(&error)))?,
        };
        Ok(WireConnection::new(wire, self.heartbeat))
    }

    async fn open_subscriber(
        &self,
        address: &Address,
        pushes: &PushSender,
    ) -> Result<TaskWire, ConnectError> {
        let failed = |error: &subscriber::Error| for_log(&error.to_string());
        let refusal = match self.subscriber(address, self.protocols != Protocols::Resp2, pushes).await {
            Ok(wire) => return Ok(wire),
            // The words do not matter: proxies find many for not knowing `HELLO`, and some just
            // close the connection.
            Err(refusal @ subscriber::Error::Refused(_)) if self.protocols == Protocols::Best => refusal,
            Err(error) => return Err(ConnectError(failed(&error))),
        };
        self.subscriber(address, false, pushes).await.map_err(|error| {
            let (first, second) = (failed(&refusal), failed(&error));
            // A refusal that comes again was about something else.
            ConnectError(if first == second {
                first
            } else {
                format!("{second} (RESP3 was refused: {first})")
            })
        })
    }

    /// fred takes half as long again to read RESP3, which has nothing to offer where nothing is
    /// pushed.
    async fn open_fred(&self, address: &Address, lane: &Lane) -> Result<FredWire, Error> {
        let protocol = match self.protocols {
            Protocols::Best | Protocols::Resp2 => RespVersion::RESP2,
            Protocols::Resp3 => RespVersion::RESP3,
        };
        let client = self.client(protocol, address)?;
        let task = connected(&client).await?;
        let mut wire = FredWire::new(client, task, Gone::new());
        // The name is for people who look at CLIENT LIST. It does without the right to set it.
        wire.introduce(client_name(lane)).await;
        Ok(wire)
    }

    fn client(&self, protocol: RespVersion, address: &Address) -> Result<Client, Error> {
        let server = match address {
            Address::Tcp(host, port) => {
                ServerConfig::Centralized { server: Server::new(host.clone(), *port) }
            }
            #[cfg(unix)]
            Address::Unix(path) => ServerConfig::Unix { path: path.clone() },
            #[cfg(not(unix))]
            Address::Unix(_) => {
                return Err(Error::new(ErrorKind::Config, "this system has no Unix sockets"));
            }
        };
        let config = Config {
            server,
            username: self.username.clone(),
            password: self.password.clone(),
            database: self.database,
            version: protocol,
            #[cfg(feature = "tls")]
            tls: self.tls.clone().map(Into::into),
            ..Config::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: ENDLESS,
            internal_command_timeout: ENDLESS,
            // Nothing is sent twice: what becomes of a command whose reply is lost is the engine's
            // to decide.
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance = PerformanceConfig {
            // Nothing is subscribed to here.
            broadcast_channel_capacity: 8,
            ..PerformanceConfig::default()
        };
        // A connection that is lost stays lost; the driver opens the next.
        let no_policy: Option<ReconnectPolicy> = None;
        Ok(Client::new(config, Some(performance), Some(connection), no_policy))
    }
}

/// Connects.
async fn connected(client: &Client) -> Result<Task<Result<(), Error>>, Error> {
    let mut connected = pin!(client.wait_for_connect());
    // It begins to listen when it is first polled. Polled after the connection was opened, or
    // refused, it would wait for ever.
    if let Poll::Ready(result) = poll_fn(|context| Poll::Ready(connected.as_mut().poll(context))).await {
        result?;
    }
    // Aborting the task is what closes the connection, also if this future is dropped in between.
    let mut task = Task(client.connect());
    tokio::select! {
        biased;
        result = connected => result?,
        ended = &mut task.0 => {
            ended.map_err(|error| Error::new(ErrorKind::Canceled, error.to_string()))??;
            return Err(Error::new(ErrorKind::Canceled, "the connection was closed"));
        }
    }
    Ok(task)
}

/// For people, on one line: what answers on the port may be no Redis at all.
pub(crate) fn words(error: &Error) -> String {
    for_log(error.details())
}
