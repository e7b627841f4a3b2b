//! What a route is asked to do with its requests: the option part of a tag or of a route command, as meant.

pub mod read;

use std::sync::Arc;
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue};

use super::redirect::Redirect;
use crate::config::{IpNet, Strategy};

/// An option as users write it. `docs/routing.md` has a row for each.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// What stands before the `=`.
    pub name: &'static str,
    /// Whether fabio has it.
    pub of_fabio: bool,
}

/// Every option that has an effect.
pub const OPTIONS: [OptionRow; 35] = {
    const fn fabio(name: &'static str) -> OptionRow {
        OptionRow { name, of_fabio: true }
    }
    const fn ours(name: &'static str) -> OptionRow {
        OptionRow {
            name,
            of_fabio: false,
        }
    }
    [
        fabio("strip"),
        fabio("prepend"),
        ours("rewrite"),
        fabio("host"),
        fabio("redirect"),
        fabio("weight"),
        ours("strategy"),
        fabio("proto"),
        fabio("tlsskipverify"),
        ours("tlsservername"),
        fabio("grpcservername"),
        ours("tlsca"),
        ours("tlscert"),
        fabio("pxyproto"),
        fabio("register"),
        fabio("auth"),
        fabio("allow"),
        fabio("deny"),
        ours("setreqhdr"),
        ours("addreqhdr"),
        ours("delreqhdr"),
        ours("setresphdr"),
        ours("addresphdr"),
        ours("delresphdr"),
        ours("dialtimeout"),
        ours("responseheadertimeout"),
        ours("timeout"),
        ours("ratelimit"),
        ours("ratelimit.by"),
        ours("maxinflight"),
        ours("maxbody"),
        ours("retries"),
        ours("shutdownsessions"),
        ours("probe"),
        ours("probeinterval"),
    ]
};

/// The options of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `strip`: removed from the start of the path.
    pub strip: Option<Box<str>>,
    /// `prepend`: put in front of the path, after `strip`.
    pub prepend: Option<Box<str>>,
    /// `rewrite=<regex>,<replacement>`: applied to the path, after both.
    pub rewrite: Option<Rewrite>,
    /// `host`: Host header for the target.
    pub host: HostHeader,
    /// `redirect`: answer a redirect instead of asking the target.
    pub redirect: Option<Redirect>,
    /// `weight`: share asked for; 0 takes a part of what is left.
    pub weight: f64,
    /// `proto`: how the target is spoken to.
    pub scheme: Scheme,
    /// How TLS to the target is spoken, where `scheme` says so.
    pub tls: UpstreamTls,
    /// `pxyproto`: the target is told of the client by a PROXY header (TCP kinds).
    pub send_proxy: Option<ProxyHeader>,
    /// `register`: a further name the balancer is registered under.
    pub register: Option<Box<str>>,
    /// `auth`: name of the scheme that lets requests in.
    pub auth: Option<Box<str>>,
    /// `allow`, `deny`: which clients may come in.
    pub access: Access,
    /// `strategy`: instead of `proxy.strategy`.
    pub strategy: Option<Strategy>,
    /// `setreqhdr`, `addreqhdr`, `delreqhdr`: done to the request, in this order.
    pub request_headers: Box<[HeaderRule]>,
    /// `setresphdr`, `addresphdr`, `delresphdr`: done to the answer.
    pub response_headers: Box<[HeaderRule]>,
    /// Time limits of this route instead of the global ones.
    pub timeouts: Timeouts,
    /// What all clients together may ask of this route.
    pub limits: Limits,
    /// `retries`: instead of `proxy.retry.attempts`, less one.
    pub retries: Option<u8>,
    /// `shutdownsessions`: so long TCP connections go on when their target has left; `None`: as long as they like.
    pub shutdown_sessions: Option<Duration>,
    /// `probe`, `probeinterval`: the target is asked whether it may get traffic.
    pub probe: Option<Probe>,
    /// Other tags of the service.
    pub tags: Box<[Box<str>]>,
    /// Options as written, but for `proto`, `weight` and a redirect's URL; unknown ones too.
    pub shown: Box<[(Box<str>, Box<str>)]>,
}

