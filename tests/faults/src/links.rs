//! A node's connections, each of which can be broken by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sio_streams_driver::backend::{Backend, ConnectError, PushSender};
use sio_streams_driver::sio_streams_core::Lane;
use sio_streams_testkit::Proxy;

use crate::Client;

/// The proxies of a node's connections.
#[derive(Debug)]
pub struct Links {
    /// For writing.
    pub writer: Proxy,
    /// For reading the stream.
    pub reader: Proxy,
    /// For Pub/Sub.
    pub subscriber: Proxy,
}

impl Links {
    /// Links to a server.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let link = || Proxy::start(target);
        Ok(Links { writer: link()?, reader: link()?, subscriber: link()? })
    }

    /// All of them.
    pub fn each(&self) -> [&Proxy; 3] {
        [&self.writer, &self.reader, &self.subscriber]
    }

    /// Cuts all of them, until they are restored.
    pub fn cut(&self) {
        self.each().into_iter().for_each(Proxy::cut);
    }

    /// Lets connections through again, and nothing happens by itself any more.
    pub fn restore(&self) -> io::Result<()> {
        self.each().into_iter().try_for_each(|link| {
            link.calm();
            link.unstall();
            link.restore()
        })
    }

    /// Connects to another server from now on.
    pub fn retarget(&self, target: SocketAddr) {
        self.each().into_iter().for_each(|link| link.retarget(target));
    }

    /// The backend of a node that is to use these links. `url` makes a URL of a port. Silence
    /// counts from this time on.
    pub fn backend<C: Client>(&self, url: impl Fn(u16) -> String, silence: Duration) -> Routed<C::Backend> {
        let [writer, reader, subscriber] = self.each().map(|link| C::backend(&url(link.port()), silence));
        Routed { writer, reader, subscriber }
    }
}

/// A backend that has a way of its own for each kind of connection.
#[derive(Debug)]
pub struct Routed<B> {
    writer: B,
    reader: B,
    subscriber: B,
}

impl<B: Backend> Backend for Routed<B> {
    type Connection = B::Connection;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<B::Connection, ConnectError> {
        let way = match lane {
            Lane::Writer | Lane::Recovery => &self.writer,
            Lane::Reader(_) => &self.reader,
            Lane::Subscriber => &self.subscriber,
        };
        way.connect(lane, pushes).await
    }
}
