//! A route, its targets and what its options ask for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::asker::{Asker, Choice, hash};
use super::balance;
use super::options::{Limits, Options, Scheme};
use super::part::Part;
use super::pick::{self, Shares};
use super::probed::{Probed, Probes, Question};
use super::stats::{Layout, TargetKey, TargetStats, Turns};
use super::tag::Source;
use crate::config::Strategy;
use crate::health::Verdict;
use crate::policy::limit::Spent;

/// Where requests for one host and path, or connections to one port, may go.
///
/// In this order, since of many routes none is in the caches: what every request reads comes first, beside the count of
/// those who hold it.
#[derive(Debug)]
#[repr(C)]
pub struct Route {
    /// Host as asked for, `:port` for TCP, empty for every host.
    pub host: Arc<str>,
    /// Path as asked for; empty for TCP.
    pub path: Arc<str>,
    /// All that may get traffic now; empty when the route is known but nothing passes.
    pub targets: Targets,
    /// What most routes do not have.
    rare: Option<Box<Rare>>,
    /// What is asked of requests for which there is no target: what the first instance asks for.
    pub(crate) guard: Arc<Options>,
    /// The service that owns it; the first by name where several share it.
    pub service: Arc<str>,
    /// What it takes, and whether a tag asked for it.
    pub kind: Kind,
    /// Some are counted under one name.
    has_twins: bool,
}

/// What a route with one fit target and without limits and a strategy of its own does not need.
#[derive(Debug)]
struct Rare {
    unfit: Box<[Unfit]>,
    /// `strategy=` of the first target that has one; else `proxy.strategy` holds.
    strategy: Option<Strategy>,
    shares: Shares,
    /// `None`: there was never more than one to take turns.
    turns: Option<Arc<Turns>>,
    /// What was taken of its limits; the same in every table that has this route. `None`: nobody here asked for any.
    limits: Option<Arc<Spent>>,
}

impl Rare {
    fn is_needed(&self, targets: usize) -> bool {
        targets != 1
            || !self.unfit.is_empty()
            || self.strategy.is_some()
            || self.turns.is_some()
            || self.limits.is_some()
    }
}

/// The targets of a route. Most have one: a list of its own would be one more place to look at.
#[derive(Debug)]
pub enum Targets {
    /// The only one.
    One([Arc<Target>; 1]),
    /// None, or several.
    Several(Box<[Arc<Target>]>),
}

impl FromIterator<Arc<Target>> for Targets {
    fn from_iter<I: IntoIterator<Item = Arc<Target>>>(targets: I) -> Self {
        let targets: Vec<Arc<Target>> = targets.into_iter().collect();
        match targets.try_into() {
            Ok(one) => Self::One(one),
            Err(several) => Self::Several(several.into()),
        }
    }
}

impl Deref for Targets {
    type Target = [Arc<Target>];

    fn deref(&self) -> &[Arc<Target>] {
        match self {
            Self::One(one) => one,
            Self::Several(several) => several,
        }
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a Arc<Target>;
    type IntoIter = std::slice::Iter<'a, Arc<Target>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
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

/// One instance as the target of one route. In this order for the reason that [`Route`] has one.
#[derive(Debug)]
#[repr(C)]
pub struct Target {
    /// What the tag asked for.
    pub options: Arc<Options>,
    /// Its counters, and what it has under way; the same in every table that has this target.
    pub stats: TargetStats,
    /// `host:port`; the host may be a name, IPv6 is in brackets.
    pub addr: Arc<str>,
    /// What probes say of it; `None`: nobody asks.
    pub(crate) probed: Option<Arc<Probed>>,
    /// As a command wrote it.
    pub(super) to: Option<Arc<Destination>>,
    /// The instance: its service, its id and the name of its node.
    pub part: Arc<Part>,
    /// Share asked for, by its tag or by a command; 0 takes a part of what is left.
    pub weight: f64,
    /// Effective share of the route's traffic, 0 to 1.
    pub share: f64,
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
}

/// One target in the making.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub part: Arc<Part>,
    pub options: Arc<Options>,
    /// Share asked for; 0 takes a part of what is left.
    pub weight: f64,
    /// As written; `None`: it follows from address and options.
    pub to: Option<Arc<Destination>>,
}

/// A destination as a command writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub url: Box<str>,
    /// Put before the request's own.
    pub query: Option<Box<str>>,
}

