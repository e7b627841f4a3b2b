//! How many requests and connections each target has under way. It outlives tables, as what is counted does.
//!
//! Kept among the counters and sharded as they are: a worker writes lines of its own and never waits. Whoever wants to know
//! adds up, which only routes with a strategy that asks (`p2c`, `least`) pay for. One shared number would be cheaper to
//! read and dearer to write, and every request writes.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::stats::TargetStats;

/// One request or connection; it ends when this is dropped, which only its own worker may do.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct UnderWay {
    stats: TargetStats,
    worker: usize,
    /// The shard is written without a lock, so this stays on its thread.
    on_its_thread: PhantomData<Rc<()>>,
}

impl TargetStats {
    /// One more, until what is returned is dropped. Only worker `worker` may pass its own number.
    pub fn enter(&self, worker: usize) -> UnderWay {
        step(&self.shard(worker).under_way, 1);
        UnderWay {
            stats: self.clone(),
            worker,
            on_its_thread: PhantomData,
        }
    }

    /// How many requests and connections of all workers are under way, at about this moment.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.shards()
            .map(|shard| u64::from(shard.under_way.load(Relaxed)))
            .sum()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        step(&self.stats.shard(self.worker).under_way, u32::MAX);
    }
}

fn step(count: &AtomicU32, by: u32) {
    count.store(count.load(Relaxed).wrapping_add(by), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stats::Layout;

    #[test]
    fn what_is_under_way_is_counted_over_all_workers() {
        let load = TargetStats::new(&Layout { workers: 2 });
        let first = load.enter(0);
        let second = load.enter(1);
        assert_eq!(load.under_way(), 2);
        drop(first);
        assert_eq!(load.under_way(), 1);
        drop(second);
        assert_eq!(load.under_way(), 0);
    }
}
