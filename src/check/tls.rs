//! Whom an `https` check trusts: the system's authorities, Mozilla's where it has none, or anybody where
//! the check says so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::sync::OnceCell;

/// Configurations, made when first needed: reading the system's certificates takes a while.
#[derive(Clone, Default)]
pub(super) struct Trust {
    system: Arc<OnceCell<Arc<ClientConfig>>>,
    anybody: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Trust {
    /// The configuration for a check that skips verification, or does not.
    pub(super) async fn config(&self, skip_verify: bool) -> Result<Arc<ClientConfig>, Error> {
        let (cell, make): (_, fn() -> Result<ClientConfig, Error>) = if skip_verify {
            (&self.anybody, trust_anybody)
        } else {
            (&self.system, trust_system)
        };
        // What was chosen stays: authorities installed later count from the next start. A failure does not.
        let made = cell.get_or_try_init(|| async {
            let config = tokio::task::spawn_blocking(make).await;
            config
                .unwrap_or_else(|died| Err(Error::General(died.to_string())))
                .map(Arc::new)
        });
        made.await.cloned()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The system's authorities; where it has none, as in an image FROM scratch, Mozilla's.
fn trust_system() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(match builder.clone().with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::info!(%error, "no certificate authorities on this system; https checks trust Mozilla's");
            let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

fn trust_anybody() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Anybody(provider()));
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
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