/// Which Host header a target sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Client,
    /// The target's own `host:port` (`host=dst`).
    Target,
    /// This one. To a target over TLS it is also the name asked for and verified.
    Name(Box<str>),
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS (`proto=https`).
    Https,
    /// HTTP/2 without TLS (`proto=h2c`, `proto=grpc`).
    H2c,
    /// HTTP/2 over TLS (`proto=h2`, `proto=grpcs`).
    H2,
    /// Bytes (`proto=tcp`).
    Tcp,
}

impl Scheme {
    /// Of a destination's URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "grpc",
            Self::H2 => "grpcs",
            Self::Tcp => "tcp",
        }
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// Whether HTTP/2 is spoken.
    #[must_use]
    pub fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}

/// What a target is asked again and again, to learn whether it may get traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// `probe=/path`: GET of it must be answered by a status from 200 to 399; `None` (`probe=tcp`): a connection will do.
    pub path: Option<Box<str>>,
    /// `probeinterval`: pause between two, and how long one may take.
    pub interval: Duration,
}

/// TLS to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// `tlsskipverify=true`: its certificate is not looked at.
    pub skip_verify: bool,
    /// `tlsservername`, `grpcservername`: the name asked for and verified; else that of `host=`, else the address.
    pub server_name: Option<Arc<str>>,
    /// `tlsca=<cs>`: name of the certificate source whose `clientca` vouches for it; else whom the system trusts.
    pub ca: Option<Arc<str>>,
    /// `tlscert=<cs>`: name of the certificate source that has the client certificate for it.
    pub cert: Option<Arc<str>>,
}

/// Version of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Text (`pxyproto=true`, `v1`).
    V1,
    /// Binary (`pxyproto=v2`).
    V2,
}

/// Which clients may come in. Rules that cannot be meant let nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// All.
    #[default]
    Open,
    /// Only these.
    Allow(Box<[IpNet]>),
    /// All but these.
    Deny(Box<[IpNet]>),
    /// Those allowed that are not denied, where both are said. fabio lets everybody in then.
    AllowExcept {
        /// Who may come in.
        allow: Box<[IpNet]>,
        /// Who of those may not.
        deny: Box<[IpNet]>,
    },
    /// None, since the rules are broken; the text says how.
    Closed(Box<str>),
}

/// One change of the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// The header has this value and no other.
    Set(HeaderName, HeaderValue),
    /// The header has this value, too.
    Add(HeaderName, HeaderValue),
    /// There is no such header.
    Delete(HeaderName),
}

impl HeaderRule {
    /// The header.
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::Set(name, _) | Self::Add(name, _) | Self::Delete(name) => name,
        }
    }
}

/// Replacement of what a pattern finds in the path; `$1` stands for its first group.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// The pattern; it looks at the decoded path.
    pub pattern: regex::Regex,
    /// What takes its place.
    pub with: Box<str>,
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        (self.pattern.as_str(), &self.with) == (other.pattern.as_str(), &other.with)
    }
}

/// Time limits of a route; `None`: the global one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `dialtimeout`.
    pub dial: Option<Duration>,
    /// `responseheadertimeout`.
    pub header: Option<Duration>,
    /// `timeout`: from the head of the request to the head of the answer, retries included.
    pub total: Option<Duration>,
}

/// What all clients together may ask of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// `ratelimit=<n>[/s|/m|/h][,<burst>]`; beyond it 429.
    pub rate: Option<Rate>,
    /// `maxinflight`: requests under way at a time; beyond it 503.
    pub in_flight: Option<u32>,
    /// `maxbody`: bytes of a request body, `10k`, `5m`; beyond it 413.
    pub body: Option<u64>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens that it holds at most.
    pub burst: f64,
    /// `ratelimit.by=ip`: one for each client address rather than one for all.
    pub by_client: bool,
}
