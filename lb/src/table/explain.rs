//! Which route a request would take, which hosts were tried before it and why they were not, and who stands behind it.
//! Looks at every host, so it is for people; what it finds is what a lookup finds. Pure.

use std::sync::Arc;

use serde::Serialize;

use super::matching::Wanted;
use super::route::{Kind, Route, Target, Unfit};
use super::text::shown;
use super::{Skipped, Table};
use crate::authority;

/// Paths of a host that are listed where none fits.
const LISTED: usize = 10;

/// A request in question.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// As a client would send it: any case, with a port or not.
    pub host: &'a str,
    /// Normalised, as lookups want it.
    pub path: &'a str,
    /// Only repeated in the answer: no route looks at it.
    pub method: &'a str,
    /// Whether it comes over TLS.
    pub tls: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// As routes are compared with it: small letters, no port, no dot at the end.
    pub host: String,
    /// As sent, or the default of the protocol.
    pub port: u16,
    /// As given.
    pub path: String,
    /// As given.
    pub method: String,
    /// As given.
    pub tls: bool,
    /// What becomes of it, in words.
    pub outcome: String,
    /// Hosts that fit, in the order in which they are tried, up to the one whose route it is.
    pub tried: Vec<Tried>,
    /// The route; `None`: it has none.
    pub route: Option<Behind>,
    /// Tags and commands left out that may have meant this host, or that are of these services.
    pub skipped: Vec<Skipped>,
    /// Those followed that say something without effect.
    pub notes: Vec<Skipped>,
}

/// A host that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// As in the table; empty: whatever host.
    pub host: String,
    /// The path whose route it is; `None`: no route of this host.
    pub path: Option<String>,
    /// Why.
    pub why: String,
}

/// Who stands behind a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Behind {
    /// Host and path.
    pub source: String,
    /// Whether no tag or command made it.
    pub built_in: bool,
    /// `strategy=` of its own, if any.
    pub strategy: Option<String>,
    /// All that may get the request.
    pub targets: Vec<Choosable>,
    /// Instances that may not.
    pub unfit: Vec<Unchoosable>,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choosable {
    /// Service it belongs to.
    pub service: String,
    /// Id of the instance; empty: a command made it.
    pub instance: String,
    /// Node of the instance.
    pub node: String,
    /// Where it leads.
    pub dst: String,
    /// Share asked for; 0 takes a part of what is left.
    pub weight: f64,
    /// Share of the route's traffic, 0 to 1; 0 serves only when nothing else can.
    pub share: f64,
    /// Requests and connections that it has under way.
    pub under_way: u64,
    /// Options, `k=v` parted by blanks.
    pub opts: String,
}

/// An instance that gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unchoosable {
    /// Service it belongs to.
    pub service: String,
    /// Id of the instance.
    pub instance: String,
    /// Why.
    pub why: String,
}

impl Table {
    /// What would become of a request, but for redirects that lead back to it, and limits and guards.
    #[must_use]
    pub fn explain(&self, ask: Ask<'_>) -> Explained {
        self.explain_where(ask, |_| true)
    }

    /// As [`Table::explain`], where routes give way that `accept` refuses, as in [`Table::http_where`].
    pub fn explain_where(&self, ask: Ask<'_>, accept: impl Fn(&Route) -> bool) -> Explained {
        let wanted = Wanted::new(ask.host, super::default_port(ask.tls));
        let (tried, route) = self.trace(&wanted, ask.path, &accept);
        let name = &*wanted.name;
        let concerns = |one: &&Skipped| {
            let behind = route.into_iter().flat_map(|route| &route.targets);
            (!name.is_empty() && one.tag.to_lowercase().contains(name))
                || (!one.service.is_empty()
                    && behind
                        .map(|target| &target.part.service)
                        .any(|own| *own == one.service))
        };
        Explained {
            host: name.to_owned(),
            port: wanted.port,
            path: ask.path.to_owned(),
            method: ask.method.to_owned(),
            tls: ask.tls,
            outcome: outcome(route),
            tried,
            route: route.map(|route| behind(route)),
            skipped: self.skipped().filter(concerns).cloned().collect(),
            notes: self.notes().filter(concerns).cloned().collect(),
        }
    }

