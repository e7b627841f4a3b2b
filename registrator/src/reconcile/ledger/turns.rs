//! Which writes come next. Worked out anew when something has changed that this depends on, not at each look: a
//! container with a thousand ports must not be compared a thousand times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use catalog::{Registration, Status};

use super::super::claims::container_of;
use super::super::pace::News;
use super::super::{Intended, Plan, Verb, Write};
use super::{Ledger, OVERLAP};
use crate::registry::Offer;
use crate::services::checks::reported_on;

/// How often an entry under a new key may fail before the one under the old key goes all the same.
const FAILURES_BORNE: u32 = 5;

/// What one registry is to hold, and what it is still to be told.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Turns {
    /// What it is to hold, by key.
    wanted: BTreeMap<Arc<str>, Arc<Offer>>,
    /// Whether it is owed reports on checks of these.
    pub(super) owed: bool,
    /// What may begin as soon as there is room, the first one first.
    line: VecDeque<Write>,
    /// A write has ended since the line was made.
    pub(super) ended: bool,
    /// Something had to wait for a write to end.
    held_back: bool,
    /// When something may be in line that could not be yet.
    pub(super) review: Option<Instant>,
}

impl Turns {
    /// Whether a write brought about what is still wanted.
    pub(super) fn agree(&self, write: &Write) -> bool {
        let wanted = self.wanted.get(&write.key);
        match &write.verb {
            Verb::Register(offer) | Verb::Refresh(offer) => {
                wanted.is_some_and(|wanted| Arc::ptr_eq(wanted, offer))
            }
            Verb::Deregister => wanted.is_none(),
        }
    }
}

impl Ledger {
    /// What of `intended` this registry is to hold has changed, or may have.
    pub(crate) fn wants(&mut self, intended: &Intended) {
        let shown = |offer: &&Arc<Offer>| {
            (self.abilities.tells_health || offer.fit == Status::Passing)
                && (self.abilities.refuses)(&offer.registration.service).is_none()
        };
        let key = |offer: &Offer| (self.abilities.key)(&offer.registration.service);
        let offers = intended.values().filter(shown);
        // From the last on, so that of two that it cannot tell apart the first in order of ids stays.
        let wanted = offers.rev().map(|offer| (key(offer), offer.clone())).collect();
        self.turns.wanted = wanted;
        self.turns.owed = intended.values().any(|offer| reported_on(offer).next().is_some());
    }

    /// The writes to begin now: never more under way than the registry is to bear. `anew` where something has changed
    /// beyond what writes of ours brought about.
    pub(crate) fn next(
        &mut self,
        anew: bool,
        settled: impl Fn(&Registration) -> bool,
        now: Instant,
    ) -> Vec<Write> {
        if !self.read {
            return Vec::new();
        }
        let turns = &self.turns;
        let free = turns.held_back || self.under_way.is_empty();
        let at_end = turns.ended && turns.line.is_empty() && free;
        if anew || at_end || turns.review.is_some_and(|at| at <= now) {
            self.line_up(settled, now);
        }
        let room = self.abilities.abreast.saturating_sub(self.under_way.len());
        let line = &mut self.turns.line;
        let writes: Vec<Write> = line.drain(..room.min(line.len())).collect();
        for write in &writes {
            self.pace.told(&write.key, self.news(write), now);
            self.under_way.insert(write.key.clone(), write.clone());
            self.overtaken.insert(write.key.clone());
        }
        writes
    }

    /// Compares all that is wanted with all that is held.
    fn line_up(&mut self, settled: impl Fn(&Registration) -> bool, now: Instant) {
        let plan = Plan::new(&self.turns.wanted, &self.recorded, &self.abilities, settled);
        let Plan { mut writes, words } = plan;
        let differing: BTreeSet<&Arc<str>> = writes.iter().chain(&words).map(|write| &write.key).collect();
        self.failed.retain(|key, _| differing.contains(key));
        let arriving = self.arriving(&writes);
        let unproven = self.unproven(now);
        let ours = differing.iter().filter(|key| !self.is_theirs(key));
        let waiting = ours.count();
        self.waiting = waiting;
        let mut held_back = false;
        writes.retain(|write @ Write { key, verb }| {
            let waits = self
                .failed
                .get(key)
                .is_some_and(|last| last.verb == *verb && last.not_before > now);
            let leaves_a_gap = || {
                let container = self.recorded.get(key).and_then(|held| container_of(&held.entry));
                container.is_some_and(|id| arriving.contains(id) || unproven.contains(id))
            };
            // What we recorded under a key that others hold is not theirs: we were told to clean it up.
            let gap = *verb == Verb::Deregister && leaves_a_gap();
            let theirs = *verb != Verb::Deregister && self.is_theirs(key);
            let busy = self.under_way.get(key);
            held_back |= gap || busy.is_some_and(|busy| busy != write);
            !waits && !gap && !theirs && busy.is_none()
        });
        let line = self.in_time(writes, words, now);
        let line = self.in_turn(line);
        let failed = self.failed.values().map(|last| last.not_before);
        let proven = self.fresh.values().map(|at| *at + OVERLAP);
        let later = failed.chain(proven).filter(|at| *at > now);
        let turns = &mut self.turns;
        turns.review = later.chain(self.put_off).min();
        (turns.line, turns.ended, turns.held_back) = (line, false, held_back);
    }

