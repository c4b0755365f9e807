//! The commands at the beginning of a connection.

use core::fmt;

use sio_streams_core::{Bytes, CommandError};

use crate::args::Args;
use crate::value::Value;

/// The beginning of a connection: the version of the protocol, user and password, the database, a
/// name.
///
/// ```
/// use sio_streams_resp::{Login, Protocol, Value};
///
/// let login = Login { password: Some("secret".into()), name: "app".into(), ..Login::default() };
/// let mut handshake = login.begin(Protocol::Best);
/// while let Some(args) = handshake.next_command() {
///     // A real program sends them, and returns what the server has replied.
///     let reply = match args.name() {
///         b"HELLO" => Value::error("ERR unknown command"), // an old server, or a proxy
///         _ => Value::Bytes("OK".into()),
///     };
///     handshake.answered(reply).unwrap();
/// }
/// ```
#[derive(Clone, Default)]
pub struct Login {
    /// The user. `None`: the default user.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<String>,
    /// The number of the database, unless it is the first one.
    pub database: Option<u64>,
    /// The connection's name in `CLIENT LIST`, or an empty one for none. The server accepts
    /// printable ASCII without spaces. A server that forbids setting it is accepted.
    pub name: String,
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP3, or RESP2 if the server refuses it. Some proxies close the connection instead of
    /// refusing. Only another connection, with [`Protocol::Resp2`], helps there.
    #[default]
    Best,
    /// RESP2, which every server speaks. There is no `HELLO`.
    Resp2,
    /// RESP3.
    Resp3,
}

/// The commands of a [`Login`], one after the other.
#[derive(Debug)]
pub struct Handshake {
    login: Login,
    protocol: Protocol,
    step: Step,
}

/// The next command, or the one whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hello,
    Auth,
    Select,
    Name,
    Done,
}

impl Login {
    /// Returns the commands, for this version of the protocol.
    pub fn begin(&self, protocol: Protocol) -> Handshake {
        Handshake { login: self.clone(), protocol, step: Step::Hello }
    }
}

impl Handshake {
    /// Returns the next command, or `None` if the connection is ready. The reply belongs to
    /// [`Handshake::answered`] before this is called again.
    pub fn next_command(&mut self) -> Option<Args> {
        let Login { user, password, database, name } = &self.login;
        loop {
            let command = match self.step {
                Step::Hello if self.protocol == Protocol::Resp2 => None,
                Step::Hello => {
                    let mut hello = vec!["HELLO", "3"];
                    if let Some(password) = password {
                        hello.extend(["AUTH", user.as_deref().unwrap_or("default"), password]);
                    }
                    Some(args(&hello))
                }
                Step::Auth => password.as_deref().map(|password| match user {
                    Some(user) => args(&["AUTH", user, password]),
                    None => args(&["AUTH", password]),
                }),
                Step::Select => database.map(|database| args(&["SELECT", &database.to_string()])),
                Step::Name => {
                    Some(name).filter(|name| !name.is_empty()).map(|name| args(&["CLIENT", "SETNAME", name]))
                }
                Step::Done => return None,
            };
            if command.is_some() {
                return command;
            }
            self.step = self.step.next();
        }
    }

    /// Takes the reply to the last command.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] with the server's refusal. The connection can't be used then.
    pub fn answered(&mut self, reply: Value) -> Result<(), CommandError> {
        let refusal = match reply {
            Value::Error { code, message } => Some(CommandError::Server { code, message }),
            _ => None,
        };
        self.step = match (self.step, refusal) {
            // HELLO has logged in.
            (Step::Hello, None) => Step::Select,
            // The words do not matter: proxies find many for not knowing HELLO. If it was about
            // something else, it is met again.
            (Step::Hello, Some(_)) if self.protocol == Protocol::Best => Step::Auth,
            // If a password is missing, this may be the first command that is refused. For the rest,
            // the name is for people who look at CLIENT LIST.
            (Step::Name, Some(CommandError::Server { code, .. })) if code != "NOAUTH" => Step::Done,
            (_, Some(refusal)) => return Err(refusal),
            (step, None) => step.next(),
        };
        Ok(())
    }
}

impl Step {
    fn next(self) -> Self {
        match self {
            Step::Hello => Step::Auth,
            Step::Auth => Step::Select,
            Step::Select => Step::Name,
            Step::Name | Step::Done => Step::Done,
        }
    }
}

fn args(words: &[&str]) -> Args {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect::<Vec<_>>().into()
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
