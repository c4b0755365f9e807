//! Connections to all the servers that the options name.

use std::future::Future;
use std::time::Duration;

use sio_streams_driver::backend::{Backend as _, ConnectError, Connection as _, PushSender};
use sio_streams_driver::cluster::slot_of;
use sio_streams_driver::sio_streams_core::{Command, CommandError, Lane, Reply};
use sio_streams_driver::wire::{Address, Args, Dialer as _, Value, WireConnection};
use sio_streams_redis_rs::RedisWire;
use tokio::time::timeout;

use super::{Error, Refusal};
use crate::server::ServerArgs;

/// The time limit for a connection, and for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to one server.
pub(crate) struct Server {
    /// The address, or the name of the master, for people.
    pub(crate) name: String,
    pub(crate) is_replica: bool,
    connection: WireConnection<RedisWire>,
}

/// The servers: one, or all those of a Redis Cluster.
pub(crate) struct Servers {
    pub(crate) list: Vec<Server>,
    /// The first slot, the last one, and the place of their master in the list. Empty without a
    /// Redis Cluster.
    slots: Vec<(u16, u16, usize)>,
    /// The servers of a Redis Cluster that can't be reached, and why.
    pub(crate) missing: Vec<(String, String)>,
}

async fn within(
    name: &str,
    connecting: impl Future<Output = Result<WireConnection<RedisWire>, ConnectError>>,
) -> Result<Server, Error> {
    match timeout(PATIENCE, connecting).await {
        Ok(Ok(connection)) => Ok(Server { name: name.to_owned(), is_replica: false, connection }),
        Ok(Err(error)) => Err(Error::Connect { name: name.to_owned(), reason: error.to_string() }),
        Err(_) => Err(Error::Silent { name: name.to_owned(), patience: PATIENCE }),
    }
}

fn nobody() -> PushSender {
    PushSender::to(|_, _| {})
}

impl Servers {
    /// Connects to the servers.
    pub(crate) async fn connect(args: &ServerArgs) -> Result<Self, Error> {
        let backend = crate::server::backend(&args.redis).build()?;
        let home = backend.home().to_string();
        if let Some((name, sentinel)) = args.sentinel(backend.clone())? {
            let server = within(&format!("master {name}"), sentinel.connect(&Lane::Writer, nobody())).await?;
            return Ok(Servers { list: vec![server], slots: Vec::new(), missing: Vec::new() });
        }
        let mut server = within(&home, backend.connect(&Lane::Writer, nobody())).await?;
        if !args.is_cluster() {
            return Ok(Servers { list: vec![server], slots: Vec::new(), missing: Vec::new() });
        }
        let slots = server.must(&["CLUSTER", "SLOTS"]).await?;
        let unexpected = || Error::Unexpected { name: home.clone(), command: "CLUSTER SLOTS".into() };
        let parts = read_slots(slots, &backend.home()).ok_or_else(unexpected)?;
        let mut servers = Servers { list: Vec::new(), slots: Vec::new(), missing: Vec::new() };
        for (first, last, addresses) in parts {
            for (place, address) in addresses.into_iter().enumerate() {
                let name = address.to_string();
                let mut known = servers.list.iter().position(|server| server.name == name);
                if known.is_none() && !servers.missing.iter().any(|(missing, _)| *missing == name) {
                    match within(&name, backend.dial(&address, &Lane::Writer, nobody())).await {
                        Ok(server) => {
                            servers.list.push(Server { is_replica: place > 0, ..server });
                            known = Some(servers.list.len() - 1);
                        }
                        Err(error) => servers.missing.push((name, error.to_string())),
                    }
                }
                if let (0, Some(known)) = (place, known) {
                    servers.slots.push((first, last, known));
                }
            }
        }
        match servers.list.is_empty() {
            true => {
                Err(Error::Connect { name: home, reason: "no server of the cluster can be reached".into() })
            }
            false => Ok(servers),
        }
    }

