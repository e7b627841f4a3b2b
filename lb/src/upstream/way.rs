//! How a server is spoken to. Connections are shared among requests that want the same way.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::authority;
use crate::table::options::{Scheme, UpstreamTls};
use crate::table::{HostHeader, Options, Target};
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
        let Options {
            scheme, tls, host, ..
        } = &*target.options;
        let way = Self::new(&target.addr, *scheme, tls, host);
        Self {
            h2: way.h2 && !is_upgrade,
            ..way
        }
    }

    /// Requests without a body that go this way and are not answered are handed back, sent or not.
    pub(crate) fn hands_back(&self) -> bool {
        !self.h2 && self.tls.is_none()
    }

    /// To an address as these options ask.
    pub(crate) fn new(addr: &Arc<str>, scheme: Scheme, tls: &UpstreamTls, host: &HostHeader) -> Self {
        Self {
            authority: addr.clone(),
            h2: scheme.is_h2(),
            tls: scheme.is_tls().then(|| Arc::new(Tls::new(addr, tls, host))),
        }
    }

    /// For `:scheme`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Tls {
    /// The name that the route asks for, else the one that its Host header has, else the address.
    fn new(addr: &str, options: &UpstreamTls, host: &HostHeader) -> Self {
        let name = match (&options.server_name, host) {
            (Some(name), _) => name,
            (None, HostHeader::Name(name)) => &**name,
            (None, HostHeader::Client | HostHeader::Target) => addr,
        };
        Self {
            name: authority::name(name).into(),
            options: options.clone(),
        }
    }

    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Fault> {
        ServerName::try_from(self.name.to_string())
            .map_err(|_| Fault::Tls(format!("'{}' is no name that a certificate can have", self.name).into()))
    }
}
