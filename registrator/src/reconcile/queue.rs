//! Which containers are to be inspected, and when.
//!
//! A container is asked for at most once at a time; a wish that comes while it is being inspected
//! means once more afterwards, because the answer under way may be older than the wish. Those that
//! events named come before those that a look at everything named.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::pause_after;

/// Inspections under way at once.
const ABREAST: usize = 16;

/// The containers to be inspected.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Queue {
    /// Who waits, and whether urgently.
    waiting: BTreeMap<Arc<str>, bool>,
    urgent: VecDeque<Arc<str>>,
    patient: VecDeque<Arc<str>>,
    /// Under way, and whether to ask again afterwards.
    running: BTreeMap<Arc<str>, bool>,
    failed: BTreeMap<Arc<str>, (u32, Instant)>,
}

impl Queue {
    pub(crate) fn add(&mut self, id: &Arc<str>, urgent: bool) {
        if let Some(again) = self.running.get_mut(id) {
            *again = true;
            return;
        }
        // One that failed has its turn at a known time; only an event is a reason to be quicker.
        if !urgent && self.failed.contains_key(id) {
            return;
        }
        // One that waits patiently may become urgent: then it stands in both lines, and leaves both
        // with its first turn.
        let waits = self.waiting.get(id).copied();
        if waits.is_none_or(|already| urgent && !already) {
            self.waiting.insert(id.clone(), urgent);
            let line = if urgent {
                &mut self.urgent
            } else {
                &mut self.patient
            };
            line.push_back(id.clone());
        }
    }

    /// Whether an answer will come.
    pub(crate) fn expects(&self, id: &str) -> bool {
        self.waiting.contains_key(id) || self.running.contains_key(id) || self.failed.contains_key(id)
    }

    /// The next to be inspected, if another may be now.
    pub(crate) fn next(&mut self) -> Option<Arc<str>> {
        while self.running.len() < ABREAST {
            let id = self.urgent.pop_front().or_else(|| self.patient.pop_front())?;
            if self.waiting.remove(&id).is_some() {
                self.running.insert(id.clone(), false);
                return Some(id);
            }
        }
        None
    }

    /// An inspection ended. Returns how often in a row it has failed.
    pub(crate) fn done(&mut self, id: &Arc<str>, worked: bool, now: Instant) -> u32 {
        let again = self.running.remove(id).unwrap_or_default();
        let failures = if worked {
            self.failed.remove(id);
            0
        } else {
            let failures = self.failed.get(id).map_or(0, |(failures, _)| *failures) + 1;
            self.failed
                .insert(id.clone(), (failures, now + pause_after(failures)));
            failures
        };
        if again {
            self.add(id, true);
        }
        failures
    }

    /// Moves those whose pause is over back into line.
    pub(crate) fn tick(&mut self, now: Instant) {
        let over = self
            .failed
            .iter()
            .filter(|(_, (_, not_before))| *not_before <= now);
        let idle = over
            .map(|(id, _)| id)
            .filter(|id| !self.running.contains_key(*id));
        for id in idle.cloned().collect::<Vec<_>>() {
            self.add(&id, true);
        }
    }

    /// The engine is back: nobody has to wait for his turn to fail again.
    pub(crate) fn forgive(&mut self, now: Instant) {
        self.failed
            .values_mut()
            .for_each(|(_, not_before)| *not_before = now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let idle = |id: &Arc<str>| !self.running.contains_key(id) && !self.waiting.contains_key(id);
        self.failed
            .iter()
            .filter(|(id, _)| idle(id))
            .map(|(_, (_, not_before))| *not_before)
            .min()
    }

    /// Whether nobody is in line or being asked for; some may wait for another try.
    pub(crate) fn is_calm(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Whether everything that was asked for has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.failed.is_empty()
    }
}
