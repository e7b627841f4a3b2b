//! Who asked, and for what: `X-Forwarded-*`, `X-Real-Ip`, `Forwarded` (RFC 7239). Pure.
//!
//! What a trusted peer says is kept and its own address appended, as fabio does for everybody. What anyone else
//! says about such things is replaced: a server believes these headers, so only we may write them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hyper::http::Version;
use hyper::http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

use super::{Sight, Stamp};
use crate::arrival::{Arrival, TlsFacts};
use crate::authority;
use crate::policy::origin::forwarded;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// What a route with `strip=` took off the path.
pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The headers of this file: what a server believes because we say so.
pub(super) const VOUCHED: [HeaderName; 7] = [
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PORT,
    FORWARDED_PREFIX,
    FORWARDED_PROTO,
    REAL_IP,
    header::FORWARDED,
];

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
const HTTP_PORT: HeaderValue = HeaderValue::from_static("80");
const HTTPS_PORT: HeaderValue = HeaderValue::from_static("443");

/// Who is at the other end of a client connection. Made once per connection, so header values are too.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Address of the client.
    pub addr: SocketAddr,
    /// Forwarded headers it sends are believed.
    pub trusted: bool,
    /// It speaks TLS to us.
    pub is_tls: bool,
    /// What its certificate says, where a header shall tell.
    pub cert: Option<HeaderValue>,
    ip: HeaderValue,
    /// `for=` in our element of `Forwarded`.
    node: String,
    /// What follows `proto=` there, but for the version of HTTP: before and after it.
    around: (String, String),
    /// Our element for requests of the version that is likely here.
    forwarded: HeaderValue,
    version: Version,
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'a> {
    pub peer: &'a Peer,
    pub version: Version,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// Who sent it, behind trusted peers.
    pub client: IpAddr,
    /// What its head has.
    pub sight: Sight,
}

impl Peer {
    pub(crate) fn new(arrival: &Arrival, trusted: bool, stamp: &Stamp) -> Self {
        let ip = arrival.client.ip().to_canonical();
        let tls = arrival.tls.as_deref();
        let by = stamp.by.map(|by| format!("; by={}", node(by.to_canonical())));
        let is_h2 = tls.is_some_and(|facts| facts.h2);
        let mut peer = Self {
            addr: SocketAddr::new(ip, arrival.client.port()),
            trusted,
            is_tls: tls.is_some(),
            cert: stamp.client_cert(tls),
            ip: value(ip.to_string()),
            node: node(ip),
            around: (by.unwrap_or_default(), tls.map(facts).unwrap_or_default()),
            forwarded: HTTP,
            version: if is_h2 { Version::HTTP_2 } else { Version::HTTP_11 },
        };
        peer.forwarded = peer.element(peer.version, false);
        peer
    }

    /// Our element of `Forwarded`, with fabio's additions to RFC 7239.
    fn element(&self, version: Version, websocket: bool) -> HeaderValue {
        let scheme = match (websocket, self.is_tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let version = match version {
            Version::HTTP_10 => "http/1.0",
            Version::HTTP_2 => "http/2.0",
            _ => "http/1.1",
        };
        let (by, tls) = &self.around;
        value(format!(
            "for={}; proto={scheme}{by}; httpproto={version}{tls}",
            self.node
        ))
    }
}

/// RFC 7239 wants IPv6 addresses in brackets and quotes.
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

fn facts(tls: &TlsFacts) -> String {
    let version = match tls.version {
        0x0301 => "tls10",
        0x0302 => "tls11",
        0x0303 => "tls12",
        _ => "tls13",
    };
    format!("; tlsver={version}; tlscipher=0x{:04x}", tls.cipher)
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("addresses and ports are visible ASCII")
}

/// Tells the server who asked, and for what. `host` is the canonical one.
pub(crate) fn forward(headers: &mut HeaderMap, hop: Hop<'_>, host: &str) {
    let peer = hop.peer;
    // Those here, and CDN-Loop; or the map grows step by step.
    headers.reserve(VOUCHED.len());
    let ours = match hop {
        Hop { websocket: false, .. } if hop.version == peer.version => peer.forwarded.clone(),
        _ => peer.element(hop.version, hop.websocket),
    };
    if !peer.trusted {
        if hop.sight.prefix {
            headers.remove(FORWARDED_PREFIX);
        }
        headers.insert(FORWARDED_FOR, peer.ip.clone());
        headers.insert(REAL_IP, peer.ip.clone());
        headers.insert(FORWARDED_PORT, port(host, peer.is_tls));
        headers.insert(FORWARDED_PROTO, own_scheme(peer));
        set_forwarded_host(headers);
        headers.insert(header::FORWARDED, ours);
        return;
    }
    let proto = scheme(headers, peer);
    let is_tls = proto == HTTPS;
    fold(headers, FORWARDED_FOR, &peer.ip);
    set_if_absent(headers, REAL_IP, || value(hop.client.to_string()));
    set_if_absent(headers, FORWARDED_PROTO, || proto);
    set_if_absent(headers, FORWARDED_PORT, || port(host, is_tls));
    if !headers.contains_key(FORWARDED_HOST) {
        set_forwarded_host(headers);
    }
    fold(headers, header::FORWARDED, &ours);
}

fn set_if_absent(headers: &mut HeaderMap, name: HeaderName, value: impl FnOnce() -> HeaderValue) {
    if let Entry::Vacant(absent) = headers.entry(name) {
        absent.insert(value());
    }
}

fn set_forwarded_host(headers: &mut HeaderMap) {
    match headers.get(header::HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
}

fn port(host: &str, is_tls: bool) -> HeaderValue {
    let (_, named) = authority::split(host);
    let named = named.and_then(|port| HeaderValue::from_str(port).ok());
    named.unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT })
}

fn own_scheme(peer: &Peer) -> HeaderValue {
    if peer.is_tls { HTTPS } else { HTTP }
}

/// The scheme that the client used, before any trusted peer: what that says, in either header, else our own.
pub(crate) fn scheme(headers: &HeaderMap, peer: &Peer) -> HeaderValue {
    if !peer.trusted {
        return own_scheme(peer);
    }
    if let Some(said) = headers.get(FORWARDED_PROTO) {
        return said.clone();
    }
    let said = headers
        .get(header::FORWARDED)
        .and_then(|value| value.to_str().ok());
    match said.and_then(|said| forwarded(said, "proto").next()?) {
        Some("ws") => HTTP,
        Some("wss") => HTTPS,
        Some(proto) => HeaderValue::from_str(proto).unwrap_or(own_scheme(peer)),
        None => own_scheme(peer),
    }
}

/// Appends to what was said before, in one line, so that no server reads only half of it.
pub(super) fn fold(headers: &mut HeaderMap, name: HeaderName, last: &HeaderValue) {
    let mut said = match headers.entry(name) {
        Entry::Vacant(none) => {
            none.insert(last.clone());
            return;
        }
        Entry::Occupied(said) => said,
    };
    let mut folded = String::new();
    for earlier in said.iter().filter_map(|value| value.to_str().ok()) {
        if !earlier.trim().is_empty() {
            write!(folded, "{}, ", earlier.trim()).expect("writing to a String never fails");
        }
    }
    let folded = if folded.is_empty() {
        last.clone()
    } else {
        folded.push_str(last.to_str().expect("made of visible ASCII"));
        value(folded)
    };
    said.insert(folded);
}
