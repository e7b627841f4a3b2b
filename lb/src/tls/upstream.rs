//! TLS with targets: one configuration for each way that routes ask for it, so that sessions are resumed; made anew
//! when the certificate source that it names has changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::sync::OnceCell;

use super::authorities::Authorities;
use super::store::Store;
use crate::table::options::UpstreamTls;

/// Distinct ways that are remembered; routes that ask for more make theirs anew each time.
const MAX_REMEMBERED: usize = 1024;

/// Why a target cannot be spoken to as its route asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoClient {
    /// There is no such source.
    #[error("no certificate source is named '{0}' (proxy.cs)")]
    NoSource(Arc<str>),
    /// It has no certificate to show.
    #[error("certificate source '{0}' has no certificate to show to targets")]
    NoCertificate(Arc<str>),
    /// It knows nobody who could vouch for the target.
    #[error("certificate source '{0}' has no authorities to verify targets by (clientca)")]
    NoAuthorities(Arc<str>),
    /// The library refuses.
    #[error("TLS with targets: {0}")]
    Library(String),
}

impl From<Error> for NoClient {
    fn from(error: Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// One way to speak TLS. The name to verify is the connection's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    skip_verify: bool,
    ca: Option<Arc<str>>,
    cert: Option<Arc<str>>,
    h2: bool,
}

/// A configuration and what of its sources is in it.
struct Made {
    authorities: Option<Arc<Authorities>>,
    shown: Option<Arc<CertifiedKey>>,
    config: Arc<ClientConfig>,
}

/// All configurations for targets.
pub(super) struct Upstreams {
    provider: Arc<CryptoProvider>,
    /// Whom the system trusts; reading it takes a while. What was read stays until the next start.
    system: OnceCell<Arc<dyn ServerCertVerifier>>,
    made: RwLock<HashMap<Way, Made>>,
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstreams")
    }
}

impl Upstreams {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            system: OnceCell::new(),
            made: RwLock::default(),
        }
    }

    /// For a connection that begins now.
    pub(super) async fn config(
        &self,
        tls: &UpstreamTls,
        h2: bool,
        source: impl Fn(&Arc<str>) -> Option<Arc<Store>>,
    ) -> Result<Arc<ClientConfig>, NoClient> {
        let find = |name: &Arc<str>| source(name).ok_or_else(|| NoClient::NoSource(name.clone()));
        let authorities = match &tls.ca {
            Some(name) if !tls.skip_verify => {
                let known = find(name)?.authorities();
                Some(known.ok_or_else(|| NoClient::NoAuthorities(name.clone()))?)
            }
            _ => None,
        };
        let shown = match &tls.cert {
            Some(name) => {
                let certs = find(name)?.certs();
                let first = certs.pairs().first().map(|pair| pair.key.clone());
                Some(first.ok_or_else(|| NoClient::NoCertificate(name.clone()))?)
            }
            None => None,
        };
        let way = Way {
            skip_verify: tls.skip_verify,
            ca: tls.ca.clone(),
            cert: tls.cert.clone(),
            h2,
        };
        if let Some(config) = self.remembered(&way, authorities.as_ref(), shown.as_ref()) {
            return Ok(config);
        }
        let verifier = self.verifier(tls.skip_verify, authorities.as_deref()).await?;
        let mut config = client(&self.provider, verifier, shown.clone())?;
        config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let config = Arc::new(config);
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if made.len() < MAX_REMEMBERED || made.contains_key(&way) {
            let fresh = Made {
                authorities,
                shown,
                config: config.clone(),
            };
            made.insert(way, fresh);
        }
        Ok(config)
    }

    fn remembered(
        &self,
        way: &Way,
        authorities: Option<&Arc<Authorities>>,
        shown: Option<&Arc<CertifiedKey>>,
    ) -> Option<Arc<ClientConfig>> {
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        let made = made.get(way)?;
        let current = same(made.authorities.as_ref(), authorities) && same(made.shown.as_ref(), shown);
        current.then(|| made.config.clone())
    }

    async fn verifier(
        &self,
        skip_verify: bool,
        authorities: Option<&Authorities>,
    ) -> Result<Arc<dyn ServerCertVerifier>, NoClient> {
        if skip_verify {
            return Ok(anybody(&self.provider));
        }
        if let Some(authorities) = authorities {
            return webpki(authorities.roots.clone(), &self.provider);
        }
        let read = self.system.get_or_try_init(|| system_aside(&self.provider));
        read.await.cloned()
    }
}

/// A configuration that verifies so and shows this certificate.
pub(super) fn client(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    shown: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, NoClient> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match shown {
        Some(key) => builder.with_client_cert_resolver(Arc::new(Shown(key))),
        None => builder.with_no_client_auth(),
    })
}

fn same<T>(left: Option<&Arc<T>>, right: Option<&Arc<T>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        (None, None) => true,
        _ => false,
    }
}

/// Trusts these.
pub(super) fn webpki(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, NoClient> {
    rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map(|verifier| verifier as _)
        .map_err(|error| NoClient::Library(error.to_string()))
}

/// Trusts anybody who holds the key of what is shown.
pub(super) fn anybody(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody(provider.clone()))
}

/// For requests of our own to servers that the system trusts; shows no certificate. Reads many files.
pub(crate) fn system_client() -> Result<ClientConfig, NoClient> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    client(&provider, system(&provider)?, None)
}

/// As [`system`], which reads many files.
pub(super) async fn system_aside(
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, NoClient> {
    let provider = provider.clone();
    let reading = tokio::task::spawn_blocking(move || system(&provider)).await;
    reading.unwrap_or_else(|died| Err(NoClient::Library(died.to_string())))
}

/// The system's authorities; where it has none, as in an image FROM scratch, Mozilla's.
fn system(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, NoClient> {
    match rustls_platform_verifier::Verifier::new(provider.clone()) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) => {
            tracing::info!(%error, "no certificate authorities on this system; Mozilla's are trusted");
            let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
            webpki(Arc::new(roots), provider)
        }
    }
}

/// Shows one certificate to whoever asks for any: routes say which one, not the target.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _root_hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes)?;
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any certificate, but insists that the other side holds its key. The same stands in `api/`, which the balancer
/// may not know.
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
