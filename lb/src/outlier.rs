//! What traffic teaches about targets: which fail and are passed over for a while, and come back slowly.
//!
//! It belongs to no table, so it outlives their changes; what it knows of an address goes when the last route to it
//! goes, since whoever comes back has new checks to vouch for it.
//!
//! Failures in a row are counted by each worker for itself ([`Watch`]), so that a healthy request touches nothing that
//! is shared. A worker that has seen enough passes a sentence, which all workers learn of ([`Outliers`]). Pure but for
//! the clock at the edge: time comes in.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config;

/// Share that a target which comes back gets at once.
const FIRST_SHARE: f64 = 0.1;

/// Why an address was passed over last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It takes no connections.
    Absent,
    /// Its answers were failures, several in a row.
    Failing,
}

/// How an address stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    Good,
    /// It may have this part of its share.
    Returning(f64),
    Ejected,
}

/// An ejection, past ones in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sentence {
    until: Instant,
    length: Duration,
    cause: Cause,
}

impl Sentence {
    fn standing(&self, slow_start: Duration, now: Instant) -> Standing {
        if now < self.until {
            return Standing::Ejected;
        }
        let back = now - self.until;
        if back >= slow_start {
            return Standing::Good;
        }
        Standing::Returning((back.as_secs_f64() / slow_start.as_secs_f64()).max(FIRST_SHARE))
    }

    /// Until when the next one in a row is twice as long.
    fn remembered(&self, slow_start: Duration) -> Instant {
        self.until + slow_start.max(self.length)
    }
}

/// Every sentence, by address. Pure.
#[derive(Debug)]
struct Sentences {
    policy: config::Outliers,
    known: HashMap<Arc<str>, Sentence>,
}

impl Sentences {
    /// Passes a sentence on `address`, one of `targets` of a route; returns how long it is. `None`: it is being served,
    /// or too many are.
    fn eject<'a>(
        &mut self,
        address: &Arc<str>,
        cause: Cause,
        targets: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Option<Duration> {
        let policy = self.policy;
        let before = self.known.get(address);
        if before.is_some_and(|sentence| now < sentence.until) {
            return None;
        }
        // Who takes no connections could not serve anyway: that is no question of share.
        if cause == Cause::Failing && !self.allows_one_more(targets, now) {
            return None;
        }
        let in_a_row = before.filter(|sentence| now < sentence.remembered(policy.slow_start));
        let length = in_a_row.map_or(policy.time, |sentence| sentence.length.saturating_mul(2));
        let length = length.min(policy.max_time.max(policy.time));
        let sentence = Sentence {
            until: now + length,
            length,
            cause,
        };
        self.known.insert(address.clone(), sentence);
        Some(length)
    }

    fn allows_one_more<'a>(&self, targets: impl Iterator<Item = &'a str>, now: Instant) -> bool {
        let (mut all, mut ejected) = (0_u32, 0_u32);
        for target in targets {
            all += 1;
            ejected += u32::from(
                self.known
                    .get(target)
                    .is_some_and(|sentence| now < sentence.until),
            );
        }
        f64::from(ejected + 1) <= f64::from(all) * self.policy.max_share && ejected + 1 < all
    }

    /// Forgets what is long past, and whom no route leads to. True: that changed something.
    fn forget(&mut self, wanted: impl Fn(&str) -> bool, now: Instant) -> bool {
        let before = self.known.len();
        let slow_start = self.policy.slow_start;
        self.known
            .retain(|address, sentence| now < sentence.remembered(slow_start) && wanted(address));
        self.known.len() != before
    }
}

/// An address that is not in good standing, for whoever asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub address: Arc<str>,
    pub standing: Standing,
    pub cause: Cause,
    /// Until it may serve again; zero once it may.
    pub left: Duration,
}

/// The sentences of all workers.
#[derive(Debug)]
pub(crate) struct Outliers {
    /// Locked for a few lines: when a sentence is passed or forgotten, and by each worker to learn of that.
    sentences: Mutex<Sentences>,
    /// Grows with each change.
    version: AtomicU64,
    /// The same for all workers: sticky clients come back to a target at the same moment, whoever serves them.
    hash: RandomState,
}

impl Outliers {
    pub(crate) fn new(policy: config::Outliers) -> Self {
        Self {
            sentences: Mutex::new(Sentences {
                policy,
                known: HashMap::new(),
            }),
            version: AtomicU64::new(0),
            hash: RandomState::default(),
        }
    }

