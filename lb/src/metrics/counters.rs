//! What workers count. Each worker writes its own, so counting costs no other core anything; whoever
//! scrapes reads them all and adds up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::doors::Doors;
use crate::table::BUCKETS;

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
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connections: Inside,
    pub tunnels: Inside,
    pub tcp_connections: Inside,
    pub tcp_accepted: Count,
    pub tcp_connect_failures: Count,
    pub tcp_no_route: Count,
    /// Of listeners that pass on by server name.
    pub tcp_sni_accepted: Count,
    pub tcp_sni_connect_failures: Count,
    pub tcp_sni_no_route: Count,
    pub doors: Doors,
    pub not_found: Count,
    pub unavailable: Count,
    pub bad_requests: Count,
    pub client_gone: Count,
    pub retries: Count,
    pub upstream_failures: Count,
    pub upstream_timeouts: Count,
    pub upstream_idle: Count,
    pub redirects: Count,
    pub panics: Count,
    /// Locked when the worker meets a service for the first time, and by a scrape.
    services: Mutex<HashMap<Arc<str>, Arc<ServiceCounters>>>,
}

impl Counters {
    /// The counters of a service; workers keep what they were given.
    pub(crate) fn of_service(&self, service: &Arc<str>) -> Arc<ServiceCounters> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.entry(service.clone()).or_default().clone()
    }

    pub(crate) fn services(&self) -> Vec<(Arc<str>, Arc<ServiceCounters>)> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services
            .iter()
            .map(|(name, counters)| (name.clone(), counters.clone()))
            .collect()
    }
}

/// What one worker counts of one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceCounters {
    pub took: Histogram,
    codes: Codes,
}

impl ServiceCounters {
    pub(crate) fn count(&self, status: u16, took: Duration) {
        self.took.observe(took);
        self.codes.count(status);
    }

    /// Status codes seen, with how often.
    pub(crate) fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        let seen = self.codes.0.iter().zip(FIRST_CODE..);
        seen.map(|(count, code)| (code, count.get()))
            .filter(|(_, count)| *count > 0)
    }
}

const FIRST_CODE: u16 = 100;
const CODES: usize = 500;

#[derive(Debug)]
struct Codes(Box<[Count]>);

impl Default for Codes {
    fn default() -> Self {
        Self((0..CODES).map(|_| Count::default()).collect())
    }
}

impl Codes {
    fn count(&self, status: u16) {
        // hyper lets servers invent codes up to 999; those have no place in a metric.
        let at = usize::from(status.saturating_sub(FIRST_CODE));
        if let Some(count) = self.0.get(at) {
            count.add(1);
        }
    }
}

/// Durations by size.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// The last one is for everything beyond the bounds.
    buckets: [Count; BUCKETS.len() + 1],
    nanos: Count,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BUCKETS.len());
        self.buckets[at].add(1);
        self.nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what was observed to `sum`.
    pub(crate) fn add_to(&self, sum: &mut Observed) {
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        sum.nanos += self.nanos.get();
    }
}

/// Histograms added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub buckets: [u64; BUCKETS.len() + 1],
    pub nanos: u64,
}
