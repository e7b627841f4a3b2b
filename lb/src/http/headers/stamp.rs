//! What the operator wants on every request and answer (`proxy.header.*`), checked and ready to be set. Pure.

use std::net::IpAddr;

use hyper::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Peer, client_cert};
use crate::arrival::TlsFacts;
use crate::config::Headers;
use crate::policy::page;

/// A header that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proxy.header.{option}: '{text}' is no {what}")]
pub struct BadStamp {
    /// The option, after `proxy.header.`.
    pub option: &'static str,
    /// As written.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamp {
    client_ip: Option<HeaderName>,
    client_cert: Option<HeaderName>,
    tls: Option<(HeaderName, HeaderValue)>,
    request_id: Option<HeaderName>,
    sts: Option<HeaderValue>,
    /// `by=` in `Forwarded`.
    pub by: Option<IpAddr>,
    /// All of the above by name: clients cannot set or remove them.
    names: Box<[HeaderName]>,
}

impl Stamp {
    pub(crate) fn new(headers: &Headers) -> Result<Self, BadStamp> {
        let name = |option, text: &str| {
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| BadStamp {
                option,
                text: text.to_owned(),
                what: "name of a header",
            })
        };
        let optional = |option, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| name(option, text)).transpose()
        };
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| BadStamp {
                option: "tls.value",
                text: text.escape_debug().to_string(),
                what: "value of a header",
            })
        };
        let tls = headers.tls.as_ref().filter(|(header, _)| !header.is_empty());
        let tls = tls.map(|(header, text)| Ok((name("tls", header)?, value(text)?)));
        let mut stamp = Self {
            // Those two are set in any case, and are not always the client's address alone.
            client_ip: optional("clientip", &headers.client_ip)?
                .filter(|name| !matches!(name.as_str(), "x-forwarded-for" | "x-real-ip")),
            client_cert: optional("clientcert", &headers.client_cert)?,
            tls: tls.transpose()?,
            request_id: optional("requestid", &headers.request_id)?,
            sts: headers.sts.as_ref().map(page::sts),
            by: headers.local_ip,
            names: Box::default(),
        };
        let tls = stamp.tls.as_ref().map(|(name, _)| name);
        let (cert, id) = (stamp.client_cert.as_ref(), stamp.request_id.as_ref());
        let names = [stamp.client_ip.as_ref(), cert, tls, id];
        stamp.names = names.into_iter().flatten().cloned().collect();
        Ok(stamp)
    }

    /// Names that clients can neither set nor remove.
    pub(crate) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// What to say of the certificate that came with a connection, where that is wanted.
    pub(super) fn client_cert(&self, tls: Option<&TlsFacts>) -> Option<HeaderValue> {
        self.client_cert.as_ref()?;
        tls?.client_cert.as_deref().map(client_cert::header)
    }

    /// Sets what is wanted of a request from `client`. Whatever it said itself, trusted or not, is replaced: a proxy in
    /// front that is trusted for `X-Forwarded-*` does not know names that were chosen here.
    pub(crate) fn request(
        &self,
        headers: &mut HeaderMap,
        client: IpAddr,
        peer: &Peer,
        id: impl FnOnce() -> uuid::Uuid,
    ) {
        if let Some(name) = &self.client_ip {
            let address = HeaderValue::try_from(client.to_string());
            headers.insert(name, address.expect("addresses are visible ASCII"));
        }
        if let Some(name) = &self.client_cert {
            match &peer.cert {
                Some(cert) => headers.insert(name, cert.clone()),
                None => headers.remove(name),
            };
        }
        match &self.tls {
            Some((name, value)) if peer.is_tls => {
                headers.insert(name, value.clone());
            }
            Some((name, _)) => {
                headers.remove(name);
            }
            None => {}
        }
        if let Some(name) = &self.request_id {
            let id = HeaderValue::try_from(id().to_string());
            headers.insert(name, id.expect("UUIDs are visible ASCII"));
        }
    }

    /// Is there anything that it sets of answers?
    pub(crate) fn changes_answers(&self, is_tls: bool) -> bool {
        self.sts.is_some() && is_tls
    }

    /// Sets what is wanted of an answer.
    pub(crate) fn answer(&self, headers: &mut HeaderMap, is_tls: bool) {
        if let Some(sts) = self.sts.as_ref().filter(|_| is_tls) {
            page::set_sts(headers, sts);
        }
    }
}
