//! A route, its targets and what its options ask for.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Spot;
use super::asker::{Asker, Choice, hash};
use super::balance;
use super::load::Load;
use super::options::Options;
use super::part::Part;
use super::pick::{self, Shares};
use super::stats::{Layout, TargetKey, TargetStats, Turns};
use super::tag::Source;
use crate::config::Strategy;
use crate::health::Verdict;
use crate::policy::limit::Spent;

/// Where requests for one host and path, or connections to one port, may go.
#[derive(Debug)]
pub struct Route {
    /// The service that owns it; the first by name where several share it.
    pub service: Arc<str>,
    /// Host as asked for, `:port` for TCP, empty for every host.
    pub host: Arc<str>,
    /// Path as asked for; empty for TCP.
    pub path: Arc<str>,
    /// What it takes, and whether a tag asked for it.
    pub kind: Kind,
    /// All that may get traffic now; empty when the route is known but nothing passes.
    pub targets: Box<[Arc<Target>]>,
    /// Instances that belong here and may not get traffic.
    pub unfit: Box<[Unfit]>,
    /// `strategy=` of the first target that has one; else `proxy.strategy` holds.
    pub strategy: Option<Strategy>,
    pub(super) shares: Shares,
    pub(super) turns: Arc<Turns>,
    /// What was taken of its limits; the same in every table that has this route.
    pub(crate) limits: Arc<Spent>,
}

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP requests.
    Http,
    /// HTTP requests, for a name made from that of a service rather than from a tag of it.
    BuiltIn,
    /// TLS connections, passed through unread.
    Sni,
    /// Connections to a port.
    Tcp,
}

impl Kind {
    /// Whether no tag asked for it.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        self == Self::BuiltIn
    }
}

/// An instance that may not get traffic now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Service it belongs to.
    pub service: Arc<str>,
    /// Id of the instance on its node.
    pub instance: Arc<str>,
    /// Why not.
    pub why: &'static str,
}

/// One instance as the target of one route.
#[derive(Debug)]
pub struct Target {
    /// Service it belongs to.
    pub service: Arc<str>,
    /// Id of the instance on its node.
    pub instance: Arc<str>,
    /// Name of its node.
    pub node: Arc<str>,
    /// `host:port`; the host may be a name, IPv6 is in brackets.
    pub addr: Arc<str>,
    /// What the tag asked for.
    pub options: Arc<Options>,
    /// Effective share of the route's traffic, 0 to 1.
    pub share: f64,
    /// Its counters; the same in every table that has this target.
    pub stats: Arc<TargetStats>,
    /// What it has under way; the same in every table that has this target.
    pub load: Arc<Load>,
    /// What distinguishes it among those that a client may stick to: its address, so that all balancers agree.
    pub(super) seed: u64,
}

/// Where a route belongs.
#[derive(Debug)]
pub(super) struct Place {
    pub host: Arc<str>,
    pub path: Arc<str>,
    pub kind: Kind,
}

impl Place {
    /// Where the routes of a source belong.
    pub(super) fn of(source: &Source) -> Self {
        let (host, path, kind) = match source {
            Source::Http { host, path } => (host.clone(), path.clone(), Kind::Http),
            Source::Sni(host) => (host.clone(), "/".into(), Kind::Sni),
            Source::Tcp(None, port) => (format!(":{port}").into(), "".into(), Kind::Tcp),
            Source::Tcp(Some(ip), port) => {
                let host = SocketAddr::new(*ip, *port).to_string();
                (host.into(), "".into(), Kind::Tcp)
            }
        };
        Self { host, path, kind }
    }

    /// What distinguishes it among those of its host.
    pub(super) fn spot(&self) -> Spot {
        Spot {
            path: self.path.clone(),
            sni: self.kind == Kind::Sni,
        }
    }
}

/// One target in the making.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub part: Arc<Part>,
    pub options: Arc<Options>,
}

impl Candidate {
    /// The same destination twice is one: it is counted under one name, too.
    fn destination(&self) -> (&str, &str) {
        (&self.part.service, &self.part.addr)
    }
}

