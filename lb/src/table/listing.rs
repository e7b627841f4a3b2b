//! All routes that tags and commands ask for, in the order in which they are listed. It is for whoever changes or shows
//! the table; requests find theirs by [`super::matching`].
//!
//! A route knows its own place, so nothing but the route is kept: a tree of trees that repeats host and path costs five
//! hundred bytes for each host, most of them empty.

use std::borrow::Borrow;
use std::cmp::{Ordering, Reverse};
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdSet;

use super::route::{Kind, Place, Route};

/// See the module. A copy shares all with the original.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing(OrdSet<Listed>);

/// A route, compared by its place.
#[derive(Clone, Debug)]
struct Listed(Arc<Route>);

/// Before all routes of a host.
struct Head<'a>(&'a str);

/// Host; path, and whether TLS is passed through rather than requests, the other way round. `None` comes first.
type Key<'a> = (&'a str, Option<Reverse<(&'a str, bool)>>);

/// Whatever has a place among the routes.
trait Located {
    fn key(&self) -> Key<'_>;
}

impl Listing {
    /// The route of a place.
    pub(super) fn get(&self, place: &Place) -> Option<&Arc<Route>> {
        let Listed(route) = self.0.get::<dyn Located>(place)?;
        Some(route)
    }

    /// Puts a route into its place; `None`: it is gone.
    pub(super) fn set(&mut self, place: &Place, route: Option<Arc<Route>>) {
        match route {
            Some(route) => _ = self.0.insert(Listed(route)),
            None => _ = self.0.remove::<dyn Located>(place),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Hosts ascending, their paths descending.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.0.iter().map(|Listed(route)| route)
    }

    /// Those of one host, paths descending.
    pub(super) fn of_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        let head = Head(host);
        let from: (Bound<&dyn Located>, Bound<&dyn Located>) = (Bound::Excluded(&head), Bound::Unbounded);
        let routes = self.0.range::<_, dyn Located>(from).map(|Listed(route)| route);
        routes.take_while(move |route| *route.host == *host)
    }

    /// Every host once, ascending.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut last: Option<&Arc<str>> = None;
        let hosts = self.routes().map(|route| &route.host);
        hosts.filter(move |host| last.replace(*host) != Some(*host))
    }
}

impl Located for Listed {
    fn key(&self) -> Key<'_> {
        let Route { host, path, kind, .. } = &*self.0;
        (host, Some(Reverse((path, *kind == Kind::Sni))))
    }
}

impl Located for Place {
    fn key(&self) -> Key<'_> {
        (&self.host, Some(Reverse((&self.path, self.kind == Kind::Sni))))
    }
}

impl Located for Head<'_> {
    fn key(&self) -> Key<'_> {
        (self.0, None)
    }
}

impl PartialEq for dyn Located + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Located + '_ {}

impl PartialOrd for dyn Located + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Located + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Listed {}

impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<'a> Borrow<dyn Located + 'a> for Listed {
    fn borrow(&self) -> &(dyn Located + 'a) {
        self
    }
}
