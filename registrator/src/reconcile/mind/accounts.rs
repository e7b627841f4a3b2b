//! What a mind thinks, told to whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Mind, Which};
use crate::account::{Account, Failure, Place, Service};
use crate::container::{Container, short};
use crate::reconcile::Intended;
use crate::reconcile::ledger::Ledger;
use crate::registry::{Offer, Reason};
use crate::services::Fault;

type Failures<'a> = &'a dyn Fn(Which, &str) -> Option<Failure>;

impl Mind {
    /// Every container, by id: what it is registered as, what of it is not, and why. `names` are those of the
    /// registries, `failure` what the last write of an entry came to.
    pub(crate) fn accounts(&self, names: &[String], failure: Failures<'_>, now: Instant) -> Vec<Account> {
        let (intended, losers) = self.intended(now);
        let mut offers: BTreeMap<&str, Vec<Service>> = BTreeMap::new();
        for offer in intended.values() {
            let services = offers.entry(&offer.container).or_default();
            services.push(self.service(offer, names, failure));
        }
        let mut rivals: BTreeMap<&str, Vec<Reason>> = BTreeMap::new();
        for (id, loser) in &losers {
            let reasons = rivals.entry(loser).or_default();
            reasons.push(self.rival(id, &intended));
        }
        let each = self.knowledge.each().map(|(facts, faults, skipped)| {
            let services = offers.remove(&*facts.id).unwrap_or_default();
            let rivals = rivals.remove(&*facts.id).unwrap_or_default();
            account(facts, services, faults, [skipped, &rivals].concat())
        });
        each.collect()
    }

    fn service(&self, offer: &Arc<Offer>, names: &[String], failure: Failures<'_>) -> Service {
        let place = |(which, (name, ledger)): (Which, (&String, &Ledger))| {
            let (key, standing) = ledger.standing(offer);
            Place {
                registry: name.clone(),
                standing,
                failure: failure(which, &key),
            }
        };
        Service {
            offer: offer.clone(),
            places: names.iter().zip(&self.ledgers).enumerate().map(place).collect(),
        }
    }

    /// Why an id went to another container.
    fn rival(&self, id: &Arc<str>, intended: &Intended) -> Reason {
        let holder = intended.get(id).map_or("", |offer| &offer.container);
        let name = self.knowledge.name_of(holder);
        Reason::new(
            "service",
            format!("container {name} ({}) has that id", short(holder)),
            id,
        )
    }

    /// Whether every container was looked at.
    pub(crate) fn has_surveyed(&self) -> bool {
        self.surveyed
    }
}

fn account(
    facts: &Container,
    services: Vec<Service>,
    faults: &[Fault],
    mut left_out: Vec<Reason>,
) -> Account {
    if !facts.runs() && services.is_empty() {
        left_out.insert(0, Reason::new("container", "it does not run", &facts.name));
    }
    Account {
        id: facts.id.clone(),
        name: facts.name.clone(),
        image: facts.image.clone(),
        state: facts.state.to_string(),
        services,
        left_out,
        faults: faults.to_vec(),
    }
}
