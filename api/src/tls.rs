//! Whom a client of ours trusts, and who it says it is: certificate files → a TLS configuration.
//!
//! Shared by the client of Consul's API and by HTTPS checks. Reads files when asked to, and so may block.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// How a client speaks TLS. By default it trusts the system's authorities and shows no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Trust these authorities (PEM) instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Trust the authorities of every file in this directory, beside those of `ca_file`.
    pub ca_path: Option<PathBuf>,
    /// Certificate (PEM, the chain behind it) to show to a server that asks.
    pub cert_file: Option<PathBuf>,
    /// Its key; `None`: it is in `cert_file` as well.
    pub key_file: Option<PathBuf>,
    /// Take any certificate of any server.
    pub skip_verify: bool,
    /// Whose certificate it has to be, where that is not the host that is asked. Only [`crate::Client`] knows of it.
    pub server_name: Option<String>,
}

/// Why there is no TLS as asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that no certificate can have.
    #[error("{0:?} is no name of a server; expected for example consul.example.com")]
    ServerName(String),
    /// Certificate and key do not work out.
    #[error("certificates: {0}")]
    Rustls(#[from] Error),
}

impl Tls {
    /// Reads the files and makes a configuration of them.
    ///
    /// # Errors
    /// The file that cannot be used, or what is wrong with certificate and key.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let trusting = self.trust(builder)?;
        let Some(file) = &self.cert_file else {
            return Ok(trusting.with_no_client_auth());
        };
        let chain = certificates(file)?;
        let key_file = self.key_file.as_ref().unwrap_or(file);
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, &error))?;
        Ok(trusting.with_client_auth_cert(chain, key)?)
    }

    fn trust(
        &self,
        builder: ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    ) -> Result<Trusting, TlsError> {
        if self.skip_verify {
            let verifier = Arc::new(Anybody(provider()));
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier));
        }
        let mut files: Vec<PathBuf> = self.ca_file.iter().cloned().collect();
        if let Some(directory) = &self.ca_path {
            files.extend(files_in(directory)?);
        }
        if files.is_empty() {
            return Ok(system(builder));
        }
        let mut roots = RootCertStore::empty();
        for file in &files {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| unusable(file, &error))?;
            }
        }
        Ok(builder.with_root_certificates(roots))
    }
}

type Trusting = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// The system's authorities; where it has none, as in an image FROM scratch, Mozilla's.
fn system(builder: ConfigBuilder<ClientConfig, rustls::WantsVerifier>) -> Trusting {
    builder.clone().with_platform_verifier().unwrap_or_else(|error| {
        tracing::info!(%error, "no certificate authorities on this system; Mozilla's are trusted");
        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        builder.with_root_certificates(roots)
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    let found = read.map_err(|error| unusable(file, &error))?;
    if found.is_empty() {
        return Err(unusable(file, &"there is no certificate in it, expected PEM"));
    }
    Ok(found)
}

/// By name, so that what is wrong with a directory is said the same way each time.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    let files = list().map_err(|error| unusable(directory, &error))?;
    if files.is_empty() {
        return Err(unusable(directory, &"there is no file in it"));
    }
    Ok(files)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes any certificate, but insists that the other side holds its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