impl Candidate {
    /// A service at an address: it is counted under one name, however often it is asked for.
    fn destination(&self) -> (&str, &str) {
        (&self.part.service, &self.part.addr)
    }

    pub(super) fn is_fit(&self) -> bool {
        self.part.verdict.is_fit()
    }

    /// fabio's rule: asked for twice it is one target, whatever else its options say.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.destination() == other.destination()
            && self.weight.to_bits() == other.weight.to_bits()
            && self.options.tags == other.options.tags
            && self.leads_to(&other.url())
    }

    /// Whether that is its destination. A slash at the end means nothing.
    pub(super) fn leads_to(&self, url: &str) -> bool {
        self.url().trim_end_matches('/') == url.trim_end_matches('/')
    }

    /// The destination's URL.
    pub(super) fn url(&self) -> Cow<'_, str> {
        url(self.to.as_deref(), &self.part.addr, &self.options)
    }
}

fn url<'a>(to: Option<&'a Destination>, addr: &str, options: &'a Options) -> Cow<'a, str> {
    match (to, &options.redirect, options.scheme) {
        (Some(to), _, _) => Cow::Borrowed(&to.url),
        (None, Some(redirect), _) => Cow::Borrowed(&redirect.url),
        (None, None, Scheme::Http) => Cow::Owned(format!("http://{addr}/")),
        (None, None, scheme) => Cow::Owned(format!("{}://{addr}", scheme.as_str())),
    }
}

/// What tags ask for, each once.
pub(super) fn without_twins<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let mut is_first = |candidate: &'a Candidate| {
        let options = &candidate.options;
        let url = options.redirect.as_ref().map(|redirect| &redirect.url);
        let (weight, tags) = (candidate.weight.to_bits(), &options.tags);
        seen.insert((candidate.destination(), options.scheme, url, weight, tags))
    };
    candidates
        .filter(|candidate| !candidate.is_fit() || is_first(candidate))
        .cloned()
        .collect()
}

impl Target {
    /// Where it leads, as a URL.
    #[must_use]
    pub fn url(&self) -> Cow<'_, str> {
        url(self.to.as_deref(), &self.addr, &self.options)
    }

    /// False: its probe fails.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.probed.as_ref().is_none_or(|probed| probed.is_up())
    }

    /// Query of its destination, which comes before the request's own.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.to.as_ref()?.query.as_deref()
    }
}

