//! Which route wants a request: hosts first, from the most exact to none at all, then paths.
//!
//! Looking up takes no memory (unless a client shouts its host name) and as many steps as the
//! host has labels, however many hosts there are. Only patterns other than `*.domain` are tried
//! one by one.

use std::borrow::Cow;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use super::alter;
use super::glob::Glob;
use super::route::Route;
use crate::config::Matcher;

/// Longest host name that DNS knows; a longer one is nobody's.
pub(super) const MAX_HOST: usize = 253;

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
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Arc<str>, Site>,
    /// `*.foo.com` under `foo.com`.
    wildcards: HashMap<Arc<str>, Site>,
    /// By pattern written backwards: fabio tries them in descending order, compared from the right.
    globs: OrdMap<Box<str>, (Arc<Glob>, Site)>,
    /// The host `*`.
    star: Option<Site>,
    /// No host at all.
    every: Option<Site>,
}

/// The routes of one host: those for one port come before those for any.
#[derive(Clone, Debug, Default)]
struct Site {
    ported: Vec<(u16, Arc<Paths>)>,
    any_port: Option<Arc<Paths>>,
}

impl Hosts {
    /// Puts the routes of one host, by path, into their place. Hosts are lower case; patterns have been compiled
    /// before.
    pub(super) fn set(
        &mut self,
        matcher: Matcher,
        host: &str,
        routes: Option<&OrdMap<Arc<str>, Arc<Route>>>,
    ) {
        let paths = routes.map(|routes| Arc::new(Paths::new(matcher, routes)));
        let (name, port) = split_port(host);
        let port = port.and_then(|port| port.parse().ok());
        let with = |site: Option<Site>| site.unwrap_or_default().with(port, paths);
        match name.strip_prefix("*.") {
            _ if name.is_empty() => self.every = with(self.every.take()),
            _ if name == "*" => self.star = with(self.star.take()),
            Some(domain) if !is_pattern(domain) => {
                alter(&mut self.wildcards, domain.into(), with);
            }
            _ if is_pattern(name) => {
                if let Ok(glob) = Glob::parse(name) {
                    let backwards = name.chars().rev().collect::<Box<str>>();
                    let known = self.globs.remove(&backwards).map(|(_, site)| site);
                    if let Some(site) = with(known) {
                        self.globs.insert(backwards, (Arc::new(glob), site));
                    }
                }
            }
            _ => alter(&mut self.exact, name.into(), with),
        }
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
            .values()
            .rev()
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
    /// With other paths for one port, or for any; `None` when nothing is left.
    fn with(mut self, port: Option<u16>, paths: Option<Arc<Paths>>) -> Option<Self> {
        match port {
            None => self.any_port = paths,
            Some(port) => {
                self.ported.retain(|(own, _)| *own != port);
                self.ported.extend(paths.map(|paths| (port, paths)));
            }
        }
        (self.any_port.is_some() || !self.ported.is_empty()).then_some(self)
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
    /// greatest one not above it through its parents: longest first. Lower case where case is `fold`ed.
    Prefix { fold: bool, steps: Box<[Step]> },
    /// Descending by pattern, as fabio tries them.
    Glob(Box<[(Glob, Arc<Route>)]>),
}

#[derive(Debug)]
struct Step {
    path: Arc<str>,
    /// The longest other path that this one starts with.
    parent: Option<usize>,
    route: Arc<Route>,
}

impl Paths {
    fn new(matcher: Matcher, routes: &OrdMap<Arc<str>, Arc<Route>>) -> Self {
        if matcher == Matcher::Glob {
            let patterns = routes.iter().rev();
            return Self::Glob(
                patterns
                    .filter_map(|(path, route)| Some((Glob::parse(path).ok()?, route.clone())))
                    .collect(),
            );
        }
        let mut steps: Box<[Step]> = routes
            .iter()
            .map(|(path, route)| Step {
                path: path.clone(),
                parent: None,
                route: route.clone(),
            })
            .collect();
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
        let fold = matcher == Matcher::IPrefix;
        Self::Prefix { fold, steps }
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