    fn trace(
        &self,
        wanted: &Wanted<'_>,
        path: &str,
        accept: &dyn Fn(&Route) -> bool,
    ) -> (Vec<Tried>, Option<&Arc<Route>>) {
        let candidates = self.hosts.candidates(wanted, self.listing.hosts());
        let (named, whatever): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|host| host.names_something());
        let look = |candidate: Candidate| self.look(&candidate.host, candidate.other_port(wanted.port), path);
        let built_in = self.names.find(&wanted.name).map(|route| {
            let row = Tried {
                host: route.host.to_string(),
                path: Some(route.path.to_string()),
                why: "it is a built-in name".to_owned(),
            };
            (row, Some(route))
        });
        let all = named.into_iter().map(look).chain(built_in);
        let mut tried = Vec::new();
        for (mut row, route) in all.chain(whatever.into_iter().map(look)) {
            let taken = route.filter(|route| accept(route));
            if route.is_some() && taken.is_none() {
                row.path = None;
                row.why = "its redirect leads back to what is asked for".to_owned();
            }
            tried.push(row);
            if taken.is_some() {
                return (tried, taken);
            }
        }
        (tried, None)
    }

    fn look(&self, host: &Arc<str>, other_port: Option<u16>, path: &str) -> (Tried, Option<&Arc<Route>>) {
        let takes_requests = |route: &&Arc<Route>| route.kind != Kind::Sni;
        let routes = self.listing.of_host(host).filter(takes_requests);
        let mut paths: Vec<&str> = routes.map(|route| &*route.path).collect();
        paths.reverse();
        let route = self.hosts.route_of(host, path).filter(|_| other_port.is_none());
        let why = match (other_port, &route) {
            (Some(port), _) => format!("it takes only requests that ask for port {port}"),
            (None, Some(_)) => "host and path fit".to_owned(),
            (None, None) if paths.is_empty() => "it takes connections, not requests".to_owned(),
            (None, None) => {
                let listed = paths.iter().take(LISTED).copied().collect::<Vec<_>>().join(" ");
                match paths.len().checked_sub(LISTED) {
                    None | Some(0) => format!("none of its paths fits: {listed}"),
                    Some(more) => format!("none of its paths fits: {listed} and {more} more"),
                }
            }
        };
        let row = Tried {
            host: host.to_string(),
            path: route.map(|route| route.path.to_string()),
            why,
        };
        (row, route)
    }
}

/// Targets of a route that may be chosen.
fn up(route: &Route) -> impl Iterator<Item = &Arc<Target>> {
    route.targets.iter().filter(|target| target.is_up())
}

fn outcome(route: Option<&Arc<Route>>) -> String {
    let Some(route) = route else {
        return "no route wants it".to_owned();
    };
    let targets: Vec<&Arc<Target>> = up(route).collect();
    let redirect = targets.iter().find_map(|target| target.options.redirect.as_ref());
    match (&*targets, redirect) {
        ([], _) => "503: the route is known, and none of its instances may get traffic".to_owned(),
        ([_], Some(redirect)) => format!("{} to {}", redirect.code, redirect.url),
        ([target], None) => format!("{} gets it", target.addr),
        (targets, _) => {
            let active = targets.iter().filter(|target| target.share > 0.0).count();
            format!("one of {active} targets gets it")
        }
    }
}

fn behind(route: &Route) -> Behind {
    let target = |target: &Arc<Target>| Choosable {
        service: target.part.service.to_string(),
        instance: target.part.instance.to_string(),
        node: target.part.node.to_string(),
        dst: target.url().into_owned(),
        weight: target.weight,
        share: target.share,
        under_way: target.stats.under_way(),
        opts: shown(&target.options),
    };
    let unfit = |unfit: &Unfit| Unchoosable {
        service: unfit.service.to_string(),
        instance: unfit.instance.to_string(),
        why: unfit.why.to_owned(),
    };
    let down = route.targets.iter().filter_map(|target| {
        let why = target.probed.as_ref()?.why_down()?;
        Some(Unchoosable {
            service: target.part.service.to_string(),
            instance: target.part.instance.to_string(),
            why: format!("its probe fails: {why}"),
        })
    });
    Behind {
        source: route.source(),
        built_in: route.kind.is_built_in(),
        strategy: strategy(route),
        targets: up(route).map(target).collect(),
        unfit: route.unfit().iter().map(unfit).chain(down).collect(),
    }
}

/// As it was written.
fn strategy(route: &Route) -> Option<String> {
    let target = route
        .targets
        .iter()
        .find(|target| target.options.strategy.is_some())?;
    let (_, value) = target
        .options
        .shown
        .iter()
        .find(|(key, _)| &**key == "strategy")?;
    Some(value.to_string())
}

/// A host of the table that fits the name asked for.
pub(super) struct Candidate {
    pub host: Arc<str>,
    /// 3: the name itself, 2: a pattern, 1: `*`, 0: no host.
    pub class: u8,
    pub rank: Arc<[u32]>,
}

impl Candidate {
    fn names_something(&self) -> bool {
        self.class > 1
    }

    /// The port that it is for, where that is another.
    fn other_port(&self, asked: u16) -> Option<u16> {
        let (_, port) = authority::split(&self.host);
        port.and_then(|port| port.parse().ok())
            .filter(|port| *port != asked)
    }
}
