//! The door to whoever keeps the registrations: the verbs that registrator users know.
//!
//! A registry only does what it is told. What should be there, what is there, and when to try
//! again is decided in `reconcile.rs`; an implementation never retries on its own. Which registry a
//! URI means, and what the environment says of it, is read by whoever makes one: `src/config/uri.rs`.

pub mod consul;
pub mod etcd;
pub(crate) mod skydns2;
pub mod zookeeper;

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT};
use catalog::{Registration, ServiceSpec, Status};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::container::{Port, Protocol};

/// What checks say that we report on.
pub const ALIVE: &str = "the container runs";

/// A place where services are registered.
pub trait Registry: Send + Sync {
    /// What people call it: its URI, without what is secret in it.
    fn name(&self) -> String;

    /// What it can do. The same at each call.
    fn abilities(&self) -> Abilities;

    /// Whether it can be reached.
    fn ping(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Tells it on what terms it is used: once, before it is asked what it holds and before it is told to write, but
    /// after the first [`ping`](Registry::ping), since the engine has a say in whose the entries are. Nothing to those
    /// that keep marks in pairs of the service and nothing else of it.
    fn begin(&self, _terms: &Terms) {}

    /// Everything registered there, whoever wrote it, as far as [`Abilities::lists`] promises; `None`
    /// where it cannot tell. A registry that marks its entries elsewhere than in pairs of the service
    /// says here whose they are, as `META_OWNER`.
    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>>;

    /// Adds the service and its checks, or replaces what its key held.
    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>>;

    /// The service is known as `wanted` but for what its checks say: pass that on. Not asked of a
    /// registry that cannot tell health.
    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes the entry of this [key](Abilities::key) with its checks. One that is not there is
    /// removed already.
    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Says that the check of this id passes: one that turns critical when nobody says so in time. Not asked
    /// of a registry that cannot tell health.
    fn report<'a>(&'a self, _check: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    /// Lets these entries, all that were written and hold, live on where lifetimes end. Asked every
    /// `-ttl-refresh`.
    fn renew<'a>(&'a self, _held: &'a [Arc<Registration>]) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    /// Resolves when entries may have been lost or changed by others: a session that ended, a server
    /// that is back. It is then asked at once what it holds. Asked again after each time.
    fn faltered(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

/// On what terms a registrator uses a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The mark of what it writes.
    pub owner: String,
    /// Marks that it used before, and others perhaps too.
    pub former_owners: Vec<String>,
    /// It only looks, beside one that writes under the same mark: nothing may be written, not even for looking.
    pub looks_only: bool,
}

/// What a registry can do.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Whether its readers learn what checks say. Where not, only what passes is registered.
    pub tells_health: bool,
    /// What its listing shows.
    pub lists: Lists,
    /// Writes under way at once, at most.
    pub abreast: usize,
    /// What an entry is told apart by: a service of another key is another entry. By default its id.
    pub key: fn(&ServiceSpec) -> Arc<str>,
    /// Why a service cannot have an entry there: the setting that would help, and the reason. By default
    /// every service can.
    pub refuses: fn(&ServiceSpec) -> Option<(&'static str, String)>,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            tells_health: true,
            lists: Lists::Checks,
            abreast: 32,
            key: |service| service.id.clone(),
            refuses: |_| None,
        }
    }
}

/// How much a registry's listing shows of each entry; what it does not show counts as it was last
/// written, and is written once where that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lists {
    /// Nothing: it cannot be asked.
    Nothing,
    /// Name, address and port, which is all there is: the rest is never missing.
    Places,
    /// The whole service, and nothing of checks.
    Services,
    /// The service, and what the check of its container says; nothing of other checks.
    States,
    /// The service and the definition of each check, with what it says.
    Checks,
}

/// What a registry is told of one service of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// As a catalog holds it.
    pub registration: Arc<Registration>,
    /// The port inside the container.
    pub port: Port,
    /// Full id of the container.
    pub container: Arc<str>,
    /// The id of the swarm's service of which this container is one task, and the entry stands for all on this host.
    pub tasks_of: Option<Arc<str>>,
    /// Its container named its id, instead of having it by rule.
    pub told_id: bool,
    /// The host name inside the container.
    pub inside_name: String,
    /// What the container says of the service, in its own words: neither cleaned nor cut.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// What the state of the container says, its HEALTHCHECK included.
    pub fit: Status,
    /// Which rule gave each field.
    pub why: Vec<Reason>,
}

impl Offer {
    /// What an entry that was found in a registry offered, as far as it tells.
    pub(crate) fn found(entry: &Arc<Registration>) -> Self {
        let meta = &entry.service.meta;
        let ours = [META_BASE, META_CONTAINER, META_OWNER, META_PORT];
        let number = meta.get(META_PORT).and_then(|text| text.parse().ok());
        let theirs = meta.iter().filter(|(key, _)| !ours.contains(&key.as_str()));
        Self {
            port: Port {
                number: number.unwrap_or(entry.service.port),
                protocol: Protocol::Tcp,
            },
            container: meta
                .get(META_CONTAINER)
                .map(String::as_str)
                .unwrap_or_default()
                .into(),
            tasks_of: None,
            told_id: false,
            inside_name: String::new(),
            attributes: Arc::new(theirs.map(|(key, value)| (key.clone(), value.clone())).collect()),
            fit: Status::Critical,
            why: Vec::new(),
            registration: entry.clone(),
        }
    }
}

/// Which rule gave a field of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The field, as `explain` shows it: `name`, `address`.
    pub field: &'static str,
    /// The rule: a setting in the user's spelling, or a few words.
    pub rule: String,
    /// What it gave.
    pub value: String,
}

impl Reason {
    pub(crate) fn new(field: &'static str, rule: impl Into<String>, value: &impl ToString) -> Self {
        Self {
            field,
            rule: rule.into(),
            value: value.to_string(),
        }
    }
}

/// Whether the original would have made the id that a key ends with: `<host>:<container>:<port>`, perhaps with `:udp`.
pub(crate) fn is_of_a_host(entry: &str) -> bool {
    let id = entry.rsplit_once('/').map_or(entry, |(_, id)| id);
    let id = id.strip_suffix(":udp").unwrap_or(id);
    let mut parts = id.rsplitn(3, ':');
    let port = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
    port && parts.next().is_some_and(|name| !name.is_empty())
        && parts.next().is_some_and(|host| !host.is_empty())
}

/// Why a registry did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer, or none in time.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// It understood, and will not.
    #[error("the registry refused: {0}")]
    Refused(String),
}

impl Error {
    /// Of a registry that was asked before it was told [on what terms](Registry::begin).
    pub(crate) fn nobody() -> Self {
        Self::Refused("nobody has said whose entries are ours".to_owned())
    }
}
