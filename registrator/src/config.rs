//! The settings of a registrator, and the one place where they are found wrong.
//!
//! [`Config::build`] reports the first fault with the name of the setting; after it nothing in
//! this crate doubts its configuration again.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::Registrator;
use crate::docker::endpoint::EngineAddress;
use crate::registry::Registry;
use crate::services::filter::Filter;
use crate::template::Template;

/// What a user may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address for every published port, instead of the one it is bound to.
    pub ip: Option<IpAddr>,
    /// Register exposed ports at the container's own address.
    pub internal: bool,
    /// Register only ports that were given a name.
    pub explicit: bool,
    /// Label that holds the address to register; a `/prefix` behind it is cut.
    pub use_ip_from_label: Option<String>,
    /// Tags for every service, between commas; a template makes them for each container.
    pub tags: Template,
    /// Which containers are registered at all.
    pub filter: Filter,
    /// Networks whose addresses are preferred, the best first; empty: the one a container was started
    /// with, else the first by name.
    pub networks: Vec<String>,
    /// Containers of compose are known by the name of their compose service, not by their image's.
    pub compose_names: bool,
    /// What becomes of the services of a container that ends.
    pub deregister: Deregister,
    /// Also remove entries that another registrator left behind for this host name.
    pub cleanup: bool,
    /// Time between two looks at every container; zero means never.
    pub resync: Duration,
    /// Lifetime of entries, for registries that know such a thing.
    pub ttl: Duration,
    /// Time between two renewals of that lifetime.
    pub ttl_refresh: Duration,
    /// Further attempts for the first contact with the registry; -1 means for ever.
    pub retry_attempts: i32,
    /// Pause between those attempts.
    pub retry_interval: Duration,
    /// Where the engine is.
    pub engine: EngineAddress,
    /// First part of every service id.
    pub hostname: String,
    /// Where others reach this host.
    pub home: Home,
    /// Marks what we register; entries marked otherwise are never touched.
    pub owner: String,
    /// The machine's own id, empty where it has none. With it entries are marked with what is made of this and of the
    /// engine's id, and `owner` is a mark that was used before.
    pub machine: Option<String>,
    /// Marks that we used before, and others perhaps too: an entry is ours where its container is here. With
    /// `cleanup` all of them are.
    pub former_owners: Vec<String>,
    /// How long a container that survives its stop signal stays out of rotation; never shorter
    /// than the time its engine gives it.
    pub drain: Duration,
    /// How long entries stand while the engine cannot be heard, before they count as critical; zero
    /// means for ever.
    pub grace: Duration,
    /// What becomes of the entries when the registrator is stopped.
    pub at_exit: AtExit,
    /// What would be written is only logged.
    pub dry_run: bool,
}

/// Where others reach this host, for ports that are bound to all of its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// `None` where it is not known: then such ports are not registered.
    pub address: Option<IpAddr>,
    /// On IPv6, where `address` is not that already. Ports bound on IPv6 only are registered with it, those
    /// bound on both have it as a second address.
    pub v6: Option<Ipv6Addr>,
}

/// `10.0.0.1 and 2001:db8::1`
impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses = [self.address, self.v6.map(IpAddr::from)];
        let words: Vec<String> = addresses.iter().flatten().map(IpAddr::to_string).collect();
        f.write_str(if words.is_empty() { "nowhere" } else { "" })?;
        f.write_str(&words.join(" and "))
    }
}

/// A host that is reached at one address.
impl std::str::FromStr for Home {
    type Err = std::net::AddrParseError;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            address: Some(address.parse()?),
            v6: None,
        })
    }
}

/// What becomes of what is registered when the registrator is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtExit {
    /// It stays as it is: users of the original rely on that for restarts.
    #[default]
    Keep,
    /// It stays, critical.
    Drain,
    /// It goes.
    Remove,
}

/// What becomes of the services of a container that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deregister {
    /// They go.
    #[default]
    Always,
    /// They go if it ended well or by a signal; otherwise they stay, critical, for people to see.
    OnSuccess,
}

impl std::str::FromStr for Deregister {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        match text {
            "always" => Ok(Self::Always),
            "on-success" => Ok(Self::OnSuccess),
            _ => Err(invalid("deregister", text, "always or on-success")),
        }
    }
}

impl Config {
    /// The defaults, around the three things that have none.
    #[must_use]
    pub fn new(hostname: impl Into<String>, home: Home, owner: impl Into<String>) -> Self {
        Self {
            ip: None,
            internal: false,
            explicit: false,
            use_ip_from_label: None,
            tags: Template::default(),
            filter: Filter::default(),
            networks: Vec::new(),
            compose_names: false,
            deregister: Deregister::Always,
            cleanup: false,
            resync: Duration::from_secs(60),
            ttl: Duration::ZERO,
            ttl_refresh: Duration::ZERO,
            retry_attempts: 0,
            retry_interval: Duration::from_secs(2),
            engine: EngineAddress::default(),
            hostname: hostname.into(),
            home,
            owner: owner.into(),
            machine: None,
            former_owners: Vec::new(),
            drain: Duration::from_secs(10),
            grace: Duration::ZERO,
            at_exit: AtExit::Keep,
            dry_run: false,
        }
    }

    /// Checks the settings and makes a registrator that writes to each of `registries`. Contacts nobody.
    ///
    /// # Errors
    /// The first setting that cannot work, by name.
    pub fn build(self, registries: Vec<Arc<dyn Registry>>) -> Result<Registrator, BuildError> {
        if registries.is_empty() {
            return Err(invalid("registry", "", "at least one"));
        }
        self.ready(registries)
    }

    /// The same, where there may be no registry.
    pub(crate) fn ready(self, registries: Vec<Arc<dyn Registry>>) -> Result<Registrator, BuildError> {
        if self.hostname.is_empty() {
            return Err(invalid("hostname", "", "a name: it starts every service id"));
        }
        if self.owner.is_empty() {
            return Err(invalid("owner", "", "a name: it marks our entries"));
        }
        for (setting, address) in [("advertise", self.home.address), ("ip", self.ip)] {
            if let Some(address) = address.filter(IpAddr::is_unspecified) {
                return Err(invalid(
                    setting,
                    &address.to_string(),
                    "an address that others can connect to",
                ));
            }
        }
        if self.ttl_refresh > Duration::ZERO && self.ttl <= self.ttl_refresh {
            return Err(invalid(
                "ttl",
                &format!("{:?}", self.ttl),
                "longer than ttl-refresh",
            ));
        }
        if self.retry_interval.is_zero() {
            return Err(invalid("retry-interval", "0", "more than 0"));
        }
        let endpoint = self.engine.choose()?;
        Ok(Registrator::new(self, endpoint, registries))
    }
}

fn invalid(setting: &'static str, value: &str, expected: &'static str) -> BuildError {
    BuildError::Invalid {
        setting,
        value: value.to_owned(),
        expected,
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A value outside what the setting allows.
    #[error("{setting}: '{value}' is not possible; it must be {expected}")]
    Invalid {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}
