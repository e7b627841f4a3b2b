//! The routing table: host → routes → targets. Built whole, looked up, never changed; a new one
//! takes its place. Pure: no socket, clock or dice.

mod pick;
pub mod redirect;
pub mod route;
pub mod stats;

use std::collections::HashMap;
use std::sync::Arc;

pub use redirect::Redirect;
pub use route::{Choice, HostHeader, Options, Route, Target};
pub use stats::{BUCKETS, Ledger, Snapshot, TargetKey, TargetStats};

use crate::config::Config;

/// A tag that makes no route, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    tcp: HashMap<u16, Arc<Route>>,
    skipped: Vec<Skipped>,
}

impl Table {
    /// The table for a picture. `ledger` keeps counters from one table to the next.
    #[must_use]
    pub fn of(_config: &Config, _picture: &catalog::Picture, _ledger: &mut Ledger) -> Self {
        Self::default()
    }

    /// The route of a plain HTTP request: `host` as the client sent it (any case, port or not), `path`
    /// normalised. `None`: unknown, 404.
    #[must_use]
    pub fn http(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.http_where(host, path, |_| true)
    }

    /// As [`Table::http`], but asks the next host candidate when `accept` refuses a route: a redirect
    /// that would lead back to itself gives way.
    pub fn http_where(
        &self,
        _host: &str,
        _path: &str,
        _accept: impl Fn(&Route) -> bool,
    ) -> Option<&Arc<Route>> {
        None
    }

    /// The route of connections to the listener on `port`.
    #[must_use]
    pub fn tcp(&self, port: u16) -> Option<&Arc<Route>> {
        self.tcp.get(&port)
    }

    /// Every route, in the order of fabio's listing.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.tcp.values()
    }

    /// Tags that made no route.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}
