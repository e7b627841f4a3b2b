//! How a server is spoken to. Connections are shared among requests that want the same way.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::table::options::UpstreamTls;
use crate::table::{HostHeader, Target};
use crate::upstream::Fault;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub authority: Arc<str>,
    pub h2: bool,
    /// `None`: without TLS.
    pub tls: Option<Arc<Tls>>,
}

/// TLS, and whom to expect.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    pub options: UpstreamTls,
    /// Asked for and verified.
    pub name: Box<str>,
}

impl Way {
    /// To `target`, as its options ask. An upgrade is spoken of in HTTP/1.1 alone, so it takes a connection of that
    /// even to servers that are otherwise spoken to in HTTP/2.
    pub(crate) fn to(target: &Target, is_upgrade: bool) -> Self {
        Self {
            authority: target.addr.clone(),
            h2: target.options.scheme.is_h2() && !is_upgrade,
            tls: target.options.scheme.is_tls().then(|| Arc::new(Tls::of(target))),
        }
    }

    /// For `:scheme`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Tls {
    /// The name that the route asks for, else the one that its Host header has, else the address.
    fn of(target: &Target) -> Self {
        let options = target.options.tls.clone();
        let name = match (&options.server_name, &target.options.host) {
            (Some(name), _) => name,
            (None, HostHeader::Name(name)) => &**name,
            (None, HostHeader::Client | HostHeader::Target) => &*target.addr,
        };
        Self {
            name: bare(name).into(),
            options,
        }
    }

    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Fault> {
        ServerName::try_from(self.name.to_string())
            .map_err(|_| Fault::Tls(format!("'{}' is no name that a certificate can have", self.name).into()))
    }
}

/// Without port and brackets.
fn bare(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_is_left_without_port_and_brackets() {
        for (authority, name) in [
            ("a.com:443", "a.com"),
            ("a.com", "a.com"),
            ("10.0.0.1:443", "10.0.0.1"),
            ("[::1]:443", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(bare(authority), name);
        }
    }
}
