//! The certificate that every proxy shows: ECDSA P-256, made for this run and trusted by nobody else.

use std::path::PathBuf;

use rcgen::generate_simple_self_signed;
use rustls::pki_types::CertificateDer;

use crate::machine::{Machine, Outcome};

/// The name in it.
pub const NAME: &str = "bench.example.com";

/// Where its files are.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// The one behind the other, as HAProxy wants them.
    pub both: PathBuf,
    /// For clients that verify it.
    pub der: CertificateDer<'static>,
}

impl Certificate {
    pub fn make(machine: &Machine) -> Outcome<Self> {
        let text = |e: rcgen::Error| format!("no certificate: {e}");
        let made = generate_simple_self_signed([NAME.to_owned()]).map_err(text)?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Ok(Self {
            der: made.cert.der().clone(),
            both: machine.write("both.pem", &format!("{chain}{key}"))?,
            chain: machine.write("chain.pem", &chain)?,
            key: machine.write("key.pem", &key)?,
        })
    }
}
