//! One pair of PEM files.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::Source;
use crate::tls::authorities::Authorities;
use crate::tls::pair::{MAX_PEM, Pair};

/// Reads it at the start, when all of it must be right.
pub(super) fn first(
    source: &Source,
    cert: &str,
    key: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<(), String> {
    let cert_pem = read(cert)?;
    let key_pem = if key == cert { cert_pem.clone() } else { read(key)? };
    let pair = Pair::from_pem(cert, &cert_pem, &key_pem, provider)
        .map_err(|error| format!("{cert} with {key}: {error}"))?;
    source.store.offer(vec![(cert.into(), Ok(pair))]);
    if let Some(path) = &source.config.client_ca {
        let text = read(path)?;
        let upgrade = source.config.ca_upgrade_cn.as_deref();
        let (authorities, faults) = Authorities::from_pem([text.as_slice()], upgrade);
        if let Some(fault) = faults.first() {
            return Err(format!("clientca {path}: {fault}"));
        }
        source.store.offer_authorities((authorities, faults));
    }
    Ok(())
}

/// A small file.
fn read(path: &str) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{path}: {error}");
    let size = std::fs::metadata(path).map_err(told)?.len();
    if size > MAX_PEM as u64 {
        return Err(format!("{path}: longer than 1 MiB"));
    }
    std::fs::read(path).map_err(told)
}
