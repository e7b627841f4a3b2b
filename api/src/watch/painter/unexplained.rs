//! Changes that a list told of by its index only, and which of them what was read has shown. Pure.
//!
//! A read shows those indexes that it carries and no other: a newer version of one service says nothing of an older
//! change of another. What is left when the other list had time to tell needs a comparison of all versions. An answer
//! that passes over indexes may have swallowed changes at any of them; most of those are writes of other things, so they
//! only bring the next comparison nearer.

use std::collections::BTreeSet;

use catalog::Index;
use tokio::time::{Duration, Instant};

/// The two lists may tell of one change a moment apart: so long the other one is waited for.
const MOMENT: Duration = Duration::from_millis(100);
/// Indexes remembered of each kind, the highest ones.
const MOST: usize = 1024;
/// Changes remembered one by one.
const MOST_OPEN: usize = 64;

/// A list of names told at `at` of what happened since `after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) after: Index,
    pub(super) at: Index,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unexplained {
    /// Not judged yet, with the moment when that is due; in its order.
    open: Vec<(Instant, Moved)>,
    /// Of instances that were read, and of answers that showed one gone.
    read: BTreeSet<Index>,
    /// At which checks changed.
    checks: BTreeSet<Index>,
    /// Some service changed, and nothing that was read shows which: since when that is known.
    missed: Option<Instant>,
    /// That may be: since when.
    doubted: Option<Instant>,
}

impl Unexplained {
    pub(super) fn heard(&mut self, moves: Vec<Moved>, now: Instant) {
        for moved in moves {
            self.open.push((now + MOMENT, moved));
        }
        if self.open.len() > MOST_OPEN {
            self.open.clear();
            self.surely(now);
        }
    }

    /// A comparison is needed, whatever was read.
    pub(super) fn surely(&mut self, now: Instant) {
        self.missed.get_or_insert(now);
    }

    pub(super) fn read(&mut self, index: Index) {
        remember(&mut self.read, index);
    }

    pub(super) fn checked(&mut self, indexes: BTreeSet<Index>) {
        for index in indexes {
            remember(&mut self.checks, index);
        }
    }

    /// Indexes start over: what they showed they do not show any more.
    pub(super) fn begin_anew(&mut self) {
        self.read.clear();
        self.checks.clear();
    }

    /// All versions have been compared.
    pub(super) fn compared(&mut self) {
        self.open.clear();
        (self.missed, self.doubted) = (None, None);
    }

    /// Judges what is due.
    pub(super) fn judge(&mut self, now: Instant) {
        let due = self.open.iter().take_while(|(due, _)| *due <= now).count();
        for (due, Moved { after, at }) in self.open.drain(..due) {
            if !self.read.contains(&at) {
                self.missed.get_or_insert(due);
            }
            // Ends at the first that is in neither, so it is never long.
            let known = |index| self.read.contains(&index) || self.checks.contains(&index);
            if !(after.saturating_add(1)..at).all(known) {
                self.doubted.get_or_insert(due);
            }
        }
    }

    /// When a comparison is wished for, where what is doubtful may wait for `patience`.
    pub(super) fn wish(&self, patience: Duration) -> Option<Instant> {
        let doubted = self.doubted.map(|since| since + patience);
        [self.missed, doubted].into_iter().flatten().min()
    }

    /// When there is something to judge.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.first().map(|(due, _)| *due)
    }
}

fn remember(known: &mut BTreeSet<Index>, index: Index) {
    known.insert(index);
    if known.len() > MOST {
        known.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_read_explains_its_own_index_and_no_other() {
        let (mut unexplained, now) = (Unexplained::default(), Instant::now());
        let alone = |at| Moved { after: at - 1, at };
        unexplained.heard(vec![alone(7), alone(8)], now);
        unexplained.read(8);
        assert_eq!(unexplained.due(), Some(now + MOMENT));
        unexplained.judge(now + MOMENT);
        assert_eq!(unexplained.wish(PATIENCE), Some(now + MOMENT));
        // What follows does not put it off.
        unexplained.heard(vec![alone(9)], now + MOMENT);
        unexplained.judge(now + 2 * MOMENT);
        assert_eq!(unexplained.wish(PATIENCE), Some(now + MOMENT));
        unexplained.compared();
        assert_eq!((unexplained.wish(PATIENCE), unexplained.due()), (None, None));
    }

    #[test]
    fn indexes_that_an_answer_passed_over_are_doubted_unless_they_were_of_something_else() {
        let (mut unexplained, now) = (Unexplained::default(), Instant::now());
        unexplained.read(9);
        unexplained.checked(BTreeSet::from([7, 8]));
        unexplained.heard(vec![Moved { after: 6, at: 9 }], now);
        unexplained.judge(now + MOMENT);
        assert_eq!(unexplained.wish(PATIENCE), None);
        unexplained.read(12);
        unexplained.heard(vec![Moved { after: 9, at: 12 }], now);
        unexplained.judge(now + MOMENT);
        assert_eq!(unexplained.wish(PATIENCE), Some(now + MOMENT + PATIENCE));
    }
}
