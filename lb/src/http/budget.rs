//! How many requests may be sent again: a share of those of the last ten seconds, and ten a second. Pure.
//!
//! When most targets fail, retries would multiply the load on what is left of them just when that is worst.

use std::time::{Duration, Instant};

/// Half of the time that is looked back on.
const HALF: Duration = Duration::from_secs(5);
/// Retries that are always allowed, in the time that is looked back on.
const FLOOR: f64 = 100.0;

/// Of one worker.
#[derive(Debug)]
pub(crate) struct Budget {
    share: f64,
    since: Instant,
    /// Requests and retries: in this half, in the one before.
    now: (u64, u64),
    before: (u64, u64),
}

impl Budget {
    pub(crate) fn new(share: f64, now: Instant) -> Self {
        Self {
            share,
            since: now,
            now: (0, 0),
            before: (0, 0),
        }
    }

    /// What the operator allows now.
    pub(crate) fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// A request came.
    pub(crate) fn request(&mut self) {
        self.now.0 += 1;
    }

    /// May one be sent again? Then it counts.
    pub(crate) fn retry(&mut self, now: Instant) -> bool {
        self.turn(now);
        let requests = self.now.0 + self.before.0;
        let retries = self.now.1 + self.before.1;
        let allowed = (retries as f64) < requests as f64 * self.share + FLOOR;
        self.now.1 += u64::from(allowed);
        allowed
    }

    /// Starts the next half when it is time.
    pub(crate) fn turn(&mut self, now: Instant) {
        let halves = now.saturating_duration_since(self.since).as_nanos() / HALF.as_nanos();
        if halves > 0 {
            self.before = if halves == 1 { self.now } else { (0, 0) };
            self.now = (0, 0);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(budget: &mut Budget, now: Instant, wanted: usize) -> usize {
        (0..wanted).filter(|_| budget.retry(now)).count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_sent_again_and_ten_a_second() {
        let start = Instant::now();
        let mut budget = Budget::new(0.2, start);
        assert_eq!(allowed(&mut budget, start, 1000), 100);
        (0..1000).for_each(|_| budget.request());
        assert_eq!(allowed(&mut budget, start, 1000), 200);
        assert_eq!(
            allowed(&mut budget, start + Duration::from_secs(6), 1000),
            0,
            "not forgotten yet"
        );
        assert_eq!(allowed(&mut budget, start + Duration::from_secs(12), 1000), 100);
    }

    #[test]
    fn no_share_leaves_the_ten_a_second() {
        let start = Instant::now();
        let mut budget = Budget::new(0.2, start);
        budget.set_share(0.0);
        (0..1000).for_each(|_| budget.request());
        assert_eq!(allowed(&mut budget, start, 1000), 100);
    }
}
