//! Where routes come from, and where the balancer shows itself: fabio's `registry.*`.
//!
//! Of the four sources one is in use; what is written for the others is read all the same, so that its faults are told.

use std::net::IpAddr;
use std::time::Duration;

use lb::config::{BadValue, STARS, Secret};

use super::fault::Fault;
use super::reader::Reader;
use super::sockaddr::{self, Interface};
use super::{uri, values};

/// `registry.*`.
#[derive(Clone, Debug)]
pub struct Registry {
    /// `registry.backend`.
    pub backend: Backend,
    /// `registry.timeout`: how long the source may take to answer for the first time.
    pub timeout: Duration,
    /// `registry.retry`: pause between two attempts until then.
    pub retry: Duration,
    /// `registry.snapshot`: file with the last good routes; `None`: none is kept.
    pub snapshot: Option<String>,
    /// `registry.static.*`.
    pub fixed: Fixed,
    /// `registry.file.*`.
    pub file: File,
    /// `registry.custom.*`.
    pub custom: Custom,
    /// `registry.consul.*`.
    pub consul: Consul,
}

/// A source of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Tags in a Consul-compatible catalog.
    Consul,
    /// Commands in the configuration.
    Static,
    /// Commands in a file.
    File,
    /// Commands, as JSON, from an HTTP server.
    Custom,
}

impl Backend {
    /// fabio's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Static => "static",
            Self::File => "file",
            Self::Custom => "custom",
        }
    }
}

/// HTML for requests that no route wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The HTML itself; empty: none.
    Html(String),
    /// A file with it.
    File(String),
}

/// Routes in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// `registry.static.routes`: commands, a line each.
    pub routes: String,
    /// `registry.static.noroutehtml`, `.noroutehtmlpath`.
    pub no_route: NoRoute,
}

/// Routes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `registry.file.path`; filled where the backend is `file`.
    pub path: String,
    /// `registry.file.noroutehtmlpath`.
    pub no_route: NoRoute,
}

/// Routes from an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// `registry.custom.scheme`, `.host`, `.path` and `.queryparams`, put together; empty where there is no host. The
    /// query may hold a token.
    pub url: Secret,
    /// `registry.custom.host`.
    pub host: String,
    /// `registry.custom.scheme`: `http` or `https`.
    pub scheme: String,
    /// `registry.custom.path` as it may be shown: without the slash it begins with, and without a query.
    pub path: String,
    /// `registry.custom.timeout`: for the whole request.
    pub timeout: Duration,
    /// `registry.custom.pollinterval`: between two requests.
    pub poll: Duration,
    /// `registry.custom.checkTLSSkipVerify`.
    pub skip_verify: bool,
    /// `registry.custom.noroutehtml`.
    pub no_route: NoRoute,
}

/// Routes from tags in a catalog.
#[derive(Clone, Debug)]
pub struct Consul {
    /// `registry.consul.addr`: `host:port`.
    pub addr: String,
    /// `registry.consul.tls.*`, where the address begins with `https://`.
    pub tls: Option<Tls>,
    /// `registry.consul.token`, else `CONSUL_HTTP_TOKEN`.
    pub token: Option<Secret>,
    /// `registry.consul.namespace`: of all questions; empty: none.
    pub namespace: String,
    /// What the key-value store holds for the balancer.
    pub overrides: Overrides,
    /// `registry.consul.serviceMonitors`: questions at the same time, 1 or more.
    pub monitors: usize,
    /// `registry.consul.pollinterval`: pause before each question; `None`: held questions instead.
    pub poll: Option<Duration>,
    /// `registry.consul.requireConsistent`, `.allowStale`.
    pub consistency: Consistency,
    /// How the balancer registers itself.
    pub register: Register,
}

/// How fresh answers have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The leader's word.
    Default,
    /// The leader's, once it made sure that it is the leader.
    Consistent,
    /// Any server's.
    Stale,
}

/// How TLS to Consul is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `.certfile` and `.keyfile`: PEM files of what we show.
    pub pair: Option<(String, String)>,
    /// `.cafile`: PEM file of whom we trust; with neither this nor a folder, whom the system trusts.
    pub ca_file: Option<String>,
    /// `.capath`: folder of PEM files of whom we trust.
    pub ca_path: Option<String>,
    /// `.insecureskipverify`: trust anybody.
    pub skip_verify: bool,
}

/// Keys of the key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrides {
    /// `registry.consul.kvpath`: what keys with route commands begin with; no slash in front, as keys have none.
    pub routes: String,
    /// `registry.consul.noroutehtmlpath`: what keys with HTML for requests without a route begin with.
    pub no_route: String,
}

