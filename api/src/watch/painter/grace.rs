//! What stays in the picture though the catalog does not show it, and until when. Pure.
//!
//! A catalog that began anew holds nothing because nobody has registered again, not because nobody is there. One of which
//! a list has no answer may have begun anew: until both lists have said what they know, nothing is taken out either.

use std::collections::BTreeSet;

use catalog::InstanceKey;
use tokio::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Grace {
    lasts: Duration,
    /// Until then nothing is taken out.
    until: Option<Instant>,
    /// The catalog did begin anew; else it only may have.
    proven: bool,
    /// A list has had no answer.
    doubt: bool,
    /// What is only in the picture because of that.
    held: BTreeSet<InstanceKey>,
}

impl Grace {
    pub(super) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            until: None,
            proven: false,
            doubt: false,
            held: BTreeSet::new(),
        }
    }

    /// The catalog began anew. Whether that was not known yet.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        self.until = Some(now + self.lasts);
        !std::mem::replace(&mut self.proven, true)
    }

    /// So many of the two lists have no answer. While none has, time does not count: nobody can register. One that never
    /// has an answer must not keep what is gone for ever.
    pub(super) fn heard(&mut self, failing: usize, now: Instant) {
        let doubted = std::mem::replace(&mut self.doubt, failing > 0);
        if failing > 1 || (failing == 1 && !doubted) {
            self.until = Some(now + self.lasts);
        } else if failing == 0 && doubted && !self.proven {
            self.until = self.until.map(|_| now);
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn hold(&mut self, key: InstanceKey) {
        self.held.insert(key);
    }

    /// The catalog shows it.
    pub(super) fn found(&mut self, key: &InstanceKey) {
        self.held.remove(key);
    }

    /// What is to be taken out now.
    pub(super) fn over(&mut self, now: Instant) -> BTreeSet<InstanceKey> {
        if self.until.is_none_or(|until| now < until) {
            return BTreeSet::new();
        }
        (self.until, self.proven) = (None, false);
        std::mem::take(&mut self.held)
    }
}
