//! Which route wants a request: hosts first, from the most exact to none at all, then paths.
//!
//! Looking up takes no memory (unless a client shouts its host name) and as many steps as the
//! host has labels, however many hosts there are. Only patterns other than `*.domain` are tried
//! one by one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::glob::Glob;
use super::route::Route;
use crate::config::Matcher;

/// Longest host name that DNS knows; a longer one is nobody's.
const MAX_HOST: usize = 253;

/// Splits `host:port`. An IPv6 address keeps its brackets and needs them to have a port.
pub(super) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

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
        let (name, port) = split_port(host);
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
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<str>, Site>,
    /// `*.foo.com` under `foo.com`.
    wildcards: HashMap<Box<str>, Site>,
    /// In fabio's order: descending, compared from the right.
    globs: Vec<(Glob, Site)>,
    /// The host `*`.
    star: Option<Site>,
    /// No host at all.
    every: Option<Site>,
}

/// The routes of one host: those for one port come before those for any.
#[derive(Debug, Default)]
struct Site {
    ported: Vec<(u16, Paths)>,
    any_port: Option<Paths>,
}

impl Hosts {
    /// Sorts routes into their places. Hosts are lower case; patterns have been compiled before.
    pub(super) fn new<'a>(matcher: Matcher, routes: impl Iterator<Item = &'a Arc<Route>>) -> Self {
        let mut sites: BTreeMap<&str, BTreeMap<Option<u16>, Vec<&Arc<Route>>>> = BTreeMap::new();
        for route in routes {
            let (name, port) = split_port(&route.host);
            let port = port.and_then(|port| port.parse().ok());
            sites
                .entry(name)
                .or_default()
                .entry(port)
                .or_default()
                .push(route);
        }
        let mut hosts = Self::default();
        let mut globs = Vec::new();
        for (name, by_port) in sites {
            let site = Site::new(matcher, by_port);
            match name.strip_prefix("*.") {
                _ if name.is_empty() => hosts.every = Some(site),
                _ if name == "*" => hosts.star = Some(site),
                Some(domain) if !is_pattern(domain) => {
                    hosts.wildcards.insert(domain.into(), site);
                }
                _ if is_pattern(name) => {
                    if let Ok(glob) = Glob::parse(name) {
                        globs.push((name.chars().rev().collect::<String>(), glob, site));
                    }
                }
                _ => {
                    hosts.exact.insert(name.into(), site);
                }
            }
        }
        globs.sort_by(|left, right| right.0.cmp(&left.0));
        hosts.globs = globs.into_iter().map(|(_, glob, site)| (glob, site)).collect();
        hosts
    }

    /// The first route accepted among the hosts that name something.
    pub(super) fn named<'a>(
        &'a self,
        wanted: &Wanted<'_>,
        path: &str,
        accept: &impl Fn(&Route) -> bool,
    ) -> Option<&'a Arc<Route>> {
        let name = &*wanted.name;
        if name.is_empty() {
            return None;
        }
        let in_site = |site: &'a Site| site.find(wanted.port, path, accept);
        if let Some(route) = self.exact.get(name).and_then(in_site) {
            return Some(route);
        }
        if !self.wildcards.is_empty() {
            let domains = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
            let mut sites = domains.filter_map(|domain| self.wildcards.get(domain));
            if let Some(route) = sites.find_map(in_site) {
                return Some(route);
            }
        }
        self.globs
            .iter()
            .filter(|(glob, _)| glob.matches(name))
            .find_map(|(_, site)| in_site(site))
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
}

impl Site {
    fn new(matcher: Matcher, by_port: BTreeMap<Option<u16>, Vec<&Arc<Route>>>) -> Self {
        let mut site = Self::default();
        for (port, routes) in by_port {
            let paths = Paths::new(matcher, routes);
            match port {
                Some(port) => site.ported.push((port, paths)),
                None => site.any_port = Some(paths),
            }
        }
        site
    }

    fn find(&self, port: u16, path: &str, accept: &impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let ported = self
            .ported
            .iter()
            .find(|(own, _)| *own == port)
            .map(|(_, paths)| paths);
        let mut candidates = ported.into_iter().chain(&self.any_port);
        candidates.find_map(|paths| paths.find(path).filter(|route| accept(route)))
    }
}

/// The paths of one host.
#[derive(Debug)]
enum Paths {
    /// Ascending by path, so that every path that `path` starts with is met on the way from the
    /// greatest one not above it through its parents: longest first.
    Prefix { fold: bool, steps: Box<[Step]> },
    /// Descending by pattern, as fabio tries them.
    Glob(Box<[(Glob, Arc<Route>)]>),
}

#[derive(Debug)]
struct Step {
    path: Box<str>,
    /// The longest other path that this one starts with.
    parent: Option<usize>,
    route: Arc<Route>,
}

impl Paths {
    fn new(matcher: Matcher, routes: Vec<&Arc<Route>>) -> Self {
        if matcher == Matcher::Glob {
            let mut routes: Vec<_> = routes
                .into_iter()
                .filter_map(|route| Some((Glob::parse(&route.path).ok()?, route.clone())))
                .collect();
            routes.sort_by(|left, right| right.1.path.cmp(&left.1.path));
            return Self::Glob(routes.into());
        }
        let fold = matcher == Matcher::IPrefix;
        let mut steps: Vec<Step> = routes
            .into_iter()
            .map(|route| {
                let path = if fold {
                    route.path.to_ascii_lowercase().into()
                } else {
                    Box::from(&*route.path)
                };
                Step {
                    path,
                    parent: None,
                    route: route.clone(),
                }
            })
            .collect();
        steps.sort_by(|left, right| left.path.cmp(&right.path));
        let mut open: Vec<usize> = Vec::new();
        for index in 0..steps.len() {
            while let Some(last) = open.last()
                && !steps[index].path.starts_with(&*steps[*last].path)
            {
                open.pop();
            }
            steps[index].parent = open.last().copied();
            open.push(index);
        }
        Self::Prefix {
            fold,
            steps: steps.into(),
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        match self {
            Self::Glob(routes) => routes
                .iter()
                .find(|(glob, _)| glob.matches(path))
                .map(|(_, route)| route),
            Self::Prefix { fold, steps } => {
                let fold = |byte: u8| if *fold { byte.to_ascii_lowercase() } else { byte };
                let request = || path.bytes().map(fold);
                let mut at = steps
                    .partition_point(|step| step.path.bytes().le(request()))
                    .checked_sub(1);
                while let Some(index) = at {
                    let step = &steps[index];
                    if step.path.len() <= path.len()
                        && step.path.bytes().zip(request()).all(|(own, sent)| own == sent)
                    {
                        return Some(&step.route);
                    }
                    at = step.parent;
                }
                None
            }
        }
    }
}
