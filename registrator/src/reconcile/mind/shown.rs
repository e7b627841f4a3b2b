//! What others may know of it at any time: who waits, who lost, how many there are.

use std::sync::Arc;

use catalog::Registration;

use super::super::knowledge::Complaint;
use super::super::{Verb, Write};
use super::{Mind, Which};
use crate::services::Fault;

impl Mind {
    /// Containers that do not get the entry they want, as complaints against them.
    pub(crate) fn losers(&self) -> Vec<Complaint> {
        let complaint = |id: &Arc<str>, loser: &str, holder: &str| Complaint {
            container: self.knowledge.name_of(loser).to_owned(),
            fault: Fault::new("SERVICE_ID", format!("{holder} has the id {id}; not registered")),
        };
        let rivals = self.losers.iter().filter(|loser| !loser.shares);
        let rivals = rivals.map(|loser| complaint(&loser.id, &loser.container, "another container"));
        let late = self.taken.iter();
        let late = late.map(|(id, loser)| complaint(id, loser, "somebody else"));
        let refused = self.refused.iter().map(|(container, setting, why)| Complaint {
            container: self.knowledge.name_of(container).to_owned(),
            fault: Fault::new(*setting, format!("{why}; not registered")),
        });
        rivals.chain(late).chain(refused).collect()
    }

    /// The container that a write is about.
    pub(crate) fn behind<'a>(&'a self, which: Which, write: &'a Write) -> Option<&'a str> {
        match &write.verb {
            Verb::Register(offer) | Verb::Refresh(offer) => Some(&offer.container),
            Verb::Deregister => self.ledgers[which].behind(&write.key),
        }
    }

    /// How many entries of a registry differ from what is wanted.
    pub(crate) fn waiting(&self, which: Which) -> usize {
        self.ledgers[which].waiting
    }

    pub(crate) fn stopped(&self) -> impl Iterator<Item = &Registration> {
        self.knowledge.stopped()
    }

    pub(crate) fn services(&self) -> usize {
        self.intended.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.knowledge.running()
    }
}
