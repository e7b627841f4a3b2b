//! What is counted for each target and route. It outlives tables: a route made anew takes over the counters
//! of the targets that it keeps, so a swap loses nothing.
//!
//! Counters are sharded by worker, each shard on cache lines of its own and written by that worker
//! alone: counting costs plain loads and stores, and no core waits for another. Readers add up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::Config;
use crate::histogram::{Bounds, Histogram, Observed, bump};

/// How counters are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Workers that count, each for itself.
    pub workers: usize,
    /// Buckets of the times taken.
    pub bounds: Bounds,
}

impl Layout {
    /// What these settings need.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            workers: config.workers.max(1),
            bounds: Bounds::of(&config.metrics),
        }
    }
}

/// Counters of one target on one route.
#[derive(Debug)]
pub struct TargetStats {
    /// One for each worker, made when it first counts: most targets are met by few workers.
    shards: Box<[OnceLock<Box<Shard>>]>,
    bounds: Bounds,
}

/// The counters of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    /// Requests and connections now.
    pub(super) under_way: AtomicU64,
    /// By first digit of the status; `[0]` takes what has none (TCP, broken off).
    classes: [AtomicU64; 6],
    times: Histogram,
    rx: AtomicU64,
    tx: AtomicU64,
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
    fn new(bounds: &Bounds) -> Self {
        Self {
            under_way: AtomicU64::default(),
            classes: Default::default(),
            times: Histogram::new(bounds),
            rx: AtomicU64::default(),
            tx: AtomicU64::default(),
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
        Self {
            shards: (0..layout.workers.max(1)).map(|_| OnceLock::new()).collect(),
            bounds: layout.bounds.clone(),
        }
    }

    /// Counts one request or TCP connection. Only worker `worker` may pass its own number.
    pub fn record(&self, worker: usize, served: Served) {
        let shard = self.shard(worker);
        let class = served.status.map_or(0, |status| usize::from(status / 100));
        bump(shard.classes.get(class).unwrap_or(&shard.classes[0]), 1);
        shard.times.observe(served.took);
        bump(&shard.rx, served.rx);
        bump(&shard.tx, served.tx);
    }

    /// Sums over all workers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot {
            classes: [0; 6],
            times: Observed::new(&self.bounds),
            rx: 0,
            tx: 0,
        };
        for shard in self.shards() {
            for (total, part) in sum.classes.iter_mut().zip(&shard.classes) {
                *total += part.load(Relaxed);
            }
            shard.times.add_to(&mut sum.times);
            sum.rx += shard.rx.load(Relaxed);
            sum.tx += shard.tx.load(Relaxed);
        }
        sum
    }

    /// The counters of one worker.
    pub(super) fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker % self.shards.len()].get_or_init(|| Box::new(Shard::new(&self.bounds)))
    }

    /// Those of all workers that have counted.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|shard| Some(&**shard.get()?))
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
