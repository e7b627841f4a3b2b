//! The configuration as meant: plain values with their types, everything present, nothing left to
//! doubt. `config/raw.rs` holds it as written; the step between them reports every fault at once.
//!
//! Pure: files, environment and arguments come in from outside, and what only the machine knows
//! (its name, its cores, its addresses) stays `None` for the agent to fill in.

mod balancer;
pub mod check;
#[cfg(test)]
mod docs;
pub mod fault;
pub mod file;
pub mod machine;
pub mod options;
mod properties;
pub mod raw;
mod reader;
pub mod registry;
pub mod settings;
mod shown;
pub mod sockaddr;
mod uri;
pub mod values;

use std::net::IpAddr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use self::uri::Uri;
use fault::Fault;
use raw::Raw;
use reader::Reader;
use registry::{Overrides, Register, Registry};
use settings::Settings;

/// `lictor agent`.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Name of the node; `None`: the host's.
    pub node: Option<String>,
    /// Id of the node; `None`: a new one.
    pub node_id: Option<uuid::Uuid>,
    /// Name of the datacenter.
    pub datacenter: String,
    /// DNS domain, without dots at its ends.
    pub domain: String,
    /// Addresses that HTTP and DNS listen on; at least one.
    pub client: Vec<IpAddr>,
    /// Address that others reach this node at: advertised, else bound to; `None`: bound to all, so
    /// the machine has to tell.
    pub advertise: Option<IpAddr>,
    /// Port of the HTTP API; `None`: none.
    pub http_port: Option<u16>,
    /// Port of DNS; `None`: none.
    pub dns_port: Option<u16>,
    /// Who asked for port and addresses of the HTTP API, in words.
    pub http_asked: String,
    /// Who asked for port and addresses of DNS, in words.
    pub dns_asked: String,
    /// How much to log.
    pub log_level: LevelFilter,
    /// Only say whether all this is right.
    pub check: bool,
    /// In memory, alone, verbose answers.
    pub dev: bool,
    /// The balancer; `None`: switched off.
    pub lb: Option<lb::Config>,
    /// What the key-value store holds for the balancer.
    pub overrides: Overrides,
    /// The balancer as a service.
    pub register: Register,
    /// The registrator; `None`: switched off.
    pub registrator: Option<Containers>,
    /// All of it as written.
    pub settings: Settings,
    /// What the user should hear at start: options without effect, and why.
    pub notes: Vec<String>,
}

/// `lictor lb`.
#[derive(Clone, Debug)]
pub struct Lb {
    /// Only say whether all this is right.
    pub check: bool,
    /// The balancer; its node and datacenter are still to be filled in.
    pub lb: lb::Config,
    /// Where routes come from.
    pub registry: Registry,
    /// How much to log.
    pub log_level: LevelFilter,
    /// All of it as written.
    pub settings: Settings,
    /// What the user should hear at start.
    pub notes: Vec<String>,
}

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
    /// Tags for every service, as written: how they are split is the registrator's business.
    pub tags: String,
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
    /// Address of the Docker Engine; `None`: as `DOCKER_HOST` says.
    pub docker: Option<String>,
}

/// `lictor registrator`: the registrator and where it writes.
#[derive(Clone, Debug)]
pub struct Registrator {
    /// How containers are registered.
    pub registrator: Containers,
    /// The registry.
    pub uri: Uri,
    /// Further attempts for the first contact; `None`: for ever.
    pub retry_attempts: Option<u32>,
    /// Pause between those.
    pub retry_interval: Duration,
    /// How much to log.
    pub log_level: LevelFilter,
    /// What the user should hear at start.
    pub notes: Vec<String>,
}

impl Agent {
    /// The meaning of what was written, and all that is wrong with it. With faults it is good for looking for more of
    /// them only: what means nothing is its default there.
    pub fn resolve(raw: Raw) -> (Self, Vec<Fault>) {
        let mut read = Reader::new(raw);
        let dev = read.value("dev", values::boolean);
        if !dev {
            read.fault(Fault::Conflict(
                "this version of lictor is one node that keeps everything in memory: start it with -dev"
                    .to_owned(),
            ));
        }
        let servers = read.value("bootstrap-expect", values::number_from(0));
        if servers > 1 {
            let text = "bootstrap-expect: this version of lictor is one node and cannot wait for others";
            read.fault(Fault::Conflict(text.to_owned()));
        }
        let node = read.optional("node", values::filled);
        if let Some(name) = node.as_deref().filter(|name| !dns_safe(name)) {
            read.note(format!(
                "node name {name:?} has characters that DNS cannot carry: no lookup finds it"
            ));
        }
        let datacenter = read.value("datacenter", values::datacenter);
        let domain = read.value("domain", values::domain);
        let bind = read.value("bind", values::ip);
        let mut lb = balancer::section(&mut read);
        lb.datacenter.clone_from(&datacenter);
        lb.domains.insert(0, domain.clone());
        if let Some(node) = &node {
            lb.node.clone_from(node);
        }
        let registrator = Containers::read(&mut read);
        lb.shown = shown::of(&read, &lb, None).into();
        let mut agent = Self {
            check: read.value("cfg-check", values::boolean),
            node_id: read.optional("node-id", values::uuid),
            client: read.value("client", values::ips),
            advertise: read
                .optional("advertise", advertised)
                .or_else(|| (!bind.is_unspecified()).then_some(bind)),
            http_port: read.value("http-port", values::port),
            dns_port: read.value("dns-port", values::port),
            http_asked: read.asked(&["http-port", "client"]),
            dns_asked: read.asked(&["dns-port", "client"]),
            log_level: read.value("log-level", values::level),
            lb: read.value("proxy", values::boolean).then_some(lb),
            overrides: Overrides::read(&mut read),
            register: Register::read(&mut read),
            registrator: read.value("registrator", values::boolean).then_some(registrator),
            settings: read.settings(),
            notes: Vec::new(),
            node,
            datacenter,
            domain,
            dev,
        };
        let faults;
        (agent.notes, faults) = read.finish();
        (agent, faults)
    }
}