/// The balancer as a service (`registry.consul.register.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// `.enabled`: under its own name; the names that routes wish for (`register=`) are registered in any case.
    pub enabled: bool,
    /// `.addr`: where others reach its admin port; `None`: at this host's address.
    pub ip: Option<IpAddr>,
    /// `.addr`; `None`: the port that the admin server got.
    pub port: Option<u16>,
    /// `.name`.
    pub name: String,
    /// `.tags`.
    pub tags: Vec<String>,
    /// `.checkInterval`.
    pub interval: Duration,
    /// `.checkTimeout`.
    pub timeout: Duration,
    /// `.checkTLSSkipVerify`.
    pub skip_verify: bool,
}

impl Registry {
    /// Of `lictor lb`.
    pub(super) fn read(read: &mut Reader) -> Self {
        let backend = read.value("registry.backend", |text| match text {
            "consul" => Ok(Backend::Consul),
            "static" => Ok(Backend::Static),
            "file" => Ok(Backend::File),
            "custom" => Ok(Backend::Custom),
            _ => Err("expected consul, static, file or custom".to_owned()),
        });
        let registry = Self {
            backend,
            timeout: read.value("registry.timeout", values::duration),
            retry: read.value("registry.retry", values::pause),
            snapshot: read.optional("registry.snapshot", values::text),
            fixed: Fixed::read(read),
            file: File {
                path: read.value("registry.file.path", values::text),
                no_route: no_route_file(read, "registry.file.noroutehtmlpath"),
            },
            custom: Custom::read(read),
            consul: Consul::read(read),
        };
        let missing = match backend {
            Backend::File if registry.file.path.is_empty() => Some("registry.file.path"),
            Backend::Custom if registry.custom.host.is_empty() => Some("registry.custom.host"),
            _ => None,
        };
        if let Some(name) = missing {
            let text = format!("registry.backend={} needs {name}", backend.as_str());
            read.fault(Fault::Conflict(text));
        }
        registry
    }
}

fn no_route_file(read: &mut Reader, name: &'static str) -> NoRoute {
    read.optional(name, values::text)
        .map_or(NoRoute::Html(String::new()), NoRoute::File)
}

impl Fixed {
    fn read(read: &mut Reader) -> Self {
        let html = read.value("registry.static.noroutehtml", values::text);
        let file = read.optional("registry.static.noroutehtmlpath", values::text);
        Self {
            routes: read.value("registry.static.routes", values::text),
            no_route: file.map_or(NoRoute::Html(html), NoRoute::File),
        }
    }
}

impl Custom {
    fn read(read: &mut Reader) -> Self {
        let host = read.value("registry.custom.host", |text| match text {
            "" => Ok(String::new()),
            text => uri::authority(text).ok_or_else(|| "expected host or host:port".to_owned()),
        });
        let scheme = read.value("registry.custom.scheme", |text| match text {
            "http" | "https" => Ok(text.to_owned()),
            _ => Err("expected http or https".to_owned()),
        });
        let asked = read.value("registry.custom.path", |text| {
            Ok(text.trim_start_matches('/').to_owned())
        });
        // fabio puts them together as they are, so that a path may bring its own query, secrets and all.
        let path = match asked.split_once('?') {
            Some((path, _)) => format!("{path}?{STARS}"),
            None => asked.clone(),
        };
        let query = read.value("registry.custom.queryparams", values::text);
        let mut url = String::new();
        if !host.is_empty() {
            let mark = if query.is_empty() { "" } else { "?" };
            url = format!("{scheme}://{host}/{asked}{mark}{query}");
        }
        Self {
            url: Secret::new(url),
            host,
            scheme,
            path,
            timeout: read.value("registry.custom.timeout", values::pause),
            poll: read.value("registry.custom.pollinterval", values::pause),
            skip_verify: read.value("registry.custom.checkTLSSkipVerify", values::boolean),
            no_route: NoRoute::Html(read.value("registry.custom.noroutehtml", values::text)),
        }
    }
}

impl Consul {
    fn read(read: &mut Reader) -> Self {
        let (https, addr) = read.value("registry.consul.addr", address);
        let token = read.optional("registry.consul.token", values::text);
        let token = token.or_else(|| read.variable("CONSUL_HTTP_TOKEN"));
        let monitors = read.value("registry.consul.serviceMonitors", values::number_from(i64::MIN));
        let tls = Tls::read(read, https);
        if !https && tls != Tls::default() {
            read.note(
                "registry.consul.tls.* has no effect: registry.consul.addr does not begin with https://",
            );
        }
        Self {
            addr,
            tls: https.then_some(tls),
            token: token.map(Secret::new),
            namespace: read.value("registry.consul.namespace", values::text),
            overrides: Overrides::read(read),
            // fabio's rule for what is not above 0.
            monitors: usize::try_from(monitors).unwrap_or(1).max(1),
            poll: read.value("registry.consul.pollinterval", values::patience),
            consistency: consistency(read),
            register: Register::read(read),
        }
    }
}

