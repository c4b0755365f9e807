//! The address of the server, and the options of its connections.

use core::time::Duration;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use redis::ConnectionAddr;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use sio_streams_driver::wire::Heartbeat;

#[cfg(feature = "tls")]
use crate::tls::Certificates;

/// Opens connections to one Redis server.
#[derive(Clone, Debug)]
pub struct RedisBackend {
    /// Without a protocol version: see `protocols`. Its `Debug` does not show the password.
    pub(crate) info: ConnectionInfo,
    pub(crate) protocols: Protocols,
    pub(crate) heartbeat: Heartbeat,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// Which versions of the protocol may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// RESP3, or RESP2 where the server refuses it.
    Best,
    Only(ProtocolVersion),
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

impl RedisBackend {
    /// With the default settings. Nothing is connected yet.
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
            certificates: Certificates::default(),
        }
    }
}

/// Settings of a [`RedisBackend`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    password: Option<String>,
    heartbeat: Heartbeat,
    #[cfg(feature = "tls")]
    certificates: Certificates,
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

    /// Sets the times of testing an idle connection. After `interval` it is tested with a `PING`.
    /// If the answer does not come within `patience`, the connection counts as lost. Both are 5
    /// seconds by default.
    ///
    /// A connection that is closed properly is noticed at once. The `PING` is for connections that
    /// fall silent.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, patience: Duration) -> Self {
        self.heartbeat = Heartbeat { interval, patience };
        self
    }

    /// Checks the settings. Nothing is connected yet.
    pub fn build(self) -> Result<RedisBackend, ConfigError> {
        let url = redis::parse_redis_url(&self.url).ok_or_else(|| {
            ConfigError::InvalidUrl("redis://, rediss:// or unix:// and an address are expected".into())
        })?;
        let insists = url.query_pairs().any(|(name, _)| name == "protocol");
        let info =
            url.into_connection_info().map_err(|e| ConfigError::InvalidUrl(crate::error::words(&e)))?;
        let protocols = match insists {
            true => Protocols::Only(info.redis_settings().protocol()),
            false => Protocols::Best,
        };
        #[cfg(feature = "tls")]
        let tls = self.tls(&info)?;
        let mut settings =
            info.redis_settings().clone().set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        if let Some(password) = self.password {
            settings = settings.set_password(password);
        } else if settings.username().is_some() && settings.password().is_none() {
            // Without a password, the crate would log in as the default user. A user who needs no
            // password accepts any.
            settings = settings.set_password("");
        }
        Ok(RedisBackend {
            info: info.set_redis_settings(settings),
            protocols,
            heartbeat: self.heartbeat,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    #[cfg(feature = "tls")]
    fn tls(&self, info: &ConnectionInfo) -> Result<Option<Arc<rustls::ClientConfig>>, ConfigError> {
        let ConnectionAddr::TcpTls { insecure, .. } = info.addr() else {
            return match self.certificates.given() {
                true => Err(ConfigError::CertificateWithoutTls),
                false => Ok(None),
            };
        };
        if *insecure {
            return Err(ConfigError::InvalidUrl(
                "certificates are always checked, #insecure is not offered".into(),
            ));
        }
        self.certificates.config().map(Some)
    }
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
            "redis://:secret@host:99999",
            "redis://:secret@host/?protocol=4",
            "rediss://:secret@host/#insecure",
        ] {
            let error = RedisBackend::new(bad).unwrap_err();
            assert!(matches!(error, ConfigError::InvalidUrl(_)), "{bad}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let builder = RedisBackend::builder("redis://ann:secret@host:1/2");
        assert!(!format!("{builder:?}").contains("secret"));
        let backend = builder.build().unwrap();
        assert!(!format!("{backend:?}").contains("secret"));
        assert_eq!(backend.info.redis_settings().password(), Some("secret"));
        assert_eq!(backend.info.redis_settings().username(), Some("ann"));
        assert_eq!(backend.info.redis_settings().db(), 2);
    }

    #[test]
    fn a_user_without_a_password_is_still_that_user() {
        let backend = RedisBackend::new("redis://ann@host").unwrap();
        let settings = backend.info.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("ann"), Some("")));
        let backend = RedisBackend::builder("redis://ann:old@host").password("new").build().unwrap();
        assert_eq!(backend.info.redis_settings().password(), Some("new"));
        assert_eq!(RedisBackend::new("redis://host").unwrap().info.redis_settings().password(), None);
    }

    #[test]
    fn a_url_can_insist_on_a_protocol() {
        let protocols = |url| RedisBackend::new(url).unwrap().protocols;
        assert_eq!(protocols("redis://host"), Protocols::Best);
        assert_eq!(protocols("redis://host?protocol=resp2"), Protocols::Only(ProtocolVersion::RESP2));
        assert_eq!(protocols("redis://host?protocol=3"), Protocols::Only(ProtocolVersion::RESP3));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_are_checked() {
        let build =
            |url: &str, pem: &str| RedisBackend::builder(url).ca_certificate(pem).build().unwrap_err();
        assert_eq!(build("redis://host", "x"), ConfigError::CertificateWithoutTls);
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"] {
            let error = build("rediss://host", bad);
            assert!(matches!(error, ConfigError::InvalidCertificate(_)), "{bad:?}: {error}");
        }
    }
}
