//! Authorities of a source (`clientca`): who vouches for clients of its listeners, and for targets that routes
//! verify by it. Pure.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pair::{BadPair, certificates};

/// Why a certificate is no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAuthority {
    /// The text holds none.
    #[error(transparent)]
    Text(#[from] BadPair),
    /// It may not sign others.
    #[error("'{0}' is no authority (basic constraints) and its issuer is not the one of caupgcn")]
    NotOne(String),
    /// The library will not take it.
    #[error("'{subject}' cannot be used as an authority: {problem}")]
    Unfit {
        /// Whose.
        subject: String,
        /// What is wrong.
        problem: String,
    },
}

/// At least one authority.
#[derive(Debug)]
pub(crate) struct Authorities {
    ders: Vec<CertificateDer<'static>>,
    /// For verification.
    pub(crate) roots: Arc<RootCertStore>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.ders == other.ders
    }
}

impl Authorities {
    /// Out of PEM texts, and what is wrong with those that are left out. `upgrade_cn`: a certificate issued by this
    /// common name counts as an authority although it is not marked as one (`caupgcn`).
    pub(crate) fn from_pem<'a>(
        texts: impl IntoIterator<Item = &'a [u8]>,
        upgrade_cn: Option<&str>,
    ) -> (Option<Self>, Vec<BadAuthority>) {
        let mut roots = RootCertStore::empty();
        let (mut ders, mut faults) = (Vec::new(), Vec::new());
        for text in texts {
            let found = match certificates(text) {
                Ok(found) => found,
                Err(fault) => {
                    faults.push(fault.into());
                    continue;
                }
            };
            for der in found {
                match checked(&der, upgrade_cn).and_then(|subject| {
                    let added = roots.add(der.clone());
                    added.map_err(|error| BadAuthority::Unfit {
                        subject,
                        problem: error.to_string(),
                    })
                }) {
                    Ok(()) => ders.push(der),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        ders.sort_by(|left, right| left.as_ref().cmp(right.as_ref()));
        ders.dedup();
        let authorities = (!ders.is_empty()).then(|| Self {
            ders,
            roots: Arc::new(roots),
        });
        (authorities, faults)
    }

    /// Asks clients for a certificate of theirs, and takes no connection without.
    pub(crate) fn client_verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.ders.len()
    }
}

/// Whether it may vouch for others. Its subject, for messages.
fn checked(der: &[u8], upgrade_cn: Option<&str>) -> Result<String, BadAuthority> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| BadPair::Certificate(error.to_string()))?;
    let subject = certificate.subject().to_string();
    let mut issuers = certificate.issuer().iter_common_name();
    let upgraded = upgrade_cn.is_some_and(|wanted| issuers.any(|name| name.as_str() == Ok(wanted)));
    if certificate.is_ca() || upgraded {
        Ok(subject)
    } else {
        Err(BadAuthority::NotOne(subject))
    }
}
