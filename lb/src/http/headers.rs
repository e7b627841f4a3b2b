//! Which headers go to the server, and which come back. Pure.
//!
//! Order is everything: what concerns one connection only is dropped first, by the client's own list,
//! then ours are set. So no client can make us drop a header that we vouch for.
//!
//! | file | |
//! | --- | --- |
//! | `headers/forward.rs` | who asked, and for what: `X-Forwarded-*`, `Forwarded` |
//! | `headers/client_cert.rs` | what a client certificate says, for `proxy.header.clientcert` |
//! | `headers/hops.rs` | how often a request has been forwarded: `CDN-Loop` |
//! | `headers/stamp.rs` | what the operator wants on every request and answer: `proxy.header.*` |
//! | `headers/sight.rs` | which of all these a head has |
//! | `headers/trailers.rs` | what may follow a body |

use hyper::http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

mod client_cert;
mod forward;
pub(crate) mod hops;
mod sight;
mod stamp;
pub(crate) mod trailers;

pub(crate) use forward::{FORWARDED_PREFIX, Hop, Peer, forward, scheme};
pub(crate) use sight::Sight;
pub(crate) use stamp::{BadStamp, Stamp};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// `HTTP_PROXY` to CGI and its heirs, where it is what they send their own requests through (CVE-2016-5385).
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// This message is the last on its connection.
pub(crate) const CLOSE: HeaderValue = HeaderValue::from_static("close");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Drops what concerns only the connection a message came on, of what there is at `sight`; `ours` are the names that its `Connection` list may not
/// remove beside those of [`forward::VOUCHED`]. Returns the protocol it asks to upgrade to, but for
/// `h2c`: that would be HTTP again, on a connection on which nobody routes and checks it any more.
pub(crate) fn drop_hop_by_hop(
    headers: &mut HeaderMap,
    sight: Sight,
    ours: &[HeaderName],
) -> Option<HeaderValue> {
    let upgrade = sight.list && drop_listed(headers, ours);
    if !sight.others {
        return None;
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY);
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

/// Drops what `Connection` lists, and that itself. Does it list an upgrade?
fn drop_listed(headers: &mut HeaderMap, ours: &[HeaderName]) -> bool {
    // Most lists say only that, and that header is dropped in any case.
    let is_plain = |list: &HeaderValue| list.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    if headers.get_all(header::CONNECTION).iter().all(is_plain) {
        headers.remove(header::CONNECTION);
        return false;
    }
    let mut upgrade = false;
    let listed: Vec<HeaderValue> = match headers.entry(header::CONNECTION) {
        Entry::Occupied(lines) => lines.remove_entry_mult().1.collect(),
        Entry::Vacant(_) => return false,
    };
    for name in listed
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
    {
        let name = name.trim();
        upgrade |= name.eq_ignore_ascii_case("upgrade");
        if name.eq_ignore_ascii_case("keep-alive") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && !is_kept(&name)
            && !ours.contains(&name)
            && name != header::UPGRADE
            && name != header::TE
        {
            headers.remove(name);
        }
    }
    upgrade
}

/// What no route, scheme or operator's header may touch: it says where a message ends, concerns one connection, or is
/// ours to write. A wrong one would let two servers read two different requests, or a loop go on for ever.
pub(crate) fn is_untouchable(name: &HeaderName) -> bool {
    UNTOUCHABLE.contains(name)
}

const UNTOUCHABLE: [HeaderName; 13] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    hops::CDN_LOOP,
];

/// What we vouch for, and what says where and how long a message is.
fn is_kept(name: &HeaderName) -> bool {
    forward::VOUCHED.contains(name) || *name == header::HOST || *name == header::CONTENT_LENGTH
}

/// Whether some servers cannot tell one from the other: to CGI and its heirs, `X_Forwarded_For` and `X-Forwarded-For` are
/// one variable.
fn reads_as(name: &HeaderName, other: &HeaderName) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let (name, other) = (name.as_str().bytes(), other.as_str().bytes());
    name.map(plain).eq(other.map(plain))
}

/// Drops headers that some servers cannot tell from those we vouch for, or that are not for anybody to say.
pub(crate) fn drop_lookalikes(headers: &mut HeaderMap, ours: &[HeaderName]) {
    let is_lookalike = |name: &&HeaderName| {
        let same = |vouched: &HeaderName| *name != vouched && reads_as(name, vouched);
        let is_any = |known: &[HeaderName]| known.iter().any(same);
        name.as_str().contains('_') && (is_any(&forward::VOUCHED) || is_any(&UNTOUCHABLE) || is_any(ours))
    };
    let lookalikes: Vec<HeaderName> = headers.keys().filter(is_lookalike).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

/// Does the protocol that an upgrade asks for name WebSocket?
pub(crate) fn is_websocket(protocol: Option<&HeaderValue>) -> bool {
    protocol.is_some_and(|protocol| lists(protocol, "websocket"))
}

/// Asks for (or agrees to) an upgrade on the next connection.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, protocol);
}

/// Does the list name `word`, with or without a version (RFC 9110, 7.8) behind it?
fn lists(value: &HeaderValue, word: &str) -> bool {
    let is_it = |item: &str| {
        let name = item.split_once('/').map_or(item, |(name, _)| name);
        name.trim().eq_ignore_ascii_case(word)
    };
    value.to_str().is_ok_and(|list| list.split(',').any(is_it))
}

#[cfg(test)]
mod tests;
