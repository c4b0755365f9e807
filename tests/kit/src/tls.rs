//! Throw-away certificates for a test server.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The paths of the certificates of a TLS test server. All are PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate authority that a client has to trust.
    pub ca: PathBuf,
    /// The server's certificate, for `localhost` and `127.0.0.1`. A client may present it too.
    pub cert: PathBuf,
    /// The private key of `cert`.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Makes a fresh authority and a server certificate signed by it, and writes them into `dir`.
    pub(crate) fn generate(dir: &Path) -> io::Result<Self> {
        let files = Self { ca: dir.join("ca.pem"), cert: dir.join("cert.pem"), key: dir.join("key.pem") };
        let (ca, cert, key) = certificates().map_err(io::Error::other)?;
        fs::write(&files.ca, ca)?;
        fs::write(&files.cert, cert)?;
        fs::write(&files.key, key)?;
        Ok(files)
    }
}

fn certificates() -> Result<(String, String, String), rcgen::Error> {
    let mut ca_params = CertificateParams::new(Vec::new())?;
    // Unlike the server's, else the server's certificate would look self-signed.
    ca_params.distinguished_name.push(DnType::CommonName, "sio-streams test authority");
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate()?;
    let ca = ca_params.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca_params, ca_key);

    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let cert = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    Ok((ca.pem(), cert.pem(), key.serialize_pem()))
}
