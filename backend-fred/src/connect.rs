//! Opening connections.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, ServerConfig, TcpConfig,
};
use sio_streams_core::{ByteString, Bytes, Lane};
use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::wire::{Address, Dialer, Gone, WireConnection, client_name, for_log};
use tokio::sync::broadcast::error::RecvError;

use crate::config::{FredBackend, Protocols};
use crate::value;
use crate::wire::{FredWire, Task};

/// A connection to Redis, for one lane. It is closed when it is dropped.
pub type FredConnection = WireConnection<FredWire>;

/// Takes the messages of a connection.
type OnPush = Arc<dyn Fn(ByteString, Bytes) + Send + Sync>;

/// How many messages may wait within fred. Its task hands them on at once; if more came at a time, the connection would count as lost.
const MESSAGES: usize = 4_096;

/// fred wants time limits. The caller's are shorter.
const ENDLESS: Duration = Duration::from_secs(24 * 60 * 60);

impl Backend for FredBackend {
    type Connection = FredConnection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<FredConnection, ConnectError> {
        self.open(lane, move |channel, payload| pushes.send(channel, payload)).await
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
        let on_push: OnPush = Arc::new(move |channel, payload| pushes.send(channel, payload));
        self.open_at(address, lane, on_push).await
    }
}

impl FredBackend {
    /// Opens a connection of its own for a lane. Pub/Sub messages go to `on_push`, in order; it must not block.
    ///
    /// This is [`Backend::connect`] for programs that do without the driver. It waits as long as it takes: bound the time.
    ///
    /// # Errors
    ///
    /// If the server can't be reached, or refuses.
    pub async fn open(
        &self,
        lane: &Lane,
        on_push: impl Fn(ByteString, Bytes) + Send + Sync + 'static,
    ) -> Result<FredConnection, ConnectError> {
        self.open_at(&self.address, lane, Arc::new(on_push)).await
    }

    async fn open_at(
        &self,
        address: &Address,
        lane: &Lane,
        on_push: OnPush,
    ) -> Result<FredConnection, ConnectError> {
        let (first, or_resp2) = match self.protocols {
            Protocols::Best if *lane == Lane::Subscriber => (RespVersion::RESP3, true),
            // fred takes half as long again to read RESP3, which has nothing to offer where nothing is pushed.
            Protocols::Best | Protocols::Resp2 => (RespVersion::RESP2, false),
            Protocols::Resp3 => (RespVersion::RESP3, false),
        };
        let refusal = match self.open_speaking(first, address, lane, &on_push).await {
            Ok(connection) => return Ok(connection),
            Err(refusal) => refusal,
        };
        if !or_resp2 || !may_be_about_hello(&refusal) {
            return Err(ConnectError(words(&refusal)));
        }
        self.open_speaking(RespVersion::RESP2, address, lane, &on_push).await.map_err(|error| {
            let (first, second) = (words(&refusal), words(&error));
            // The refusal was about something else if it is met again.
            ConnectError(if first == second {
                first
            } else {
                format!("{second} (RESP3 was refused: {first})")
            })
        })
    }

    async fn open_speaking(
        &self,
        protocol: RespVersion,
        address: &Address,
        lane: &Lane,
        on_push: &OnPush,
    ) -> Result<FredConnection, Error> {
        let client = self.client(protocol, address, lane);
        let gone = Gone::new();
        // Before the connection is there, so that no message can come too early.
        let forwarder = (*lane == Lane::Subscriber).then(|| forward(&client, on_push, &gone));
        let task = connected(&client).await?;
        let mut wire = FredWire::new(client, task, forwarder, gone);
        // The name is for people who look at CLIENT LIST. It does without the right to set it.
        wire.introduce(client_name(lane)).await;
        Ok(WireConnection::new(wire, self.heartbeat))
    }

    fn client(&self, protocol: RespVersion, address: &Address, lane: &Lane) -> Client {
        let server = match address {
            Address::Tcp(host, port) => {
                ServerConfig::Centralized { server: Server::new(host.clone(), *port) }
            }
            Address::Unix(path) => ServerConfig::Unix { path: path.clone() },
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
            // Nothing is sent twice: what becomes of a command whose reply is lost is the engine's to decide.
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance = PerformanceConfig {
            // By default fred drops all but the last 32 messages.
            broadcast_channel_capacity: if *lane == Lane::Subscriber { MESSAGES } else { 8 },
            ..PerformanceConfig::default()
        };
        // A connection that is lost stays lost; the driver opens the next.
        let no_policy: Option<ReconnectPolicy> = None;
        Client::new(config, Some(performance), Some(connection), no_policy)
    }
}

/// Connects.
async fn connected(client: &Client) -> Result<Task<Result<(), Error>>, Error> {
    let mut connected = pin!(client.wait_for_connect());
    // It begins to listen when it is first polled. Polled after the connection was opened, or refused, it would wait for ever.
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

/// Passes messages on, in order.
fn forward(client: &Client, on_push: &OnPush, gone: &Gone) -> Task<()> {
    let (mut messages, on_push, gone) = (client.message_rx(), Arc::clone(on_push), gone.clone());
    Task(tokio::spawn(async move {
        loop {
            match messages.recv().await {
                Ok(message) => {
                    // A channel whose name is not text is none that was subscribed to.
                    if let Ok(channel) = ByteString::try_from(message.channel.into_inner()) {
                        on_push(channel, value::payload(message.value));
                    }
                }
                Err(RecvError::Lagged(count)) => {
                    return gone.set(format!("fred dropped {count} messages that came too fast"));
                }
                Err(RecvError::Closed) => return,
            }
        }
    }))
}

/// Whether a refusal may mean that the server knows no `HELLO 3`. Proxies find many words for it. `HELLO` also carries the password: a refusal of that
/// has a code of its own, and the server says the same again if this takes something else for a refusal of `HELLO`.
fn may_be_about_hello(error: &Error) -> bool {
    ["ERR ", "NOPERM ", "NOPROTO"].iter().any(|code| error.details().starts_with(code))
}

/// For people, on one line: what answers on the port may be no Redis at all.
pub(crate) fn words(error: &Error) -> String {
    for_log(error.details())
}
