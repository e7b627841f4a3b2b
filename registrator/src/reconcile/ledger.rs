//! What one registry holds of ours, which writes are under way, and which failed.
//!
//! Writes are remembered here, so that the plan compares with what was really obeyed; a listing of
//! the registry corrects that memory, except where a write overtook it. Whose an entry is says
//! `claims.rs`; how often one service is spoken of, `pace.rs`.

mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Registration, ServiceSpec, Status};

use super::claims::{Claim, container_of, is_marked};
use super::errand::Errand;
use super::heartbeat::Heartbeats;
use super::pace::Pace;
use super::{Difference, Held, Intended, Recorded, Verb, Write, apart, difference, pause_after};
use crate::account::Standing;
use crate::config::Config;
use crate::registry::{self, Abilities, Lists, Offer};
use crate::services::checks::reported_on;
use turns::Turns;

/// Without its answer nothing can be done for a registry, so it is asked this often for one.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// How long the entry under the old key stays where checks of the new one have yet to pass: their first run is at once, and
/// both lead to the same place.
const OVERLAP: Duration = Duration::from_secs(1);
/// Between two questions to a registry that falters and gives no answers.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// The registrator's side of one registry.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Ledger {
    abilities: Abilities,
    /// Asks what it holds.
    pub(crate) reading: Errand,
    /// Lets entries live on.
    pub(crate) renewing: Errand,
    /// Whether somebody listens for it to falter.
    pub(crate) watched: bool,
    recorded: Recorded,
    /// Entries under a mark that we used before, whose containers have not been seen here.
    former: Recorded,
    /// Keys that others hold.
    foreign: BTreeSet<Arc<str>>,
    /// Whether the registry has been asked what it holds: before, nothing is written.
    read: bool,
    under_way: BTreeMap<Arc<str>, Write>,
    /// Keys written since the listing under way was asked for: the listing may be older.
    overtaken: BTreeSet<Arc<str>>,
    failed: BTreeMap<Arc<str>, Failure>,
    turns: Turns,
    pace: Pace,
    /// When something may be told that could not be yet.
    put_off: Option<Instant>,
    /// How many entries differ from what is wanted, writes under way included.
    pub(crate) waiting: usize,
    /// Containers that got an entry with checks of their own a moment ago, and when.
    fresh: BTreeMap<Arc<str>, Instant>,
    /// Checks that turn critical when nobody reports on them.
    pub(crate) heartbeats: Heartbeats,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Obeyed,
    /// The registry was there, and did not want to.
    Refused,
    /// Nobody answered.
    Unheard,
}

