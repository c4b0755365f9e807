//! Authentication on a new connection.

use core::fmt;

use sio_streams_core::{Bytes, CommandError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Wire;
use super::args::Args;
use super::resp::RespWire;
use super::value::Value;

/// The commands at the beginning of a connection, for backends that open their sockets themselves.
#[derive(Clone, Default)]
pub struct Login {
    /// The user. `None`: the default user.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<String>,
    /// The number of the database, unless it is the first one.
    pub database: Option<u64>,
    /// The connection's name in `CLIENT LIST`. A server that forbids setting it is accepted.
    pub name: String,
}

impl Login {
    /// Logs in on a new connection, with this version of the protocol.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] with the server's refusal. [`CommandError::Lost`] if the server
    /// closes the connection instead.
    pub async fn on<S>(&self, wire: &mut RespWire<S>, resp3: bool) -> Result<(), CommandError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let user = self.user.as_deref();
        if resp3 {
            let mut hello = vec!["HELLO", "3"];
            if let Some(password) = &self.password {
                hello.extend(["AUTH", user.unwrap_or("default"), password]);
            }
            accepted(wire, &hello).await?;
        } else if let Some(password) = &self.password {
            let auth: Vec<&str> = core::iter::once("AUTH").chain(user).chain([password.as_str()]).collect();
            accepted(wire, &auth).await?;
        }
        if let Some(database) = self.database {
            accepted(wire, &["SELECT", &database.to_string()]).await?;
        }
        match accepted(wire, &["CLIENT", "SETNAME", &self.name]).await {
            // If a password is missing, this may be the first command that is refused.
            Err(CommandError::Server { code, message }) if code == "NOAUTH" => {
                Err(CommandError::Server { code, message })
            }
            Err(CommandError::Server { .. }) => Ok(()),
            named => named,
        }
    }
}

async fn accepted<S>(wire: &mut RespWire<S>, args: &[&str]) -> Result<(), CommandError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let args: Vec<Bytes> = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
    match wire.send(vec![Args::from(args)]).await.pop() {
        Some(Ok(Value::Error { code, message })) => Err(CommandError::Server { code, message }),
        Some(result) => result.map(drop),
        None => Err(CommandError::Lost("a reply is missing".into())),
    }
}

impl fmt::Debug for Login {
    /// Omits all secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
