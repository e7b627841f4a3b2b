//! Certificate sources: `proxy.cs`.
//!
//! `cs=<name>;type=<type>;cert=<where>[;more…]`, separated by commas.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{BadValue, Item, Secret, masked};

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
    /// `eabkid`, `eabkey`: the account that the authority's customer has already.
    pub external: Option<ExternalAccount>,
    /// `prefix`: where account and certificates are kept in the KV store, or in which folder where it begins with a
    /// slash.
    pub prefix: String,
}

/// Whose customer we are at an authority that wants to know (external account binding, RFC 8555, 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// `eabkid`.
    pub id: String,
    /// `eabkey`, base64 as the authority gives it.
    pub key: Secret,
}

impl ExternalAccount {
    /// `None`: the key is none.
    fn new(id: &str, key: &str) -> Option<Self> {
        let external = Self {
            id: id.to_owned(),
            key: Secret::new(key),
        };
        external.bytes().is_some().then_some(external)
    }

    /// The key itself. Authorities give it for URLs or not, padded or not.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let text = self.key.reveal().trim_end_matches('=');
        let text = text.replace('+', "-").replace('/', "_");
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes.filter(|bytes| !bytes.is_empty())
    }
}

/// Every type of certificate source.
pub const CERT_TYPES: &[&str] = &["file", "path", "http", "consul", "vault", "vault-pki", "acme"];
/// Every option of a certificate source; those behind `vaultfetchtoken` go with `type=acme`.
pub const CERT_OPTIONS: &[&str] = &[
    "cs",
    "type",
    "cert",
    "key",
    "clientca",
    "refresh",
    "caupgcn",
    "hdr",
    "vaultfetchtoken",
    "email",
    "ca",
    "hosts",
    "prefix",
    "eabkid",
    "eabkey",
];
/// Certificates are looked at again after this long where `refresh` does not say.
const REFRESH: Duration = Duration::from_secs(3);
/// Looking more often helps nobody.
const LEAST_REFRESH: Duration = Duration::from_secs(1);
/// Where type=acme orders unless `cert` says another authority.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What is left to fill in by the options of the type.
#[derive(Default)]
struct Draft {
    name: String,
    kind: String,
    cert: String,
    key: Option<String>,
    refresh: Option<Duration>,
    client_ca: Option<String>,
    ca_upgrade_cn: Option<String>,
    header: Option<(String, Secret)>,
    vault_fetch_token: Option<String>,
    email: Option<String>,
    trust: Option<String>,
    hosts: Vec<String>,
    prefix: Option<String>,
    eab_kid: Option<String>,
    eab_key: Option<String>,
}

/// `proxy.cs`.
pub fn parse_certs(text: &str) -> (Vec<CertSource>, Vec<BadValue>) {
    super::each("proxy.cs", text, source, |source| &source.name)
}

fn source(item: &Item) -> Result<CertSource, BadValue> {
    let draft = draft(item)?;
    let missing = |key: &str, right: &str| {
        let whose = if draft.name.is_empty() || key == "cs" {
            String::new()
        } else {
            format!(" '{}'", draft.name)
        };
        BadValue::new(
            format!("proxy.cs: missing '{key}' in certificate source{whose}"),
            right,
        )
    };
    if draft.name.is_empty() {
        return Err(missing(
            "cs",
            "it is the name that listeners use, for example cs=main",
        ));
    }
    if draft.kind.is_empty() {
        return Err(missing("type", &kinds()));
    }
    if draft.cert.is_empty() && draft.kind != "acme" {
        return Err(missing("cert", "it says where certificates are"));
    }
    let refresh = draft.refresh;
    let polled = || match refresh {
        None => Some(REFRESH),
        Some(Duration::ZERO) => None,
        Some(refresh) => Some(refresh.max(LEAST_REFRESH)),
    };
    let (kind, refresh) = match draft.kind.as_str() {
        "file" => (
            CertKind::File {
                key: draft.key.unwrap_or_else(|| draft.cert.clone()),
                cert: draft.cert,
            },
            refresh.and_then(|_| polled()),
        ),
        "path" => (CertKind::Path(draft.cert), polled()),
        "http" => (CertKind::Http(url(&draft.cert)?), polled()),
        "consul" => (CertKind::Consul(consul(draft.cert)?), None),
        "vault" => (CertKind::Vault(draft.cert), polled()),
        "vault-pki" => (CertKind::VaultPki(draft.cert), refresh.and_then(|_| polled())),
        "acme" => (CertKind::Acme(acme(&draft)?), refresh.and_then(|_| polled())),
        other => {
            return Err(BadValue::new(
                format!("unknown cert source type {other}"),
                kinds(),
            ));
        }
    };
    Ok(CertSource {
        name: draft.name.into(),
        kind,
        client_ca: draft.client_ca,
        ca_upgrade_cn: draft.ca_upgrade_cn,
        refresh,
        header: draft.header,
        vault_fetch_token: draft.vault_fetch_token,
    })
}

