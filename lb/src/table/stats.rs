//! What is counted for each target and route. It outlives tables: a route made anew takes over the counters
//! of the targets that it keeps, so a swap loses nothing.
//!
//! Counters are sharded by worker, each shard on a cache line of its own and written by that worker
//! alone: counting costs plain loads and stores, and no core waits for another. Readers add up.
//!
//! Each request is counted here once, and what is said of services is added up from here as well: of a hundred thousand
//! routes next to nothing is in the caches, so each line that is touched twice would be waited for twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::codes::{Codes, is_status};
use crate::config::Config;
use crate::histogram::{Bounds, Histogram, Observed, bump, nanos};

/// How counters are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Workers that count, each for itself.
    pub workers: usize,
}

impl Layout {
    /// What these settings need.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            workers: config.workers.max(1),
        }
    }
}

/// Counters of one target on one route: a shard for each worker, made when it first counts, since most targets are met
/// by few workers. A copy is the same counters.
#[derive(Clone, Debug)]
pub struct TargetStats(Arc<[OnceLock<Arc<Shard>>]>);

/// The counters of one worker. With the count of who holds it, it fills one cache line; what most requests of a target
/// have in common needs no more.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Requests and connections now.
    pub(super) under_way: AtomicU32,
    /// The [`Sort`] of the first request, and how many were of it; 0 before that.
    sort: AtomicU32,
    usual: AtomicU64,
    nanos: AtomicU64,
    rx: AtomicU64,
    rest: OnceLock<Box<Rest>>,
}

/// What is not as the first request was.
#[derive(Debug, Default)]
struct Rest {
    tx: AtomicU64,
    codes: Codes<Histogram>,
}

/// Times by what ended a request: its status, or [`BROKEN`] or [`INVENTED`].
pub(crate) type Outcomes = BTreeMap<u16, Observed>;

/// Stands for no status: TCP, and what broke off before an answer.
pub(crate) const BROKEN: u16 = 0;
/// Stands for a status that is none of HTTP.
pub(crate) const INVENTED: u16 = 1;

/// An outcome and a bucket of times in one number, which is never 0.
struct Sort(u32);

impl Sort {
    /// `None`: there are more buckets than it can tell apart.
    fn new(code: u16, bucket: usize) -> Option<Self> {
        let bucket = u16::try_from(bucket + 1).ok()?;
        Some(Self(u32::from(code) << 16 | u32::from(bucket)))
    }

    fn code(&self) -> u16 {
        (self.0 >> 16) as u16
    }

    fn bucket(&self) -> usize {
        usize::from(self.0 as u16) - 1
    }
}

/// One request or TCP connection that a target has served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Status of the answer; `None` for TCP and for what broke off before one.
    pub status: Option<u16>,
    /// From its start to its end.
    pub took: Duration,
    /// Bytes from the target to the client.
    pub rx: u64,
    /// Bytes from the client to the target.
    pub tx: u64,
}

/// Sums over all workers at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Requests by first digit of the status; `[0]` those without one.
    pub classes: [u64; 6],
    /// Requests by latency.
    pub times: Observed,
    /// Bytes from the target to the client.
    pub rx: u64,
    /// Bytes from the client to the target.
    pub tx: u64,
}

impl Shard {
    /// Returns whether it is the first request that has a status.
    fn count(&self, served: Served, bounds: &Bounds) -> bool {
        bump(&self.rx, served.rx);
        if served.tx > 0 {
            bump(&self.rest.get_or_init(Box::default).tx, served.tx);
        }
        let code = match served.status {
            None => BROKEN,
            Some(status) if is_status(status) => status,
            Some(_) => INVENTED,
        };
        let is_first = code != BROKEN && !self.knows_requests();
        self.observe(code, served.took, bounds);
        is_first
    }

    fn observe(&self, code: u16, took: Duration, bounds: &Bounds) {
        if let Some(Sort(sort)) = Sort::new(code, bounds.bucket(took)) {
            let usual = self.sort.load(Relaxed);
            if usual == 0 {
                self.sort.store(sort, Relaxed);
            }
            if usual == 0 || usual == sort {
                bump(&self.usual, 1);
                return bump(&self.nanos, nanos(took));
            }
        }
        let codes = &self.rest.get_or_init(Box::default).codes;
        let times = codes.of(code, || Histogram::new(bounds));
        times.observe(took, bounds);
    }

    /// The sort of its first request.
    fn usual(&self) -> Option<Sort> {
        Some(Sort(self.sort.load(Relaxed))).filter(|sort| sort.0 != 0)
    }

    fn rest(&self) -> impl Iterator<Item = (u16, &Histogram)> {
        self.rest.get().into_iter().flat_map(|rest| rest.codes.seen())
    }

    fn knows_requests(&self) -> bool {
        self.usual().is_some_and(|usual| usual.code() != BROKEN)
            || self.rest().any(|(code, _)| code != BROKEN)
    }

    /// Adds all that it has counted.
    pub(crate) fn add_to(&self, sums: &mut Outcomes, bounds: &Bounds) {
        let none = || Observed::new(bounds);
        if let Some(usual) = self.usual() {
            let sum = sums.entry(usual.code()).or_insert_with(none);
            sum.add_bucket(usual.bucket(), self.usual.load(Relaxed), self.nanos.load(Relaxed));
        }
        for (code, times) in self.rest() {
            times.add_to(sums.entry(code).or_insert_with(none));
        }
    }
}