impl From<&Result<(), registry::Error>> for Outcome {
    fn from(result: &Result<(), registry::Error>) -> Self {
        match result {
            Ok(()) => Self::Obeyed,
            Err(registry::Error::Refused(_)) => Self::Refused,
            Err(registry::Error::Unreachable(_)) => Self::Unheard,
        }
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Failure {
    verb: Verb,
    unheard: bool,
    times: u32,
    not_before: Instant,
}

impl Ledger {
    pub(crate) fn new(abilities: Abilities, config: &Config, now: Instant) -> Self {
        let renewal = Some(config.ttl_refresh).filter(|pause| !pause.is_zero());
        Self {
            abilities,
            reading: Errand::new(Some(now)).at_least_every(LONGEST_SILENCE),
            renewing: Errand::new(renewal.map(|pause| now + pause)),
            watched: false,
            recorded: Recorded::new(),
            former: Recorded::new(),
            foreign: BTreeSet::new(),
            read: false,
            under_way: BTreeMap::new(),
            overtaken: BTreeSet::new(),
            failed: BTreeMap::new(),
            turns: Turns::default(),
            pace: Pace::default(),
            put_off: None,
            waiting: 0,
            fresh: BTreeMap::new(),
            heartbeats: Heartbeats::default(),
        }
    }

    /// The container whose entry stands where this service is to be.
    pub(crate) fn holder(&self, service: &ServiceSpec) -> Option<&str> {
        let held = self.recorded.get(&(self.abilities.key)(service))?;
        container_of(&held.entry)
    }

    /// Whether it holds this check for a service, or is about to.
    pub(crate) fn brought(&self, offer: &Offer, check: &str) -> bool {
        let key = (self.abilities.key)(&offer.registration.service);
        let entry = match self.under_way.get(&key).map(|write| &write.verb) {
            Some(Verb::Register(offer) | Verb::Refresh(offer)) => Some(&offer.registration),
            Some(Verb::Deregister) => None,
            None => self.recorded.get(&key).map(|held| &held.entry),
        };
        let entry = entry.filter(|entry| container_of(entry) == Some(&*offer.container));
        entry.is_some_and(|entry| entry.checks.iter().any(|held| &*held.id == check))
    }

    /// What it holds for a container.
    pub(crate) fn of_container(&self, id: &str) -> impl Iterator<Item = &Arc<Registration>> {
        let entries = self.recorded.values().map(|held| &held.entry);
        entries.filter(move |entry| container_of(entry) == Some(id))
    }

    /// The registry is being asked what it holds.
    pub(crate) fn asked(&mut self) {
        self.overtaken = self.under_way.keys().cloned().collect();
    }

    /// The registry's answer.
    pub(crate) fn listed(&mut self, answer: Option<Vec<Registration>>, config: &Config) {
        self.read = true;
        let Some(services) = answer else { return };
        let mut recorded = Recorded::new();
        self.former.clear();
        let foreign_before = std::mem::take(&mut self.foreign);
        let known = self.abilities.lists;
        for listed in services {
            let key = (self.abilities.key)(&listed.service);
            let claim = Claim::of(&listed, config);
            let remembered = self.recorded.get(&key);
            // Who wrote over an entry of ours will do so again: to take it back would never end.
            let contested = || {
                let ours = |held: &Held| Claim::of(&held.entry, config) == Claim::Ours;
                let held = remembered.filter(|held| held.known > Lists::Nothing && ours(held));
                held.is_some() || foreign_before.contains(&key)
            };
            if claim == Claim::Theirs || claim == Claim::Unmarked && contested() {
                self.foreign.insert(key.clone());
            }
            let agreeing = remembered.filter(|held| claim != Claim::Former && agrees(&listed, held, known));
            let held = agreeing.cloned().unwrap_or_else(|| Held {
                // What lacks our mark is to get it, whatever else it says.
                known: if is_marked(&listed, config) {
                    known
                } else {
                    Lists::Nothing
                },
                entry: Arc::new(listed),
            });
            match claim {
                Claim::Ours => _ = recorded.insert(key, held),
                Claim::Former => _ = self.former.insert(key, held),
                Claim::Unmarked if config.cleanup => _ = recorded.insert(key, held),
                // Left by the original, perhaps for a container that still runs: not ours to remove,
                // but ours to take over.
                Claim::Unmarked | Claim::Theirs => {}
            }
        }
        for key in &self.overtaken {
            self.foreign.remove(key);
            self.former.remove(key);
            match self.recorded.remove(key) {
                Some(held) => _ = recorded.insert(key.clone(), held),
                None => _ = recorded.remove(key),
            }
        }
        self.recorded = recorded;
    }

    /// Takes in entries under a mark of ours of old, once their containers are seen here. Where entries do not name
    /// their containers: once one here has an offer of their key and at their address. The port may have changed with
    /// a life of the container that nobody followed; at another address they are of another host of our name.
    pub(crate) fn adopt<'a>(
        &mut self,
        is_here: impl Fn(&str) -> bool,
        offers: impl Iterator<Item = &'a Arc<Offer>>,
    ) {
        if self.former.is_empty() {
            return;
        }
        let place = |offer: &'a Arc<Offer>| {
            let service = &offer.registration.service;
            ((self.abilities.key)(service), service.address.as_str())
        };
        let places: BTreeSet<_> = offers.map(place).collect();
        let here = |(key, held): &(Arc<str>, Held)| match container_of(&held.entry) {
            Some(id) => is_here(id),
            None => places.contains(&(key.clone(), held.entry.service.address.as_str())),
        };
        let former = std::mem::take(&mut self.former);
        let (found, former) = former.into_iter().partition(here);
        self.former = former;
        self.recorded.append(&mut { found });
    }

