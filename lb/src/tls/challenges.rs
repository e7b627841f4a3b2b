//! What an ACME authority asks to see before it vouches for a host: a text at a path of plain HTTP (RFC 8555, 8.3),
//! a certificate in a TLS handshake of its own (RFC 8737). Orders put them here, listeners show them.
//!
//! The balancer that orders need not be the one that the authority reaches, so what is not here is looked for where
//! the balancers keep their certificates.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Semaphore;

use super::pair::canonical;
use super::source::{Shelf, Shown};
use crate::authority;

/// What an authority offers as its only protocol.
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
/// Where an authority looks over HTTP; the token follows.
pub(crate) const ACME_PATH: &str = "/.well-known/acme-challenge/";
/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;
/// Looks into stores under way at a time: anybody may ask for anything at that path.
const MAX_LOOKS: usize = 8;
/// Time that one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that are due now.
pub(crate) struct Challenges {
    provider: Arc<CryptoProvider>,
    due: Arc<Due>,
    config: Arc<ServerConfig>,
    /// Stores of the sources that are configured now.
    shelves: Arc<Mutex<Vec<Arc<Shelf>>>>,
    looks: Semaphore,
}

#[derive(Default)]
struct Due {
    /// What is due for a host. Rarely written; a reader holds it for one look.
    hosts: RwLock<HashMap<String, Answer>>,
}

/// What is due for a host.
#[derive(Clone)]
struct Answer {
    shown: Shown,
    certificate: Arc<CertifiedKey>,
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

/// A store that is looked into until this is dropped.
pub(crate) struct LookedAt {
    shelves: Arc<Mutex<Vec<Arc<Shelf>>>>,
    shelf: Arc<Shelf>,
}

impl Drop for LookedAt {
    fn drop(&mut self) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| !Arc::ptr_eq(shelf, &self.shelf));
    }
}

impl Challenges {
    /// None due.
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let due = Arc::new(Due::default());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(due.clone());
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Self {
            provider,
            due,
            config: Arc::new(config),
            shelves: Arc::default(),
            looks: Semaphore::new(MAX_LOOKS),
        })
    }

    /// The text for a plain request of this path at this host (as in the Host header), where an order waits for it to
    /// be seen. `None` at once for any other path.
    pub(crate) async fn http(&self, host: &str, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(ACME_PATH)?;
        let host = canonical(authority::name(host));
        let here = self.due.read(|due| due.get(&host).cloned());
        let answer = match here {
            Some(answer) if answer.shown.token == token => answer,
            _ => self.elsewhere(&host).await?,
        };
        (answer.shown.token == token).then(|| answer.shown.text.as_str().into())
    }

    /// For a handshake in which nothing but `acme-tls/1` is offered, with this name.
    pub(crate) async fn server_config(&self, name: Option<&str>) -> Arc<ServerConfig> {
        if let Some(name) = name
            && !self.due.read(|due| due.contains_key(name))
        {
            self.elsewhere(name).await;
        }
        self.config.clone()
    }

    /// From now on this is shown for a host.
    pub(crate) fn show(&self, host: &str, shown: &Shown) -> Result<(), String> {
        let answer = self.answer(host, shown).map_err(|error| error.to_string())?;
        self.due.write(|due| due.insert(host.to_owned(), answer));
        Ok(())
    }

    /// No longer.
    pub(crate) fn hide(&self, host: &str) {
        self.due.write(|due| due.remove(host));
    }

    /// Also what others put into this store is shown, until what is returned is dropped.
    pub(crate) fn look_at(&self, shelf: Shelf) -> LookedAt {
        let shelf = Arc::new(shelf);
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.push(shelf.clone());
        LookedAt {
            shelves: self.shelves.clone(),
            shelf,
        }
    }

    /// What another balancer put there for a host. It is kept here until it is over, as authorities look more than once.
    async fn elsewhere(&self, host: &str) -> Option<Answer> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if host.len() > 253 || !host.bytes().all(is_name) || !host.contains('.') {
            return None;
        }
        let _one = self.looks.try_acquire().ok()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        let shelves = self
            .shelves
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for shelf in shelves {
            let found = tokio::time::timeout(PATIENCE, shelf.challenge(host, now)).await;
            if let Ok(Ok(Some(shown))) = found {
                let answer = self.answer(host, &shown).ok()?;
                self.due.write(|due| {
                    due.retain(|_, answer| answer.shown.until > now);
                    due.insert(host.to_owned(), answer.clone());
                });
                return Some(answer);
            }
        }
        None
    }

    fn answer(&self, host: &str, shown: &Shown) -> Result<Answer, rcgen::Error> {
        if shown.digest.len() != DIGEST {
            return Err(rcgen::Error::CouldNotParseCertificate);
        }
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&shown.digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = self.provider.key_provider.load_private_key(key);
        let key = key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        // Not compared with its key: the library refuses to read a certificate with this extension, which is critical.
        let certificate = CertifiedKey::new(vec![certificate.der().clone()], key);
        Ok(Answer {
            shown: shown.clone(),
            certificate: Arc::new(certificate),
        })
    }
}

impl Due {
    fn read<T>(&self, look: impl FnOnce(&HashMap<String, Answer>) -> T) -> T {
        look(&self.hosts.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut HashMap<String, Answer>) -> T) -> T {
        change(&mut self.hosts.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Due {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = canonical(hello.server_name()?);
        self.read(|due| due.get(&name).map(|answer| answer.certificate.clone()))
    }
}
