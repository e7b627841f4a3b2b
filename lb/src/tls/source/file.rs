//! One pair of PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::Source;
use super::path::small_file;
use crate::tls::authorities::Authorities;
use crate::tls::pair::{BadPair, Pair};
use crate::tls::store::Entry;

/// Reads it at the start, when all of it must be right.
pub(super) fn first(
    source: &Source,
    cert: &str,
    key: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<(), String> {
    let (label, pair) = entry(cert, key, provider);
    let pair = pair.map_err(|error| match error {
        BadPair::Unreadable(problem) => problem,
        bad => format!("cert {cert}, key {key}: {bad}"),
    })?;
    source.store.offer(vec![(label, Ok(pair))]);
    if let Some(path) = &source.config.client_ca {
        let told = |problem: String| format!("clientca {path}: {problem}");
        let text = small_file(Path::new(path)).map_err(told)?;
        let upgrade = source.config.ca_upgrade_cn.as_deref();
        let (authorities, faults) = Authorities::from_pem([text.as_slice()], upgrade);
        if let Some(fault) = faults.first() {
            return Err(told(fault.to_string()));
        }
        source.store.offer_authorities((authorities, faults));
    }
    Ok(())
}

/// As it is now.
pub(super) fn entry(cert: &str, key: &str, provider: &CryptoProvider) -> Entry {
    let text = |path: &str| {
        let told = |problem| BadPair::Unreadable(format!("{path}: {problem}"));
        small_file(Path::new(path)).map_err(told)
    };
    let pair = text(cert).and_then(|cert_pem| {
        let key_pem = if key == cert { cert_pem.clone() } else { text(key)? };
        Pair::from_pem(cert, &cert_pem, &key_pem, provider)
    });
    (cert.into(), pair)
}