    /// Whether somebody else has this key.
    fn is_theirs(&self, key: &Arc<str>) -> bool {
        self.foreign.contains(key) || self.former.contains_key(key)
    }

    /// Offers that it cannot hold, with the setting that would help and the reason.
    pub(crate) fn refused<'a>(
        &self,
        intended: &'a Intended,
    ) -> impl Iterator<Item = (&'a Arc<Offer>, (&'static str, String))> {
        let refuses = self.abilities.refuses;
        let offers = intended.values();
        offers.filter_map(move |offer| Some((offer, refuses(&offer.registration.service)?)))
    }

    /// Offers whose keys others hold.
    pub(crate) fn taken<'a>(&self, intended: &'a Intended) -> impl Iterator<Item = &'a Arc<Offer>> {
        let key = |offer: &Offer| (self.abilities.key)(&offer.registration.service);
        intended.values().filter(move |offer| self.is_theirs(&key(offer)))
    }

    /// The key of an offer, and where it stands.
    pub(crate) fn standing(&self, offer: &Offer) -> (Arc<str>, Standing) {
        let service = &offer.registration.service;
        let key = (self.abilities.key)(service);
        let standing = if !self.read {
            Standing::Unknown
        } else if self.is_theirs(&key) {
            Standing::Taken
        } else if let Some((setting, why)) = (self.abilities.refuses)(service) {
            Standing::Impossible(format!("{setting}: {why}"))
        } else if !self.abilities.tells_health && offer.fit != Status::Passing {
            Standing::Withheld
        } else if let Some(held) = self.recorded.get(&key) {
            match difference(&offer.registration, held, &self.abilities) {
                Difference::None => Standing::Registered,
                // A write failed, and may have been obeyed.
                _ if held.known == Lists::Nothing => Standing::Unknown,
                _ => Standing::Outdated,
            }
        } else {
            Standing::Lacking
        };
        (key, standing)
    }

    /// Whether this key is held, or wanted in vain.
    pub(crate) fn is_concerned(&self, key: &str) -> bool {
        self.recorded.contains_key(key) || self.failed.contains_key(key)
    }

    /// The entry's container.
    pub(crate) fn behind(&self, key: &str) -> Option<&str> {
        container_of(&self.recorded.get(key)?.entry)
    }

    /// The checks to report on now: of what is written and holds.
    pub(crate) fn reports(&mut self, intended: &Intended, now: Instant) -> Vec<Arc<str>> {
        let key = |offer: &Offer| (self.abilities.key)(&offer.registration.service);
        let held = |offer: &Offer| {
            let held = self.recorded.get(&key(offer));
            held.is_some_and(|held| held.known > Lists::Nothing)
        };
        // Most are owed none, and this is asked at each look.
        let owed = self.turns.owed && self.abilities.tells_health;
        let offers = intended.values().take_while(|_| owed);
        let owed = offers.filter(|offer| reported_on(offer).next().is_some() && held(offer));
        let busy = self.under_way.len() + self.heartbeats.under_way();
        let room = self.abilities.abreast.saturating_sub(busy);
        self.heartbeats
            .due(owed.flat_map(|offer| reported_on(offer)), room, now)
    }

    /// The entry that a write under way removes.
    pub(crate) fn removes(&self, key: &str) -> Option<&Registration> {
        let write = self.under_way.get(key)?;
        let held = self
            .recorded
            .get(key)
            .filter(|_| write.verb == Verb::Deregister)?;
        Some(&held.entry)
    }

    /// A write ended. Returns how often in a row it has failed, and whether it is still what is wanted.
    pub(crate) fn done(&mut self, key: &Arc<str>, outcome: Outcome, now: Instant) -> (u32, bool) {
        let Some(write) = self.under_way.remove(key) else {
            return (0, true);
        };
        let agreed = self.turns.agree(&write);
        self.turns.ended = true;
        let verb = write.verb;
        let obeyed = outcome == Outcome::Obeyed;
        if let Verb::Register(offer) | Verb::Refresh(offer) = &verb {
            // One that failed may have arrived all the same.
            let known = if obeyed { Lists::Checks } else { Lists::Nothing };
            let entry = offer.registration.clone();
            // Checks that the container asks for begin anew with a new entry.
            if matches!(verb, Verb::Register(_)) && obeyed && entry.checks.len() > 1 {
                self.fresh.insert(offer.container.clone(), now);
            }
            self.recorded.insert(key.clone(), Held { entry, known });
        } else if obeyed {
            self.recorded.remove(key);
        }
        if obeyed {
            self.failed.remove(key);
            self.waiting = self.waiting.saturating_sub(1);
            return (0, agreed);
        }
        let times = self.failed.get(key).map_or(0, |last| last.times) + 1;
        let not_before = now + pause_after(times);
        if outcome == Outcome::Unheard && !self.reading.fails() {
            // When it answers again it may have lost more than this.
            self.reading.want_by(not_before);
        }
        // Instead of a state that did not arrive the whole service is written, and that need not wait.
        let again = match &verb {
            Verb::Refresh(_) => now,
            _ => not_before,
        };
        let review = self.turns.review;
        self.turns.review = Some(review.map_or(again, |at| at.min(again)));
        let failure = Failure {
            verb,
            unheard: outcome == Outcome::Unheard,
            times,
            not_before,
        };
        self.failed.insert(key.clone(), failure);
        (times, agreed)
    }

    /// The registry is back: who was not heard need not wait for his turn to fail again.
    pub(crate) fn forgive(&mut self, now: Instant) {
        for last in self.failed.values_mut().filter(|last| last.unheard) {
            last.not_before = last.not_before.min(now);
        }
    }

    /// It may have lost entries.
    pub(crate) fn faltered(&mut self, now: Instant) {
        self.watched = false;
        self.forgive(now);
        // While it gives no answers it is asked no more often than that, however often it falters.
        let pause = if self.reading.fails() {
            NO_ANSWER
        } else {
            Duration::ZERO
        };
        self.reading.want_by(now + pause);
    }

    /// What was written and holds.
    pub(crate) fn held(&self) -> Vec<Arc<Registration>> {
        let sure = self.recorded.values().filter(|held| held.known > Lists::Nothing);
        sure.map(|held| held.entry.clone()).collect()
    }

    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        // One that is due already has been handed out, or waits for somebody else's news.
        let failed = self.failed.values().map(|last| last.not_before);
        let waits = [
            failed.filter(|at| *at > now).min(),
            self.put_off,
            self.fresh
                .values()
                .map(|at| *at + OVERLAP)
                .filter(|at| *at > now)
                .min(),
            self.reading.deadline(),
            self.renewing.deadline(),
            self.heartbeats.deadline(now),
        ];
        waits.into_iter().flatten().min()
    }

    /// Containers that recorded entries stand for.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &str> {
        self.recorded
            .values()
            .filter_map(|held| container_of(&held.entry))
    }

    /// Whether recorded equals intended, with nothing under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_empty() && self.failed.is_empty()
    }
}

/// Whether a listing that shows so much says what we remember.
fn agrees(listed: &Registration, held: &Held, shown: Lists) -> bool {
    held.known > Lists::Nothing && apart(&held.entry, listed, shown) == Difference::None
}