impl Snapshot {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }
}

impl TargetStats {
    /// Zeroes.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Self((0..layout.workers.max(1)).map(|_| OnceLock::new()).collect())
    }

    /// Counts one request or TCP connection. Only worker `worker` may pass its own number, and all pass the same bounds.
    pub fn record(&self, worker: usize, served: Served, bounds: &Bounds) {
        self.count(worker, served, bounds);
    }

    /// The same. Returns where it was counted if it is the first request there: whoever adds up services wants to know.
    pub(crate) fn count(&self, worker: usize, served: Served, bounds: &Bounds) -> Option<&Arc<Shard>> {
        let shard = self.shard(worker);
        shard.count(served, bounds).then_some(shard)
    }

    /// Sums over all workers; of times, by the bounds that they were recorded with.
    #[must_use]
    pub fn snapshot(&self, bounds: &Bounds) -> Snapshot {
        let mut outcomes = Outcomes::new();
        let (mut rx, mut tx) = (0, 0);
        for shard in self.shards() {
            shard.add_to(&mut outcomes, bounds);
            rx += shard.rx.load(Relaxed);
            tx += shard.rest.get().map_or(0, |rest| rest.tx.load(Relaxed));
        }
        let mut classes = [0; 6];
        let mut times = Observed::new(bounds);
        for (code, observed) in &outcomes {
            classes[usize::from(code / 100)] += observed.count();
            times.add(observed);
        }
        Snapshot {
            classes,
            times,
            rx,
            tx,
        }
    }

    /// Whether these are the same counters.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The counters of one worker.
    pub(super) fn shard(&self, worker: usize) -> &Arc<Shard> {
        self.0[worker % self.0.len()].get_or_init(Arc::default)
    }

    /// Those of all workers that have counted.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter().filter_map(|shard| Some(&**shard.get()?))
    }
}

/// Whose turn it is on one route, for each worker by itself: workers must not wait for each other
/// to be fair.
#[derive(Debug)]
pub struct Turns {
    shards: Box<[OnceLock<Box<Turn>>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Turn(AtomicU64);

impl Turns {
    /// Each worker's first.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Self {
            shards: (0..layout.workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The next turn of this worker. Only worker `worker` may pass its own number.
    pub fn next(&self, worker: usize) -> u64 {
        // Each starts at another target, so that few requests spread over many workers do not all
        // meet the first.
        let first = || Box::new(Turn(AtomicU64::new(worker as u64)));
        let turn = &self.shards[worker % self.shards.len()].get_or_init(first).0;
        let now = turn.load(Relaxed);
        turn.store(now.wrapping_add(1), Relaxed);
        now
    }
}

/// What a target is counted under; also the labels of its metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// Name of the service.
    pub service: Arc<str>,
    /// Host of the route, `:port` for TCP, empty for every host.
    pub host: Arc<str>,
    /// Path of the route.
    pub path: Arc<str>,
    /// Authority of the target.
    pub target: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: fn() -> Bounds = Bounds::default;

    fn served(status: Option<u16>, millis: u64) -> Served {
        Served {
            status,
            took: Duration::from_millis(millis),
            rx: 10,
            tx: millis % 2,
        }
    }

    #[test]
    fn what_differs_from_the_first_request_is_counted_as_exactly_as_what_does_not() {
        let stats = TargetStats::new(&Layout { workers: 2 });
        let ends = [None, Some(200), Some(204), Some(404), Some(503), Some(999)];
        let all: Vec<Served> = (0..600_u64)
            .map(|n| served(ends[(n / 100) as usize], n % 100))
            .collect();
        for (n, one) in all.iter().enumerate() {
            stats.record(n % 2, *one, &BOUNDS());
        }
        let sum = stats.snapshot(&BOUNDS());
        assert_eq!(sum.classes, [200, 0, 200, 0, 100, 100]);
        assert_eq!((sum.rx, sum.tx), (6000, 300));
        let at_most = |bound: u64| {
            all.iter()
                .filter(|one| one.took <= Duration::from_millis(bound))
                .count() as u64
        };
        let bounds = [5, 10, 25, 50, 100];
        assert_eq!(
            sum.times.at_most(&bounds.map(|bound| bound as f64 / 1000.0)),
            bounds.map(at_most)
        );
        let seconds: Duration = all.iter().map(|one| one.took).sum();
        assert!((sum.times.seconds() - seconds.as_secs_f64()).abs() < 1e-9);
    }

    #[test]
    fn the_first_request_of_a_worker_is_told_whatever_was_counted_before() {
        let stats = TargetStats::new(&Layout { workers: 2 });
        let is_first = |worker, status| stats.count(worker, served(status, 1), &BOUNDS()).is_some();
        assert!(!is_first(0, None));
        assert!(is_first(0, Some(999)));
        assert!(!is_first(0, Some(200)));
        assert!(is_first(1, Some(200)));
        assert!(!is_first(1, Some(200)));
    }

    #[test]
    fn a_shard_and_the_count_of_its_holders_fill_one_cache_line() {
        assert_eq!(size_of::<Shard>() + 2 * size_of::<usize>(), 64);
    }
}
