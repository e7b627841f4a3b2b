//! What is counted for each target and route. It outlives tables: a route made anew takes over the counters
//! of the targets that it keeps, so a swap loses nothing.
//!
//! Counters are sharded by worker, each shard on cache lines of its own and written by that worker
//! alone: counting costs plain loads and stores, and no core waits for another. Readers add up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Upper bounds of the latency buckets in seconds: fabio's. A last bucket takes the rest.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counters of one target on one route.
#[derive(Debug)]
pub struct TargetStats {
    /// One for each worker, made when it first counts: most targets are met by few workers.
    shards: Box<[OnceLock<Box<Shard>>]>,
}

/// The counters of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    /// By first digit of the status; `[0]` takes what has none (TCP, broken off).
    classes: [AtomicU64; 6],
    /// As [`BUCKETS`], not cumulative; the last is above all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Requests by first digit of the status; `[0]` those without one.
    pub classes: [u64; 6],
    /// Requests by latency: one count per bound of [`BUCKETS`], not cumulative, and one for the rest.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// Sum of all latencies.
    pub seconds: f64,
    /// Bytes from the target to the client.
    pub rx: u64,
    /// Bytes from the client to the target.
    pub tx: u64,
}

impl Snapshot {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// Adds to a counter that only the calling worker writes, so no locked instruction is needed.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl TargetStats {
    /// Zeroes, for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Counts one request or TCP connection. Only worker `worker` may pass its own number.
    pub fn record(&self, worker: usize, served: Served) {
        let shard = self.shards[worker % self.shards.len()].get_or_init(Box::default);
        let class = served.status.map_or(0, |status| usize::from(status / 100));
        bump(shard.classes.get(class).unwrap_or(&shard.classes[0]), 1);
        let seconds = served.took.as_secs_f64();
        let bucket = BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BUCKETS.len());
        bump(&shard.buckets[bucket], 1);
        bump(
            &shard.nanos,
            u64::try_from(served.took.as_nanos()).unwrap_or(u64::MAX),
        );
        bump(&shard.rx, served.rx);
        bump(&shard.tx, served.tx);
    }

    /// Sums over all workers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        let mut nanos = 0_u64;
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            for (total, part) in sum.classes.iter_mut().zip(&shard.classes) {
                *total += part.load(Relaxed);
            }
            for (total, part) in sum.buckets.iter_mut().zip(&shard.buckets) {
                *total += part.load(Relaxed);
            }
            nanos = nanos.wrapping_add(shard.nanos.load(Relaxed));
            sum.rx += shard.rx.load(Relaxed);
            sum.tx += shard.tx.load(Relaxed);
        }
        sum.seconds = Duration::from_nanos(nanos).as_secs_f64();
        sum
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
    /// For this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
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
