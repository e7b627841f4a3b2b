//! What is counted by service: what all shards of its targets have counted, those of targets that are gone included.
//!
//! Nothing is counted for it. A shard is put on a list when it meets its first request; once nobody else holds it, which
//! is when its target has left every table and request, it can count no more, and what it has is kept with the service.
//! So no sum ever falls. A service that has left the table goes as a whole, once all who read had time to see its last
//! counts: were it to go target by target, its sums would fall in steps, and each would be read as a restart. If it
//! comes back later it begins from zero, as after a restart; if earlier, it goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config;
use crate::histogram::Bounds;
use crate::table::{BROKEN, Outcomes, Shard};

/// How long a service is shown that has left: longer than scrapers are apart.
const LINGER: Duration = Duration::from_secs(300);

/// All services that were ever sent a request, but for those that have left.
#[derive(Debug)]
pub(crate) struct Services {
    bounds: Bounds,
    linger: Duration,
    /// Locked when a worker meets a target, by a scrape, and by who tends it.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By service; each shard once.
    shards: Vec<(Arc<str>, Arc<Shard>)>,
    past: HashMap<Arc<str>, Past>,
}

/// What targets of a service have counted that are gone.
#[derive(Debug, Default)]
struct Past {
    outcomes: Outcomes,
    /// Since when it is not in the table, and nobody counts.
    left: Option<Instant>,
}

impl Services {
    pub(super) fn new(settings: &config::Metrics) -> Self {
        Self {
            bounds: Bounds::of(settings),
            // Who sends them sees them twice in any case.
            linger: LINGER.max(settings.interval * 2),
            known: Mutex::default(),
        }
    }

    /// A shard of one of its targets has met its first request.
    pub(crate) fn list(&self, service: &Arc<str>, shard: &Arc<Shard>) {
        self.known().shards.push((service.clone(), shard.clone()));
    }

