//! The subscriber's connection.
//!
//! fred hands messages out through a ring, which overwrites those that are not taken at once: of a
//! burst little is left. It can't be kept from reading either. So this one connection is read by
//! [`RespWire`], which stops when nobody takes what comes.

use core::pin::Pin;
use std::io;

use sio_streams_core::{CommandError, Lane};
use sio_streams_driver::backend::PushSender;
use sio_streams_driver::wire::{Address, Login, Protocol, RespWire, TaskWire, client_name};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::FredBackend;

/// A stream that can be read and written.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// A socket of any kind.
pub(crate) type Socket = Pin<Box<dyn Stream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server was not reached.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// It did not let this one in.
    #[error("{0}")]
    Refused(#[from] CommandError),
}

impl FredBackend {
    /// Connects, and logs in in this version of the protocol.
    pub(crate) async fn subscriber(
        &self,
        address: &Address,
        resp3: bool,
        pushes: &PushSender,
    ) -> Result<TaskWire, Error> {
        let login = Login {
            user: self.username.clone(),
            password: self.password.clone(),
            database: self.database.map(u64::from),
            name: client_name(&Lane::Subscriber),
        };
        let mut wire = RespWire::new(self.socket(address).await?);
        wire.log_in(&login, if resp3 { Protocol::Resp3 } else { Protocol::Resp2 }).await?;
        Ok(TaskWire::spawn(wire.into_subscriber(pushes.clone()), pushes.clone()))
    }

    async fn socket(&self, address: &Address) -> io::Result<Socket> {
        let (host, port) = match address {
            Address::Tcp(host, port) => (host, *port),
            #[cfg(unix)]
            Address::Unix(path) => return Ok(Box::pin(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = TcpStream::connect((host.as_str(), port)).await?;
        socket.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(fred::types::config::TlsConnector::Rustls(connector)) = &self.tls {
            let name = rustls::pki_types::ServerName::try_from(host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            return Ok(Box::pin(connector.connect(name, socket).await?));
        }
        Ok(Box::pin(socket))
    }
}
