//! What is done to every request at the edge: headers, compression, limits.

use std::net::IpAddr;
use std::time::Duration;

use super::{BadValue, Secret};

/// Headers that are set whatever the route (`proxy.header.*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `proxy.header.clientip`: set to the client's address; `None`: not at all.
    pub client_ip: Option<String>,
    /// `proxy.header.clientcert`: set to what the client's certificate says, where one was verified; else removed.
    pub client_cert: Option<String>,
    /// `proxy.header.tls`: set on TLS requests, taken off others; with `proxy.header.tls.value`.
    pub tls: Option<(String, String)>,
    /// `proxy.header.requestid`: set to a fresh UUID.
    pub request_id: Option<String>,
    /// `proxy.header.sts.*`: Strict-Transport-Security of answers over TLS.
    pub sts: Option<Sts>,
    /// `proxy.localip`: `by=` in Forwarded; `None`: left out.
    pub local_ip: Option<IpAddr>,
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sts {
    /// `proxy.header.sts.maxage`, seconds, above 0.
    pub max_age: u32,
    /// `proxy.header.sts.subdomains`.
    pub subdomains: bool,
    /// `proxy.header.sts.preload`.
    pub preload: bool,
}

/// What one client may take (`proxy.limit.*`). Not fabio's, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// `proxy.limit.header`: time for the head of a request to arrive; `None`: any.
    pub header_timeout: Option<Duration>,
    /// `proxy.limit.conns`: connections of one client address at a time, on one worker; `None`: any.
    pub connections: Option<usize>,
    /// `proxy.limit.total`: connections of clients at a time, shared out to the workers; `None`: what the limit of open
    /// files allows.
    pub total: Option<usize>,
    /// `proxy.limit.stall`: how long a client may keep us waiting before it is judged by `rate`.
    pub stall: Duration,
    /// `proxy.limit.rate`: bytes a second that a client must take of an answer, and send of a body, while it is waited
    /// for. 0: of an answer any byte will do, and a body has all the time it needs.
    pub rate: u32,
    /// `proxy.limit.streams`: concurrent HTTP/2 streams of one connection.
    pub streams: u32,
    /// `proxy.limit.body`: bytes of a request body where the route does not say; `None`: any.
    pub body: Option<u64>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            header_timeout: Some(Duration::from_secs(10)),
            connections: None,
            total: None,
            stall: Duration::from_secs(120),
            rate: 240,
            streams: 128,
            body: None,
        }
    }
}

/// Compression of answers.
#[derive(Clone, Debug, Default)]
pub struct Gzip {
    /// `proxy.gzip.contenttype`: answers of these types are compressed; `None`: none are.
    pub types: Option<regex::Regex>,
}

/// `proxy.gzip.contenttype`: a regular expression; empty: nothing is compressed.
pub fn parse_gzip(text: &str) -> Result<Gzip, BadValue> {
    if text.is_empty() {
        return Ok(Gzip::default());
    }
    match regex::Regex::new(text) {
        Ok(types) => Ok(Gzip { types: Some(types) }),
        Err(bad) => {
            // It draws the place on lines of its own; the last one says what is wrong.
            let why = bad.to_string();
            let why = why
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            Err(BadValue::new(
                format!("invalid expression for content types: {why}"),
                "it is a regular expression, for example ^text/|^application/json$",
            ))
        }
    }
}

/// The name of a header; empty: none.
pub fn parse_header_name(text: &str) -> Result<Option<String>, BadValue> {
    match hyper::header::HeaderName::from_bytes(text.as_bytes()) {
        _ if text.is_empty() => Ok(None),
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(BadValue::new(
            format!("'{text}' is no name of a header"),
            "it has letters, digits and -",
        )),
    }
}

/// The value of a header.
pub fn parse_header_value(text: &str) -> Result<String, BadValue> {
    match hyper::header::HeaderValue::from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(BadValue::new(
            "the value of a header has characters that it cannot have",
            "control characters are not among them",
        )),
    }
}

/// A whole header, `Name: value`; its value is not shown.
pub fn parse_header(text: &str) -> Result<(String, Secret), BadValue> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let (name, value) = (name.trim(), value.trim());
    let known = parse_header_name(name).is_ok_and(|name| name.is_some()) && parse_header_value(value).is_ok();
    if known && text.contains(':') {
        return Ok((name.to_owned(), Secret::new(value)));
    }
    Err(BadValue::new(
        format!("invalid header {name}"),
        "it is written 'Name: value'",
    ))
}

/// Bytes (`proxy.limit.body`, `maxbody=`): a number, or with `k`, `M` or `G` behind it for 1024 of them and so on.
pub fn parse_bytes(text: &str) -> Result<u64, BadValue> {
    let bad = || {
        BadValue::new(
            format!("'{text}' is no number of bytes"),
            "for example 65536, 64k, 10M or 1G",
        )
    };
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    // A number may have a sign; a size has none.
    let count = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    count
        .and_then(|count| count.checked_mul(1 << shift))
        .ok_or_else(bad)
}
