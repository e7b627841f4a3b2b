//! What is to be registered, worked out when something has changed and kept until then.

use std::sync::Arc;
use std::time::Instant;

use catalog::Registration;
use catalog::service::META_CONTAINER;

use super::super::Intended;
use super::super::knowledge::Loser;
use super::{Action, Mind};
use crate::config::AtExit;
use crate::services::checks;

impl Mind {
    /// Everything to be done now.
    pub(crate) fn actions(&mut self, now: Instant) -> Vec<Action> {
        self.tick(now);
        let mut actions = self.questions(now);
        let anew = std::mem::take(&mut self.stale);
        if anew {
            self.work_out(now);
        }
        let Self {
            knowledge,
            ledgers,
            surveyed,
            config,
            leaving,
            losers,
            queue,
            intended,
            ..
        } = self;
        let settled = |held: &Registration| match held.service.meta.get(META_CONTAINER) {
            Some(_) if *leaving && config.at_exit == AtExit::Remove => true,
            // Who has the id it wants may be about to give it up: two that swap names.
            Some(id) if !queue.is_calm() && losers.iter().any(|loser| loser.yields(id)) => false,
            Some(id) => knowledge.has_settled(id),
            None => *surveyed,
        };
        for (which, ledger) in ledgers.iter_mut().enumerate() {
            let writes = ledger.next(anew, settled, now).into_iter();
            actions.extend(writes.map(|write| Action::Write(which, write)));
            let reports = ledger.reports(intended, now).into_iter();
            actions.extend(reports.map(|check| Action::Report(which, check)));
        }
        actions
    }

    /// Lets time pass.
    fn tick(&mut self, now: Instant) {
        let was_calm = self.queue.is_calm();
        self.queue.tick(now);
        self.stale |= self.knowledge.tick(now) || self.queue.is_calm() != was_calm;
        let impatient = self.patience_ends().is_some_and(|end| end <= now);
        self.stale |= std::mem::replace(&mut self.impatient, impatient) != impatient;
    }

    fn work_out(&mut self, now: Instant) {
        let knowledge = &self.knowledge;
        for ledger in &mut self.ledgers {
            ledger.adopt(|id| knowledge.knows(id), knowledge.offers());
        }
        let (intended, losers) = self.intended(now);
        let taken = self.ledgers.iter().flat_map(|ledger| ledger.taken(&intended));
        self.taken = taken
            .map(|offer| (offer.registration.service.id.clone(), offer.container.to_string()))
            .collect();
        let refused = self.ledgers.iter().flat_map(|ledger| ledger.refused(&intended));
        self.refused = refused
            .map(|(offer, (setting, why))| (offer.container.to_string(), setting, why))
            .collect();
        self.ledgers.iter_mut().for_each(|ledger| ledger.wants(&intended));
        (self.intended, self.losers) = (intended, losers);
    }

    /// What should be registered now, and for each id that two containers claim, the loser.
    pub(super) fn intended(&self, now: Instant) -> (Intended, Vec<Loser>) {
        let (mut intended, losers) = self.knowledge.intended(&self.ledgers);
        let why = match self.config.at_exit {
            AtExit::Remove if self.leaving => return (Intended::new(), losers),
            AtExit::Drain if self.leaving => "registrator stopped",
            _ if self.patience_ends().is_some_and(|end| end <= now) => "container engine not heard",
            _ => return (intended, losers),
        };
        for offer in intended.values_mut() {
            *offer = Arc::new(checks::out_of_rotation(offer, why));
        }
        (intended, losers)
    }

    /// When entries turn critical because nobody knows what has become of their containers.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let grace = Some(self.config.grace).filter(|grace| !grace.is_zero());
        Some(self.deaf_since? + grace?)
    }
}
