//! What a mind thinks, told to whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Mind, Which};
use crate::account::{Account, Failure, Place, Service};
use crate::container::{Container, short};
use crate::reconcile::Intended;
use crate::reconcile::knowledge::Loser;
use crate::reconcile::ledger::Ledger;
use crate::registry::{Offer, Reason};
use crate::services::{BY_IMAGE, Fault, unversioned};

type Namesakes<'a> = BTreeMap<&'a str, Vec<(&'a Container, &'a str)>>;
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
        for loser in &losers {
            let reasons = rivals.entry(&*loser.container).or_default();
            reasons.push(self.rival(loser, &intended));
        }
        let namesakes = self.namesakes(&intended);
        let each = self.knowledge.each().map(|(facts, faults, skipped)| {
            let services = offers.remove(&*facts.id).unwrap_or_default();
            let rivals = rivals.remove(&*facts.id).unwrap_or_default();
            let remarks = services
                .iter()
                .filter_map(|service| namesake(facts, service, &namesakes));
            Account {
                remarks: remarks.collect(),
                ..account(facts, services, faults, [skipped, &rivals].concat())
            }
        });
        each.collect()
    }

    /// Services that have their name of an image, by that name: their containers with the whole name of the image.
    fn namesakes<'a>(&'a self, intended: &'a Intended) -> Namesakes<'a> {
        let mut namesakes = Namesakes::new();
        for offer in intended.values().filter(|offer| is_named_by_image(offer)) {
            if let Some(facts) = self.knowledge.facts(&offer.container) {
                let all = namesakes.entry(&*offer.registration.service.name).or_default();
                all.push((facts, unversioned(&facts.image)));
            }
        }
        namesakes
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
    fn rival(&self, loser: &Loser, intended: &Intended) -> Reason {
        let Loser { id, shares, .. } = loser;
        let holder = intended.get(id).map_or("", |offer| &offer.container);
        let name = self.knowledge.name_of(holder);
        if let Some(check) = &loser.check {
            let why = format!("the service {id} of container {name} ({}) has it", short(holder));
            return Reason::new("check", why, check);
        }
        let does = match shares {
            true => "stands for all tasks on this host",
            false => "has that id",
        };
        Reason::new(
            "service",
            format!("container {name} ({}) {does}", short(holder)),
            id,
        )
    }

    /// Whether every container was looked at.
    pub(crate) fn has_surveyed(&self) -> bool {
        self.surveyed
    }
}

fn is_named_by_image(offer: &Offer) -> bool {
    offer
        .why
        .iter()
        .any(|reason| reason.field == "name" && reason.rule == BY_IMAGE)
}

/// That a container of another image is an instance of the same service by its name's last part alone: mostly nobody
/// meant that.
fn namesake(facts: &Container, service: &Service, namesakes: &Namesakes<'_>) -> Option<Reason> {
    if !is_named_by_image(&service.offer) {
        return None;
    }
    let name = &service.offer.registration.service.name;
    let image = unversioned(&facts.image);
    let (other, its) = namesakes.get(&**name)?.iter().find(|(_, its)| *its != image)?;
    let why = format!(
        "container {} ({}) of the image {its} is an instance of it too; SERVICE_NAME tells them apart",
        other.name,
        short(&other.id),
    );
    Some(Reason::new("service", why, name))
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
        remarks: Vec::new(),
        faults: faults.to_vec(),
    }
}
