//! Listeners: `proxy.addr` and `ui.addr`. A port that names no host means all interfaces and is
//! written `[::]` here; whoever binds it uses both families, or IPv4 where the machine has no IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{BadValue, CertKind, CertSource, Item, items, tls, truth};

/// Every option of a listener but its address.
pub const LISTENER_OPTIONS: &[&str] = &[
    "proto",
    "cs",
    "rt",
    "wt",
    "it",
    "strictmatch",
    "tlsmin",
    "tlsmax",
    "tlsciphers",
    "pxyproto",
    "pxytimeout",
    "refresh",
];
/// How long a PROXY header is waited for.
const PROXY_PATIENCE: Duration = Duration::from_millis(250);

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

    /// The protocol of that name.
    fn parse(text: &str) -> Result<Self, BadValue> {
        Self::ALL
            .into_iter()
            .find(|proto| proto.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join(", ");
                BadValue::new(
                    format!("unknown protocol \"{text}\""),
                    format!("it is one of {names}"),
                )
            })
    }

    /// Whether it may have a certificate source.
    fn takes_certs(self) -> bool {
        !matches!(self, Self::Http | Self::TcpSni | Self::Grpc)
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

/// What the text of a listener leaves open.
pub struct Around<'a> {
    /// The certificate sources that there are; `None`: they cannot be read, so any name may be right.
    pub certs: Option<&'a [CertSource]>,
    /// `rt` where the text has none (`proxy.readtimeout`).
    pub read_timeout: Option<Duration>,
    /// `wt` where the text has none (`proxy.writetimeout`).
    pub write_timeout: Option<Duration>,
    /// Fills in what only the machine knows in an address, such as `{{ GetPrivateIP }}`; a fault in words.
    pub address: &'a dyn Fn(&str) -> Result<String, String>,
}

impl Around<'_> {
    /// Nothing: no certificate source, no time limits, addresses as written.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            certs: Some(&[]),
            read_timeout: None,
            write_timeout: None,
            address: &|text| Ok(text.to_owned()),
        }
    }
}

