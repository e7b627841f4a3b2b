//! Whether a client keeps up: how much it takes, or sends, in the time that somebody waits for it. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// See the module. Time in which nobody waits for the client does not count.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long is waited before it is judged.
    stall: Duration,
    /// Bytes that it must move in that time.
    least: u64,
    /// How long was waited since it was judged last, and what it had moved then.
    waited: Duration,
    moved: u64,
    /// Since when it is waited for.
    since: Option<Instant>,
}

impl Pace {
    /// `rate`: bytes a second; with 0 any byte in that time will do.
    pub(crate) fn new(stall: Duration, rate: u32) -> Self {
        let least = stall.as_millis() * u128::from(rate) / 1000;
        Self {
            stall,
            least: u64::try_from(least).unwrap_or(u64::MAX).max(1),
            waited: Duration::ZERO,
            moved: 0,
            since: None,
        }
    }

    /// How long is waited before it is judged.
    pub(crate) fn stall(&self) -> Duration {
        self.stall
    }

    /// How long until it may be too slow, while it is waited for.
    pub(crate) fn left(&self) -> Duration {
        self.stall.saturating_sub(self.waited)
    }

    /// Is it too slow? `waits`: somebody waits for it from now on; `moved`: bytes, in all.
    pub(crate) fn is_too_slow(&mut self, waits: bool, moved: u64, now: Instant) -> bool {
        self.is_too_slow_among(1, waits, moved, now)
    }

    /// The same of one of `many`, who together must move what one must alone.
    pub(crate) fn is_too_slow_among(&mut self, many: u64, waits: bool, moved: u64, now: Instant) -> bool {
        if let Some(since) = self.since {
            self.waited += now.saturating_duration_since(since);
        }
        self.since = waits.then_some(now);
        if self.waited < self.stall {
            return false;
        }
        let slow = (moved - self.moved).saturating_mul(many) < self.least;
        self.waited = Duration::ZERO;
        self.moved = moved;
        slow
    }

    /// It has taken all there was: whatever it was like before does not count.
    pub(crate) fn rest(&mut self, moved: u64) {
        self.waited = Duration::ZERO;
        self.moved = moved;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second by second: whether it is waited for, and what it has moved by then. Returns the second in which it was
    /// too slow.
    fn slow(mut pace: Pace, states: impl IntoIterator<Item = (bool, u64)>) -> Option<usize> {
        let start = Instant::now();
        states
            .into_iter()
            .enumerate()
            .position(|(second, (waits, moved))| {
                pace.is_too_slow(waits, moved, start + Duration::from_secs(second as u64))
            })
    }

    fn pace(rate: u32) -> Pace {
        Pace::new(Duration::from_secs(10), rate)
    }

    #[test]
    fn what_moves_too_little_in_the_time_that_is_waited_is_too_slow() {
        let at = |rate: u64| (0..100).map(move |second| (true, second * rate));
        assert_eq!(slow(pace(100), at(99)), Some(10));
        assert_eq!(slow(pace(100), at(100)), None);
        assert_eq!(slow(pace(0), at(1)), None);
        assert_eq!(slow(pace(0), at(0)), Some(10));
        // A good beginning does not pay for the rest.
        let stops = (0..100).map(|second| (true, 10_000_000.min(second * 1_000_000)));
        assert_eq!(slow(pace(100), stops), Some(20));
    }

    #[test]
    fn many_share_what_one_must_move() {
        for (moved, is_slow) in [(99, true), (100, false)] {
            let (mut pace, start) = (pace(100), Instant::now());
            assert!(!pace.is_too_slow_among(10, true, 0, start));
            let later = start + Duration::from_secs(10);
            assert_eq!(pace.is_too_slow_among(10, true, moved, later), is_slow);
        }
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        assert_eq!(slow(pace(100), (0..100).map(|_| (false, 0))), None);
        let half = (0..100).map(|second| (second % 2 == 0, 0));
        assert_eq!(slow(pace(100), half), Some(19));
    }
}
