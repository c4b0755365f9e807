//! Certificates.

use std::sync::Arc;

use fred::types::config::TlsConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;

/// As PEM. What is not given: the system's certificates, and none for the client.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    pub(crate) fn given(&self) -> bool {
        self.ca.is_some() || self.client.is_some()
    }

    pub(crate) fn connector(&self) -> Result<TlsConnector, ConfigError> {
        // Named here, as rustls has no default of its own when the program has compiled it with
        // more than one.
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
        Ok(config.into())
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
                // Systems have certificates among theirs that rustls can't use; the others count.
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