impl Route {
    /// One route of what its candidates offer, twins taken out. Only fit ones become targets; without any, the route is
    /// known all the same. What was counted goes on where the route stood before.
    pub(super) fn of(
        place: &Place,
        candidates: &[Candidate],
        before: Option<&Self>,
        layout: &Layout,
        probes: &mut Probes,
    ) -> Self {
        let chosen: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.is_fit()).collect();
        let weights: Vec<f64> = chosen.iter().map(|candidate| candidate.weight).collect();
        let shares = pick::effective(&weights);
        let mut counted: HashMap<(&str, &str), TargetStats> = before
            .iter()
            .flat_map(|route| &route.targets)
            .map(|target| ((&*target.part.service, &*target.addr), target.stats.clone()))
            .collect();
        for candidate in &chosen {
            let known = counted.entry(candidate.destination());
            known.or_insert_with(|| TargetStats::new(layout));
        }
        let target = |(candidate, share): (&&Candidate, &f64)| {
            let part = &candidate.part;
            let question = Question::of(&part.addr, &candidate.options);
            Arc::new(Target {
                part: part.clone(),
                addr: part.addr.clone(),
                options: candidate.options.clone(),
                weight: candidate.weight,
                share: *share,
                stats: counted[&candidate.destination()].clone(),
                probed: question.map(|question| probes.enter(&question)),
                to: candidate.to.clone(),
                seed: hash(part.addr.as_bytes()),
            })
        };
        let targets: Targets = chosen.iter().zip(&shares).map(target).collect();
        let names: HashSet<(&str, &str)> = chosen.iter().map(|each| each.destination()).collect();
        let service = candidates.iter().map(|each| &each.part.service).min();
        let has_limits = candidates
            .iter()
            .any(|each| each.options.limits != Limits::default());
        let known = before.and_then(|route| route.rare.as_deref());
        let rare = Rare {
            unfit: candidates
                .iter()
                .filter_map(|candidate| unfit(&candidate.part))
                .collect(),
            strategy: chosen.iter().find_map(|each| each.options.strategy.clone()),
            shares: Shares::new(&shares),
            limits: known
                .and_then(|known| known.limits.clone())
                .or_else(|| has_limits.then(Arc::default)),
            turns: known
                .and_then(|known| known.turns.clone())
                .or_else(|| (chosen.len() > 1).then(|| Arc::new(Turns::new(layout)))),
        };
        Self {
            has_twins: names.len() < targets.len(),
            rare: rare.is_needed(targets.len()).then(|| Box::new(rare)),
            targets,
            service: service.cloned().unwrap_or_default(),
            host: place.host.clone(),
            path: place.path.clone(),
            kind: place.kind,
            guard: candidates
                .first()
                .map(|each| each.options.clone())
                .unwrap_or_default(),
        }
    }

    /// Names that its targets want the balancer to be registered under.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter_map(|target| target.options.register.as_deref())
    }

    /// Those of its targets that are probed.
    pub(super) fn probed(&self) -> impl Iterator<Item = &Probed> {
        self.targets.iter().filter_map(|target| target.probed.as_deref())
    }

    /// Its targets, of those that are counted under one name only the first.
    pub fn counted(&self) -> impl Iterator<Item = &Arc<Target>> {
        let is_first = |at: usize| {
            let own = &self.targets[at].stats;
            !self.targets[..at].iter().any(|other| other.stats.is(own))
        };
        (0..self.targets.len())
            .filter(move |at| !self.has_twins || is_first(*at))
            .map(|at| &self.targets[at])
    }

    /// How the next request of this worker chooses; `otherwise` where the route has no strategy of its own.
    #[must_use]
    pub fn choice(&self, otherwise: &Strategy, asker: &Asker<'_>) -> Choice {
        let rare = self.rare.as_deref();
        let strategy = rare.and_then(|rare| rare.strategy.as_ref()).unwrap_or(otherwise);
        let turns = || rare.and_then(|rare| rare.turns.as_ref());
        let turn = || turns().map_or(0, |turns| turns.next(asker.worker));
        asker.choice(strategy, turn)
    }

    /// The chosen target, leaving out those in `tried`; `None`: the route is known but nothing
    /// (more) may get the request.
    #[must_use]
    pub fn pick(&self, choice: Choice, tried: &[Arc<Target>]) -> Option<&Arc<Target>> {
        self.pick_where(choice, |target| {
            !tried.iter().any(|tried| tried.addr == target.addr)
        })
    }

    /// The chosen target among those that are `usable`. Where the choice falls on another, the
    /// usable ones share by weight; a standby (share 0) serves only when all else is unusable. One that fails its probe
    /// is never chosen.
    pub fn pick_where(&self, choice: Choice, usable: impl Fn(&Arc<Target>) -> bool) -> Option<&Arc<Target>> {
        let usable = |index: usize| {
            let target = &self.targets[index];
            target.is_up() && usable(target)
        };
        let Some(rare) = &self.rare else {
            return usable(0).then(|| &self.targets[0]);
        };
        let index = balance::select(&self.targets, &rare.shares, choice, usable)?;
        Some(&self.targets[index])
    }

    /// Instances that belong here and may not get traffic.
    #[must_use]
    pub fn unfit(&self) -> &[Unfit] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unfit)
    }

    /// What was taken of its limits; `None`: nobody here asked for any.
    pub(crate) fn limits(&self) -> Option<&Arc<Spent>> {
        self.rare.as_ref()?.limits.as_ref()
    }

    /// What one of its targets is counted under.
    #[must_use]
    pub fn key(&self, target: &Target) -> TargetKey {
        TargetKey {
            service: target.part.service.clone(),
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
