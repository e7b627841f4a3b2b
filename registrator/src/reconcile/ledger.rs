//! What the registry holds of ours, which writes are under way, and which failed.
//!
//! Writes are remembered here, so that the plan compares with what was really obeyed; a listing of
//! the registry corrects that memory, except where a write overtook it. An entry without our mark is
//! not ours, unless its id is one that the original registrator would have made for this host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use catalog::Registration;
use catalog::service::{META_CONTAINER, META_OWNER};

use super::{Difference, Intended, Plan, Recorded, Write, difference, pause_after, same_service};
use crate::config::Config;

/// The registrator's side of the registry.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    recorded: Recorded,
    /// Ids that others hold.
    foreign: BTreeSet<Arc<str>>,
    /// Whether the registry has been asked what it holds: before, nothing is written.
    read: bool,
    under_way: BTreeMap<Arc<str>, Write>,
    /// Ids written since the listing under way was asked for: the listing may be older.
    overtaken: BTreeSet<Arc<str>>,
    failed: BTreeMap<Arc<str>, Failure>,
}

#[derive(Debug)]
struct Failure {
    write: Write,
    times: u32,
    not_before: Instant,
}

impl Ledger {
    pub(crate) fn recorded(&self) -> &Recorded {
        &self.recorded
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
        for listed in services {
            let id = listed.service.id.clone();
            match listed.service.meta.get(META_OWNER) {
                Some(owner) if *owner != config.owner => _ = self.foreign.insert(id),
                Some(_) => {
                    let remembered = self.recorded.get(&id).and_then(Option::as_ref);
                    let entry = remembered.filter(|held| agrees(&listed, held)).cloned();
                    recorded.insert(id, Some(entry.unwrap_or_else(|| Arc::new(listed))));
                }
                None if !is_of_host(&id, &config.hostname) => _ = self.foreign.insert(id),
                None if config.cleanup => _ = recorded.insert(id, Some(Arc::new(listed))),
                // Left by the original, perhaps for a container that still runs: not ours to remove,
                // but ours to take over.
                None => {}
            }
        }
        for id in &self.overtaken {
            self.foreign.remove(id);
            match self.recorded.remove(id) {
                Some(held) => _ = recorded.insert(id.clone(), held),
                None => _ = recorded.remove(id),
            }
        }
        self.recorded = recorded;
    }

    /// Ids of `intended` that others hold, with the containers that would like to have them.
    pub(crate) fn taken(&self, intended: &Intended) -> Vec<(Arc<str>, String)> {
        let wanted = self.foreign.iter().filter_map(|id| Some((id, intended.get(id)?)));
        let container = |wanted: &Registration| wanted.service.meta.get(META_CONTAINER).cloned();
        wanted
            .map(|(id, wanted)| (id.clone(), container(wanted).unwrap_or_default()))
            .collect()
    }

    /// The writes to begin now.
    pub(crate) fn next(
        &mut self,
        intended: &Intended,
        settled: impl Fn(&Registration) -> bool,
        now: Instant,
    ) -> Vec<Write> {
        if !self.read {
            return Vec::new();
        }
        let mut writes = Plan::new(intended, &self.recorded, settled).writes;
        self.failed
            .retain(|id, _| writes.iter().any(|write| write.id() == id));
        writes.retain(|write| {
            let waits = self
                .failed
                .get(write.id())
                .is_some_and(|last| last.write == *write && last.not_before > now);
            !waits && !self.under_way.contains_key(write.id()) && !self.foreign.contains(write.id())
        });
        for write in &writes {
            self.under_way.insert(write.id().clone(), write.clone());
            self.overtaken.insert(write.id().clone());
        }
        writes
    }

    /// A write ended. Returns how often in a row it has failed.
    pub(crate) fn done(&mut self, id: &Arc<str>, obeyed: bool, now: Instant) -> u32 {
        let Some(write) = self.under_way.remove(id) else {
            return 0;
        };
        if obeyed {
            self.failed.remove(id);
            match write {
                Write::Register(wanted) | Write::Refresh(wanted) => {
                    self.recorded.insert(id.clone(), Some(wanted));
                }
                Write::Deregister(_) => {
                    self.recorded.remove(id);
                }
            }
            return 0;
        }
        let times = self.failed.get(id).map_or(0, |last| last.times) + 1;
        if !matches!(write, Write::Deregister(_)) {
            // It may have arrived all the same.
            self.recorded.insert(id.clone(), None);
        }
        self.failed.insert(
            id.clone(),
            Failure {
                write,
                times,
                not_before: now + pause_after(times),
            },
        );
        times
    }

    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        // One that is due already has been handed out, or waits for somebody else's news.
        self.failed
            .values()
            .map(|last| last.not_before)
            .filter(|at| *at > now)
            .min()
    }

    /// Containers that recorded entries stand for.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &str> {
        self.recorded
            .values()
            .flatten()
            .filter_map(|held| held.service.meta.get(META_CONTAINER))
            .map(String::as_str)
    }

    /// Whether recorded equals intended, with nothing under way.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way.is_empty() && self.failed.is_empty()
    }
}

/// Whether a listing says what we remember. A listing without checks says nothing of checks.
fn agrees(listed: &Registration, held: &Registration) -> bool {
    same_service(listed, held) && (listed.checks.is_empty() || difference(held, listed) == Difference::None)
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
