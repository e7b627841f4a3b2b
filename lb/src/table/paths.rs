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
    /// As [`Paths::Prefix`], of a host that has one: most have, and a tree for each of them costs memory and steps.
    One { fold: bool, route: Arc<Route> },
    /// The longest that a path starts with; small letters where case is `fold`ed.
    Prefix {
        fold: bool,
        routes: Box<Radix<Arc<Route>>>,
    },
    /// By pattern; tried in descending order, as in fabio.
    Glob(OrdMap<Arc<str>, (Arc<Glob>, Arc<Route>)>),
}

impl Paths {
    /// Those of a host that gets its first; `None` where that is a pattern that nothing can fit.
    pub(super) fn new(matcher: Matcher, route: Arc<Route>) -> Option<Self> {
        match matcher {
            Matcher::Prefix | Matcher::IPrefix => Some(Self::One {
                fold: matcher == Matcher::IPrefix,
                route,
            }),
            Matcher::Glob => {
                let mut paths = Self::Glob(OrdMap::new());
                let path = route.path.clone();
                paths.set(&path, Some(route));
                Some(paths).filter(|paths| !paths.is_empty())
            }
        }
    }

    /// The route of a path, which has been compiled before where it is a pattern; `None`: it has none any more.
    pub(super) fn set(&mut self, path: &Arc<str>, route: Option<Arc<Route>>) {
        match self {
            Self::One { fold, route: only } => match route {
                Some(route) if only.path == *path => *only = route,
                route => {
                    let mut routes = Box::new(Radix::default());
                    routes.set(only.path.as_bytes(), Some(only.clone()));
                    routes.set(path.as_bytes(), route);
                    *self = Self::Prefix { fold: *fold, routes };
                }
            },
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
            Self::One { fold, route } => begins(path, &route.path, *fold).then_some(route),
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
            Self::One { .. } => false,
            Self::Prefix { routes, .. } => routes.is_empty(),
            Self::Glob(routes) => routes.is_empty(),
        }
    }
}

/// Whether a path begins with that of a route; small letters where case is `fold`ed.
pub(super) fn begins(path: &str, own: &str, fold: bool) -> bool {
    let Some(asked) = path.as_bytes().get(..own.len()) else {
        return false;
    };
    // The tree compares small letters with what it has been given, so folding is for the question alone.
    match fold {
        true => asked.iter().map(u8::to_ascii_lowercase).eq(own.bytes()),
        false => asked == own.as_bytes(),
    }
}
