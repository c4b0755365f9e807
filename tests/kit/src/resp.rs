//! A blocking client over the `redis` crate, with which tests inject entries and look inside a
//! server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{Cmd, ConnectionLike, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value};

/// A reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// `-ERR ...`, without the dash.
    Error(String),
    /// `:1`.
    Int(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// A list of replies.
    Array(Vec<Reply>),
    /// No value: a nil string or a nil list.
    Nil,
}

impl Reply {
    /// The text of a simple or bulk reply, if it is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, if the reply is one, or a text that reads as one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            other => other.as_str()?.parse().ok(),
        }
    }

    /// The elements of a list. Any other reply has no elements.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The value that follows `key` in a flat list of keys and values, as `XINFO STREAM` or an
    /// entry's fields.
    pub fn field(&self, key: &str) -> Option<&Reply> {
        let mut pairs = self.items().chunks_exact(2);
        pairs.find(|pair| pair[0].as_str() == Some(key)).map(|pair| &pair[1])
    }

    fn of(value: Value) -> io::Result<Self> {
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::BulkString(bytes) => Self::Bulk(bytes),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::of).collect::<io::Result<_>>()?),
            Value::SimpleString(text) => Self::Simple(text),
            Value::Okay => Self::Simple("OK".to_owned()),
            Value::ServerError(error) => {
                let details = error.details().map(|details| format!(" {details}")).unwrap_or_default();
                Self::Error(format!("{}{details}", error.code()))
            }
            other => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {other:?}")));
            }
        })
    }
}

/// One connection to a server, by RESP2. It sends no commands of its own.
pub struct Client(redis::Connection);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects. Later reads and writes fail after 60 seconds.
    ///
    /// # Errors
    ///
    /// If there is no server at the address.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let open = || {
            let bound = Duration::from_secs(60);
            let info = (addr.ip().to_string(), addr.port()).into_connection_info()?;
            let info = info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
            let connection = redis::Client::open(info)?.get_connection_with_timeout(bound)?;
            connection.set_read_timeout(Some(bound))?;
            connection.set_write_timeout(Some(bound))?;
            Ok(Self(connection))
        };
        open().map_err(of_the_system)
    }

    /// Sends one command and reads its reply. A refusal by the server is a [`Reply::Error`].
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the server does not answer in time.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let mut command = Cmd::new();
        for arg in args {
            command.arg(arg.as_ref());
        }
        let reply = self.0.req_packed_command(&command.get_packed_command());
        Reply::of(reply.map_err(of_the_system)?)
    }

    /// Reads one reply that nobody asked for just now, such as a message of a subscription.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or nothing comes in time.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        Reply::of(self.0.recv_response().map_err(of_the_system)?)
    }
}

type Kept = std::sync::Arc<dyn std::error::Error + Send + Sync>;

/// Returns the crate's error as one of the system's, of the same kind if there is one behind it.
fn of_the_system(error: RedisError) -> io::Error {
    // The crate gives its source as the pointer in which it keeps it.
    let kept = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Kept>());
    let behind = kept.and_then(|kept| kept.downcast_ref::<io::Error>());
    let kind = behind.map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn errors_of_the_system_keep_their_kind() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        let kind = client.command(&["PING"]).unwrap_err().kind();
        let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}
