//! Redis with Sentinel, over any [`Dialer`].
//!
//! ```
//! # use sio_streams_driver::wire::{AddressError, Dialer};
//! use sio_streams_driver::sentinel::Sentinel;
//!
//! # fn example<D: Dialer>(sentinels: D, servers: D) -> Result<(), AddressError> {
//! // `sentinels` is, say, RedisBackend::new("redis://10.0.0.1:26379"), and `servers`
//! // RedisBackend::new("redis://user:password@mymaster/0").
//! let sentinel = Sentinel::new("mymaster", sentinels, servers).also("10.0.0.2:26379")?.also("10.0.0.3:26379")?;
//! # drop(sentinel); Ok(()) }
//! ```
//!
//! For every connection, the sentinels are asked for the master, and the server is asked for its
//! `ROLE`. If that is forbidden, the sentinel is believed. After a failover the old master's
//! connections are closed, or it answers `READONLY`. Either way, the driver opens new ones, to the
//! new master. Entries that the old master had not replicated are lost. The engine notices and
//! reports that.

use std::sync::atomic::{AtomicUsize, Ordering};

use sio_streams_core::{CommandError, Lane};

use crate::backend::{Backend, ConnectError, PushSender};
use crate::first::first;
use crate::wire::{Address, AddressError, Dialer, Value, WireConnection};

/// A backend on the master that sentinels name. See the [module](self).
#[derive(Debug)]
pub struct Sentinel<D> {
    master: String,
    sentinels: D,
    servers: D,
    addresses: Vec<Address>,
    /// The index of the sentinel that is asked first. One that fails is not asked first again, even
    /// if a time limit ends the attempt.
    turn: AtomicUsize,
}

impl<D: Dialer> Sentinel<D> {
    /// `sentinels` has the address of the first sentinel, and the password for all sentinels.
    /// `servers` has the user, password, database and TLS for the servers. Its address is not used.
    pub fn new(master: impl Into<String>, sentinels: D, servers: D) -> Self {
        let addresses = vec![sentinels.home()];
        Sentinel { master: master.into(), sentinels, servers, addresses, turn: AtomicUsize::new(0) }
    }

    /// Adds the address of one more sentinel, `host:port`.
    ///
    /// # Errors
    ///
    /// If it is not an address.
    pub fn also(mut self, address: &str) -> Result<Self, AddressError> {
        self.addresses.push(Address::parse(address)?);
        Ok(self)
    }

    /// Asks a sentinel for the address of the master.
    async fn ask(&self, sentinel: &Address) -> Result<Address, String> {
        let (pushes, _) = PushSender::channel(1);
        let asked = self.sentinels.dial(sentinel, &Lane::Writer, pushes).await;
        let mut asked = asked.map_err(|error| error.0)?;
        let reply = asked.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.master]).await;
        match reply.map_err(|error| error.to_string())? {
            Value::Nil => Err(format!("it knows no master named {}", self.master)),
            reply => master(reply).ok_or_else(|| "it gives no address".to_owned()),
        }
    }
}

fn master(reply: Value) -> Option<Address> {
    let mut parts = reply.list()?.into_iter();
    let host = parts.next()?.text()?;
    Some(Address::Tcp(host.to_string(), parts.next()?.number()?.try_into().ok()?))
}

impl<D: Dialer> Backend for Sentinel<D> {
    type Connection = WireConnection<D::Wire>;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<Self::Connection, ConnectError> {
        let count = self.addresses.len();
        let begin = self.turn.load(Ordering::Relaxed);
        // Neither a sentinel that hangs nor a server that hangs delays the other tries for long.
        let tries = (0..count).map(|step| (begin + step) % count).map(|turn| {
            let pushes = pushes.clone();
            async move {
                self.turn.store((turn + 1) % count, Ordering::Relaxed);
                let sentinel = &self.addresses[turn];
                let server = self.ask(sentinel).await.map_err(|why| format!("sentinel {sentinel}: {why}"))?;
                let opened = self.open(&server, lane, pushes).await;
                let connection =
                    opened.map_err(|why| format!("{server}, the master by sentinel {sentinel}: {why}"))?;
                self.turn.store(turn, Ordering::Relaxed);
                Ok(connection)
            }
        });
        first(tries).await.map_err(|complaints: Vec<String>| ConnectError(complaints.join("; ")))
    }
}

impl<D: Dialer> Sentinel<D> {
    async fn open(
        &self,
        server: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<WireConnection<D::Wire>, String> {
        let opened = self.servers.dial(server, lane, pushes).await;
        let mut connection = opened.map_err(|error| error.0)?;
        let role = match connection.ask(&["ROLE"]).await {
            // Some client crates have connections that can only subscribe.
            Err(CommandError::Unusable(_)) => {
                let (pushes, _) = PushSender::channel(1);
                let other = self.servers.dial(server, &Lane::Writer, pushes).await;
                other.map_err(|error| error.0)?.ask(&["ROLE"]).await
            }
            role => role,
        };
        let role = match role {
            Ok(reply) => reply.list().and_then(|parts| parts.into_iter().next()?.text()),
            Err(CommandError::Server { code, .. }) if code == "NOPERM" => return Ok(connection),
            Err(error) => return Err(error.to_string()),
        };
        match role.as_deref() {
            Some("master") => Ok(connection),
            other => Err(format!("its role is {}", other.unwrap_or("unknown"))),
        }
    }
}
