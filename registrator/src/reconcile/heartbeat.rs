//! When to say again that a container is fit, for checks that turn critical when nobody says so.
//!
//! Time is handed in. A report is due three times in its lifetime, so that two may be lost; those that are due soon are
//! sent with those that are due, so that a thousand containers do not wake us one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reports in the lifetime of one.
const IN_A_LIFE: u32 = 3;
/// A report that failed is tried again so soon, if not sooner due anyway.
const AGAIN: Duration = Duration::from_secs(1);

/// The reports that one registry is owed.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Heartbeats {
    /// By id of the check.
    checks: BTreeMap<Arc<str>, Beat>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Beat {
    every: Duration,
    next: Instant,
    under_way: bool,
}

impl Heartbeats {
    /// The checks to report on now, `most` of them: of `alive`, ids with how long a report lasts. Others are forgotten.
    pub(crate) fn due<'a>(
        &mut self,
        alive: impl Iterator<Item = (&'a Arc<str>, Duration)>,
        most: usize,
        now: Instant,
    ) -> Vec<Arc<str>> {
        let mut before = std::mem::take(&mut self.checks);
        for (id, lifetime) in alive {
            let every = lifetime / IN_A_LIFE;
            let known = before.remove(id).filter(|beat| beat.every == every);
            let beat = known.unwrap_or(Beat {
                every,
                next: now,
                under_way: false,
            });
            self.checks.insert(id.clone(), beat);
        }
        if !self.checks.values().any(|beat| beat.is_due(now)) {
            return Vec::new();
        }
        let soon = |beat: &Beat| beat.is_due(now + beat.every / 4);
        let due = self.checks.iter_mut().filter(|(_, beat)| soon(beat)).take(most);
        due.map(|(id, beat)| {
            beat.under_way = true;
            beat.next = now + beat.every;
            id.clone()
        })
        .collect()
    }

    /// A report arrived, or did not.
    pub(crate) fn done(&mut self, id: &str, obeyed: bool, now: Instant) {
        if let Some(beat) = self.checks.get_mut(id) {
            beat.under_way = false;
            if !obeyed {
                beat.next = now + beat.every.min(AGAIN);
            }
        }
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.checks.values().filter(|beat| beat.under_way).count()
    }

    /// When the next is due. One that is due already waits for others to arrive.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.checks.values().filter(|beat| !beat.under_way);
        waiting.map(|beat| beat.next).filter(|next| *next > now).min()
    }
}

impl Beat {
    fn is_due(&self, now: Instant) -> bool {
        !self.under_way && self.next <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    fn ids(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn due(beats: &mut Heartbeats, alive: &[Arc<str>], now: Instant) -> Vec<Arc<str>> {
        let due = beats.due(alive.iter().map(|id| (id, LIFE)), usize::MAX, now);
        due.iter().for_each(|id| beats.done(id, true, now));
        due
    }

    #[test]
    fn a_report_is_due_at_once_and_then_three_times_in_its_life() {
        let (mut beats, alive, start) = (Heartbeats::default(), ids(&["a"]), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(due(&mut beats, &alive, start), alive);
        assert_eq!(beats.deadline(start), Some(at(10)));
        assert_eq!(due(&mut beats, &alive, at(9)), []);
        assert_eq!(due(&mut beats, &alive, at(10)), alive);
        assert_eq!(due(&mut beats, &[], at(20)), []);
        assert_eq!(
            beats.deadline(at(20)),
            None,
            "a container that is not fit is not spoken for"
        );
        assert_eq!(due(&mut beats, &alive, at(21)), alive);
    }

    #[test]
    fn reports_that_are_due_soon_go_with_those_that_are_due() {
        let (mut beats, start) = (Heartbeats::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        due(&mut beats, &ids(&["a"]), start);
        due(&mut beats, &ids(&["a", "b"]), at(2));
        due(&mut beats, &ids(&["a", "b", "c"]), at(5));
        assert_eq!(due(&mut beats, &ids(&["a", "b", "c"]), at(10)), ids(&["a", "b"]));
        assert_eq!(beats.deadline(at(10)), Some(at(15)));
    }

    #[test]
    fn a_report_that_failed_is_repeated_soon_and_none_is_sent_twice_at_a_time() {
        let (mut beats, alive, start) = (Heartbeats::default(), ids(&["a", "b"]), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ask = |most, now| beats.due(alive.iter().map(|id| (id, LIFE)), most, now);
        assert_eq!(ask(1, start), ids(&["a"]));
        assert_eq!(ask(1, start), ids(&["b"]));
        assert_eq!(ask(9, at(60)), []);
        assert_eq!((beats.under_way(), beats.deadline(start)), (2, None));
        beats.done("a", false, at(60));
        assert_eq!((beats.under_way(), beats.deadline(at(60))), (1, Some(at(61))));
    }
}
