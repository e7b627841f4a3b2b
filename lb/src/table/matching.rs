//! Which route wants a request: hosts first, from the most exact to none at all, then paths.
//!
//! Looking up takes no memory (unless a client shouts its host name) and as many steps as the host has labels,
//! however many hosts there are. Patterns are found by the labels that end them (`api-?.foo.com` under `foo.com`), and
//! only those of one ending are tried one by one.
//!
//! Order: the name itself; patterns, compared with each other from the right, a character above any sign and `}` above
//! `]` above `?` above `*`; whatever host. fabio compares the plain texts from the right, so that there `{a,b}.foo.com`
//! comes before `a.foo.com`, and `?.foo.com` before or after `*.1.foo.com` as ASCII happens to have it.

use std::borrow::{Borrow, Cow};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, HashMap};

use super::alter;
use super::explain::Candidate;
use super::glob::Glob;
use super::paths::{Paths, begins};
use super::route::{Kind, Place, Route};
use crate::authority;
use crate::config::{Config, Matcher};
use crate::hash::Quick;

/// Longest host name that DNS knows; a longer one is nobody's.
pub(super) const MAX_HOST: usize = 253;

/// Whether a host, without its port, is a pattern rather than a name or an IPv6 address.
pub(super) fn is_pattern(name: &str) -> bool {
    let literal = name.starts_with('[') && name.contains(':');
    !literal && name.contains(['*', '?', '[', '{', '\\'])
}

/// The host of a request in the one form that routes are compared with.
pub(super) struct Wanted<'a> {
    /// Lower case, no port, no dot at the end; empty where it cannot be a name.
    pub(super) name: Cow<'a, str>,
    /// As sent, or the default of the protocol.
    pub(super) port: u16,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(host: &'a str, default_port: u16) -> Self {
        let (name, port) = authority::split(host);
        let name = name.trim_end_matches('.');
        let name = match name.len() {
            0..=MAX_HOST if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(name.to_ascii_lowercase())
            }
            0..=MAX_HOST => Cow::Borrowed(name),
            _ => Cow::Borrowed(""),
        };
        Self {
            name,
            port: port.and_then(|port| port.parse().ok()).unwrap_or(default_port),
        }
    }
}

/// All routes that tags ask for, by host.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    /// Hosts by their full names that have one route and no port, as most have: nothing is between the name and the
    /// route, which would be one more place to look at.
    plain: GenericHashMap<Plain, (), Quick, DefaultSharedPtr>,
    /// Small letters in paths of those.
    fold: bool,
    /// All others by their full names.
    exact: GenericHashMap<Exact, (), Quick, DefaultSharedPtr>,
    /// By the whole labels that end them, without a sign; the first to be tried first.
    patterns: HashMap<Arc<str>, Vec<Pattern>>,
    /// The host `*`.
    star: Option<Site>,
    /// No host at all.
    every: Option<Site>,
}

/// A host that is that of a route, compared by it.
#[derive(Clone, Debug)]
struct Plain(Arc<Route>);

