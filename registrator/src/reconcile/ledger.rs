//! What one registry holds of ours, which writes are under way, and which failed.
//!
//! Writes are remembered here, so that the plan compares with what was really obeyed; a listing of
//! the registry corrects that memory, except where a write overtook it. An entry without our mark is
//! not ours, unless its id is one that the original registrator would have made for this host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::service::{META_CONTAINER, META_OWNER};
use catalog::{Registration, ServiceSpec, Status};

use super::errand::Errand;
use super::{Difference, Held, Intended, Plan, Recorded, Verb, Write, apart, pause_after};
use crate::config::Config;
use crate::registry::{Abilities, Lists, Offer};

/// Between two questions to a registry that falters and gives no answers.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// The registrator's side of one registry.
#[derive(Debug)]
pub(crate) struct Ledger {
    abilities: Abilities,
    /// Asks what it holds.
    pub(crate) reading: Errand,
    /// Lets entries live on.
    pub(crate) renewing: Errand,
    /// Whether somebody listens for it to falter.
    pub(crate) watched: bool,
    recorded: Recorded,
    /// Keys that others hold.
    foreign: BTreeSet<Arc<str>>,
    /// Whether the registry has been asked what it holds: before, nothing is written.
    read: bool,
    under_way: BTreeMap<Arc<str>, Write>,
    /// Keys written since the listing under way was asked for: the listing may be older.
    overtaken: BTreeSet<Arc<str>>,
    failed: BTreeMap<Arc<str>, Failure>,
}

#[derive(Debug)]
struct Failure {
    verb: Verb,
    times: u32,
    not_before: Instant,
}

impl Ledger {
    pub(crate) fn new(abilities: Abilities, config: &Config, now: Instant) -> Self {
        let renewal = Some(config.ttl_refresh).filter(|pause| !pause.is_zero());
        Self {
            abilities,
            reading: Errand::new(Some(now)),
            renewing: Errand::new(renewal.map(|pause| now + pause)),
            watched: false,
            recorded: Recorded::new(),
            foreign: BTreeSet::new(),
            read: false,
            under_way: BTreeMap::new(),
            overtaken: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// The container whose entry stands where this service is to be.
    pub(crate) fn holder(&self, service: &ServiceSpec) -> Option<&str> {
        let held = self.recorded.get(&(self.abilities.key)(service))?;
        container_of(&held.entry)
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
        self.foreign.clear();
        let known = self.abilities.lists;
        for listed in services {
            let key = (self.abilities.key)(&listed.service);
            match listed.service.meta.get(META_OWNER) {
                Some(owner) if *owner != config.owner => _ = self.foreign.insert(key),
                Some(_) => {
                    let remembered = self
                        .recorded
                        .get(&key)
                        .filter(|held| agrees(&listed, held, known));
                    let held = remembered.cloned().unwrap_or_else(|| Held {
                        entry: Arc::new(listed),
                        known,
                    });
                    recorded.insert(key, held);
                }
                None if !is_of_host(&listed.service.id, &config.hostname) => _ = self.foreign.insert(key),
                None if config.cleanup => {
                    let entry = Arc::new(listed);
                    recorded.insert(key, Held { entry, known });
                }
                // Left by the original, perhaps for a container that still runs: not ours to remove,
                // but ours to take over.
                None => {}
            }
        }
        for key in &self.overtaken {
            self.foreign.remove(key);
            match self.recorded.remove(key) {
                Some(held) => _ = recorded.insert(key.clone(), held),
                None => _ = recorded.remove(key),
            }
        }
        self.recorded = recorded;
    }

    /// Those of `intended` that this registry is to hold, by key.
    fn wanted<'a>(&self, intended: &'a Intended) -> BTreeMap<Arc<str>, &'a Arc<Offer>> {
        let shown = |offer: &&Arc<Offer>| {
            (self.abilities.tells_health || offer.fit == Status::Passing)
                && (self.abilities.refuses)(&offer.registration.service).is_none()
        };
        let key = |offer: &Offer| (self.abilities.key)(&offer.registration.service);
        let offers = intended.values().filter(shown);
        // From the last on, so that of two that it cannot tell apart the first in order of ids stays.
        offers.rev().map(|offer| (key(offer), offer)).collect()
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
        intended
            .values()
            .filter(move |offer| self.foreign.contains(&key(offer)))
    }

    /// The writes to begin now: never more under way than the registry is to bear.
    pub(crate) fn next(
        &mut self,
        intended: &Intended,
        settled: impl Fn(&Registration) -> bool,
        now: Instant,
    ) -> Vec<Write> {
        if !self.read {
            return Vec::new();
        }
        let wanted = self.wanted(intended);
        let mut writes = Plan::new(&wanted, &self.recorded, &self.abilities, settled).writes;
        let differing: BTreeSet<&Arc<str>> = writes.iter().map(|write| &write.key).collect();
        self.failed.retain(|key, _| differing.contains(key));
        writes.retain(|Write { key, verb }| {
            let waits = self
                .failed
                .get(key)
                .is_some_and(|last| last.verb == *verb && last.not_before > now);
            !waits && !self.under_way.contains_key(key) && !self.foreign.contains(key)
        });
        writes.truncate(self.abilities.abreast.saturating_sub(self.under_way.len()));
        for write in &writes {
            self.under_way.insert(write.key.clone(), write.clone());
            self.overtaken.insert(write.key.clone());
        }
        writes
    }

    /// A write ended. Returns how often in a row it has failed.
    pub(crate) fn done(&mut self, key: &Arc<str>, obeyed: bool, now: Instant) -> u32 {
        let Some(Write { verb, .. }) = self.under_way.remove(key) else {
            return 0;
        };
        if let Verb::Register(offer) | Verb::Refresh(offer) = &verb {
            // One that failed may have arrived all the same.
            let known = if obeyed { Lists::Checks } else { Lists::Nothing };
            let entry = offer.registration.clone();
            self.recorded.insert(key.clone(), Held { entry, known });
        } else if obeyed {
            self.recorded.remove(key);
        }
        if obeyed {
            self.failed.remove(key);
            return 0;
        }
        let times = self.failed.get(key).map_or(0, |last| last.times) + 1;
        let failure = Failure {
            verb,
            times,
            not_before: now + pause_after(times),
        };
        self.failed.insert(key.clone(), failure);
        times
    }

    /// It may have lost entries: whoever waits for his turn to fail again need not.
    pub(crate) fn faltered(&mut self, now: Instant) {
        self.watched = false;
        for last in self.failed.values_mut() {
            last.not_before = now;
        }
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
            self.reading.deadline(),
            self.renewing.deadline(),
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
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_empty() && self.failed.is_empty()
    }
}

fn container_of(entry: &Registration) -> Option<&str> {
    entry.service.meta.get(META_CONTAINER).map(String::as_str)
}

/// Whether a listing that shows so much says what we remember.
fn agrees(listed: &Registration, held: &Held, shown: Lists) -> bool {
    held.known > Lists::Nothing && apart(&held.entry, listed, shown) == Difference::None
}

/// Whether the original registrator on this host would have made this id: `host:name:port[:udp]`.
fn is_of_host(id: &str, hostname: &str) -> bool {
    let Some(rest) = id.strip_prefix(hostname).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let rest = rest.strip_suffix(":udp").unwrap_or(rest);
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    rest.split_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && name.chars().all(named) && port.parse::<u16>().is_ok()
    })
}