fn kinds() -> String {
    format!("it is one of {}", CERT_TYPES.join(", "))
}

fn draft(item: &Item) -> Result<Draft, BadValue> {
    let mut draft = Draft::default();
    let some = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    for (key, value) in item {
        match key.as_str() {
            "cs" => draft.name.clone_from(value),
            "type" => draft.kind.clone_from(value),
            "cert" => draft.cert.clone_from(value),
            "key" => draft.key = some(value),
            "clientca" => draft.client_ca = some(value),
            "caupgcn" => draft.ca_upgrade_cn = some(value),
            "refresh" => draft.refresh = Some(super::duration("proxy.cs", key, value)?),
            "hdr" => draft.header = Some(super::parse_header(value)?),
            "vaultfetchtoken" => draft.vault_fetch_token = fetch_token(value)?,
            "email" => draft.email = some(value),
            "ca" => draft.trust = some(value),
            "hosts" => draft.hosts = super::words(value).map(str::to_ascii_lowercase).collect(),
            "prefix" => draft.prefix = some(value.trim_end_matches('/')),
            "eabkid" => draft.eab_kid = some(value),
            "eabkey" => draft.eab_key = some(value),
            _ => {
                let problem = format!("proxy.cs: unknown option '{key}'");
                let right = match key.as_str() {
                    "path" | "" => "where certificates are is said by cert=…".to_owned(),
                    _ => format!("there are {}", CERT_OPTIONS.join(", ")),
                };
                return Err(BadValue::new(problem, right));
            }
        }
    }
    let strays = [
        ("email", draft.email.is_some()),
        ("ca", draft.trust.is_some()),
        ("hosts", !draft.hosts.is_empty()),
        ("prefix", draft.prefix.is_some()),
        ("eabkid", draft.eab_kid.is_some()),
        ("eabkey", draft.eab_key.is_some()),
    ];
    let stray = strays.iter().find(|(_, given)| *given && draft.kind != "acme");
    match stray {
        Some((key, _)) => Err(BadValue::new(
            format!("proxy.cs: option '{key}' of certificate source '{}'", draft.name),
            "it goes with type=acme only",
        )),
        None => Ok(draft),
    }
}

fn fetch_token(text: &str) -> Result<Option<String>, BadValue> {
    let known = ["file:", "env:"]
        .iter()
        .any(|way| text.strip_prefix(way).is_some_and(|rest| !rest.is_empty()));
    if known || text.is_empty() {
        return Ok((!text.is_empty()).then(|| text.to_owned()));
    }
    // A token written here by mistake stays out of the message.
    Err(BadValue::new(
        "proxy.cs: invalid vaultfetchtoken",
        "it is file:/path or env:NAME, from where the token is read",
    ))
}

fn url(text: &str) -> Result<String, BadValue> {
    let uri: Option<hyper::Uri> = text.parse().ok();
    let known = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if known {
        return Ok(text.to_owned());
    }
    Err(BadValue::new(
        format!("proxy.cs: invalid url {}", masked(text)),
        "it is http://host[:port]/path or https://…",
    ))
}

fn consul(text: String) -> Result<Secret, BadValue> {
    let uri: hyper::Uri = url(&text)?
        .parse()
        .map_err(|_| BadValue::new("proxy.cs: invalid url", "see cert=…"))?;
    let prefix = uri.path().strip_prefix("/v1/kv/").unwrap_or_default();
    if prefix.is_empty() {
        return Err(BadValue::new(
            "proxy.cs: missing prefix: /v1/kv/",
            "it is http(s)://agent:8500/v1/kv/<prefix>",
        ));
    }
    Ok(Secret::new(text))
}

fn acme(draft: &Draft) -> Result<Acme, BadValue> {
    let directory = match draft.cert.as_str() {
        "" => LETS_ENCRYPT.to_owned(),
        given => url(given)?,
    };
    Ok(Acme {
        directory,
        email: draft.email.clone(),
        trust: draft.trust.clone(),
        hosts: draft.hosts.clone(),
        external: external(draft)?,
        prefix: draft.prefix.clone().unwrap_or_else(|| "lictor/acme".to_owned()),
    })
}

fn external(draft: &Draft) -> Result<Option<ExternalAccount>, BadValue> {
    let whose = &draft.name;
    match (&draft.eab_kid, &draft.eab_key) {
        (None, None) => Ok(None),
        (Some(kid), Some(key)) => match ExternalAccount::new(kid, key) {
            Some(external) => Ok(Some(external)),
            // The key stays out of the message.
            None => Err(BadValue::new(
                format!("proxy.cs: invalid eabkey of certificate source '{whose}'"),
                "it is the key in base64, as the authority gives it beside eabkid",
            )),
        },
        _ => Err(BadValue::new(
            format!("proxy.cs: certificate source '{whose}' has one of eabkid and eabkey"),
            "they go together",
        )),
    }
}