fn consistency(read: &mut Reader) -> Consistency {
    let consistent = read.value("registry.consul.requireConsistent", values::boolean);
    let stale = read.value("registry.consul.allowStale", values::boolean);
    match (consistent, stale) {
        // Who asks for stale answers does not also want what is so by default.
        (_, true) if !consistent || !read.is_written("registry.consul.requireConsistent") => {
            Consistency::Stale
        }
        (true, true) => {
            let text = "registry.consul.allowStale and registry.consul.requireConsistent cannot both be true";
            read.fault(Fault::Conflict(text.to_owned()));
            Consistency::Default
        }
        (true, false) => Consistency::Consistent,
        (false, _) => Consistency::Default,
    }
}

impl Tls {
    /// What goes wrong with a Consul over TLS is no fault of one without.
    fn read(read: &mut Reader, https: bool) -> Self {
        let cert = read.optional("registry.consul.tls.certfile", values::text);
        let key = read.optional("registry.consul.tls.keyfile", values::text);
        let pair = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (cert, key) if !https => Some((cert.unwrap_or_default(), key.unwrap_or_default())),
            _ => {
                let text = "registry.consul.tls.certfile and registry.consul.tls.keyfile go together";
                read.fault(Fault::Conflict(text.to_owned()));
                None
            }
        };
        Self {
            pair,
            ca_file: read.optional("registry.consul.tls.cafile", values::text),
            ca_path: read.optional("registry.consul.tls.capath", values::text),
            skip_verify: read.value("registry.consul.tls.insecureskipverify", values::boolean),
        }
    }
}

impl Overrides {
    /// Of `lictor lb` and of the agent.
    pub(super) fn read(read: &mut Reader) -> Self {
        let key = |text: &str| Ok(text.trim_start_matches('/').to_owned());
        Self {
            routes: read.value("registry.consul.kvpath", key),
            no_route: read.value("registry.consul.noroutehtmlpath", key),
        }
    }
}

impl Register {
    /// Of `lictor lb` and of the agent.
    pub(super) fn read(read: &mut Reader) -> Self {
        let enabled = read.value("registry.consul.register.enabled", values::boolean);
        let interfaces = read.interfaces();
        let addr = read.meant("registry.consul.register.addr", |text| match text {
            "" => Ok(None),
            text => own_address(text, &interfaces).map(Some),
        });
        let (ip, port) = addr.flatten().unwrap_or_default();
        Self {
            enabled,
            ip,
            port,
            name: read.value("registry.consul.register.name", values::filled),
            tags: read.value("registry.consul.register.tags", values::list),
            interval: read.value("registry.consul.register.checkInterval", values::pause),
            timeout: read.value("registry.consul.register.checkTimeout", values::pause),
            skip_verify: read.value("registry.consul.register.checkTLSSkipVerify", values::boolean),
        }
    }
}

/// `[ip]:port`. As for fabio, a host that is no address, or none that others could use, means this host's.
fn own_address(written: &str, interfaces: &[Interface]) -> Result<(Option<IpAddr>, Option<u16>), BadValue> {
    let wrong = |right: String| BadValue {
        problem: format!("registry.consul.register.addr: '{written}' is no address"),
        right,
    };
    let bad = || wrong("it is ':port' or 'ip:port'".to_owned());
    let text = sockaddr::expand(written, interfaces).map_err(wrong)?;
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let ip = ip.filter(|ip| !ip.is_unspecified());
    Ok((ip, (port != 0).then_some(port)))
}

/// fabio's reading of an address: lower case, the scheme apart, any path after it dropped. Whether it was https.
fn address(text: &str) -> values::Value<(bool, String)> {
    let text = text.trim().to_ascii_lowercase();
    let (https, port, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, 443, rest),
        (_, Some(rest)) => (false, 80, rest),
        // fabio means 80 here, too, where no Consul is.
        _ => (false, 8500, text.as_str()),
    };
    let address = rest.split('/').next().unwrap_or_default();
    let address = uri::with_port(address, port);
    address
        .map(|address| (https, address))
        .ok_or_else(|| "expected host:port, http://host:port or https://host:port".to_owned())
}