/// What a host has.
#[derive(Clone, Copy)]
enum Found<'a> {
    Only { fold: bool, route: &'a Arc<Route> },
    Site(&'a Site),
}

/// A host by its full name, compared by that. Behind a pointer, since nodes of the set are half empty and copied.
#[derive(Clone, Debug)]
struct Exact(Arc<Named>);

#[derive(Clone, Debug)]
struct Named {
    name: Arc<str>,
    site: Site,
}

/// A host that is a pattern.
#[derive(Clone, Debug)]
struct Pattern {
    /// Its characters from the right, signs below all others. Says all that the text says.
    rank: Arc<[u32]>,
    /// `None`: `*.` and its labels, which have been compared already.
    glob: Option<Arc<Glob>>,
    site: Site,
}

/// The routes of one host: those for one port come before those for any.
#[derive(Clone, Debug, Default)]
struct Site {
    ported: Vec<(u16, Slot)>,
    any_port: Slot,
}

/// The routes of one host and port.
#[derive(Clone, Debug, Default)]
struct Slot {
    http: Option<Paths>,
    /// TLS that asks for this name is passed through.
    sni: Option<Arc<Route>>,
}

impl Hosts {
    /// Puts a route into its place; `None`: it is gone. Hosts are lower case; patterns have been compiled before.
    pub(super) fn set(&mut self, config: &Config, place: &Place, route: Option<Arc<Route>>) {
        let (name, port) = authority::split(&place.host);
        let port = port.and_then(|port| port.parse().ok());
        if !name.is_empty() && (config.glob_disabled || !is_pattern(name)) {
            return self.set_exact(config.matcher, (name, port), place, route);
        }
        let with = |site: Option<Site>| {
            site.unwrap_or_default()
                .with(port, |slot| slot.set(config.matcher, place, route))
        };
        if name.is_empty() {
            self.every = with(self.every.take());
        } else if name == "*" {
            self.star = with(self.star.take());
        } else {
            let rank = rank(name);
            let domain = domain(name);
            alter(&mut self.patterns, domain.into(), |group| {
                let mut group = group.unwrap_or_default();
                let found = group.binary_search_by(|pattern| rank.cmp(&pattern.rank));
                let known = found.ok().map(|at| group.remove(at).site);
                if let Some(site) = with(known)
                    && let Ok(glob) = Glob::parse(name)
                {
                    let is_wildcard = name.strip_prefix("*.") == Some(domain);
                    let glob = (!is_wildcard).then(|| Arc::new(glob));
                    let (Ok(at) | Err(at)) = found;
                    group.insert(at, Pattern { rank, glob, site });
                }
                (!group.is_empty()).then_some(group)
            });
        }
    }

    fn set_exact(
        &mut self,
        matcher: Matcher,
        (name, port): (&str, Option<u16>),
        place: &Place,
        route: Option<Arc<Route>>,
    ) {
        let only = self.plain.remove_with_key(name).map(|(Plain(route), ())| route);
        let known = self.exact.remove_with_key(name);
        let is_only = match &only {
            Some(only) => only.path == place.path,
            None => known.is_none(),
        };
        if is_only && *name == *place.host && place.kind == Kind::Http && matcher != Matcher::Glob {
            self.fold = matcher == Matcher::IPrefix;
            if let Some(route) = route {
                self.plain.insert(Plain(route), ());
            }
            return;
        }
        let (name, site) = match (known, only) {
            (Some((Exact(known), ())), _) => {
                let Named { name, site } = Arc::unwrap_or_clone(known);
                (name, site)
            }
            (None, Some(only)) => (only.host.clone(), Site::of(matcher, only)),
            // Most hosts have no port.
            (None, None) if *name == *place.host => (place.host.clone(), Site::default()),
            (None, None) => (name.into(), Site::default()),
        };
        if let Some(site) = site.with(port, |slot| slot.set(matcher, place, route)) {
            self.exact.insert(Exact(Arc::new(Named { name, site })), ());
        }
    }

    /// Of a host by its full name.
    fn found(&self, name: &str) -> Option<Found<'_>> {
        if let Some((Plain(route), ())) = self.plain.get_key_value(name) {
            let fold = self.fold;
            return Some(Found::Only { fold, route });
        }
        let (Exact(named), ()) = self.exact.get_key_value(name)?;
        Some(Found::Site(&named.site))
    }

    /// All hosts that name something and fit, in the order in which they are tried.
    fn sites<'a>(&'a self, name: &str) -> impl Iterator<Item = Found<'a>> {
        let ends = || name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        // Where there are none, the name is not even searched for its dots.
        let ends = (!self.patterns.is_empty()).then(|| ends().chain([""]));
        let ends = ends.into_iter().flatten();
        let patterns = ends.filter_map(|end| self.patterns.get(end)).flatten();
        let fits = |pattern: &&Pattern| pattern.glob.as_ref().is_none_or(|glob| glob.matches(name));
        let patterns = patterns.filter(fits).map(|pattern| Found::Site(&pattern.site));
        self.found(name)
            .into_iter()
            .chain(patterns)
            .filter(|_| !name.is_empty())
    }

    /// Hosts that requests are taken for, by their full names.
    pub(super) fn exact(&self) -> impl Iterator<Item = &Arc<str>> {
        let takes = |site: &Site| {
            site.ported
                .iter()
                .map(|(_, slot)| slot)
                .chain([&site.any_port])
                .any(|slot| slot.http.is_some())
        };
        let named = self.exact.keys().map(|Exact(named)| &**named);
        let named = named
            .filter(move |named| takes(&named.site))
            .map(|named| &named.name);
        named.chain(self.plain.keys().map(|Plain(route)| &route.host))
    }

    /// Whether there are routes for whatever host.
    pub(super) fn any(&self) -> bool {
        self.star.is_some() || self.every.is_some()
    }

    /// Whether a host that names something fits.
    pub(super) fn names(&self, name: &str) -> bool {
        self.sites(name).next().is_some()
    }

    /// Those of `hosts` that fit a name, whatever the port, in the order in which they are tried.
    pub(super) fn candidates<'a>(
        &self,
        wanted: &Wanted<'_>,
        hosts: impl Iterator<Item = &'a Arc<str>>,
    ) -> Vec<Candidate> {
        let asked = &*wanted.name;
        let candidate = |host: &Arc<str>| {
            let (name, _) = authority::split(host);
            let (class, fits) = match name {
                "" => (0, !host.starts_with(':')),
                _ if self.found(name).is_some() => (3, name == asked),
                "*" => (1, true),
                _ => (
                    2,
                    !asked.is_empty() && Glob::parse(name).is_ok_and(|glob| glob.matches(asked)),
                ),
            };
            fits.then(|| Candidate {
                host: host.clone(),
                class,
                rank: rank(name),
            })
        };
        let mut candidates: Vec<Candidate> = hosts.filter_map(candidate).collect();
        // Of one name, that for a port comes first.
        let key = |one: &Candidate| {
            (
                one.class,
                one.rank.clone(),
                authority::split(&one.host).1.is_some(),
            )
        };
        candidates.sort_by_key(|one| std::cmp::Reverse(key(one)));
        candidates
    }

    /// The route of a path under exactly this host.
    pub(super) fn route_of(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let (name, port) = authority::split(host);
        let pattern = || {
            let group = self.patterns.get(domain(name))?;
            let rank = rank(name);
            Some(&group.iter().find(|pattern| pattern.rank == rank)?.site)
        };
        let found = match name {
            "" => self.every.as_ref().map(Found::Site),
            "*" if self.star.is_some() => self.star.as_ref().map(Found::Site),
            _ => self.found(name).or_else(|| pattern().map(Found::Site)),
        }?;
        let port = port.and_then(|port| port.parse::<u16>().ok());
        let site = match found {
            Found::Only { fold, route } => {
                return Some(route).filter(|route| port.is_none() && begins(path, &route.path, fold));
            }
            Found::Site(site) => site,
        };
        let slot = match port {
            None => &site.any_port,
            Some(port) => &site.ported.iter().find(|(own, _)| *own == port)?.1,
        };
        slot.http.as_ref()?.find(path)
    }

    /// The first route accepted among the hosts that name something.
    pub(super) fn named<'a>(
        &'a self,
        wanted: &Wanted<'_>,
        path: &str,
        accept: &impl Fn(&Route) -> bool,
    ) -> Option<&'a Arc<Route>> {
        self.sites(&wanted.name)
            .find_map(|site| site.find(wanted.port, path, accept))
    }

    /// The first route accepted among those for whatever host: `*`, then none.
    pub(super) fn fallback<'a>(
        &'a self,
        wanted: &Wanted<'_>,
        path: &str,
        accept: &impl Fn(&Route) -> bool,
    ) -> Option<&'a Arc<Route>> {
        [&self.star, &self.every]
            .into_iter()
            .flatten()
            .find_map(|site| site.find(wanted.port, path, accept))
    }

    /// Who takes TLS connections that ask for this name, unread: the most exact host, whatever it was made for.
    pub(super) fn sni(&self, wanted: &Wanted<'_>) -> Option<&Arc<Route>> {
        self.named_or_star(wanted).find_map(|found| match found {
            Found::Only { fold, route } => begins("/", &route.path, fold).then_some(route),
            Found::Site(site) => {
                let mut slots = site.slots(wanted.port);
                slots.find_map(|slot| slot.sni.as_ref().or_else(|| slot.http.as_ref()?.find("/")))
            }
        })
    }

    /// As [`Hosts::sni`], but only where the most exact host was made for that; else TLS is for us to end.
    pub(super) fn pass_through(&self, wanted: &Wanted<'_>) -> Option<&Arc<Route>> {
        let first = self.named_or_star(wanted).find_map(|found| match found {
            Found::Only { .. } => Some(None),
            Found::Site(site) => {
                let mut slots = site.slots(wanted.port);
                let slot = slots.find(|slot| slot.sni.is_some() || slot.http.is_some())?;
                Some(slot.sni.as_ref())
            }
        });
        first.flatten()
    }

    /// Hosts for connections that have a name: those that name something and fit, then `*`.
    fn named_or_star(&self, wanted: &Wanted<'_>) -> impl Iterator<Item = Found<'_>> {
        let star = self.star.iter().filter(|_| !wanted.name.is_empty());
        self.sites(&wanted.name).chain(star.map(Found::Site))
    }
}

