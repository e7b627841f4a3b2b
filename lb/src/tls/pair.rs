//! A certificate with its key, out of PEM text: what a client is shown, and for which names. Pure.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Largest text that is looked at for a certificate, a key or authorities.
pub(crate) const MAX_PEM: usize = 1 << 20;

/// Why a text is no certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPair {
    /// The text is no PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// There is no certificate in it.
    #[error("holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// There is no key in it.
    #[error("holds no private key")]
    NoKey,
    /// The certificate cannot be read.
    #[error("certificate cannot be read: {0}")]
    Certificate(String),
    /// The key is of no kind that can be used.
    #[error("private key cannot be used: {0}")]
    Key(String),
    /// They do not belong together.
    #[error("private key is not the one of the certificate")]
    Mismatch,
    /// Nobody's certificate is as long.
    #[error("there is more of it than 1 MiB")]
    TooLarge,
    /// What it was to be read from gave nothing.
    #[error("{0}")]
    Unreadable(String),
}

/// A certificate chain with its key.
pub(crate) struct Pair {
    /// Where in its source it comes from: a file name, a key. The order of a source is that of its labels.
    pub(crate) label: Arc<str>,
    /// What is shown.
    pub(crate) key: Arc<CertifiedKey>,
    /// Names that it is good for, lower case, no dot at the end: common name, then alternative names.
    pub(crate) names: Box<[Box<str>]>,
    /// From when it is valid, seconds since 1970.
    pub(crate) not_before: i64,
    /// Until when.
    pub(crate) not_after: i64,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({} {:?})", self.label, self.names)
    }
}

impl PartialEq for Pair {
    /// The same label and chain. Keys need no look: each belongs to its certificate.
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.key.cert == other.key.cert
    }
}

impl Pair {
    /// Out of the text of a certificate chain, leaf first, and that of its key, which may be the same text.
    pub(crate) fn from_pem(
        label: &str,
        cert: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, BadPair> {
        if cert.len().max(key.len()) > MAX_PEM {
            return Err(BadPair::TooLarge);
        }
        let chain = certificates(cert)?;
        let key = sections(key)?
            .into_iter()
            .find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der))
            .ok_or(BadPair::NoKey)?;
        Self::new(label, chain, key, provider)
    }

    /// Out of a chain, leaf first, and its key.
    pub(crate) fn new(
        label: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, BadPair> {
        let leaf = chain.first().ok_or(BadPair::NoCertificate)?;
        let facts = facts(leaf)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| BadPair::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // Unknown: a key that cannot tell its public half. None of this provider's is such.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(BadPair::Mismatch),
            Err(error) => return Err(BadPair::Certificate(error.to_string())),
        }
        Ok(Self {
            label: label.into(),
            key: Arc::new(key),
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }

    /// Time from which a new one should be there: two thirds of its life are over.
    pub(crate) fn renew_at(&self) -> i64 {
        self.not_before + (self.not_after - self.not_before) / 3 * 2
    }
}

/// Every certificate of a PEM text, in order; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadPair> {
    let found: Vec<_> = sections(pem)?
        .into_iter()
        .filter_map(|(kind, der)| CertificateDer::from_pem(kind, der))
        .collect();
    if found.is_empty() {
        Err(BadPair::NoCertificate)
    } else {
        Ok(found)
    }
}

fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, BadPair> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| BadPair::Pem(error.to_string()))
}

struct Facts {
    names: Box<[Box<str>]>,
    not_before: i64,
    not_after: i64,
}

/// Names and times of a certificate.
fn facts(der: &[u8]) -> Result<Facts, BadPair> {
    let (_, leaf) =
        X509Certificate::from_der(der).map_err(|error| BadPair::Certificate(error.to_string()))?;
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        let name: Box<str> = canonical(name).into();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    for name in leaf.subject().iter_common_name() {
        // A common name in an odd encoding is nothing a client can ask for.
        add(name.as_str().unwrap_or_default());
    }
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            if let GeneralName::DNSName(name) = name {
                add(name);
            }
        }
    }
    let validity = leaf.validity();
    Ok(Facts {
        names: names.into(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// A name as names are compared: lower case, no dot at the end.
pub(crate) fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
