//! The address of the server, and the options of its connections.

use core::time::Duration;

use percent_encoding::percent_decode_str;
use sio_streams_driver::wire::{Address, Heartbeat};
use url::Url;

/// Opens connections to Redis servers.
#[derive(Clone)]
pub struct FredBackend {
    pub(crate) address: Address,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<u8>,
    pub(crate) protocols: Protocols,
    pub(crate) heartbeat: Heartbeat,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<fred::types::config::TlsConnector>,
}

/// Which versions of the protocol may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// RESP2 where commands are only answered. Where messages are pushed, RESP3, or RESP2 if the
    /// server refuses it.
    Best,
    Resp2,
    Resp3,
}

/// The configuration can't be used. The words never contain the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is malformed, or asks for something that this crate does not offer.
    #[error("not a usable Redis URL: {0}")]
    InvalidUrl(String),
    /// A certificate or key is not PEM, or not one that can be used.
    #[error("unusable certificate: {0}")]
    InvalidCertificate(String),
    /// Certificates were given, but the URL does not ask for TLS.
    #[error("certificates were given, but the URL is not a rediss:// URL")]
    CertificateWithoutTls,
}

impl FredBackend {
    /// With the default settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If the URL can't be used.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::builder(url).build()
    }

    /// Settings first, then [`build`](Builder::build).
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            password: None,
            heartbeat: Heartbeat::default(),
            #[cfg(feature = "tls")]
            certificates: crate::tls::Certificates::default(),
        }
    }
}

impl core::fmt::Debug for FredBackend {
    /// Shows no secrets.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FredBackend")
            .field("address", &self.address)
            .field("username", &self.username)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`FredBackend`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    password: Option<String>,
    heartbeat: Heartbeat,
    #[cfg(feature = "tls")]
    certificates: crate::tls::Certificates,
}

impl core::fmt::Debug for Builder {
    /// Shows no secrets: the URL may contain a password.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder").field("heartbeat", &self.heartbeat).finish_non_exhaustive()
    }
}

impl Builder {
    /// Trusts the certificates in this PEM file's contents, and no others.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.ca = Some(pem.into());
        self
    }

    /// Presents this certificate, with its key, to a server that asks for one. Both are the
    /// contents of PEM files.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn client_certificate(mut self, pem: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((pem.into(), key.into()));
        self
    }

    /// The password, in place of one in the URL: for those who get it from elsewhere.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// After how long an idle connection is tried with a `PING`, and within which time the answer
    /// must come, else the connection counts as lost. 5 seconds each by default.
    ///
    /// A link that is closed properly is noticed at once. The `PING` is for links that fall silent.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, patience: Duration) -> Self {
        self.heartbeat = Heartbeat { interval, patience };
        self
    }

    /// Checks the settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If the URL or a certificate can't be used.
    pub fn build(self) -> Result<FredBackend, ConfigError> {
        let url = Url::parse(&self.url).map_err(|error| invalid(&error.to_string()))?;
        let target = match url.scheme() {
            "redis" | "valkey" => Target::Tcp { tls: false },
            "rediss" | "valkeys" => Target::Tcp { tls: true },
            "unix" => Target::Unix,
            _ => return Err(invalid("redis://, rediss:// or unix:// and an address are expected")),
        };
        if url.fragment().is_some() {
            return Err(invalid("certificates are always checked, and nothing else is known behind a #"));
        }
        let query = |wanted: &str| {
            url.query_pairs().find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        let (address, username, password, database) = match target {
            Target::Tcp { .. } => (
                tcp(&url)?,
                decoded(Some(url.username()))?,
                decoded(url.password())?,
                url.path().trim_matches('/').to_owned(),
            ),
            Target::Unix => {
                (Address::Unix(unix(&url)?), query("user"), query("pass"), query("db").unwrap_or_default())
            }
        };
        let database = match &*database {
            "" => None,
            number => Some(number.parse().map_err(|_| invalid("the database is a number below 256"))?),
        };
        let protocols = match query("protocol").as_deref() {
            None => Protocols::Best,
            Some("2" | "resp2") => Protocols::Resp2,
            Some("3" | "resp3") => Protocols::Resp3,
            Some(_) => return Err(invalid("the protocol is resp2 or resp3")),
        };
        #[cfg(feature = "tls")]
        let tls = match target {
            Target::Tcp { tls: true } => Some(self.certificates.connector()?),
            _ if self.certificates.given() => return Err(ConfigError::CertificateWithoutTls),
            _ => None,
        };
        #[cfg(not(feature = "tls"))]
        if let Target::Tcp { tls: true } = target {
            return Err(invalid("for rediss:// the crate's feature tls is needed"));
        }
        let username = username.filter(|name| !name.is_empty());
        let password = self.password.or(password.filter(|password| !password.is_empty()));
        Ok(FredBackend {
            address,
            // Without a password fred would log in as the default user. A user who needs none takes
            // any.
            password: password.or_else(|| username.is_some().then(String::new)),
            username,
            database: database.filter(|&number| number != 0),
            protocols,
            heartbeat: self.heartbeat,
            #[cfg(feature = "tls")]
            tls,
        })
    }
}

