//! TLS of one listener as rustls is told: versions, ciphers, protocols. Pure.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use crate::config::{Proto, Tls};

const V1_2: u16 = 0x0303;
const V1_3: u16 = 0x0304;

/// What is spoken inside TLS, as a client may choose (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// Nobody knows: nothing is offered, and whatever the client offers is passed over. fabio offers HTTP on TCP
    /// listeners too, so that a client of another protocol that says its name is turned away.
    Opaque,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2, else HTTP/1.1.
    Http,
}

impl Alpn {
    /// What listeners of this kind offer.
    pub(crate) fn of(proto: Proto) -> Self {
        match proto {
            Proto::Tcp | Proto::TcpSni | Proto::TcpDynamic => Self::Opaque,
            Proto::Prometheus => Self::Http1,
            Proto::Http | Proto::Https | Proto::HttpsTcpSni | Proto::Grpc | Proto::Grpcs => Self::Http,
        }
    }

    /// As rustls has it.
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Opaque => Vec::new(),
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// Why a listener cannot speak TLS as it is told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// Nothing that is still safe would be left.
    #[error("tlsmax is below TLS 1.2, and nothing older is spoken: tls12 or tls13, or leave it out")]
    TooOld,
    /// No version is both.
    #[error("tlsmin is above tlsmax: leave one of them out")]
    NoVersion,
    /// TLS 1.2 is all that is wanted, with ciphers that are not had.
    #[error("tlsciphers names none that is spoken; those are: {0}")]
    NoCipher(String),
}

/// Versions and ciphers of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// `strictmatch`.
    pub(crate) strict: bool,
    /// What it offers inside.
    pub(crate) alpn: Alpn,
    /// Ciphers among the rest.
    pub(crate) provider: Arc<CryptoProvider>,
    /// Versions.
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
}

impl Policy {
    /// As the listener asks. TLS 1.0 and 1.1 as the oldest mean 1.2; ciphers that are not spoken are left out of its
    /// list, and said.
    pub(crate) fn new(tls: &Tls, alpn: Alpn, provider: &Arc<CryptoProvider>) -> Result<Self, BadPolicy> {
        let (min, max) = (tls.min.unwrap_or(V1_2).max(V1_2), tls.max.unwrap_or(V1_3));
        if max < V1_2 {
            return Err(BadPolicy::TooOld);
        }
        let mut versions: Vec<_> = [&TLS13, &TLS12]
            .into_iter()
            .filter(|version| (min..=max).contains(&u16::from(version.version)))
            .collect();
        if versions.is_empty() {
            return Err(BadPolicy::NoVersion);
        }
        let mut chosen = (**provider).clone();
        if !tls.ciphers.is_empty() {
            let wanted = |suite: &SupportedCipherSuite| tls.ciphers.contains(&u16::from(suite.suite()));
            for &cipher in &tls.ciphers {
                if !provider
                    .cipher_suites
                    .iter()
                    .any(|suite| u16::from(suite.suite()) == cipher)
                {
                    let cipher = format!("{:?}", rustls::CipherSuite::from(cipher));
                    // Nothing to act upon: what is left out is not spoken, so nobody is let in by it.
                    tracing::info!(source = %tls.source, %cipher, "tlsciphers: not spoken, left out");
                }
            }
            chosen
                .cipher_suites
                .retain(|suite| suite.version().version == ProtocolVersion::TLSv1_3 || wanted(suite));
            let has = |version| {
                chosen
                    .cipher_suites
                    .iter()
                    .any(|suite| suite.version().version == version)
            };
            versions.retain(|version| has(version.version));
            if versions.is_empty() {
                return Err(BadPolicy::NoCipher(spoken(provider)));
            }
        }
        Ok(Self {
            strict: tls.strict,
            alpn,
            provider: Arc::new(chosen),
            versions,
        })
    }
}

/// Names of the ciphers of TLS 1.2.
fn spoken(provider: &CryptoProvider) -> String {
    let suites = provider.cipher_suites.iter();
    let names = suites
        .filter(|suite| suite.version().version == ProtocolVersion::TLSv1_2)
        .map(|suite| format!("{:?}", suite.suite()));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