    /// Lets go of what has left the table long enough ago.
    pub(crate) fn tend<'t>(&self, in_table: impl FnOnce() -> HashSet<&'t str>, now: Instant) {
        let Known { shards, past } = &mut *self.known();
        shards.retain_mut(|(service, shard)| {
            // The second look is the one that counts, and the first much cheaper: nearly all are held.
            if Arc::strong_count(shard) > 1 {
                return true;
            }
            // Nobody else can take hold of it while the list is locked.
            let Some(shard) = Arc::get_mut(shard) else {
                return true;
            };
            let past = past.entry(service.clone()).or_default();
            shard.add_to(&mut past.outcomes, &self.bounds);
            false
        });
        if past.is_empty() {
            return;
        }
        let mut here = in_table();
        here.extend(shards.iter().map(|(service, _)| &**service));
        past.retain(|service, past| {
            if here.contains(&**service) {
                past.left = None;
                return true;
            }
            now.duration_since(*past.left.get_or_insert(now)) < self.linger
        });
    }

    /// What each has been answered.
    pub(super) fn all(&self) -> BTreeMap<Arc<str>, Outcomes> {
        let known = self.known();
        let past = known.past.iter();
        let mut all: BTreeMap<_, _> = past
            .map(|(service, past)| (service.clone(), past.outcomes.clone()))
            .collect();
        let shards = known.shards.clone();
        // Adding up takes a while.
        drop(known);
        for (service, shard) in shards {
            shard.add_to(all.entry(service).or_default(), &self.bounds);
        }
        for outcomes in all.values_mut() {
            outcomes.remove(&BROKEN);
        }
        all
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Observed;
    use crate::table::{Layout, Served, TargetStats};

    fn services() -> Services {
        Services::new(&config::Metrics::default())
    }

    /// A target of this name.
    fn target() -> TargetStats {
        TargetStats::new(&Layout { workers: 2 })
    }

    /// A worker is answered by one.
    fn answered(services: &Services, (name, target): (&str, &TargetStats), worker: usize) {
        let served = Served {
            status: Some(200),
            took: Duration::from_millis(7),
            rx: 0,
            tx: 0,
        };
        if let Some(shard) = target.count(worker, served, &Bounds::default()) {
            services.list(&name.into(), shard);
        }
    }

    /// How many requests are shown of each service, by name.
    fn shown(services: &Services) -> Vec<(String, u64)> {
        let all = services.all().into_iter();
        let requests = |outcomes: Outcomes| outcomes.values().map(Observed::count).sum();
        all.map(|(name, outcomes)| (name.to_string(), requests(outcomes)))
            .collect()
    }

    #[test]
    fn thousands_of_names_that_come_and_go_leave_no_more_than_those_of_the_last_minutes() {
        let (services, start) = (services(), Instant::now());
        let minute = |n: u32| start + Duration::from_secs(60) * n;
        let name = |n: u32, branch: usize| format!("web-branch-{n}-{branch}");
        let stays = target();
        for n in 0..60 {
            let table: Vec<_> = (0..100).map(|branch| (name(n, branch), target())).collect();
            for (worker, (name, target)) in table.iter().enumerate() {
                answered(&services, (name, target), worker % 2);
            }
            answered(&services, ("stays", &stays), 0);
            let names = || table.iter().map(|(name, _)| &**name).chain(["stays"]).collect();
            services.tend(names, minute(n));
        }
        services.tend(|| HashSet::from(["stays"]), minute(60));
        let shown = shown(&services);
        // The last five minutes, and the one that is not over.
        assert_eq!(shown.len(), 5 * 100 + 1);
        assert!(shown.contains(&("stays".to_owned(), 60)));
        assert!(shown.iter().any(|(known, _)| *known == *name(59, 7)));
        assert!(!shown.iter().any(|(known, _)| *known == *name(50, 7)));
    }

    #[test]
    fn a_service_that_returns_in_time_goes_on_and_later_begins_anew() {
        let services = services();
        let (none, start) = (HashSet::new, Instant::now());
        let web = |worker| answered(&services, ("web", &target()), worker);
        web(0);
        services.tend(none, start);
        services.tend(none, start + LINGER - Duration::from_secs(1));
        web(1);
        assert_eq!(shown(&services), [("web".to_owned(), 2)]);
        services.tend(|| HashSet::from(["web"]), start + LINGER);
        services.tend(none, start + LINGER * 2);
        assert_eq!(shown(&services), [("web".to_owned(), 2)]);
        services.tend(none, start + LINGER * 3);
        assert_eq!(shown(&services), []);
        web(0);
        assert_eq!(shown(&services), [("web".to_owned(), 1)]);
    }

    #[test]
    fn what_is_counted_by_who_still_holds_it_is_shown() {
        let services = services();
        let (none, start) = (HashSet::new, Instant::now());
        let held = target();
        answered(&services, ("web", &held), 0);
        services.tend(none, start);
        services.tend(none, start + LINGER * 2);
        answered(&services, ("web", &held), 0);
        drop(held);
        services.tend(none, start + LINGER * 3);
        assert_eq!(shown(&services), [("web".to_owned(), 2)]);
        services.tend(none, start + LINGER * 4);
        assert_eq!(shown(&services), []);
    }

    #[test]
    fn what_a_target_that_left_was_answered_stays_in_the_sum_while_its_service_is_there() {
        let (services, start) = (services(), Instant::now());
        let (here, gone) = (target(), target());
        for target in [&here, &gone] {
            for worker in [0, 1, 1] {
                answered(&services, ("web", target), worker);
            }
        }
        drop(gone);
        for minutes in 0..60 {
            assert_eq!(shown(&services), [("web".to_owned(), 6)]);
            services.tend(HashSet::new, start + Duration::from_secs(60) * minutes);
        }
        assert_eq!(services.known().shards.len(), 2);
    }

    #[test]
    fn connections_that_have_no_status_are_no_requests() {
        let (services, both, tcp) = (services(), target(), target());
        let connection = Served {
            status: None,
            took: Duration::from_millis(7),
            rx: 0,
            tx: 0,
        };
        for target in [&both, &tcp] {
            assert!(target.count(0, connection, &Bounds::default()).is_none());
        }
        answered(&services, ("both", &both), 0);
        assert_eq!(shown(&services), [("both".to_owned(), 1)]);
    }
}
