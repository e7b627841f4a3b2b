//! What is done to every request at the edge: headers, compression, limits.

use std::net::IpAddr;
use std::time::Duration;

/// Headers that are set whatever the route (`proxy.header.*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `proxy.header.clientip`: set to the client's address; `None`: not at all.
    pub client_ip: Option<String>,
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
