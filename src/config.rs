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
pub mod registrator;
pub mod registry;
pub mod settings;
mod shown;
pub mod sockaddr;
pub mod uri;
pub mod values;

use std::net::IpAddr;

use tracing::level_filters::LevelFilter;

pub use self::registrator::{Containers, Format, Registrator};
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

fn advertised(text: &str) -> values::Value<IpAddr> {
    let wrong = || "expected an address that others can connect to, not all addresses".to_owned();
    values::ip(text).and_then(|ip| if ip.is_unspecified() { Err(wrong()) } else { Ok(ip) })
}

fn dns_safe(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests;
