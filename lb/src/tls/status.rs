//! What is shown of certificate sources: everything but keys.

use serde::Serialize;

use super::source::Source;

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its type, in the words of `proxy.cs`.
    pub kind: &'static str,
    /// Its certificates, in their order: the first is the default.
    pub certificates: Vec<CertStatus>,
    /// Authorities of client certificates.
    pub client_authorities: usize,
    /// What is left out: entry → why.
    pub left_out: Vec<(String, String)>,
    /// Why the source itself fails now.
    pub failing: Option<String>,
    /// How often it or an entry of it failed.
    pub failures: u64,
    /// How often something changed.
    pub updates: u64,
}

/// One certificate.
#[derive(Clone, Debug, Serialize)]
pub struct CertStatus {
    /// Where in its source it comes from.
    pub entry: String,
    /// Names it is good for.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl SourceStatus {
    pub(super) fn of(source: &Source) -> Self {
        let store = &source.store;
        let certs = store.certs();
        let (faults, failing) = store.faults();
        let (failures, updates) = store.counts();
        Self {
            name: source.config.name.to_string(),
            kind: source.kind(),
            certificates: certs
                .pairs()
                .iter()
                .map(|pair| CertStatus {
                    entry: pair.label.to_string(),
                    names: pair.names.iter().map(|name| name.to_string()).collect(),
                    not_before: pair.not_before,
                    not_after: pair.not_after,
                })
                .collect(),
            client_authorities: store.authorities().map_or(0, |known| known.count()),
            left_out: faults
                .into_iter()
                .map(|((part, label), why)| (format!("{part:?} {label}"), why))
                .collect(),
            failing: failing.map(|problem| problem.to_string()),
            failures,
            updates,
        }
    }
}