    /// Returns the master that has the key, if it can be reached.
    pub(crate) fn owner(&mut self, key: &str) -> Option<&mut Server> {
        if self.slots.is_empty() {
            return self.list.first_mut();
        }
        let slot = slot_of(key);
        let (.., place) = *self.slots.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        self.list.get_mut(place)
    }

    pub(crate) fn masters(&mut self) -> impl Iterator<Item = &mut Server> {
        self.list.iter_mut().filter(|server| !server.is_replica)
    }
}

/// Reads the reply to CLUSTER SLOTS: for each range, the master and its replicas.
fn read_slots(value: Value, home: &Address) -> Option<Vec<(u16, u16, Vec<Address>)>> {
    let range = |value: Value| {
        let mut parts = value.list()?.into_iter();
        let bound = |value: Option<Value>| u16::try_from(value?.number()?).ok();
        let (first, last) = (bound(parts.next())?, bound(parts.next())?);
        let address = |server: Value| {
            let mut parts = server.list()?.into_iter();
            let host = parts.next()?.text().filter(|host| !host.is_empty());
            let port = u16::try_from(parts.next()?.number()?).ok()?;
            // A server that does not know its own name is the one that was asked.
            match (host, home) {
                (Some(host), _) => Some(Address::Tcp(host.to_string(), port)),
                (None, Address::Tcp(host, _)) => Some(Address::Tcp(host.clone(), port)),
                (None, Address::Unix(_)) => None,
            }
        };
        Some((first, last, parts.map(address).collect::<Option<Vec<_>>>()?))
    };
    value.list()?.into_iter().map(range).collect()
}

impl Server {
    /// Sends a command. A refusal is a result, too; anything else that fails ends the program.
    pub(crate) async fn ask(&mut self, args: &[&str]) -> Result<Result<Value, Refusal>, Error> {
        match timeout(PATIENCE, self.connection.ask(args)).await {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(CommandError::Server { code, message })) => Ok(Err(Refusal { code, message })),
            Ok(Err(error)) => Err(Error::Lost { name: self.name.clone(), reason: error.to_string() }),
            Err(_) => Err(Error::Silent { name: self.name.clone(), patience: PATIENCE }),
        }
    }

    /// Sends a command that the program can't do without.
    pub(crate) async fn must(&mut self, args: &[&str]) -> Result<Value, Error> {
        let refused = |name: &str, refusal| {
            let command = args.iter().take(2).copied().collect::<Vec<_>>().join(" ");
            Error::Refused { name: name.to_owned(), command, refusal }
        };
        let reply = self.ask(args).await?;
        reply.map_err(|refusal| refused(&self.name, refusal))
    }

    /// Sends commands at once. Each may be refused.
    pub(crate) async fn ask_all(
        &mut self,
        commands: Vec<Args>,
    ) -> Result<Vec<Result<Value, Refusal>>, Error> {
        let Ok(results) = timeout(PATIENCE, self.connection.ask_all(commands)).await else {
            return Err(Error::Silent { name: self.name.clone(), patience: PATIENCE });
        };
        let result = |result| match result {
            Ok(value) => Ok(Ok(value)),
            Err(CommandError::Server { code, message }) => Ok(Err(Refusal { code, message })),
            Err(error) => Err(Error::Lost { name: self.name.clone(), reason: error.to_string() }),
        };
        results.into_iter().map(result).collect()
    }

    /// Sends a command of the engine.
    pub(crate) async fn execute(&mut self, command: Command) -> Result<Result<Reply, Refusal>, Error> {
        let lost = |reason: String| Error::Lost { name: self.name.clone(), reason };
        match timeout(PATIENCE, self.connection.execute(vec![command])).await {
            Ok(mut replies) => match replies.pop() {
                Some(Ok(reply)) => Ok(Ok(reply)),
                Some(Err(CommandError::Server { code, message })) => Ok(Err(Refusal { code, message })),
                Some(Err(error)) => Err(lost(error.to_string())),
                None => Err(lost("a reply is missing".into())),
            },
            Err(_) => Err(Error::Silent { name: self.name.clone(), patience: PATIENCE }),
        }
    }
}