impl Route {
    /// One route of what its candidates offer. Only fit ones become targets; without any, the route is known all
    /// the same. What was counted goes on where the route stood before.
    pub(super) fn of(
        place: &Place,
        candidates: &[&Candidate],
        before: Option<&Self>,
        layout: &Layout,
    ) -> Self {
        let mut seen = HashSet::new();
        let chosen: Vec<&Candidate> = candidates
            .iter()
            .copied()
            .filter(|candidate| candidate.part.verdict.is_fit() && seen.insert(candidate.destination()))
            .collect();
        let weights: Vec<f64> = chosen.iter().map(|candidate| candidate.options.weight).collect();
        let shares = pick::effective(&weights);
        let known: HashMap<(&str, &str), &Arc<Target>> = before
            .iter()
            .flat_map(|route| &route.targets)
            .map(|target| ((&*target.service, &*target.addr), target))
            .collect();
        let target = |(candidate, share): (&&Candidate, &f64)| {
            let part = &candidate.part;
            let known = known.get(&candidate.destination());
            let stats = known.map(|known| known.stats.clone());
            let load = known.map(|known| known.load.clone());
            Arc::new(Target {
                service: part.service.clone(),
                instance: part.instance.clone(),
                node: part.node.clone(),
                addr: part.addr.clone(),
                options: candidate.options.clone(),
                share: *share,
                stats: stats.unwrap_or_else(|| Arc::new(TargetStats::new(layout))),
                load: load.unwrap_or_else(|| Arc::new(Load::new(layout.workers))),
                seed: hash(part.addr.as_bytes()),
            })
        };
        let service = candidates.iter().map(|each| &each.part.service).min();
        Self {
            targets: chosen.iter().zip(&shares).map(target).collect(),
            service: service.cloned().unwrap_or_default(),
            host: place.host.clone(),
            path: place.path.clone(),
            kind: place.kind,
            unfit: candidates
                .iter()
                .filter_map(|candidate| unfit(&candidate.part))
                .collect(),
            strategy: chosen.iter().find_map(|each| each.options.strategy.clone()),
            shares: Shares::new(&shares),
            limits: before.map_or_else(Arc::default, |route| route.limits.clone()),
            turns: before.map_or_else(|| Arc::new(Turns::new(layout)), |route| route.turns.clone()),
        }
    }

    /// How the next request of this worker chooses; `otherwise` where the route has no strategy of its own.
    #[must_use]
    pub fn choice(&self, otherwise: &Strategy, asker: &Asker<'_>) -> Choice {
        let strategy = self.strategy.as_ref().unwrap_or(otherwise);
        asker.choice(strategy, || self.turns.next(asker.worker))
    }

    /// The chosen target, leaving out those in `tried`; `None`: the route is known but nothing
    /// (more) may get the request.
    #[must_use]
    pub fn pick(&self, choice: Choice, tried: &[Arc<Target>]) -> Option<&Arc<Target>> {
        self.pick_where(choice, |target| {
            !tried.iter().any(|tried| Arc::ptr_eq(tried, target))
        })
    }

    /// The chosen target among those that are `usable`. Where the choice falls on another, the
    /// usable ones share by weight; a standby (share 0) serves only when all else is unusable.
    pub fn pick_where(&self, choice: Choice, usable: impl Fn(&Arc<Target>) -> bool) -> Option<&Arc<Target>> {
        let usable = |index: usize| usable(&self.targets[index]);
        let index = balance::select(&self.targets, &self.shares, choice, usable)?;
        Some(&self.targets[index])
    }

    /// What one of its targets is counted under.
    #[must_use]
    pub fn key(&self, target: &Target) -> TargetKey {
        TargetKey {
            service: target.service.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            target: target.addr.clone(),
        }
    }
}

fn unfit(part: &Part) -> Option<Unfit> {
    let Verdict::Unfit(why) = part.verdict else {
        return None;
    };
    Some(Unfit {
        service: part.service.clone(),
        instance: part.instance.clone(),
        why,
    })
}
