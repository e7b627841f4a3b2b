//! What a worker says of targets that give no answer: the first failure as it comes, those that follow in one line a
//! second, or a busy port in front of a dead target would fill a disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::table::Target;
use crate::upstream::Fault;

/// From one line about a target to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What failed: words, service and address.
type Subject = (&'static str, Arc<str>, Arc<str>);

/// Failures of late.
#[derive(Default)]
pub(crate) struct Failures(RefCell<HashMap<Subject, Recent>>);

struct Recent {
    told: Instant,
    /// Since then.
    untold: u64,
}

impl Failures {
    /// Tells that `what` happened to `target`, at once or later.
    pub(crate) fn tell(&self, what: &'static str, target: &Target, fault: &Fault) {
        let subject = (what, target.part.service.clone(), target.addr.clone());
        if self.is_first(subject, Instant::now()) {
            tracing::warn!(service = %target.part.service, target = %target.addr, %fault, "{what}");
        }
    }

    /// Tells what was held back, when it is time.
    pub(super) fn tend(&self, now: Instant) {
        for ((what, service, target), others) in self.due(now) {
            tracing::warn!(%service, %target, others, "{what}");
        }
    }

    fn is_first(&self, subject: Subject, now: Instant) -> bool {
        let mut recent = self.0.borrow_mut();
        let known = recent.entry(subject).and_modify(|known| known.untold += 1);
        let mut is_first = false;
        known.or_insert_with(|| {
            is_first = true;
            Recent { told: now, untold: 0 }
        });
        is_first
    }

    /// What is to be told now. Forgets who has not failed for a while.
    fn due(&self, now: Instant) -> Vec<(Subject, u64)> {
        let mut due = Vec::new();
        self.0.borrow_mut().retain(|subject, recent| {
            if now.duration_since(recent.told) < PAUSE {
                return true;
            }
            let untold = std::mem::take(&mut recent.untold);
            recent.told = now;
            if untold > 0 {
                due.push((subject.clone(), untold));
            }
            untold > 0
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_at_once_and_then_once_a_pause_with_all_that_came_between() {
        let (failures, start) = (Failures::default(), Instant::now());
        let subject = |target: &str| -> Subject { ("gone", "web".into(), target.into()) };
        let at = |pauses: u32| start + pauses * PAUSE;
        assert!(failures.is_first(subject("a"), at(0)) && failures.is_first(subject("b"), at(0)));
        for _ in 0..1000 {
            assert!(!failures.is_first(subject("a"), at(0)));
        }
        assert_eq!(failures.due(at(0)), []);
        assert_eq!(failures.due(at(1)), [(subject("a"), 1000)]);
        assert!(!failures.is_first(subject("a"), at(1)) && failures.is_first(subject("b"), at(1)));
        assert_eq!(failures.due(at(2)), [(subject("a"), 1)]);
        assert_eq!(failures.due(at(3)), []);
        assert!(failures.0.borrow().is_empty());
        assert!(failures.is_first(subject("a"), at(3)));
    }
}
