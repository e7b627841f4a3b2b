//! How containers are registered: the options that the agent and the registrator alone share, and those of the
//! latter. Pure, like all of `config`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use registrator::{AtExit, EngineAddress, Filter, Template};
use tracing::level_filters::LevelFilter;

use super::fault::Fault;
use super::raw::Raw;
use super::reader::Reader;
use super::uri::{self, Uri};
use super::{advertised, values};

/// How containers are registered, alone or inside the agent.
#[derive(Clone, Debug)]
pub struct Containers {
    /// Address for published ports instead of the host's.
    pub ip: Option<IpAddr>,
    /// Register exposed ports at the container's own address.
    pub internal: bool,
    /// Register only ports that were given a name.
    pub explicit: bool,
    /// Label that holds the address to register.
    pub use_ip_from_label: Option<String>,
    /// Tags for every service.
    pub tags: Template,
    /// `true`: services go only with containers that ended well.
    pub deregister_on_success_only: bool,
    /// Remove entries of this host that no container accounts for.
    pub cleanup: bool,
    /// Time between two looks at everything; `None`: the registrator's own.
    pub resync: Option<Duration>,
    /// Lifetime of entries; zero: no end.
    pub ttl: Duration,
    /// Time between two renewals; zero: none.
    pub ttl_refresh: Duration,
    /// First part of service ids; `None`: the node's name, or the host's.
    pub hostname: Option<String>,
    /// Where the engine is, by option or environment.
    pub docker: EngineAddress,
    /// In the agent: registries beside its own catalog.
    pub also: Vec<Uri>,
    /// Which containers are registered.
    pub filter: Filter,
    /// Networks whose addresses are preferred, the best first.
    pub networks: Vec<String>,
    /// Address for ports that are published on IPv6 only; `None`: the host's.
    pub ipv6: Option<Ipv6Addr>,
    /// Services of compose are named after the compose service.
    pub compose_names: bool,
    /// Mark of our entries; `None`: as ids begin.
    pub owner: Option<String>,
    /// How long a container that survives its stop signal stays out of rotation, at least.
    pub drain: Duration,
    /// How long entries stand while the engine cannot be heard; zero: for ever.
    pub grace: Duration,
    /// What becomes of entries when the registrator stops.
    pub at_exit: AtExit,
}

/// `lictor registrator`: the registrator and where it writes to.
#[derive(Clone, Debug)]
pub struct Registrator {
    /// How containers are registered.
    pub registrator: Containers,
    /// The registries; at least one.
    pub uris: Vec<Uri>,
    /// Further attempts for the first contact; `None`: for ever.
    pub retry_attempts: Option<u32>,
    /// Pause between those.
    pub retry_interval: Duration,
    /// Log what would be written, and write nothing.
    pub dry_run: bool,
    /// Where health, metrics and what it thinks can be asked for.
    pub http: Option<SocketAddr>,
    /// How much to log.
    pub log_level: LevelFilter,
    /// How the log is written.
    pub log_format: Format,
    /// How `explain` answers.
    pub format: Format,
    /// What the user should hear at start.
    pub notes: Vec<String>,
}

/// Whom something is written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// People.
    #[default]
    Text,
    /// Programs.
    Json,
}

impl Registrator {
    /// The meaning of what was written, and of the URIs of registries; and all that is wrong with it.
    pub fn resolve(raw: Raw, uris: &[String]) -> (Self, Vec<Fault>) {
        let mut read = Reader::new(raw);
        let registrator = Containers::read(&mut read);
        let attempts = read.value("retry-attempts", values::number_from(-1));
        let interval = read.value("retry-interval", values::number_from(1));
        let log_level = read.value("log-level", values::level);
        let dry_run = read.value("dry-run", values::boolean);
        if dry_run && log_level < LevelFilter::INFO {
            let text = "-dry-run says at level info what would be written; -log-level hides that";
            read.fault(Fault::Conflict(text.to_owned()));
        }
        let http = read.optional("http", socket);
        let log_format = read.value("log-format", format);
        let answer = read.value("format", format);
        let uris = registries(&mut read, uris);
        let (notes, faults) = read.finish();
        let config = Self {
            registrator,
            uris,
            retry_attempts: u32::try_from(attempts).ok(),
            retry_interval: Duration::from_millis(interval.unsigned_abs()),
            dry_run,
            http,
            log_level,
            log_format,
            format: answer,
            notes,
        };
        (config, faults)
    }
}