impl<'a> Found<'a> {
    fn find(self, port: u16, path: &str, accept: &impl Fn(&Route) -> bool) -> Option<&'a Arc<Route>> {
        match self {
            Found::Only { fold, route } => {
                Some(route).filter(|route| begins(path, &route.path, fold) && accept(route))
            }
            Found::Site(site) => site.find(port, path, accept),
        }
    }
}

/// The characters of a pattern as they are compared: from the right, signs below all others.
fn rank(pattern: &str) -> Arc<[u32]> {
    const SIGNS: &str = "*?[]{}\\";
    let rank = |char: char| match SIGNS.find(char) {
        Some(sign) => sign as u32,
        None => u32::from(char) + SIGNS.len() as u32,
    };
    pattern.chars().rev().map(rank).collect()
}

/// The whole labels at the end of a pattern that have no sign; empty where its last label has one.
fn domain(pattern: &str) -> &str {
    let after = pattern
        .rfind(['*', '?', '[', ']', '{', '}', '\\'])
        .map_or(0, |sign| sign + 1);
    let dot = pattern[after..].find('.');
    dot.map_or("", |dot| &pattern[after + dot + 1..])
}

impl Borrow<str> for Plain {
    fn borrow(&self) -> &str {
        &self.0.host
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.0.host == other.0.host
    }
}

