//! How many requests and connections each target has under way. It outlives tables, as what is counted does.
//!
//! Sharded by worker, as the counters are: a worker writes lines of its own and never waits. Whoever wants to know
//! adds up, which only routes with a strategy that asks (`p2c`, `least`) pay for. One shared number would be cheaper to
//! read and dearer to write, and every request writes.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::histogram::bump;

/// What one target has under way.
#[derive(Debug)]
pub struct Load {
    /// One for each worker, made when it first counts.
    shards: Box<[OnceLock<Box<Shard>>]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

/// One request or connection; it ends when this is dropped, which only its own worker may do.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct UnderWay {
    load: Arc<Load>,
    worker: usize,
    /// The shard is written without a lock, so this stays on its thread.
    on_its_thread: PhantomData<Rc<()>>,
}

impl Load {
    /// Nothing under way, for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// One more, until what is returned is dropped. Only worker `worker` may pass its own number.
    pub fn enter(self: &Arc<Self>, worker: usize) -> UnderWay {
        bump(&self.shard(worker).0, 1);
        UnderWay {
            load: self.clone(),
            worker,
            on_its_thread: PhantomData,
        }
    }

    /// How many of all workers, at about this moment.
    #[must_use]
    pub fn now(&self) -> u64 {
        let shards = self.shards.iter().filter_map(OnceLock::get);
        shards.map(|shard| shard.0.load(Relaxed)).sum()
    }

    fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker % self.shards.len()].get_or_init(Box::default)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        bump(&self.load.shard(self.worker).0, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_over_all_workers() {
        let load = Arc::new(Load::new(2));
        let first = load.enter(0);
        let second = load.enter(1);
        assert_eq!(load.now(), 2);
        drop(first);
        assert_eq!(load.now(), 1);
        drop(second);
        assert_eq!(load.now(), 0);
    }
}