impl Containers {
    pub(super) fn read(read: &mut Reader) -> Self {
        let ttl = read.value("registrator.ttl", values::seconds);
        let ttl_refresh = read.value("registrator.ttl-refresh", values::seconds);
        let (life, renewal) = (read.flag("registrator.ttl"), read.flag("registrator.ttl-refresh"));
        if ttl.is_zero() != ttl_refresh.is_zero() {
            let text = format!("{life} and {renewal} must be specified together or not at all");
            read.fault(Fault::Conflict(text));
        } else if !ttl.is_zero() && ttl <= ttl_refresh {
            read.fault(Fault::Conflict(format!("{life} must be greater than {renewal}")));
        }
        let also = match read.has("registrator.also") {
            true => read.value("registrator.also", uri::list),
            false => Vec::new(),
        };
        Self {
            ip: read.optional("registrator.ip", advertised),
            internal: read.value("registrator.internal", values::boolean),
            explicit: read.value("registrator.explicit", values::boolean),
            use_ip_from_label: read.optional("registrator.useIpFromLabel", values::text),
            tags: read.value("registrator.tags", template),
            deregister_on_success_only: read.value("registrator.deregister", |text| match text {
                "always" => Ok(false),
                "on-success" => Ok(true),
                _ => Err("expected always or on-success".to_owned()),
            }),
            cleanup: read.value("registrator.cleanup", values::boolean),
            resync: read.value("registrator.resync", |text| values::seconds(text).map(nonzero)),
            ttl,
            ttl_refresh,
            hostname: read.optional("registrator.hostname", values::filled),
            docker: engine(read),
            also: registries(read, &also),
            filter: read.value("registrator.filter", filter),
            networks: read.value("registrator.networks", values::list),
            ipv6: read.optional("registrator.ipv6", ipv6),
            compose_names: read.value("registrator.compose-names", values::boolean),
            owner: read.optional("registrator.owner", values::filled),
            drain: read.value("registrator.drain", values::duration),
            grace: read.value("registrator.grace", values::duration),
            at_exit: read.value("registrator.at-exit", |text| match text {
                "keep" => Ok(AtExit::Keep),
                "drain" => Ok(AtExit::Drain),
                "remove" => Ok(AtExit::Remove),
                _ => Err("expected keep, drain or remove".to_owned()),
            }),
        }
    }
}

/// The registries that URIs mean, those apart that mean none.
fn registries(read: &mut Reader, uris: &[String]) -> Vec<Uri> {
    let mut registries = Vec::new();
    for uri in uris {
        match Uri::parse(uri, &|name| read.variable(name)) {
            Ok(uri) => registries.push(uri),
            Err(why) => read.fault(Fault::Conflict(why)),
        }
    }
    registries
}

/// Where the engine is, as the option says or else the variables that other clients of engines know.
fn engine(read: &mut Reader) -> EngineAddress {
    let judged = |text: &str| match EngineAddress::judge(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(expected) => Err(format!("expected {expected}")),
    };
    let host = read.optional("registrator.docker", judged);
    let at_home = || Some(Path::new(&read.variable("HOME")?).join(".docker"));
    EngineAddress {
        host: host.or_else(|| read.variable("DOCKER_HOST")),
        tls: read.variable("DOCKER_TLS_VERIFY").is_some(),
        certificates: read.variable("DOCKER_CERT_PATH").map(Into::into).or_else(at_home),
        runtime_dir: read.variable("XDG_RUNTIME_DIR").map(Into::into),
        like_the_original: false,
    }
}

fn template(text: &str) -> values::Value<Template> {
    text.parse::<Template>().map_err(|error| error.to_string())
}

fn ipv6(text: &str) -> values::Value<Ipv6Addr> {
    match advertised(text)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => Err("expected an IPv6 address".to_owned()),
    }
}

fn filter(text: &str) -> values::Value<Filter> {
    text.parse::<Filter>().map_err(|error| error.to_string())
}

fn format(text: &str) -> values::Value<Format> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

/// An address to listen on; without a host all of IPv4.
fn socket(text: &str) -> values::Value<SocketAddr> {
    let address = match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::from(([0, 0, 0, 0], port))),
        None => text.parse().ok(),
    };
    address.ok_or_else(|| {
        "expected an address and a port like 127.0.0.1:8501, or :8501 for all addresses".to_owned()
    })
}

fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
