//! The options of a test's server.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::server::{Credentials, RedisServer};
use crate::tls::TlsFiles;

/// Options of a [`RedisServer`]. The default: no persistence, no password, no TLS.
#[derive(Debug, Clone, Default)]
pub struct RedisServerBuilder {
    lines: Vec<String>,
    users: Vec<String>,
    password: Option<String>,
    persistent: bool,
    tls: bool,
    sentinel: bool,
}

impl RedisServerBuilder {
    /// Adds one line of configuration, as it would stand in `redis.conf`.
    #[must_use]
    pub fn config(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Demands a password of the default user.
    #[must_use]
    pub fn requirepass(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds an ACL user. `rules` is what follows the password, such as `~socket.io &socket.io*
    /// +@all`.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.users.push(format!("user {name} on >{password} {rules}"));
        self
    }

    /// Keeps the data over a kill and a restart: an append-only file, synced at every write.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Opens a second port that speaks TLS, with a certificate made for this server alone.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts a sentinel in place of a server.
    #[must_use]
    pub fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> io::Result<RedisServer> {
        RedisServer::launch(&self)
    }

    pub(crate) fn wants_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn is_sentinel(&self) -> bool {
        self.sentinel
    }

    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.password.clone().map(|password| Credentials { password })
    }

    /// Writes the configuration file for the given ports.
    pub(crate) fn write(
        &self,
        file: &Path,
        dir: &Path,
        port: u16,
        tls: Option<(u16, &TlsFiles)>,
    ) -> io::Result<()> {
        let mut text = format!(
            "bind 127.0.0.1\nport {port}\ndaemonize no\ndir {dir}\nlogfile {dir}/redis.log\n",
            dir = dir.display()
        );
        text += match self.persistent {
            _ if self.sentinel => "",
            true => "save \"\"\nappendonly yes\nappendfsync always\n",
            false => "save \"\"\nappendonly no\n",
        };
        if let Some(password) = &self.password {
            let _ = writeln!(text, "requirepass {password}");
        }
        if let Some((port, files)) = tls {
            let _ = writeln!(
                text,
                "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients optional",
                files.cert.display(),
                files.key.display(),
                files.ca.display()
            );
        }
        for line in self.users.iter().chain(&self.lines) {
            let _ = writeln!(text, "{line}");
        }
        fs::write(file, text)
    }
}
