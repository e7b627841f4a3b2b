//! A question asked again and again, one at a time. Pure: time is handed in.

use std::time::{Duration, Instant};

use super::pause_after;

/// When it is asked next, and how it went.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Errand {
    under_way: bool,
    due: Option<Instant>,
    failures: u32,
    longest_pause: Option<Duration>,
}

impl Errand {
    /// One that is asked first at `due`; `None`: not until somebody wants it.
    pub(crate) fn new(due: Option<Instant>) -> Self {
        Self {
            due,
            ..Self::default()
        }
    }

    /// However often it fails, it is asked again after so long.
    pub(crate) fn at_least_every(self, pause: Duration) -> Self {
        Self {
            longest_pause: Some(pause),
            ..self
        }
    }

    /// Asks at `at`, whatever was planned.
    pub(crate) fn want(&mut self, at: Instant) {
        self.due = Some(at);
    }

    /// Asks at `at`, unless that is planned for sooner.
    pub(crate) fn want_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.under_way && self.due.is_some_and(|due| due <= now);
        if begins {
            self.under_way = true;
            self.due = None;
        }
        begins
    }

    /// Ends it; asked again after `next`, unless somebody wants it sooner. Returns how often in a row
    /// it has failed.
    pub(crate) fn end(&mut self, worked: bool, next: Option<Duration>, now: Instant) -> u32 {
        self.under_way = false;
        self.failures = if worked { 0 } else { self.failures + 1 };
        let next = if worked {
            next
        } else {
            let pause = pause_after(self.failures);
            Some(self.longest_pause.map_or(pause, |longest| longest.min(pause)))
        };
        self.due = match (self.due, next.map(|next| now + next)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.failures
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Whether it failed when last asked.
    pub(crate) fn fails(&self) -> bool {
        self.failures > 0
    }

    /// When it can be asked next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.under_way)
    }
}
