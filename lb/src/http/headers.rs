//! Which headers go to the server, and which come back. Pure.
//!
//! Order is everything: what concerns one connection only is dropped first, by the client's own list,
//! then ours are set. So no client can make us drop a header that we vouch for.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hyper::http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

use crate::http::host;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// What a route with `strip=` took off the path.
pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const HTTP: HeaderValue = HeaderValue::from_static("http");
const PORT_80: HeaderValue = HeaderValue::from_static("80");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Headers that a client's `Connection` list may not remove: those we set, and those that say where
/// and how long a message is.
const PROTECTED: [HeaderName; 9] = [
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PORT,
    FORWARDED_PREFIX,
    FORWARDED_PROTO,
    REAL_IP,
    header::FORWARDED,
    header::HOST,
    header::CONTENT_LENGTH,
];

/// Who is at the other end of a client connection. Made once per connection, so header values are too.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Address of the client.
    pub addr: SocketAddr,
    /// Forwarded headers it sends are believed.
    pub trusted: bool,
    ip: HeaderValue,
    forwarded: HeaderValue,
}

impl Peer {
    /// `local` is the address the client connected to.
    pub(crate) fn new(addr: SocketAddr, local: SocketAddr, trusted: bool) -> Self {
        let ip = addr.ip().to_canonical();
        let forwarded = format!(
            "for={}; proto=http; by={}",
            node(ip),
            node(local.ip().to_canonical())
        );
        Self {
            addr: SocketAddr::new(ip, addr.port()),
            trusted,
            ip: value(ip.to_string()),
            forwarded: value(forwarded),
        }
    }
}

/// RFC 7239 wants IPv6 addresses in brackets and quotes.
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("addresses and ports are visible ASCII")
}

/// Drops what concerns only the connection a message came on. Returns the protocol it asks to upgrade to, but for
/// `h2c`: that would be HTTP again, on a connection on which nobody routes and checks it any more.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut upgrade = false;
    if headers.contains_key(header::CONNECTION) {
        let listed: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        for name in listed
            .iter()
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','))
        {
            let name = name.trim();
            upgrade |= name.eq_ignore_ascii_case("upgrade");
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
                && !PROTECTED.contains(&name)
                && name != header::UPGRADE
                && name != header::TE
            {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(header::PROXY_AUTHENTICATE);
    headers.remove(header::PROXY_AUTHORIZATION);
    // A length beside it was not what the body was read by, so the next reader must not believe it.
    if headers.remove(header::TRANSFER_ENCODING).is_some() {
        headers.remove(header::CONTENT_LENGTH);
    }
    let takes_trailers = headers
        .remove(header::TE)
        .is_some_and(|te| lists(&te, "trailers"));
    if takes_trailers {
        headers.insert(header::TE, TRAILERS);
    }
    let protocol = headers.remove(header::UPGRADE)?;
    (upgrade && !lists(&protocol, "h2c")).then_some(protocol)
}

/// Asks for (or agrees to) an upgrade on the next connection.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, protocol);
}

fn lists(value: &HeaderValue, word: &str) -> bool {
    value
        .to_str()
        .is_ok_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
}

/// Tells the server who asked, and for what. `host` is the canonical one.
///
/// What a trusted peer says is kept and its own address appended, as fabio does for everybody. What anyone else
/// says about such things is replaced: a server believes these headers, so only we may write them.
pub(crate) fn forward(headers: &mut HeaderMap, peer: &Peer, host: &str) {
    if !peer.trusted {
        headers.remove(FORWARDED_PREFIX);
        headers.insert(FORWARDED_FOR, peer.ip.clone());
        headers.insert(REAL_IP, peer.ip.clone());
        headers.insert(FORWARDED_PROTO, HTTP);
        headers.insert(FORWARDED_PORT, port(host));
        set_forwarded_host(headers);
        headers.insert(header::FORWARDED, peer.forwarded.clone());
        return;
    }
    let proto = connection_scheme(headers);
    append_for(headers, peer);
    set_if_absent(headers, REAL_IP, || peer.ip.clone());
    set_if_absent(headers, FORWARDED_PROTO, || proto);
    set_if_absent(headers, FORWARDED_PORT, || port(host));
    if !headers.contains_key(FORWARDED_HOST) {
        set_forwarded_host(headers);
    }
    append_forwarded(headers, peer);
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

fn port(host: &str) -> HeaderValue {
    host::port(host)
        .and_then(|port| HeaderValue::from_str(port).ok())
        .unwrap_or(PORT_80)
}

/// The scheme that the client used, before any trusted peer: `http` on this listener.
pub(crate) fn scheme(headers: &HeaderMap, peer: &Peer) -> HeaderValue {
    if !peer.trusted {
        return HTTP;
    }
    match headers.get(FORWARDED_PROTO) {
        Some(said) => said.clone(),
        None => connection_scheme(headers),
    }
}

/// Scheme for `X-Forwarded-Proto`: what a `Forwarded` header from a trusted peer says, else our own.
fn connection_scheme(headers: &HeaderMap) -> HeaderValue {
    let said = headers
        .get(header::FORWARDED)
        .and_then(|value| value.to_str().ok());
    let first = said.and_then(|said| said.split(',').next());
    let proto = first.and_then(|element| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("proto")
                .then(|| value.trim().trim_matches('"'))
        })
    });
    match proto {
        Some("ws") => HTTP,
        Some("wss") => HeaderValue::from_static("https"),
        Some(proto) => HeaderValue::from_str(proto).unwrap_or(HTTP),
        None => HTTP,
    }
}

/// Earlier values are folded into one line, so that no server reads only half of them.
fn append_for(headers: &mut HeaderMap, peer: &Peer) {
    let folded = fold(headers, &FORWARDED_FOR, &peer.ip);
    headers.insert(FORWARDED_FOR, folded);
}

fn append_forwarded(headers: &mut HeaderMap, peer: &Peer) {
    let folded = fold(headers, &header::FORWARDED, &peer.forwarded);
    headers.insert(header::FORWARDED, folded);
}

fn fold(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut folded = String::new();
    for earlier in headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        if !earlier.trim().is_empty() {
            write!(folded, "{}, ", earlier.trim()).expect("writing to a String never fails");
        }
    }
    if folded.is_empty() {
        return last.clone();
    }
    folded.push_str(last.to_str().expect("made of visible ASCII"));
    value(folded)
}

#[cfg(test)]
mod tests;