    fn sentences(&self) -> MutexGuard<'_, Sentences> {
        self.sentences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is not in good standing, by address.
    pub(crate) fn seen(&self, now: Instant) -> Vec<Seen> {
        let sentences = self.sentences();
        let slow_start = sentences.policy.slow_start;
        let known = sentences.known.iter().map(|(address, sentence)| Seen {
            address: address.clone(),
            standing: sentence.standing(slow_start, now),
            cause: sentence.cause,
            left: sentence.until.saturating_duration_since(now),
        });
        let mut seen: Vec<Seen> = known.filter(|seen| seen.standing != Standing::Good).collect();
        seen.sort_by(|left, right| left.address.cmp(&right.address));
        seen
    }

    /// Addresses that are passed over now.
    pub(crate) fn ejected(&self, now: Instant) -> usize {
        let sentences = self.sentences();
        sentences
            .known
            .values()
            .filter(|sentence| now < sentence.until)
            .count()
    }

    /// Takes over what the operator has changed, and forgets what is past.
    pub(crate) fn tend(&self, policy: &config::Outliers, wanted: impl Fn(&str) -> bool, now: Instant) {
        let mut sentences = self.sentences();
        let changed = sentences.policy != *policy;
        sentences.policy = *policy;
        if sentences.forget(wanted, now) || changed {
            self.version.fetch_add(1, Relaxed);
        }
    }
}

/// What one worker has seen.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Outliers>,
    /// Failures in a row, of those that failed last.
    failures: RefCell<HashMap<Arc<str>, u32>>,
    policy: Cell<config::Outliers>,
    /// Copy of the sentences of `version`.
    known: RefCell<HashMap<Arc<str>, Sentence>>,
    version: Cell<u64>,
    /// Sentences that it has passed.
    ejections: Cell<u64>,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Outliers>) -> Self {
        let policy = shared.sentences().policy;
        Self {
            shared,
            failures: RefCell::default(),
            policy: Cell::new(policy),
            known: RefCell::default(),
            version: Cell::new(0),
            ejections: Cell::new(0),
        }
    }

    /// Is every address in good standing?
    pub(crate) fn is_quiet(&self) -> bool {
        self.learn();
        self.known.borrow().is_empty()
    }

    /// May `address` get the request that `number` chose? Equal numbers are let in from the same moment on.
    pub(crate) fn admits(&self, address: &str, number: u64, now: Instant) -> bool {
        self.learn();
        let known = self.known.borrow();
        let Some(sentence) = known.get(address) else {
            return true;
        };
        match sentence.standing(self.policy.get().slow_start, now) {
            Standing::Good => true,
            Standing::Ejected => false,
            Standing::Returning(part) => {
                let point = self.shared.hash.hash_one((address, number));
                (point as f64) < part * 2_f64.powi(64)
            }
        }
    }

    /// It answered, to the end.
    pub(crate) fn succeeded(&self, address: &str) {
        if !self.failures.borrow().is_empty() {
            self.failures.borrow_mut().remove(address);
        }
    }

    /// It failed to answer, or its answer said that it fails, or broke off; it is one of `targets` of a route.
    pub(crate) fn failed<'a>(
        &self,
        address: &Arc<str>,
        targets: impl Iterator<Item = &'a str>,
        now: Instant,
    ) {
        self.learn();
        let enough = self.policy.get().failures;
        if enough == 0 {
            return;
        }
        let mut failures = self.failures.borrow_mut();
        let count = failures.entry(address.clone()).or_insert(0);
        *count += 1;
        if *count >= enough {
            failures.remove(address);
            drop(failures);
            self.eject(address, Cause::Failing, targets, now);
        }
    }

    /// It takes no connections.
    pub(crate) fn absent(&self, address: &Arc<str>) {
        self.learn();
        if self.policy.get().failures > 0 {
            self.eject(address, Cause::Absent, std::iter::empty(), Instant::now());
        }
    }

    fn eject<'a>(
        &self,
        address: &Arc<str>,
        cause: Cause,
        targets: impl Iterator<Item = &'a str>,
        now: Instant,
    ) {
        let passed = self.shared.sentences().eject(address, cause, targets, now);
        if let Some(length) = passed {
            self.shared.version.fetch_add(1, Relaxed);
            self.ejections.set(self.ejections.get() + 1);
            tracing::info!(target = %address, ?cause, ?length, "target is passed over");
        }
    }

    /// Sentences passed since the last time.
    pub(crate) fn take_ejections(&self) -> u64 {
        self.ejections.take()
    }

    fn learn(&self) {
        let version = self.shared.version.load(Relaxed);
        if version != self.version.get() {
            let sentences = self.shared.sentences();
            self.known.borrow_mut().clone_from(&sentences.known);
            self.policy.set(sentences.policy);
            self.version.set(version);
        }
    }

    /// Forgets failures of those whom no route leads to.
    pub(crate) fn forget(&self, wanted: impl Fn(&str) -> bool) {
        self.failures.borrow_mut().retain(|address, _| wanted(address));
    }
}

#[cfg(test)]
mod tests;