#[derive(Clone, Copy)]
enum Target {
    Tcp { tls: bool },
    Unix,
}

fn invalid(words: &str) -> ConfigError {
    ConfigError::InvalidUrl(words.to_owned())
}

fn tcp(url: &Url) -> Result<Address, ConfigError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("there is no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Address::Tcp(host.to_owned(), url.port().unwrap_or(6379)))
}

/// The path of a socket.
fn unix(url: &Url) -> Result<std::path::PathBuf, ConfigError> {
    let path = decoded(Some(url.path()))?.unwrap_or_default();
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(invalid("unix:// is followed by an absolute path")),
    }
}

fn decoded(text: Option<&str>) -> Result<Option<String>, ConfigError> {
    let decode = |text| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    text.map(decode).transpose().map_err(|_| invalid("what is percent-encoded must be UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_without_telling_the_password() {
        for bad in [
            "",
            "127.0.0.1",
            "http://127.0.0.1",
            "redis://ann:secret@",
            "redis://:secret@host/one",
            "redis://:secret@host/256",
            "redis://:secret@host:99999",
            "redis://:secret@host/?protocol=4",
            "rediss://:secret@host/#insecure",
            "redis://:secret%ff@host",
            "unix:relative",
        ] {
            let error = FredBackend::new(bad).unwrap_err();
            assert!(matches!(error, ConfigError::InvalidUrl(_)), "{bad}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let builder = FredBackend::builder("redis://ann:se%2Fcret@host:1/2");
        assert!(!format!("{builder:?}").contains("cret"));
        let backend = builder.build().unwrap();
        assert!(!format!("{backend:?}").contains("cret"));
        assert_eq!(backend.address, Address::Tcp("host".into(), 1));
        assert_eq!(backend.password.as_deref(), Some("se/cret"));
        assert_eq!(backend.username.as_deref(), Some("ann"));
        assert_eq!(backend.database, Some(2));
    }

    #[test]
    fn a_user_without_a_password_is_still_that_user() {
        let backend = FredBackend::new("redis://ann@host").unwrap();
        assert_eq!((backend.username.as_deref(), backend.password.as_deref()), (Some("ann"), Some("")));
        let backend = FredBackend::builder("redis://ann:old@host").password("new").build().unwrap();
        assert_eq!(backend.password.as_deref(), Some("new"));
        assert_eq!(FredBackend::new("redis://host").unwrap().password, None);
    }

    #[test]
    fn urls_of_all_kinds() {
        let backend = FredBackend::new("redis://[::1]/?protocol=2").unwrap();
        assert_eq!(backend.address, Address::Tcp("::1".into(), 6379));
        assert_eq!(backend.protocols, Protocols::Resp2);
        assert_eq!((backend.username, backend.password, backend.database), (None, None, None));
        let backend = FredBackend::new("unix:///tmp/redis.sock?db=3&user=ann&pass=secret").unwrap();
        assert_eq!(backend.address, Address::Unix("/tmp/redis.sock".into()));
        assert_eq!(backend.protocols, Protocols::Best);
        assert_eq!(backend.database, Some(3));
        assert_eq!(backend.password.as_deref(), Some("secret"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_are_checked() {
        let build = |url: &str, pem: &str| FredBackend::builder(url).ca_certificate(pem).build().unwrap_err();
        assert_eq!(build("redis://host", "x"), ConfigError::CertificateWithoutTls);
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"] {
            let error = build("rediss://host", bad);
            assert!(matches!(error, ConfigError::InvalidCertificate(_)), "{bad:?}: {error}");
        }
    }
}
