//! The options, as the package's JavaScript hands them over: in JSON, with the driver's names.

use serde::Deserialize;
use sio_streams_driver::cluster::Cluster;
use sio_streams_driver::sentinel::Sentinel;
use sio_streams_driver::{Events, Node, Options, RoomOwner, start};
use sio_streams_redis_rs::{ConfigError, RedisBackend};

/// The options of a node and of its connections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    options: Options,
    connection: Connection,
}

/// The servers that a node connects to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    /// The server, one of a cluster, or the first sentinel.
    url: String,
    /// Further servers of the cluster, or further sentinels, each as `host:port`.
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    cluster: bool,
    /// The name of the master, if the addresses are those of sentinels.
    master: Option<String>,
    /// User, password, database and TLS for the servers that sentinels name.
    server_url: Option<String>,
    password: Option<String>,
    #[serde(default)]
    tls: Tls,
}

/// Contents of PEM files.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

/// The reason that no node can be started with the options.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The options can't be read.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The connection's options are not valid.
    #[error(transparent)]
    Connection(#[from] ConfigError),
    /// An address is not `host:port`.
    #[error("{0}")]
    Address(String),
    /// The node's options are not valid.
    #[error(transparent)]
    Start(#[from] sio_streams_driver::StartError),
}

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self, SettingsError> {
        let mut settings: Settings = serde_json::from_str(text)?;
        settings.options.config.room_owner = RoomOwner::Application;
        Ok(settings)
    }

    /// Starts the node. It must be called within tokio's runtime.
    pub(crate) fn start(self) -> Result<(Node, Events), SettingsError> {
        let Settings { options, connection } = self;
        let backend = |url: &str, password: Option<&String>| {
            let mut builder = RedisBackend::builder(url);
            if let Some(password) = password {
                builder = builder.password(password);
            }
            let Tls { ca, cert, key } = &connection.tls;
            if let Some(ca) = ca {
                builder = builder.ca_certificate(ca.clone());
            }
            if let (Some(cert), Some(key)) = (cert, key) {
                builder = builder.client_certificate(cert.clone(), key.clone());
            }
            builder.build()
        };
        let wrong = |error: &dyn core::fmt::Display| SettingsError::Address(error.to_string());
        if let Some(master) = &connection.master {
            let servers = connection.server_url.as_ref().unwrap_or(&connection.url);
            let sentinels = RedisBackend::new(&connection.url)?;
            let mut sentinel =
                Sentinel::new(master, sentinels, backend(servers, connection.password.as_ref())?);
            for address in &connection.also {
                sentinel = sentinel.also(address).map_err(|error| wrong(&error))?;
            }
            return Ok(start(options, sentinel)?);
        }
        let backend = backend(&connection.url, connection.password.as_ref())?;
        if !connection.cluster {
            return Ok(start(options, backend)?);
        }
        let mut cluster = Cluster::new(backend);
        for address in &connection.also {
            cluster = cluster.seed(address).map_err(|error| wrong(&error))?;
        }
        Ok(start(options, cluster)?)
    }
}
