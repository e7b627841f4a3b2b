//! Listeners: `proxy.addr` and `ui.addr`. A port that names no host means all interfaces and is
//! written `[::]` here; whoever binds it uses both families, or IPv4 where the machine has no IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{BadValue, Item, kv_list};

/// Protocols of fabio that are known by name and not spoken yet.
const LATER: [&str; 7] = [
    "https",
    "tcp+sni",
    "tcp-dynamic",
    "https+tcp+sni",
    "grpc",
    "grpcs",
    "prometheus",
];
/// Options of fabio's listeners that belong to those protocols.
const LATER_OPTIONS: [&str; 8] = [
    "cs",
    "strictmatch",
    "tlsmin",
    "tlsmax",
    "tlsciphers",
    "pxyproto",
    "pxytimeout",
    "refresh",
];

/// What a listener speaks (`proto=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// HTTP/1.1 and, where a client begins so, HTTP/2 without TLS; routed by host and path.
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS.
    Https,
    /// Bytes, routed by the port of the listener; over TLS where the listener has a certificate source.
    Tcp,
    /// TLS passed through unread, routed by the server name that the client asks for.
    TcpSni,
    /// As `Tcp`, on every port that a TCP route of the table names.
    TcpDynamic,
    /// TLS: passed through where the server name has a TCP route, else as `Https`.
    HttpsTcpSni,
    /// gRPC without TLS; HTTP is understood, too.
    Grpc,
    /// gRPC over TLS; HTTP is understood, too.
    Grpcs,
    /// Metrics for a scraper.
    Prometheus,
}

impl Proto {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Http,
        Self::Https,
        Self::Tcp,
        Self::TcpSni,
        Self::TcpDynamic,
        Self::HttpsTcpSni,
        Self::Grpc,
        Self::Grpcs,
        Self::Prometheus,
    ];

    /// fabio's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::TcpSni => "tcp+sni",
            Self::TcpDynamic => "tcp-dynamic",
            Self::HttpsTcpSni => "https+tcp+sni",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
            Self::Prometheus => "prometheus",
        }
    }
}

/// One place where requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where; `[::]` is all interfaces of both families.
    pub addr: SocketAddr,
    /// What is spoken there.
    pub proto: Proto,
    /// `rt`: time for a whole request to arrive; TCP: longest silence of the client.
    pub read_timeout: Option<Duration>,
    /// `wt`: time for a whole response to leave; TCP: longest stall of the client.
    pub write_timeout: Option<Duration>,
    /// `it`: time that a kept-alive connection may stay idle (HTTP only).
    pub idle_timeout: Option<Duration>,
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Tls>,
    /// `pxyproto`, `pxytimeout`: clients may begin with a PROXY header, which is waited for that long.
    pub proxy_header: Option<Duration>,
    /// `refresh` (tcp-dynamic): fabio's pause between two looks at the table. Ports follow the table at once here,
    /// so it only bounds how often.
    pub refresh: Option<Duration>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `cs`: name of the certificate source.
    pub source: Arc<str>,
    /// `strictmatch`: no fallback certificate for names that have none.
    pub strict: bool,
    /// `tlsmin`: oldest version, as on the wire (`0x0303` is 1.2); `None`: the library's.
    pub min: Option<u16>,
    /// `tlsmax`: newest version.
    pub max: Option<u16>,
    /// `tlsciphers`: cipher suites of TLS 1.2, as on the wire; empty: the library's.
    pub ciphers: Vec<u16>,
}

impl Listener {
    /// An HTTP listener without time limits.
    #[must_use]
    pub fn http(addr: SocketAddr) -> Self {
        Self {
            addr,
            proto: Proto::Http,
            read_timeout: None,
            write_timeout: None,
            idle_timeout: None,
            tls: None,
            proxy_header: None,
            refresh: None,
        }
    }

    /// A TCP listener without time limits.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self {
            proto: Proto::Tcp,
            ..Self::http(addr)
        }
    }
}

