//! Sockets that the redis crate is lent for as long as it takes to say who connects.
//!
//! The crate takes ten times as long to read a stream's entries as reading them in place does, and
//! it copies each of their strings. It also can't be kept from reading messages that nobody takes.
//! Therefore it only does what it is good at: HELLO, AUTH, SELECT, and everything that servers
//! answer to these. [`RespWire`] does the rest.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{AsyncStream, MultiplexedConnection};
use redis::{ConnectionAddr, RedisResult};
use sio_streams_core::Lane;
use sio_streams_driver::wire::RespWire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connect::{Origin, config, introduce};

/// A socket, of either kind.
pub(crate) type Socket = Pin<Box<dyn AsyncStream + Send>>;

/// Connects to the server, and logs in.
pub(crate) async fn connect(origin: &Origin<'_>, lane: &Lane) -> RedisResult<RespWire<Socket>> {
    let info = &origin.info;
    let socket: Socket = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Box::pin(tcp(host, *port).await?),
        #[cfg(feature = "tls")]
        ConnectionAddr::TcpTls { host, port, .. } => {
            let config = origin.tls.clone().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
            let name = rustls::pki_types::ServerName::try_from(host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let socket = tcp(host, *port).await?;
            Box::pin(tokio_rustls::TlsConnector::from(config).connect(name, socket).await?)
        }
        #[cfg(unix)]
        ConnectionAddr::Unix(path) => Box::pin(tokio::net::UnixStream::connect(path).await?),
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    };
    let lent = Lent(Arc::new(Mutex::new(Some(socket))));
    let (mut connection, task) =
        MultiplexedConnection::new_with_config(info.redis_settings(), lent.clone(), config()).await?;
    tokio::select! {
        biased;
        introduced = introduce(&mut connection, lane) => introduced?,
        () = task => return Err(closed().into()),
    }
    // Every reply has come: the crate holds back nothing that was read.
    drop(connection);
    let socket = lent.lock().take().ok_or_else(closed)?;
    Ok(RespWire::new(socket))
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    // A batch is one write, and its sender waits for the reply. Nagle's algorithm could only delay
    // it.
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")
}

/// A socket, until it is taken back.
#[derive(Clone)]
struct Lent(Arc<Mutex<Option<Socket>>>);

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        poll: impl FnOnce(Pin<&mut (dyn AsyncStream + Send)>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.lock() {
            Some(socket) => poll(socket.as_mut()),
            None => Poll::Ready(Err(closed())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_read(context, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_shutdown(context))
    }
}
