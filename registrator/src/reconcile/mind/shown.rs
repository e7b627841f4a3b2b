//! What others may know of it at any time: who waits, who lost, how many there are.

use std::sync::Arc;

use catalog::Registration;

use super::super::knowledge::Complaint;
use super::super::{Verb, Write};
use super::{Mind, Which};
use crate::container::short;
use crate::services::Fault;

impl Mind {
    /// Containers that do not get the entry, or the check, they want, as complaints against them.
    pub(crate) fn losers(&self) -> Vec<Complaint> {
        let complaint = |id: &Arc<str>, (loser, told): (&str, bool), holder: &str| Complaint {
            container: self.knowledge.name_of(loser).to_owned(),
            fault: Fault::new(
                // Who has an id by rule set nothing.
                if told { "SERVICE_ID" } else { "id" },
                format!("{holder} has the id {id}; not registered"),
            ),
        };
        let holder = |id: &Arc<str>| match self.intended.get(id).map(|offer| &*offer.container) {
            Some(holder) => format!("container {} ({})", self.knowledge.name_of(holder), short(holder)),
            None => "another container".to_owned(),
        };
        let rivals = self.losers.iter().filter(|loser| !loser.shares);
        let rivals = rivals.map(|loser| match &loser.check {
            None => complaint(&loser.id, (&loser.container, loser.told), &holder(&loser.id)),
            Some(check) => Complaint {
                container: self.knowledge.name_of(&loser.container).to_owned(),
                fault: Fault::new(
                    "SERVICE_CHECK_ID",
                    format!(
                        "the service {} has a check {check}; this one is not made",
                        loser.id
                    ),
                ),
            },
        });
        let told = |id: &Arc<str>| self.intended.get(id).is_some_and(|offer| offer.told_id);
        let late = self.taken.iter();
        let late = late.map(|(id, loser)| complaint(id, (loser, told(id)), "somebody else"));
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

    /// Whether a registry holds something under this key, or does not take what it is to hold there.
    pub(crate) fn is_concerned(&self, which: Which, key: &str) -> bool {
        self.ledgers[which].is_concerned(key)
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
