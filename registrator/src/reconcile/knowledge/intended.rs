//! What should be registered, by what is known of containers, and who wins where two want the same id.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Registration;

use super::super::Intended;
use super::super::ledger::Ledger;
use super::super::twins;
use super::{Knowledge, Known, Loser};
use crate::container::Network;
use crate::registry::Offer;
use crate::services::address::LONGEST_CHAIN;
use crate::services::checks;

impl Knowledge {
    /// What should be registered now, and for each id that two containers claim, the loser.
    pub(crate) fn intended(&self, ledgers: &[Ledger]) -> (Intended, Vec<Loser>) {
        let mut intended = Intended::new();
        let mut losers = Vec::new();
        // The first registry that knows says who holds an id: all of them are to hold the same.
        let holds = |wanted: &Offer| {
            let service = &wanted.registration.service;
            let holder = ledgers.iter().find_map(|ledger| ledger.holder(service));
            holder == Some(&*wanted.container)
        };
        let runs = |(_, known): &(&Arc<str>, &Known)| known.facts.runs();
        for (container, known) in self.containers.iter().filter(runs) {
            for wanted in self.wanted(container, known, ledgers) {
                let id = wanted.registration.service.id.clone();
                let rival = intended.get(&id);
                let shares =
                    rival.is_some_and(|rival| wanted.tasks_of.is_some() && wanted.tasks_of == rival.tasks_of);
                // Who has an id by rule cannot have meant another, so nobody takes it from him by naming it. Else who
                // holds it keeps it while he wants it; else the first in order of ids. Where one stands for several,
                // those that are fit come before.
                let wins = |rival: &Arc<Offer>| match shares && rival.fit != wanted.fit {
                    true => rival.fit > wanted.fit,
                    false if rival.told_id != wanted.told_id => rival.told_id,
                    false => holds(&wanted),
                };
                let loser = match rival.is_none_or(wins) {
                    true => intended.insert(id.clone(), wanted),
                    false => Some(wanted),
                };
                losers.extend(loser.map(|loser| Loser {
                    id,
                    container: loser.container.clone(),
                    told: loser.told_id,
                    shares,
                    check: None,
                }));
            }
        }
        // What is only kept for people to see is in nobody's way.
        for (container, known) in self.containers.iter().filter(|one| !runs(one)) {
            for kept in self.wanted(container, known, ledgers) {
                let id = kept.registration.service.id.clone();
                intended.entry(id).or_insert(kept);
            }
        }
        losers.extend(twins::parted(&mut intended, ledgers, |id| {
            self.containers.get(id).is_some_and(|known| known.facts.runs())
        }));
        (intended, losers)
    }

    fn wanted(&self, id: &Arc<str>, known: &Known, ledgers: &[Ledger]) -> Vec<Arc<Offer>> {
        if !known.facts.runs() {
            return if self.is_kept(&known.facts) {
                known.kept(ledgers)
            } else {
                Vec::new()
            };
        }
        let Some(why) = self.ending(id) else {
            return known.derived.clone();
        };
        let changed = |wanted: &Arc<Offer>| Arc::new(checks::out_of_rotation(wanted, &why));
        known.derived.iter().map(changed).collect()
    }

    /// Why a container that runs is on its way out: it was told to stop, or the one was whose network it uses.
    fn ending(&self, id: &str) -> Option<String> {
        let mut known = self.containers.get(id)?;
        for step in 0..=LONGEST_CHAIN {
            let drain = self.drains.get(&known.facts.id);
            match drain.and_then(|drain| drain.why(&known.facts)) {
                Some(why) if step == 0 => return Some(why),
                Some(why) => return Some(format!("network of {}: {why}", known.facts.name)),
                None => {}
            }
            let Network::Container(owner) = &known.facts.network else {
                break;
            };
            known = self.containers.get(owner)?;
        }
        None
    }
}

impl Known {
    /// What a container that failed leaves behind, for people to see and for nobody to use. Its ports went
    /// with its process: they are what was seen of it while it ran, else what registries still hold.
    fn kept(&self, ledgers: &[Ledger]) -> Vec<Arc<Offer>> {
        let why = checks::ended(&self.facts);
        let critical = |offer: &Offer| Arc::new(checks::out_of_rotation(offer, &why));
        if !self.lived.is_empty() {
            return self.lived.iter().map(|offer| critical(offer)).collect();
        }
        let entries = ledgers
            .iter()
            .flat_map(|ledger| ledger.of_container(&self.facts.id));
        // Several registries may hold the same.
        let by_id: BTreeMap<_, _> = entries.map(|entry| (&entry.service.id, entry)).collect();
        // A task that is fit comes before one that failed, whoever holds what stands for both.
        let tasks_of = || self.facts.swarm_service().map(Arc::from);
        let found = |entry: &&Arc<Registration>| Offer {
            tasks_of: tasks_of(),
            ..Offer::found(entry)
        };
        by_id.values().map(|entry| critical(&found(entry))).collect()
    }
}
