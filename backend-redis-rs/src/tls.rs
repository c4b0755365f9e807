//! The certificates for TLS.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;

/// The certificates that were given, as PEM. Without `ca`, the system's certificates are trusted.
/// Without `client`, the client presents no certificate.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    pub(crate) fn given(&self) -> bool {
        self.ca.is_some() || self.client.is_some()
    }

    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        // The provider is named here, because rustls has no default of its own if it was compiled
        // with more than one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(self.roots()?);
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(unusable)?;
                config.with_client_auth_cert(parsed(certificate)?, key).map_err(unusable)?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(pem) => {
                for certificate in parsed(pem)? {
                    roots.add(certificate).map_err(unusable)?;
                }
            }
            None => {
                // Some of a system's certificates may not be usable by rustls. The others still
                // count.
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = roots.add_parsable_certificates(found.certs);
                if let (0, Some(error)) = (added, found.errors.first()) {
                    return Err(unusable(error));
                }
            }
        }
        Ok(roots)
    }
}

fn parsed(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)?;
    match certificates.is_empty() {
        true => Err(unusable("there is no PEM certificate in it")),
        false => Ok(certificates),
    }
}

fn unusable(error: impl ToString) -> ConfigError {
    ConfigError::InvalidCertificate(error.to_string())
}