impl Lb {
    /// The meaning of what was written, and all that is wrong with it. With faults it is good for looking for more of
    /// them only: what means nothing is its default there.
    pub fn resolve(raw: Raw) -> (Self, Vec<Fault>) {
        let mut read = Reader::new(raw);
        let mut lb = balancer::section(&mut read);
        lb.domains.insert(0, "consul".to_owned());
        // fabio's users rely on it: what nobody checks gets no traffic.
        lb.require_check = true;
        let registry = Registry::read(&mut read);
        lb.shown = shown::of(&read, &lb, Some(&registry)).into();
        let check = read.value("cfg-check", values::boolean);
        let log_level = read.value("log.level", values::level);
        let settings = read.settings();
        let (notes, faults) = read.finish();
        let config = Self {
            check,
            lb,
            registry,
            log_level,
            settings,
            notes,
        };
        (config, faults)
    }
}

impl Registrator {
    /// The meaning of what was written, and of the registry's URI; and all that is wrong with it.
    pub fn resolve(raw: Raw, uri: &str) -> (Self, Vec<Fault>) {
        let mut read = Reader::new(raw);
        let registrator = Containers::read(&mut read);
        let attempts = read.value("retry-attempts", values::number_from(-1));
        let interval = read.value("retry-interval", values::number_from(1));
        let log_level = read.value("log-level", values::level);
        // An URI that cannot be read is one fault among others; the placeholder is never seen.
        let uri = Uri::parse(uri).unwrap_or_else(|why| {
            read.fault(Fault::Conflict(why));
            Uri::Consul(None)
        });
        let (notes, faults) = read.finish();
        let config = Self {
            registrator,
            uri,
            retry_attempts: u32::try_from(attempts).ok(),
            retry_interval: Duration::from_millis(interval.unsigned_abs()),
            log_level,
            notes,
        };
        (config, faults)
    }
}

impl Containers {
    fn read(read: &mut Reader) -> Self {
        let ttl = read.value("registrator.ttl", values::seconds);
        let ttl_refresh = read.value("registrator.ttl-refresh", values::seconds);
        let (life, renewal) = (read.flag("registrator.ttl"), read.flag("registrator.ttl-refresh"));
        if ttl.is_zero() != ttl_refresh.is_zero() {
            let text = format!("{life} and {renewal} must be specified together or not at all");
            read.fault(Fault::Conflict(text));
        } else if !ttl.is_zero() && ttl <= ttl_refresh {
            read.fault(Fault::Conflict(format!("{life} must be greater than {renewal}")));
        }
        Self {
            ip: read.optional("registrator.ip", advertised),
            internal: read.value("registrator.internal", values::boolean),
            explicit: read.value("registrator.explicit", values::boolean),
            use_ip_from_label: read.optional("registrator.useIpFromLabel", values::text),
            tags: read.value("registrator.tags", plain_tags),
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
            docker: read.optional("registrator.docker", docker),
        }
    }
}

/// Tags as they are. A template taken literally would be a tag that nobody meant.
fn plain_tags(text: &str) -> Result<String, String> {
    if text.contains("{{") {
        return Err(
            "templates are known to registrator but not supported by this version of lictor".to_owned(),
        );
    }
    values::text(text)
}

fn advertised(text: &str) -> values::Value<IpAddr> {
    let wrong = || "expected an address that others can connect to, not all addresses".to_owned();
    values::ip(text).and_then(|ip| if ip.is_unspecified() { Err(wrong()) } else { Ok(ip) })
}

fn docker(text: &str) -> values::Value<String> {
    let known = ["unix://", "tcp://", "http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if known || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err("expected unix:///path/to.sock or tcp://host:port".to_owned())
}

fn dns_safe(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests;
