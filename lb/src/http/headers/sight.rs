//! What a head has of the headers that somebody asks for in every message. Pure.
//!
//! Most messages have few of them, and one look at those that there are is less work than a search for each that there
//! could be.

use hyper::http::header::HeaderMap;

/// See the module. What it says there is may have been dropped since; what it says there is not, is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// `Connection`.
    pub(super) list: bool,
    /// Others that concern one connection.
    pub(super) others: bool,
    /// Names that somebody may read as another name.
    pub underscores: bool,
    /// `CDN-Loop`.
    pub hops: bool,
    /// `X-Forwarded-Prefix`.
    pub(super) prefix: bool,
    /// `Trailer`.
    pub trailer: bool,
}

impl Sight {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut sight = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => sight.list = true,
                "keep-alive"
                | "proxy"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "transfer-encoding"
                | "te"
                | "upgrade" => sight.others = true,
                "cdn-loop" => sight.hops = true,
                "x-forwarded-prefix" => sight.prefix = true,
                "trailer" => sight.trailer = true,
                name => sight.underscores |= name.as_bytes().contains(&b'_'),
            }
        }
        sight
    }
}