impl Eq for Plain {}

impl Hash for Plain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.host.hash(state);
    }
}

impl Borrow<str> for Exact {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl Slot {
    fn set(&mut self, matcher: Matcher, place: &Place, route: Option<Arc<Route>>) {
        if place.kind == Kind::Sni {
            self.sni = route;
            return;
        }
        self.http = match (self.http.take(), route) {
            (Some(mut paths), route) => {
                paths.set(&place.path, route);
                Some(paths).filter(|paths| !paths.is_empty())
            }
            (None, Some(route)) => Paths::new(matcher, route),
            (None, None) => None,
        };
    }

    fn is_empty(&self) -> bool {
        self.http.is_none() && self.sni.is_none()
    }
}

impl Site {
    /// Of a host that has had one route so far.
    fn of(matcher: Matcher, route: Arc<Route>) -> Self {
        let any_port = Slot {
            http: Paths::new(matcher, route),
            sni: None,
        };
        Self {
            ported: Vec::new(),
            any_port,
        }
    }

    /// With what is changed of one port, or of any; `None` when nothing is left.
    fn with(mut self, port: Option<u16>, change: impl FnOnce(&mut Slot)) -> Option<Self> {
        match port {
            None => change(&mut self.any_port),
            Some(port) => {
                let known = self.ported.iter().position(|(own, _)| *own == port);
                let at = known.unwrap_or(self.ported.len());
                if known.is_none() {
                    self.ported.push((port, Slot::default()));
                }
                change(&mut self.ported[at].1);
                if self.ported[at].1.is_empty() {
                    self.ported.remove(at);
                }
            }
        }
        (!self.any_port.is_empty() || !self.ported.is_empty()).then_some(self)
    }

    fn slots(&self, port: u16) -> impl Iterator<Item = &Slot> {
        let ported = self.ported.iter().find(|(own, _)| *own == port);
        ported.map(|(_, slot)| slot).into_iter().chain([&self.any_port])
    }

    fn find(&self, port: u16, path: &str, accept: &impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        self.slots(port)
            .filter_map(|slot| slot.http.as_ref()?.find(path))
            .find(|route| accept(route))
    }
}