/// All interfaces of both families.
pub(super) fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// `proxy.addr`: `[host]:port[;proto=…][;rt=…][;wt=…][;it=…]`, separated by commas.
pub fn parse_listeners(text: &str) -> Result<Vec<Listener>, BadValue> {
    let items = items("proxy.addr", text)?;
    if items.is_empty() {
        return Err(BadValue::new(
            "proxy.addr: need listening host:port",
            "for example ':9999'",
        ));
    }
    items.iter().map(listener).collect()
}

/// `ui.addr`: one `[host]:port`.
pub fn parse_admin(text: &str) -> Result<SocketAddr, BadValue> {
    let items = items("ui.addr", text)?;
    let [item] = items.as_slice() else {
        return Err(BadValue::new(
            format!("ui.addr must contain only one listener, not '{text}'"),
            "for example '127.0.0.1:9998'",
        ));
    };
    let mut address = None;
    for (key, value) in item {
        match key.as_str() {
            "" | "addr" => address = Some(value),
            "proto" if value == "http" => {}
            _ => return Err(unknown_option("ui.addr", key)),
        }
    }
    address.map_or_else(
        || Err(no_address("ui.addr")),
        |address| self::address("ui.addr", address),
    )
}

fn items(name: &str, text: &str) -> Result<Vec<Item>, BadValue> {
    kv_list(text).map_err(|bad| BadValue::new(format!("{name} '{text}': {bad}"), "close what a \" opens"))
}

fn listener(item: &Item) -> Result<Listener, BadValue> {
    let mut listener = Listener::http(any(0));
    let mut named = false;
    for (key, value) in item {
        match key.as_str() {
            "" | "addr" => {
                listener.addr = address("proxy.addr", value)?;
                named = true;
            }
            "proto" => listener.proto = proto(value)?,
            "rt" => listener.read_timeout = timeout(key, value)?,
            "wt" => listener.write_timeout = timeout(key, value)?,
            "it" => listener.idle_timeout = timeout(key, value)?,
            _ => return Err(unknown_option("proxy.addr", key)),
        }
    }
    if named {
        Ok(listener)
    } else {
        Err(no_address("proxy.addr"))
    }
}

fn no_address(name: &str) -> BadValue {
    BadValue::new(
        format!("{name}: need listening host:port"),
        "for example ':9999' or '127.0.0.1:9999'",
    )
}

fn unknown_option(name: &str, key: &str) -> BadValue {
    let problem = if LATER_OPTIONS.contains(&key) {
        format!("{name}: option '{key}' is not supported yet")
    } else {
        format!("{name}: unknown option '{key}'")
    };
    BadValue::new(problem, "supported are proto, rt, wt and it")
}

fn proto(text: &str) -> Result<Proto, BadValue> {
    let right = "supported are http and tcp";
    match text {
        "http" => Ok(Proto::Http),
        "tcp" => Ok(Proto::Tcp),
        known if LATER.contains(&known) => Err(BadValue::new(
            format!("protocol \"{known}\" is not supported yet"),
            right,
        )),
        _ => Err(BadValue::new(format!("unknown protocol \"{text}\""), right)),
    }
}

fn address(name: &str, text: &str) -> Result<SocketAddr, BadValue> {
    let bad = || {
        BadValue::new(
            format!("{name}: '{text}' is no listening address"),
            "it is ':port', 'ip:port' or '[ipv6]:port'",
        )
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    match host {
        "" => Ok(any(port)),
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        _ => Err(bad()),
    }
}

/// A duration; 0 means none.
fn timeout(key: &str, text: &str) -> Result<Option<Duration>, BadValue> {
    let duration = catalog::duration::parse(text).map_err(|_| {
        BadValue::new(
            format!("proxy.addr: {key}={text} is no duration"),
            "it is a number with its unit, for example 250ms, 5s or 1m30s",
        )
    })?;
    Ok((!duration.is_zero()).then_some(duration))
}
