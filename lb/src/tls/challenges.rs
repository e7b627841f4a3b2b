//! What an ACME authority asks to see before it vouches for a host: a text at a path of plain HTTP (RFC 8555, 8.3),
//! a certificate in a TLS handshake of its own (RFC 8737). Orders put them here, listeners show them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// What an authority offers as its only protocol.
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
/// Where an authority looks over HTTP; the token follows.
pub(crate) const ACME_PATH: &str = "/.well-known/acme-challenge/";

/// Answers that are due now.
pub(crate) struct Challenges {
    due: Arc<Due>,
    config: Arc<ServerConfig>,
}

#[derive(Default)]
struct Due {
    /// Token → text. Rarely written; a reader holds it for one look.
    http: RwLock<HashMap<String, Arc<str>>>,
    /// Host → certificate.
    tls: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenges")
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Due")
    }
}

impl Challenges {
    /// None due.
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let due = Arc::new(Due::default());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(due.clone());
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Self {
            due,
            config: Arc::new(config),
        })
    }

    /// The text for a request of this path, where an order waits for it to be seen.
    pub(crate) fn http(&self, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(ACME_PATH)?;
        let due = self.due.http.read().unwrap_or_else(PoisonError::into_inner);
        due.get(token).cloned()
    }

    /// For a handshake in which nothing but `acme-tls/1` is offered.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl ResolvesServerCert for Due {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        let due = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        due.get(&name).cloned()
    }
}
