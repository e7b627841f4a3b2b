//! The routing table: host → routes → targets. Built whole, looked up, never changed; a new one
//! takes its place. Pure: no socket, clock or dice.
//!
//! Hosts are tried from the most exact to none: the name itself, `*.domain` from the longest, other
//! patterns, built-in names, `*`, no host. Within a host the longest path wins (or as the matcher
//! says); a host none of whose paths fits gives way to the next.

pub mod glob;
mod matching;
mod names;
pub mod part;
mod pick;
pub mod redirect;
pub mod route;
pub mod stats;
pub mod tag;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use part::Part;
pub use redirect::Redirect;
pub use route::{Choice, HostHeader, Options, Route, Target, Unfit};
pub use stats::{BUCKETS, Ledger, Served, Snapshot, TargetKey, TargetStats};
pub use text::{Row, Weights};

use crate::config::{Config, Matcher};
use crate::health::Verdict;
use matching::{Hosts, Wanted};
use names::Names;
use pick::Shares;
use tag::{Definition, Source};

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

/// Everything the data path needs to know to route.
#[derive(Debug, Default)]
pub struct Table {
    hosts: Hosts,
    names: Names,
    tcp: HashMap<u16, Arc<Route>>,
    /// Hosts ascending, paths descending, then built-in ones.
    routes: Vec<Arc<Route>>,
    skipped: Vec<Skipped>,
}

/// One target in the making.
struct Candidate<'a> {
    part: &'a Part,
    options: Arc<Options>,
}

impl Table {
    /// The table for a picture. `ledger` keeps counters from one table to the next.
    #[must_use]
    pub fn of(config: &Config, picture: &catalog::Picture, ledger: &mut Ledger) -> Self {
        let parts: Vec<Part> = picture
            .values()
            .map(|instance| Part::of(config, instance))
            .collect();
        Self::build(config, parts.iter(), ledger)
    }

    /// The table made of these parts.
    #[must_use]
    pub fn build<'a>(
        config: &Config,
        parts: impl Iterator<Item = &'a Part> + Clone,
        ledger: &mut Ledger,
    ) -> Self {
        let mut sources: BTreeMap<Source, Vec<Candidate<'a>>> = BTreeMap::new();
        for part in parts.clone() {
            for Definition { source, options } in &part.definitions {
                let options = options.clone();
                sources
                    .entry(key(config, source))
                    .or_default()
                    .push(Candidate { part, options });
            }
        }
        let mut table = Self {
            skipped: skipped(parts.clone()),
            ..Self::default()
        };
        for (source, candidates) in sources {
            let route = match &source {
                Source::Http { host, path } => route((host, path), &candidates, ledger),
                Source::Tcp(port) => {
                    let route = route((&format!(":{port}").into(), &"".into()), &candidates, ledger);
                    table.tcp.insert(*port, route.clone());
                    route
                }
            };
            table.routes.push(route);
        }
        table.hosts = Hosts::new(
            config.matcher,
            table.routes.iter().filter(|route| !route.host.starts_with(':')),
        );
        table
            .routes
            .sort_by(|left, right| left.host.cmp(&right.host).then(right.path.cmp(&left.path)));
        let built_in = built_in(parts.clone(), ledger);
        table
            .routes
            .extend(built_in.iter().map(|(_, route)| route.clone()));
        table.names = Names::new(config, parts, built_in);
        table
    }

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

    /// Every route: hosts ascending, their paths descending, then the built-in ones.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Whether built-in names may end in the name of this node.
    #[must_use]
    pub fn knows_node(&self, node: &str) -> bool {
        self.names.knows_node(node)
    }

    /// Tags that made no route.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Sources that the matcher cannot tell apart are one route.
fn key(config: &Config, source: &Source) -> Source {
    match source {
        Source::Http { host, path } if config.matcher == Matcher::IPrefix => Source::Http {
            host: host.clone(),
            path: path.to_ascii_lowercase().into(),
        },
        other => other.clone(),
    }
}

fn skipped<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<Skipped> {
    let mut skipped: Vec<Skipped> = parts.flat_map(|part| &part.skipped).cloned().collect();
    skipped.sort();
    skipped
}

/// One route of what its candidates offer. Only fit ones become targets; without any, the route is
/// known all the same.
fn route(
    (host, path): (&Arc<str>, &Arc<str>),
    candidates: &[Candidate<'_>],
    ledger: &mut Ledger,
) -> Arc<Route> {
    let mut chosen: Vec<&Candidate<'_>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut unfit = Vec::new();
    for candidate in candidates {
        let Part {
            service,
            instance,
            addr,
            ..
        } = candidate.part;
        match candidate.part.verdict {
            // The same destination twice is one: it is counted under one name, too.
            Verdict::Fit if seen.insert((service, addr)) => chosen.push(candidate),
            Verdict::Fit => {}
            Verdict::Unfit(why) => {
                let (service, instance) = (service.clone(), instance.clone());
                unfit.push(Unfit {
                    service,
                    instance,
                    why,
                });
            }
        }
    }
    let weights: Vec<f64> = chosen.iter().map(|candidate| candidate.options.weight).collect();
    let shares = pick::effective(&weights);
    let target = |(candidate, share): (&&Candidate<'_>, &f64)| {
        let part = candidate.part;
        let key = TargetKey {
            service: part.service.clone(),
            host: host.clone(),
            path: path.clone(),
            target: part.addr.clone(),
        };
        Arc::new(Target {
            service: part.service.clone(),
            instance: part.instance.clone(),
            node: part.node.clone(),
            addr: part.addr.clone(),
            options: candidate.options.clone(),
            share: *share,
            stats: ledger.target(key),
        })
    };
    Arc::new(Route {
        targets: chosen.iter().zip(&shares).map(target).collect(),
        service: candidates
            .iter()
            .map(|each| &each.part.service)
            .min()
            .cloned()
            .unwrap_or_default(),
        host: host.clone(),
        path: path.clone(),
        built_in: false,
        unfit: unfit.into(),
        shares: Shares::new(&shares),
        turns: ledger.turns(host, path),
    })
}

/// Built-in routes by head. Their host reads `nginx-80.*`, the star standing for every suffix.
fn built_in<'a>(parts: impl Iterator<Item = &'a Part>, ledger: &mut Ledger) -> Vec<(Box<str>, Arc<Route>)> {
    let options = Arc::new(Options::default());
    let path: Arc<str> = "/".into();
    let mut routes = Vec::new();
    for (head, members) in names::groups(parts) {
        let candidates: Vec<Candidate<'_>> = members
            .into_iter()
            .map(|part| Candidate {
                part,
                options: options.clone(),
            })
            .collect();
        let mut route = route((&format!("{head}.*").into(), &path), &candidates, ledger);
        if let Some(fresh) = Arc::get_mut(&mut route) {
            fresh.built_in = true;
        }
        routes.push((head, route));
    }
    routes
}
