//! What files would mean to a balancer that is not there yet: for whoever wants to know before a start. Pure.

use crate::Config;
use crate::config::CertSource;
use crate::policy::auth::htpasswd::Users;
use crate::table;
use crate::tls;
use crate::tls::pair::Pair;

/// What is wrong with a certificate and its key, which may be the same text; `None`: nothing.
#[must_use]
pub fn certificate(cert: &[u8], key: &[u8]) -> Option<String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Pair::from_pem("", cert, key, &provider)
        .err()
        .map(|bad| bad.to_string())
}

/// Why the places of a certificate source, as they are written, can never be read; `None`: they may be.
#[must_use]
pub fn place(source: &CertSource) -> Option<String> {
    tls::misplaced(source).err()
}

/// The lines of an htpasswd file that name nobody, and why.
#[must_use]
pub fn htpasswd(text: &[u8]) -> Vec<String> {
    Users::parse(text).1.iter().map(ToString::to_string).collect()
}

/// The route commands that would be left out, and why.
#[must_use]
pub fn commands(config: &Config, text: &str) -> Vec<String> {
    table::bad_commands(config, text)
}
