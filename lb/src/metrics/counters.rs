//! What workers count. Each worker writes its own, so counting costs no other core anything; whoever
//! scrapes reads them all and adds up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::doors::Doors;
use crate::codes::Codes;
use crate::histogram::{Bounds, Histogram};

/// A number that grows, or one that is set.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many are inside now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inside(Arc<Count>);

/// One that is inside until dropped.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Count>);

impl Inside {
    pub(crate) fn enter(&self) -> Entered {
        self.0.0.fetch_add(1, Relaxed);
        Entered(self.0.clone())
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Everything one worker counts.
#[derive(Debug)]
pub(crate) struct Counters {
    pub connections: Inside,
    pub tunnels: Inside,
    pub tcp_connections: Inside,
    /// Of listeners of `proto=tcp` and `tcp-dynamic`.
    pub tcp_accepted: Count,
    pub tcp_connect_failures: Count,
    pub tcp_no_route: Count,
    /// Of listeners that pass on by server name.
    pub tcp_sni_accepted: Count,
    pub tcp_sni_connect_failures: Count,
    pub tcp_sni_no_route: Count,
    pub doors: Doors,
    pub grpc: Grpc,
    pub not_found: Count,
    pub unavailable: Count,
    pub bad_requests: Count,
    pub http2_floods: Count,
    pub client_gone: Count,
    /// Requests and connections that came back to us.
    pub loops: Count,
    /// Targets that are listeners of ours.
    pub own_targets: Count,
    pub retries: Count,
    pub retries_refused: Count,
    pub ejections: Count,
    pub ejected: Count,
    pub probe_failures: Count,
    pub probed_down: Count,
    pub upstream_failures: Count,
    pub upstream_timeouts: Count,
    pub upstream_idle: Count,
    /// By status.
    pub redirects: Codes<Count>,
    pub panics: Count,
    pub denied: Denied,
    /// Of files and servers that say who may come in.
    pub auth_failures: Count,
    /// Of all times that are counted.
    pub bounds: Bounds,
}

/// Requests that were not let in, by what stopped them.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub access: Count,
    pub auth: Count,
    pub guessing: Count,
    pub rate: Count,
    pub in_flight: Count,
    pub body: Count,
}

impl Denied {
    /// All of them, with the names that users read.
    pub(crate) fn by_name(&self) -> [(&'static str, &Count); 6] {
        [
            ("access", &self.access),
            ("auth", &self.auth),
            ("guessing", &self.guessing),
            ("rate", &self.rate),
            ("inflight", &self.in_flight),
            ("body", &self.body),
        ]
    }
}

/// What is counted of gRPC, whatever kind of listener it came in by.
#[derive(Debug)]
pub(crate) struct Grpc {
    /// Connections to listeners of `proto=grpc` and `grpcs`.
    pub accepted: Count,
    pub no_route: Count,
    pub took: Histogram,
    statuses: [OnceLock<Histogram>; GRPC_STATUSES],
}

/// Codes of gRPC, 0 to 16.
const GRPC_STATUSES: usize = 17;

impl Grpc {
    fn new(bounds: &Bounds) -> Self {
        Self {
            accepted: Count::default(),
            no_route: Count::default(),
            took: Histogram::new(bounds),
            statuses: [const { OnceLock::new() }; GRPC_STATUSES],
        }
    }

    /// A call that ended; what is no status of gRPC counts as 2, unknown.
    pub(crate) fn count(&self, status: u16, took: Duration, bounds: &Bounds) {
        self.took.observe(took, bounds);
        let status = self
            .statuses
            .get(usize::from(status))
            .unwrap_or(&self.statuses[2]);
        status
            .get_or_init(|| Histogram::new(bounds))
            .observe(took, bounds);
    }

    /// Statuses seen, by number.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (usize, &Histogram)> {
        let seen = self.statuses.iter().enumerate();
        seen.filter_map(|(status, took)| Some((status, took.get()?)))
    }
}

impl Counters {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            connections: Inside::default(),
            tunnels: Inside::default(),
            tcp_connections: Inside::default(),
            tcp_accepted: Count::default(),
            tcp_connect_failures: Count::default(),
            tcp_no_route: Count::default(),
            tcp_sni_accepted: Count::default(),
            tcp_sni_connect_failures: Count::default(),
            tcp_sni_no_route: Count::default(),
            doors: Doors::default(),
            grpc: Grpc::new(bounds),
            not_found: Count::default(),
            unavailable: Count::default(),
            bad_requests: Count::default(),
            http2_floods: Count::default(),
            client_gone: Count::default(),
            loops: Count::default(),
            own_targets: Count::default(),
            retries: Count::default(),
            retries_refused: Count::default(),
            ejections: Count::default(),
            ejected: Count::default(),
            probe_failures: Count::default(),
            probed_down: Count::default(),
            upstream_failures: Count::default(),
            upstream_timeouts: Count::default(),
            upstream_idle: Count::default(),
            redirects: Codes::default(),
            panics: Count::default(),
            denied: Denied::default(),
            auth_failures: Count::default(),
            bounds: bounds.clone(),
        }
    }

    /// A gRPC call that ended with this status.
    pub(crate) fn grpc_call(&self, status: u16, took: Duration) {
        self.grpc.count(status, took, &self.bounds);
    }

    /// A redirect was answered.
    pub(crate) fn redirected(&self, status: u16) {
        self.redirects.of(status, Count::default).add(1);
    }
}
