//! Certificate sources: `proxy.cs`.

use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// Where certificates come from, under the name by which listeners and routes ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertSource {
    /// `cs`: its name.
    pub name: Arc<str>,
    /// `type`, and where.
    pub kind: CertKind,
    /// `clientca`: where the authorities of client certificates are; same kind of place. With it, listeners of this
    /// source let nobody in without such a certificate.
    pub client_ca: Option<String>,
    /// `caupgcn`: a client authority issued by this common name counts as one although it is not marked so.
    pub ca_upgrade_cn: Option<String>,
    /// `refresh`: time between two looks; `None`: once (or, where the source can say so, at every change).
    pub refresh: Option<Duration>,
    /// `hdr`: header of every request to the source, `Name: value`.
    pub header: Option<(String, Secret)>,
    /// `vaultfetchtoken`: `file:/path` or `env:NAME`, read anew at each use.
    pub vault_fetch_token: Option<String>,
}

/// What kind of place it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertKind {
    /// One pair of PEM files.
    File {
        /// Certificate chain, and the key where `key` is not given.
        cert: String,
        /// The key.
        key: String,
    },
    /// A folder of `*.pem`, with all below it.
    Path(String),
    /// URL of a list of PEM files, a name a line.
    Http(String),
    /// URL of a prefix in a Consul's KV store: `http(s)://agent/v1/kv/<prefix>[?token=…]`.
    Consul(Secret),
    /// Path of secrets with `cert` and `key` in a Vault, KV version 1 or 2.
    Vault(String),
    /// Path that issues certificates in a Vault: `pki/issue/role`.
    VaultPki(String),
    /// An ACME authority. Not fabio's.
    Acme(Acme),
}

/// Certificates ordered from an ACME authority (RFC 8555), for hosts in the table only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// `cert`: URL of the authority's directory.
    pub directory: String,
    /// `email`: whom the authority may write to.
    pub email: Option<String>,
    /// `ca`: PEM file of who vouches for the authority's own server; `None`: whom the system trusts.
    pub trust: Option<String>,
    /// `hosts`: further names, wanted even without a route; and of the names in the table only those that end so,
    /// where one begins with a dot.
    pub hosts: Vec<String>,
    /// `prefix`: where account and certificates are kept in the KV store.
    pub prefix: String,
}
