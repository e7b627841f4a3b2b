//! The routing table: host → routes → targets. Built, looked up, never changed; a new one, which shares with it
//! what did not change, takes its place. Pure: no socket, clock or dice.
//!
//! Hosts are tried from the most exact to none: the name itself, `*.domain` from the longest, other
//! patterns, built-in names, `*`, no host. Within a host the longest path wins (or as the matcher
//! says); a host none of whose paths fits gives way to the next.

mod alike;
mod asker;
mod balance;
mod builder;
mod census;
mod command;
mod explain;
pub mod glob;
mod listing;
mod load;
mod matching;
mod names;
pub mod options;
mod overrides;
pub mod part;
mod paths;
mod pick;
mod probed;
mod radix;
pub mod redirect;
mod roll;
pub mod route;
pub mod stats;
pub mod tag;
mod text;

use std::collections::BTreeSet;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use catalog::InstanceKey;
use imbl::{HashMap, OrdMap};

pub use asker::{Asker, Choice};
pub use builder::{Builder, Difference};
pub use explain::{Ask, Behind, Choosable, Explained, Tried, Unchoosable};
pub use load::UnderWay;
pub use options::{HostHeader, Options, Scheme};
pub use part::Part;
pub use redirect::Redirect;
pub use route::{Route, Target, Targets, Unfit};
pub(crate) use stats::{BROKEN, INVENTED, Outcomes, Shard};
pub use stats::{Layout, Served, Snapshot, TargetKey, TargetStats};
pub use text::{Row, Weights};

use census::Census;
use listing::Listing;
use matching::{Hosts, Wanted};
use names::Names;
use probed::Probes;
pub(crate) use probed::{Probed, Question, Turn};

/// Port that a plain request means when its Host names none.
const HTTP_PORT: u16 = 80;
/// The same over TLS.
const HTTPS_PORT: u16 = 443;

/// An address of ours, where only that one is meant, and a port.
type Port = (Option<IpAddr>, u16);

/// A tag or command that is left out, and why; or what of it has no effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Skipped {
    /// Name of the service; empty for a command.
    pub service: Arc<str>,
    /// Id of the instance; empty for a command.
    pub instance: Arc<str>,
    /// The tag or command; control characters escaped, cut where it is long.
    pub tag: String,
    /// What is wrong with it; of a command, in which line.
    pub reason: String,
}

/// Everything the data path needs to know to route. A copy shares all with the original, so the next table
/// costs what differs.
#[derive(Clone, Debug, Default)]
pub struct Table {
    hosts: Hosts,
    names: Names,
    tcp: OrdMap<Port, Arc<Route>>,
    /// What tags ask for.
    listing: Listing,
    /// Authorities of its targets.
    targets: Census,
    /// Names of `register=`.
    aliases: Census,
    /// Targets that are probed.
    probes: Probes,
    skipped: OrdMap<InstanceKey, Arc<[Skipped]>>,
    notes: OrdMap<InstanceKey, Arc<[Skipped]>>,
    bad_commands: Arc<[Skipped]>,
    command_notes: Arc<[Skipped]>,
}

/// The route commands of a text that are left out, and why.
pub(crate) fn bad_commands(config: &crate::Config, text: &str) -> Vec<String> {
    let skipped = command::Commands::parse(config, text).skipped;
    skipped.into_iter().map(|skipped| skipped.reason).collect()
}

impl Table {
    /// The route of an HTTP request: `host` as the client sent it (any case, port or not), `path` normalised, `tls`:
    /// whether it came over TLS, which says what port it means where it names none. `None`: unknown, 404.
    #[must_use]
    pub fn http(&self, host: &str, path: &str, tls: bool) -> Option<&Arc<Route>> {
        self.http_where(host, path, tls, |_| true)
    }

