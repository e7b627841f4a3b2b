//! What is counted by service: for each a shard of every worker, which that worker alone writes.
//!
//! A service that has left the table goes as a whole, once all who read had time to see its last counts. Were it to go
//! worker by worker, its sums would fall in steps, and each would be read as a restart. If it comes back later it begins
//! from zero, as after a restart; if earlier, it goes on. Whatever is counted is never lost: as long as anybody holds
//! the counters of a service, they stay.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Codes;
use crate::config;
use crate::histogram::{Bounds, Histogram, Observed};

/// How long a service is shown that has left: longer than scrapers are apart.
const LINGER: Duration = Duration::from_secs(300);

/// All services that were ever sent a request, but for those that have left.
#[derive(Debug)]
pub(crate) struct Services {
    workers: usize,
    bounds: Bounds,
    linger: Duration,
    /// Locked when a worker meets a service, by a scrape, and by who tends it.
    known: Mutex<HashMap<Arc<str>, Known>>,
}

#[derive(Debug)]
struct Known {
    counters: Arc<ServiceCounters>,
    /// Since when it is not in the table, and nobody counts.
    left: Option<Instant>,
}

impl Services {
    pub(super) fn new(workers: usize, settings: &config::Metrics) -> Self {
        Self {
            workers: workers.max(1),
            bounds: Bounds::of(settings),
            // Who sends them sees them twice in any case.
            linger: LINGER.max(settings.interval * 2),
            known: Mutex::default(),
        }
    }

    /// The counters of a service. Workers keep them for a while, not for good: see [`Services::tend`].
    pub(crate) fn of(&self, service: &Arc<str>) -> Arc<ServiceCounters> {
        let new = || Known {
            counters: Arc::new(ServiceCounters::new(self.workers, &self.bounds)),
            left: None,
        };
        let mut known = self.known();
        let known = known.entry(service.clone()).or_insert_with(new);
        known.counters.clone()
    }

    /// Lets go of what has left the table long enough ago.
    pub(crate) fn tend(&self, in_table: &HashSet<&str>, now: Instant) {
        self.known().retain(|name, known| {
            // Nobody else can take hold of it while the map is locked.
            if in_table.contains(&**name) || Arc::strong_count(&known.counters) > 1 {
                known.left = None;
                return true;
            }
            now.duration_since(*known.left.get_or_insert(now)) < self.linger
        });
    }

    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<ServiceCounters>)> {
        let known = self.known();
        let all = known
            .iter()
            .map(|(name, known)| (name.clone(), known.counters.clone()));
        all.collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted of one service.
#[derive(Debug)]
pub(crate) struct ServiceCounters {
    /// One for each worker. They only point to what is counted, which each worker makes for itself, so that it is not
    /// beside that of another.
    shards: Box<[Shard]>,
    bounds: Bounds,
}

/// What one worker counts of one service: each request once.
#[derive(Debug, Default)]
struct Shard {
    codes: Codes<Histogram>,
    /// With a status that is none.
    others: OnceLock<Box<Histogram>>,
}

impl ServiceCounters {
    fn new(workers: usize, bounds: &Bounds) -> Self {
        Self {
            shards: (0..workers).map(|_| Shard::default()).collect(),
            bounds: bounds.clone(),
        }
    }

    /// Counts a request. Only worker `worker` may pass its own number.
    pub(crate) fn count(&self, worker: usize, status: u16, took: Duration) {
        let shard = &self.shards[worker % self.shards.len()];
        let new = || Histogram::new(&self.bounds);
        let times = match shard.codes.of(status, new) {
            Some(times) => times,
            None => shard.others.get_or_init(|| Box::new(new())),
        };
        times.observe(took);
    }

    /// Adds up all times.
    pub(super) fn took(&self) -> Observed {
        let mut sum = Observed::new(&self.bounds);
        let others = self
            .shards
            .iter()
            .filter_map(|shard| Some(&**shard.others.get()?));
        for times in self.codes().map(|(_, times)| times).chain(others) {
            times.add_to(&mut sum);
        }
        sum
    }

    /// Times by status, of those seen, shard by shard.
    pub(super) fn codes(&self) -> impl Iterator<Item = (u16, &Histogram)> {
        self.shards.iter().flat_map(|shard| shard.codes.seen())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(7);

    fn services() -> Services {
        Services::new(2, &config::Metrics::default())
    }

    /// How many requests are shown of each service, by name.
    fn shown(services: &Services) -> Vec<(String, u64)> {
        let all = services.all().into_iter();
        let mut shown: Vec<_> = all
            .map(|(name, counters)| (name.to_string(), counters.took().count()))
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn thousands_of_names_that_come_and_go_leave_no_more_than_those_of_the_last_minutes() {
        let (services, start) = (services(), Instant::now());
        let minute = |n: u32| start + Duration::from_secs(60) * n;
        let name = |n: u32, branch: u32| -> Arc<str> { format!("web-branch-{n}-{branch}").into() };
        for n in 0..60 {
            let table: Vec<Arc<str>> = (0..100).map(|branch| name(n, branch)).collect();
            for (worker, service) in table.iter().enumerate() {
                services.of(service).count(worker % 2, 200, TOOK);
            }
            let table: HashSet<&str> = table.iter().map(|name| &**name).chain(["stays"]).collect();
            services.of(&"stays".into()).count(0, 200, TOOK);
            services.tend(&table, minute(n));
        }
        let shown = shown(&services);
        assert_eq!(shown.len(), 6 * 100 + 1);
        assert!(shown.contains(&("stays".to_owned(), 60)));
        assert!(shown.iter().any(|(known, _)| *known == *name(59, 7)));
        assert!(!shown.iter().any(|(known, _)| *known == *name(50, 7)));
    }

    #[test]
    fn a_service_that_returns_in_time_goes_on_and_later_begins_anew() {
        let (services, web): (_, Arc<str>) = (services(), "web".into());
        let (none, start) = (HashSet::new(), Instant::now());
        services.of(&web).count(0, 200, TOOK);
        services.tend(&none, start);
        services.tend(&none, start + LINGER - Duration::from_secs(1));
        services.of(&web).count(1, 200, TOOK);
        assert_eq!(shown(&services), [("web".to_owned(), 2)]);
        services.tend(&HashSet::from(["web"]), start + LINGER);
        services.tend(&none, start + LINGER * 2);
        assert_eq!(shown(&services), [("web".to_owned(), 2)]);
        services.tend(&none, start + LINGER * 3);
        assert_eq!(shown(&services), []);
        services.of(&web).count(0, 200, TOOK);
        assert_eq!(shown(&services), [("web".to_owned(), 1)]);
    }

    #[test]
    fn what_is_counted_by_who_still_holds_it_is_shown() {
        let services = services();
        let (none, start) = (HashSet::new(), Instant::now());
        let held = services.of(&"web".into());
        services.tend(&none, start);
        services.tend(&none, start + LINGER * 2);
        held.count(0, 200, TOOK);
        drop(held);
        services.tend(&none, start + LINGER * 3);
        assert_eq!(shown(&services), [("web".to_owned(), 1)]);
        services.tend(&none, start + LINGER * 4);
        assert_eq!(shown(&services), []);
    }
}
