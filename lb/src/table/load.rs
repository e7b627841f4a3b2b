//! How many requests and connections each target has under way. It outlives tables, as what is counted does.
//!
//! Kept among the counters and sharded as they are: a worker writes lines of its own and never waits. Whoever wants to know
//! adds up, which only routes with a strategy that asks (`p2c`, `least`) pay for. One shared number would be cheaper to
//! read and dearer to write, and every request writes.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::route::Target;
use super::stats::TargetStats;

/// One request or connection at a target; it ends when this is dropped, which only its own worker may do.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct UnderWay {
    target: Arc<Target>,
    worker: usize,
    /// The shard is written without a lock, so this stays on its thread.
    on_its_thread: PhantomData<Rc<()>>,
}

impl UnderWay {
    /// One more, until what is returned is dropped. Only worker `worker` may pass its own number.
    pub fn at(target: Arc<Target>, worker: usize) -> Self {
        step(&target.stats.shard(worker).under_way, 1);
        Self {
            target,
            worker,
            on_its_thread: PhantomData,
        }
    }

    /// Where.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }
}

impl TargetStats {
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
        step(&self.target.stats.shard(self.worker).under_way, u32::MAX);
    }
}

fn step(count: &AtomicU32, by: u32) {
    count.store(count.load(Relaxed).wrapping_add(by), Relaxed);
}