    /// Containers that are about to be known by another key. Writes run side by side, so the old key must wait.
    fn arriving(&self, writes: &[Write]) -> BTreeSet<Arc<str>> {
        let borne = |key| {
            let last = self.failed.get(key);
            last.is_none_or(|last| last.times < FAILURES_BORNE)
        };
        let coming = writes
            .iter()
            .filter(|write| borne(&write.key) && !self.is_theirs(&write.key));
        let container = |write: &Write| match &write.verb {
            Verb::Register(offer) => Some(offer.container.clone()),
            Verb::Refresh(_) | Verb::Deregister => None,
        };
        coming
            .chain(self.under_way.values())
            .filter_map(container)
            .collect()
    }

    /// Containers that came under another key a moment ago, whose checks may not have passed there yet.
    fn unproven(&mut self, now: Instant) -> BTreeSet<Arc<str>> {
        self.fresh.retain(|_, at| *at + OVERLAP > now);
        if self.fresh.is_empty() {
            return BTreeSet::new();
        }
        let stays = self.turns.wanted.values().map(|offer| &offer.container);
        stays.filter(|id| self.fresh.contains_key(*id)).cloned().collect()
    }

    /// Those writes whose time has come, and whether they are but words; remembers when that of the next is.
    fn in_time(&mut self, writes: Vec<Write>, words: Vec<Write>, now: Instant) -> Vec<(News, Write)> {
        self.put_off = None;
        self.pace.forget(now);
        let words = words.into_iter().filter(|write| {
            !self.failed.contains_key(&write.key)
                && !self.under_way.contains_key(&write.key)
                && !self.is_theirs(&write.key)
        });
        let states = writes.into_iter().map(|write| (self.news(&write), write));
        let all: Vec<_> = states.chain(words.map(|write| (News::Words, write))).collect();
        let mut due = Vec::with_capacity(all.len());
        for (news, write) in all {
            match self.pace.earliest(&write.key, news).filter(|at| *at > now) {
                Some(at) => self.put_off = Some(self.put_off.map_or(at, |before| before.min(at))),
                None => due.push((news, write)),
            }
        }
        due
    }

    /// The first write of each container comes before the second of any: one with many ports holds up nobody. But
    /// states come before all others, and words after.
    fn in_turn(&self, due: Vec<(News, Write)>) -> VecDeque<Write> {
        let class = |write: &Write| u8::from(!matches!(write.verb, Verb::Refresh(_)));
        let container = |write: &Write| -> Arc<str> {
            match &write.verb {
                Verb::Register(offer) | Verb::Refresh(offer) => offer.container.clone(),
                Verb::Deregister => self.behind(&write.key).unwrap_or_default().into(),
            }
        };
        let mut written = BTreeMap::<(u8, Arc<str>), usize>::new();
        for write in self.under_way.values() {
            *written.entry((class(write), container(write))).or_default() += 1;
        }
        let mut turn = |(news, write): (News, Write)| {
            let class = match news {
                News::Words => 2,
                _ => class(&write),
            };
            let before = written.entry((class, container(&write))).or_default();
            *before += 1;
            ((class, *before), write)
        };
        let mut due: Vec<((u8, usize), Write)> = due.into_iter().map(&mut turn).collect();
        due.sort_by_key(|(turn, _)| *turn);
        due.into_iter().map(|(_, write)| write).collect()
    }

    fn news(&self, write: &Write) -> News {
        match &write.verb {
            Verb::Refresh(offer) if offer.fit == Status::Critical => News::Bad,
            Verb::Refresh(_) => News::Good,
            // Here a service comes and goes with its health.
            Verb::Register(_) if !self.abilities.tells_health => News::Good,
            Verb::Register(_) | Verb::Deregister => News::Service,
        }
    }
}
