//! The routing table: host → routes → targets. Built, looked up, never changed; a new one, which shares with it
//! what did not change, takes its place. Pure: no socket, clock or dice.
//!
//! Hosts are tried from the most exact to none: the name itself, `*.domain` from the longest, other
//! patterns, built-in names, `*`, no host. Within a host the longest path wins (or as the matcher
//! says); a host none of whose paths fits gives way to the next.

mod builder;
mod census;
pub mod glob;
mod matching;
mod names;
pub mod options;
pub mod part;
mod pick;
pub mod redirect;
pub mod route;
pub mod stats;
pub mod tag;
mod text;

use std::hash::Hash;
use std::sync::Arc;

use catalog::InstanceKey;
use imbl::{HashMap, OrdMap};

pub use builder::Builder;
pub use options::{HostHeader, Options};
pub use part::Part;
pub use redirect::Redirect;
pub use route::{Choice, Route, Target, Unfit};
pub use stats::{BUCKETS, Served, Snapshot, TargetKey, TargetStats};
pub use text::{Row, Weights};

use census::Census;
use matching::{Hosts, Wanted};
use names::Names;

/// Port that a plain request means when its Host names none.
const HTTP_PORT: u16 = 80;

/// A tag that makes no route, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Skipped {
    /// Name of the service.
    pub service: Arc<str>,
    /// Id of the instance.
    pub instance: Arc<str>,
    /// The tag; control characters escaped, cut where it is long.
    pub tag: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Everything the data path needs to know to route. A copy shares all with the original, so the next table
/// costs what differs.
#[derive(Clone, Debug, Default)]
pub struct Table {
    hosts: Hosts,
    names: Names,
    tcp: HashMap<u16, Arc<Route>>,
    /// What tags ask for, by host and path.
    tagged: OrdMap<Arc<str>, OrdMap<Arc<str>, Arc<Route>>>,
    /// Authorities of its targets.
    targets: Census,
    skipped: OrdMap<InstanceKey, Arc<[Skipped]>>,
}

impl Table {
    /// The route of a plain HTTP request: `host` as the client sent it (any case, port or not), `path`
    /// normalised. `None`: unknown, 404.
    #[must_use]
    pub fn http(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.http_where(host, path, |_| true)
    }

    /// As [`Table::http`], but asks the next host candidate when `accept` refuses a route: a redirect
    /// that would lead back to itself gives way.
    pub fn http_where(&self, host: &str, path: &str, accept: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let wanted = Wanted::new(host, HTTP_PORT);
        self.hosts
            .named(&wanted, path, &accept)
            .or_else(|| self.names.find(&wanted.name).filter(|route| accept(route)))
            .or_else(|| self.hosts.fallback(&wanted, path, &accept))
    }

    /// The route of connections to the listener on `port`.
    #[must_use]
    pub fn tcp(&self, port: u16) -> Option<&Arc<Route>> {
        self.tcp.get(&port)
    }

    /// The TCP route of connections whose TLS ClientHello asks for `name`, lower case.
    #[must_use]
    pub fn sni(&self, name: &str) -> Option<&Arc<Route>> {
        let is_tcp = |route: &Route| {
            let schemes = route.targets.iter().map(|target| target.options.scheme);
            schemes.into_iter().all(|scheme| scheme == options::Scheme::Tcp)
        };
        self.hosts.named(&Wanted::new(name, 443), "/", &is_tcp)
    }

    /// Ports that TCP routes name.
    pub fn tcp_ports(&self) -> impl Iterator<Item = u16> {
        self.tcp.keys().copied()
    }

    /// Every route: hosts ascending, their paths descending, then the built-in ones.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let tagged = self.tagged.values().flat_map(|paths| paths.values().rev());
        tagged.chain(self.names.routes())
    }

    /// Whether it has a target at this authority.
    #[must_use]
    pub fn leads_to(&self, authority: &str) -> bool {
        self.targets.contains(authority)
    }

    /// Tags that made no route.
    pub fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.skipped.values().flat_map(|skipped| &**skipped)
    }
}

/// As imbl's own `alter`, but in place, so that nothing is copied while nobody shares the map.
fn alter<K, V>(map: &mut HashMap<K, V>, key: K, change: impl FnOnce(Option<V>) -> Option<V>)
where
    K: Clone + Eq + Hash,
    V: Clone,
{
    if let Some(new) = change(map.remove(&key)) {
        map.insert(key, new);
    }
}
