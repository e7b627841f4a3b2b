//! Which of a host's routes wants a path. Pure. A copy shares what did not change.

use std::sync::Arc;

use imbl::OrdMap;

use super::glob::Glob;
use super::radix::Radix;
use super::route::Route;
use crate::config::Matcher;

/// The paths of one host.
#[derive(Clone, Debug)]
pub(super) enum Paths {
    /// The longest that a path starts with; small letters where case is `fold`ed.
    Prefix { fold: bool, routes: Radix<Arc<Route>> },
    /// By pattern; tried in descending order, as in fabio.
    Glob(OrdMap<Arc<str>, (Arc<Glob>, Arc<Route>)>),
}

impl Paths {
    pub(super) fn new(matcher: Matcher) -> Self {
        match matcher {
            Matcher::Prefix | Matcher::IPrefix => Self::Prefix {
                fold: matcher == Matcher::IPrefix,
                routes: Radix::default(),
            },
            Matcher::Glob => Self::Glob(OrdMap::new()),
        }
    }

    /// The route of a path, which has been compiled before where it is a pattern; `None`: it has none any more.
    pub(super) fn set(&mut self, path: &Arc<str>, route: Option<Arc<Route>>) {
        match self {
            Self::Prefix { routes, .. } => routes.set(path.as_bytes(), route),
            Self::Glob(routes) => {
                let compiled = route.and_then(|route| Some((Arc::new(Glob::parse(path).ok()?), route)));
                match compiled {
                    Some(compiled) => _ = routes.insert(path.clone(), compiled),
                    None => _ = routes.remove(path),
                }
            }
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        match self {
            Self::Prefix { fold, routes } => routes.longest(path.as_bytes(), *fold),
            Self::Glob(routes) => {
                let mut routes = routes.values().rev();
                let (_, route) = routes.find(|(glob, _)| glob.matches(path))?;
                Some(route)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Prefix { routes, .. } => routes.is_empty(),
            Self::Glob(routes) => routes.is_empty(),
        }
    }
}
