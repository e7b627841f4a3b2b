//! Intended × recorded → [`Plan`], and the loop that carries it out.
//!
//! Level-triggered: whatever happens, the same question is asked again, and an answer that equals
//! what is recorded writes nothing. The parts below decide without touching a socket or a clock,
//! so that a model can drive them; only `engine.rs` does what they ask for.
//!
//! | file | owns |
//! | --- | --- |
//! | `notes.rs` | what events said since we last looked; conflated, never a queue |
//! | `knowledge.rs` | what is known of containers, and what is therefore intended |
//! | `ledger.rs` | what the registry holds of ours, writes under way, writes that failed |
//! | `queue.rs` | which containers are to be inspected |
//! | `mind.rs` | puts these together: news in, actions out |
//! | `engine.rs` | the loop: carries actions out, publishes what others may see |

pub(crate) mod engine;
pub(crate) mod knowledge;
pub(crate) mod ledger;
pub(crate) mod mind;
pub(crate) mod notes;
pub(crate) mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Registration;
use catalog::check::{CONTAINER_PREFIX, Definition, Probe};

/// What should be registered, by service id.
pub(crate) type Intended = BTreeMap<Arc<str>, Arc<Registration>>;
/// What is registered, by service id; `None` where a write failed and may yet have been obeyed.
pub(crate) type Recorded = BTreeMap<Arc<str>, Option<Arc<Registration>>>;

/// The writes that make recorded equal intended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Removals come last: a container that was renamed is known by both ids for a moment rather
    /// than by none.
    pub(crate) writes: Vec<Write>,
}

/// One write to the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Deregister(Arc<str>),
    Register(Arc<Registration>),
    /// Only what its checks say has changed.
    Refresh(Arc<Registration>),
}

impl Write {
    /// The service it is about.
    pub(crate) fn id(&self) -> &Arc<str> {
        match self {
            Self::Deregister(id) => id,
            Self::Register(wanted) | Self::Refresh(wanted) => &wanted.service.id,
        }
    }
}

impl Plan {
    /// Recorded entries that nobody intends go only once they are `settled`: once it is known what
    /// has become of the container behind them.
    pub(crate) fn new(
        intended: &Intended,
        recorded: &Recorded,
        settled: impl Fn(&Registration) -> bool,
    ) -> Self {
        let mut writes = Vec::new();
        for (id, wanted) in intended {
            match recorded
                .get(id)
                .and_then(Option::as_ref)
                .map(|held| difference(wanted, held))
            {
                Some(Difference::None) => {}
                Some(Difference::State) => writes.push(Write::Refresh(wanted.clone())),
                Some(Difference::Service) | None => writes.push(Write::Register(wanted.clone())),
            }
        }
        for (id, held) in recorded {
            if !intended.contains_key(id) && held.as_ref().is_none_or(|held| settled(held)) {
                writes.push(Write::Deregister(id.clone()));
            }
        }
        Self { writes }
    }
}

/// How far two registrations of one id are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    None,
    State,
    Service,
}

/// How far what is held is from what is wanted.
pub(crate) fn difference(wanted: &Registration, held: &Registration) -> Difference {
    if std::ptr::eq(wanted, held) {
        return Difference::None;
    }
    let own = [
        format!("{CONTAINER_PREFIX}{}", wanted.service.id),
        format!("service:{}", wanted.service.id),
    ];
    let find = |checks: &[Definition], id: &str| checks.iter().find(|check| *check.id == *id).cloned();
    let mut difference = if same_service(wanted, held) {
        Difference::None
    } else {
        Difference::Service
    };
    // Checks that somebody else hung on our service are his affair.
    for id in &own {
        let step = match (find(&wanted.checks, id), find(&held.checks, id)) {
            (None, None) => Difference::None,
            (Some(wanted), Some(held)) => check_difference(&wanted, held),
            _ => Difference::Service,
        };
        difference = difference.max(step);
    }
    difference
}

fn check_difference(wanted: &Definition, mut held: Definition) -> Difference {
    let says_the_same = held.initial == wanted.initial && held.output == wanted.output;
    held.initial = wanted.initial;
    held.output.clone_from(&wanted.output);
    if held != *wanted {
        Difference::Service
    } else if says_the_same || wanted.probe != Probe::Container {
        // What other checks say is theirs to find out; ours was only where they began.
        Difference::None
    } else {
        Difference::State
    }
}

/// Whether two registrations say the same of the service, in what we set: a registry may fill in
/// the rest.
pub(crate) fn same_service(one: &Registration, other: &Registration) -> bool {
    let facts = |registration: &Registration| {
        let service = &registration.service;
        (
            service.id.clone(),
            service.name.clone(),
            service.port,
            service.address.clone(),
        )
    };
    facts(one) == facts(other)
        && one.service.tags == other.service.tags
        && one.service.meta == other.service.meta
}

/// How long to wait after so many failures in a row.
pub(crate) fn pause_after(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

#[cfg(test)]
mod tests;