    /// As [`Table::http`], but asks the next host candidate when `accept` refuses a route: a redirect
    /// that would lead back to itself gives way.
    pub fn http_where(
        &self,
        host: &str,
        path: &str,
        tls: bool,
        accept: impl Fn(&Route) -> bool,
    ) -> Option<&Arc<Route>> {
        let wanted = Wanted::new(host, default_port(tls));
        self.hosts
            .named(&wanted, path, &accept)
            .or_else(|| self.names.find(&wanted.name).filter(|route| accept(route)))
            .or_else(|| self.hosts.fallback(&wanted, path, &accept))
    }

    /// The route of connections to a `proto=tcp` listener on `port`.
    #[must_use]
    pub fn tcp(&self, port: u16) -> Option<&Arc<Route>> {
        self.tcp.get(&(None, port))
    }

    /// The route of connections that came to `local` by a `proto=tcp-dynamic` listener: one for that address comes
    /// before one for every address.
    #[must_use]
    pub fn tcp_at(&self, local: SocketAddr) -> Option<&Arc<Route>> {
        let (ip, port) = (local.ip().to_canonical(), local.port());
        self.tcp.get(&(Some(ip), port)).or_else(|| self.tcp(port))
    }

    /// Every port that a TCP route names, ascending: where a `proto=tcp-dynamic` listener is wanted.
    #[must_use]
    pub fn tcp_ports(&self) -> BTreeSet<u16> {
        self.tcp.keys().map(|(_, port)| *port).collect()
    }

    /// The route of TLS connections that ask for `name` at a `proto=tcp+sni` listener on `port`. Routes made for
    /// requests count, as in fabio, where the path is `/`. Never a route without a host.
    #[must_use]
    pub fn sni(&self, name: &str, port: u16) -> Option<&Arc<Route>> {
        self.hosts.sni(&Wanted::new(name, port))
    }

    /// The route of TLS connections that ask for `name` and are to be passed through by a `proto=https+tcp+sni`
    /// listener on `port`. `None`: the listener ends TLS itself, since the most exact host takes requests, or none does.
    #[must_use]
    pub fn pass_through(&self, name: &str, port: u16) -> Option<&Arc<Route>> {
        self.hosts.pass_through(&Wanted::new(name, port))
    }

    /// Hosts that tags name in full and that requests are taken for: those that may be given certificates unasked.
    pub fn exact_hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hosts.exact()
    }

    /// Whether a route is for this host, by its name or by a pattern of it; one for every host is for none.
    #[must_use]
    pub fn knows_host(&self, host: &str) -> bool {
        let wanted = Wanted::new(host, HTTPS_PORT);
        self.hosts.names(&wanted.name) || self.names.find(&wanted.name).is_some()
    }

    /// Whether there is a route for whatever host: without one, for `*`, or for connections that have none.
    #[must_use]
    pub fn has_place_for_any_host(&self) -> bool {
        self.hosts.any() || !self.tcp.is_empty()
    }

    /// Every route: hosts ascending, their paths descending, then the built-in ones.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.listing.routes().chain(self.names.routes())
    }

    /// How many those are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.listing.len() + self.names.routes().len()
    }

    /// Whether it has a target at this authority.
    #[must_use]
    pub fn leads_to(&self, authority: &str) -> bool {
        self.targets.contains(authority)
    }

    /// Names that routes with a target want the balancer to be registered under (`register=`).
    #[must_use]
    pub fn aliases(&self) -> BTreeSet<Arc<str>> {
        self.aliases.names().cloned().collect()
    }

    /// Targets that are probed, each once.
    pub(crate) fn probed(&self) -> impl Iterator<Item = &Arc<Probed>> {
        self.probes.all()
    }

    /// Tags and commands that are left out.
    pub fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        let tags = self.skipped.values().flat_map(|skipped| &**skipped);
        tags.chain(&*self.bad_commands)
    }

    /// Tags and commands that are followed and say something that has no effect, or not the one that was meant.
    pub fn notes(&self) -> impl Iterator<Item = &Skipped> {
        let tags = self.notes.values().flat_map(|notes| &**notes);
        tags.chain(&*self.command_notes)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { HTTPS_PORT } else { HTTP_PORT }
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
