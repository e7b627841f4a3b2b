//! Names and texts of PEM files → entries, as fabio pairs them: `X-cert.pem` goes with `X-key.pem`, any other
//! `*.pem` holds both. Pure.

use std::collections::BTreeMap;

use rustls::crypto::CryptoProvider;

use crate::tls::authorities::{Authorities, BadAuthority};
use crate::tls::pair::{BadPair, Pair};
use crate::tls::store::Entry;

/// More files than this in one source are left out.
pub(super) const MAX_FILES: usize = 10_000;
/// Bytes that all files of one source may have together.
pub(super) const MAX_ALL: usize = 64 << 20;

const CERT: &str = "-cert.pem";
const KEY: &str = "-key.pem";

/// PEM files by name: the text, or why it cannot be had.
pub(super) type Files = BTreeMap<String, Result<Vec<u8>, String>>;

/// Pairs them. A certificate without its key is an entry that is left out, and so is a key without its certificate.
pub(super) fn entries(files: &Files, provider: &CryptoProvider) -> Vec<Entry> {
    let certs = files.keys().filter_map(|name| {
        if let Some(stem) = name.strip_suffix(CERT) {
            return Some((name.clone(), format!("{stem}{KEY}")));
        }
        match name.strip_suffix(KEY) {
            Some(stem) => {
                let cert = format!("{stem}{CERT}");
                (!files.contains_key(&cert)).then(|| (cert, name.clone()))
            }
            None => name.ends_with(".pem").then(|| (name.clone(), name.clone())),
        }
    });
    certs
        .map(|(cert, key)| (cert.as_str().into(), pair(files, &cert, &key, provider)))
        .collect()
}

fn pair(files: &Files, cert: &str, key: &str, provider: &CryptoProvider) -> Result<Pair, BadPair> {
    let text = |name: &str| match files.get(name) {
        Some(Ok(text)) => Ok(text.as_slice()),
        Some(Err(problem)) => Err(BadPair::Unreadable(problem.clone())),
        None => Err(BadPair::Unreadable(format!("there is no {name} beside it"))),
    };
    Pair::from_pem(cert, text(cert)?, text(key)?, provider)
}

/// All certificates of all files are authorities.
pub(super) fn authorities(
    files: &Files,
    upgrade_cn: Option<&str>,
) -> (Option<Authorities>, Vec<BadAuthority>) {
    let texts = files.values().filter_map(|text| text.as_deref().ok());
    let (authorities, mut faults) = Authorities::from_pem(texts, upgrade_cn);
    let unread = files.values().filter_map(|text| text.as_ref().err());
    faults.extend(unread.map(|problem| BadPair::Unreadable(problem.clone()).into()));
    (authorities, faults)
}

#[cfg(test)]
mod tests;
