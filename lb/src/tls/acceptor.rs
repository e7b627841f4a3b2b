//! TLS with clients of one listener: shared by all workers, asked at every connection.
//!
//! What is current counts at each handshake; connections that are there are never touched by a change.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::challenges::{ACME_TLS, Challenges};
use super::demand::wait_for;
use super::pair::canonical;
use super::policy::Policy;
use super::store::{Asked, Clients, Store};
use crate::arrival::TlsFacts;

/// Why a connection is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The client took too long.
    #[error("TLS handshake took longer than {0:?}")]
    Late(Duration),
    /// The connection broke, or what the client wants is not had.
    #[error("TLS handshake: {0}")]
    Handshake(#[from] io::Error),
    /// It came back with a ticket, but its certificate is over.
    #[error("the client's certificate has expired")]
    Expired,
    /// No fault: an ACME authority was shown what it wanted to see (RFC 8737), and there is no more to say.
    #[error("an ACME challenge was answered")]
    Challenge,
}

/// What a listener shakes hands with; a cheap handle.
#[derive(Clone)]
pub(crate) struct Acceptor(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    policy: Policy,
    challenges: Arc<Challenges>,
    made: ArcSwapOption<Made>,
}

/// A configuration, and what it was made for.
struct Made {
    clients: Arc<Clients>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acceptor({:?} {:?})", self.0.store, self.0.policy)
    }
}

impl Acceptor {
    pub(super) fn new(
        store: Arc<Store>,
        mut policy: Policy,
        challenges: Arc<Challenges>,
    ) -> Result<Self, rustls::Error> {
        policy.strict |= store.always_strict;
        let inner = Inner {
            store,
            policy,
            challenges,
            made: ArcSwapOption::empty(),
        };
        let acceptor = Self(Arc::new(inner));
        // What cannot be, cannot be from the start.
        acceptor.config()?;
        Ok(acceptor)
    }

    /// Shakes hands. The client has `limit` for all of it, the time that a certificate takes to be made included.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
        limit: Duration,
    ) -> Result<(TlsStream<S>, TlsFacts), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::time::timeout(limit, self.shake(stream))
            .await
            .unwrap_or(Err(Refused::Late(limit)))
    }

    async fn shake<S>(&self, stream: S) -> Result<(TlsStream<S>, TlsFacts), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let name = hello.client_hello().server_name().map(canonical);
        if is_challenge(&hello.client_hello()) {
            let config = self.0.challenges.server_config(name.as_deref()).await;
            hello.into_stream(config).await?;
            return Err(Refused::Challenge);
        }
        if let (Some(source), Some(name)) = (&self.0.store.demand, &name)
            && self.0.store.certs().named(name).is_none()
        {
            wait_for(source, name).await;
        }
        let config = self
            .config()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let stream = hello.into_stream(config).await?;
        let facts = facts(&stream);
        let connection = stream.get_ref().1;
        if connection.handshake_kind() == Some(HandshakeKind::Resumed)
            && facts.client_cert.as_deref().is_some_and(is_over)
        {
            return Err(Refused::Expired);
        }
        Ok((stream, facts))
    }

    /// For a handshake that begins now. Made anew when the authorities of clients have changed.
    fn config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let clients = self.0.store.clients();
        if let Some(made) = &*self.0.made.load()
            && Arc::ptr_eq(&made.clients, &clients)
        {
            return Ok(made.config.clone());
        }
        let config = Arc::new(self.make(&clients)?);
        // Two workers may both make one; either will do, as tickets belong to `clients`.
        self.0.made.store(Some(Arc::new(Made {
            clients,
            config: config.clone(),
        })));
        Ok(config)
    }

    fn make(&self, clients: &Clients) -> Result<ServerConfig, rustls::Error> {
        let policy = &self.0.policy;
        let builder = ServerConfig::builder_with_provider(policy.provider.clone())
            .with_protocol_versions(&policy.versions)?;
        let (verifier, open) = match &clients.asked {
            Asked::No => (Arc::new(NoClientAuth) as _, true),
            Asked::NobodyVouches => (Arc::new(NoClientAuth) as _, false),
            Asked::For(_, verifier) => (verifier.clone(), true),
        };
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Chooser {
                store: self.0.store.clone(),
                strict: policy.strict,
                open,
            }));
        config.alpn_protocols = policy.alpn.protocols();
        config.ticketer = clients.ticketer.clone();
        // Clients without tickets are of another age, and the store for them is one lock for all workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

/// Chooses the certificate, from what the store has now.
struct Chooser {
    store: Arc<Store>,
    strict: bool,
    open: bool,
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chooser({:?} {} {})", self.store, self.strict, self.open)
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !self.open {
            return None;
        }
        let certs = self.store.certs();
        certs
            .choose(hello.server_name(), self.strict)
            .map(|pair| pair.key.clone())
    }
}

/// Whether the client offers nothing but `acme-tls/1`.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello
        .alpn()
        .is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
}

fn facts<S>(stream: &TlsStream<S>) -> TlsFacts {
    let connection = stream.get_ref().1;
    let certificates = connection.peer_certificates();
    TlsFacts {
        version: connection.protocol_version().map_or(0, u16::from),
        cipher: connection
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite())),
        h2: connection.alpn_protocol() == Some(b"h2"),
        client_cert: certificates
            .and_then(<[_]>::first)
            .map(|certificate| certificate.as_ref().into()),
    }
}

/// Whether a certificate has expired.
fn is_over(der: &[u8]) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        u64::try_from(certificate.validity().not_after.timestamp()).is_ok_and(|end| end < now)
    })
}