/// `proxy.addr`: `[host]:port[;opt=value…]`, separated by commas.
///
/// # Errors
/// What is wrong, one fault a listener; the texts begin as fabio's do.
pub fn parse_listeners(text: &str, around: &Around<'_>) -> Result<Vec<Listener>, Vec<BadValue>> {
    let items = items("proxy.addr", text).map_err(|bad| vec![bad])?;
    if items.is_empty() {
        return Err(vec![no_address("proxy.addr")]);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut faults = Vec::new();
    for item in &items {
        match listener("proxy.addr", item, around) {
            // Sockets of two listeners would share their connections by chance.
            Ok(listener) if listener.addr.port() != 0 && taken(&listeners, listener.addr) => {
                faults.push(BadValue::new(
                    format!("proxy.addr: {} is there twice", listener.addr),
                    "an address has one listener",
                ));
            }
            Ok(listener) => listeners.push(listener),
            Err(bad) => faults.push(bad),
        }
    }
    if faults.is_empty() {
        Ok(listeners)
    } else {
        Err(faults)
    }
}

fn taken(listeners: &[Listener], addr: SocketAddr) -> bool {
    listeners.iter().any(|other| other.addr == addr)
}

/// `ui.addr`: one `[host]:port[;opt=value…]`, `http` or with a certificate source `https`.
///
/// # Errors
/// What is wrong; the texts begin as fabio's do.
pub fn parse_admin(text: &str, around: &Around<'_>) -> Result<Listener, BadValue> {
    let items = items("ui.addr", text)?;
    let [item] = items.as_slice() else {
        return Err(BadValue::new(
            "ui.addr must contain only one listener",
            format!("'{text}' has {}; for example '127.0.0.1:9998'", items.len()),
        ));
    };
    let listener = listener("ui.addr", item, around)?;
    match listener.proto {
        Proto::Http | Proto::Https => Ok(listener),
        other => Err(BadValue::new(
            format!("ui.addr: proto={} cannot show the admin pages", other.as_str()),
            "it is http or https",
        )),
    }
}

/// A listener while its options are read.
#[derive(Default)]
struct Draft {
    proto: Option<Proto>,
    tls: Tls,
    /// The first option that needs TLS.
    needs_tls: Option<String>,
    proxy: bool,
    proxy_patience: Option<Duration>,
}

fn listener(name: &str, item: &Item, around: &Around<'_>) -> Result<Listener, BadValue> {
    let mut listener = Listener {
        read_timeout: around.read_timeout,
        write_timeout: around.write_timeout,
        ..Listener::http(any(0))
    };
    let mut draft = Draft::default();
    let mut named = false;
    for (key, value) in item {
        let timeout = || super::duration(name, key, value).map(|time| (!time.is_zero()).then_some(time));
        match key.as_str() {
            "" | "addr" => {
                listener.addr = address(name, value, around)?;
                named = true;
            }
            "proto" => draft.proto = Some(Proto::parse(value)?),
            "cs" => draft.tls.source = value.as_str().into(),
            "rt" => listener.read_timeout = timeout()?,
            "wt" => listener.write_timeout = timeout()?,
            "it" => listener.idle_timeout = timeout()?,
            "refresh" => listener.refresh = timeout()?,
            "pxyproto" => draft.proxy = truth(name, key, value)?,
            "pxytimeout" => draft.proxy_patience = timeout()?,
            _ => draft.tls_option(name, key, value)?,
        }
    }
    if !named {
        return Err(no_address(name));
    }
    listener.proxy_header = draft
        .proxy
        .then(|| draft.proxy_patience.unwrap_or(PROXY_PATIENCE));
    let by_certs = if draft.tls.source.is_empty() {
        Proto::Http
    } else {
        Proto::Https
    };
    listener.proto = draft.proto.unwrap_or(by_certs);
    listener.tls = draft.tls(listener.proto, around.certs)?;
    Ok(listener)
}

impl Draft {
    fn tls_option(&mut self, name: &str, key: &str, value: &str) -> Result<(), BadValue> {
        match key {
            "strictmatch" => self.tls.strict = truth(name, key, value)?,
            "tlsmin" => self.tls.min = Some(tls::min_version(value)?),
            "tlsmax" => self.tls.max = Some(tls::max_version(value)?),
            "tlsciphers" => self.tls.ciphers = tls::ciphers(value)?,
            _ => {
                let problem = format!("{name}: unknown option '{key}'");
                return Err(BadValue::new(
                    problem,
                    format!("there are {}", LISTENER_OPTIONS.join(", ")),
                ));
            }
        }
        self.needs_tls.get_or_insert_with(|| key.to_owned());
        Ok(())
    }

    /// fabio's rules of what goes with what.
    fn tls(mut self, proto: Proto, certs: Option<&[CertSource]>) -> Result<Option<Tls>, BadValue> {
        if self.tls.source.is_empty() {
            return match (proto, self.needs_tls) {
                (Proto::Https | Proto::Grpcs, _) => Err(BadValue::new(
                    format!("proto '{}' requires cert source", proto.as_str()),
                    "its name is given by cs=…, and what it is by proxy.cs",
                )),
                (_, Some(option)) => Err(BadValue::new(
                    format!("proxy.addr: option '{option}' requires cert source"),
                    "it says how TLS is spoken, and without cs=… it is not",
                )),
                _ => Ok(None),
            };
        }
        if !proto.takes_certs() {
            return Err(BadValue::new(
                "cert source requires proto 'https', 'tcp', 'tcp-dynamic', 'https+tcp+sni', 'prometheus', or 'grpcs'",
                format!("not '{}'", proto.as_str()),
            ));
        }
        let Some(certs) = certs else {
            return Ok(Some(self.tls));
        };
        let Some(source) = certs.iter().find(|known| known.name == self.tls.source) else {
            let known: Vec<&str> = certs.iter().map(|known| &*known.name).collect();
            let right = match known.as_slice() {
                [] => "proxy.cs has none".to_owned(),
                known => format!("proxy.cs has {}", known.join(", ")),
            };
            return Err(BadValue::new(
                format!("unknown certificate source \"{}\"", self.tls.source),
                right,
            ));
        };
        if let (Some(min), Some(max)) = (self.tls.min, self.tls.max)
            && min > max
        {
            return Err(BadValue::new(
                "proxy.addr: tlsmin is above tlsmax",
                "the oldest version comes first",
            ));
        }
        // Any other certificate would be one that was ordered for somebody else.
        self.tls.strict |= matches!(source.kind, CertKind::VaultPki(_));
        Ok(Some(self.tls))
    }
}

fn no_address(name: &str) -> BadValue {
    BadValue::new(
        format!("{name}: need listening host:port"),
        "for example ':9999' or '127.0.0.1:9999'",
    )
}

fn address(name: &str, written: &str, around: &Around<'_>) -> Result<SocketAddr, BadValue> {
    let text = (around.address)(written)
        .map_err(|why| BadValue::new(format!("{name}: '{written}' is no listening address"), why))?;
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
        // Templates write IPv6 addresses without brackets.
        _ => match host.parse() {
            Ok(ip) => Ok(SocketAddr::new(ip, port)),
            Err(_) => Err(bad()),
        },
    }
}
