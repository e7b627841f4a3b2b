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
//! | `ledger.rs` | what one registry holds of ours, writes under way, writes that failed |
//! | `ledger/turns.rs` | which writes come next |
//! | `claims.rs` | whose an entry is |
//! | `twins.rs` | whose a check is that two services bring |
//! | `pace.rs` | how often a registry hears of one service |
//! | `heartbeat.rs` | when to say again that a container is fit |
//! | `errand.rs` | when to ask the same question again |
//! | `queue.rs` | which containers are to be inspected |
//! | `mind.rs` | puts these together: news in, actions out |
//! | `mind/plan.rs` | when what is intended is worked out anew |
//! | `lag.rs` | how long it takes from an event to a write |
//! | `witness.rs` | what others may see: counts by registry, reports for whoever asks |
//! | `engine.rs` | the loop: carries actions out, publishes what others may see |

mod claims;
pub(crate) mod engine;
mod errand;
mod heartbeat;
pub(crate) mod knowledge;
mod lag;
pub(crate) mod ledger;
mod lines;
pub(crate) mod mind;
pub(crate) mod notes;
mod pace;
pub(crate) mod queue;
mod twins;
pub(crate) mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CONTAINER_PREFIX, Definition, Probe};
use catalog::{Registration, ServiceSpec};

use crate::registry::{Abilities, Lists, Offer};

/// What should be registered, by service id.
pub(crate) type Intended = BTreeMap<Arc<str>, Arc<Offer>>;
/// What a registry holds, by key.
pub(crate) type Recorded = BTreeMap<Arc<str>, Held>;

/// An entry of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) entry: Arc<Registration>,
    /// How much of `entry` is known to be there: all that was written, what a listing shows, or nothing
    /// where a write failed and may yet have been obeyed.
    pub(crate) known: Lists,
}

/// The writes that make recorded equal intended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// States come first: somebody waits for an instance to leave rotation. Removals come last: a
    /// container that was renamed is known by both ids for a moment rather than by none.
    pub(crate) writes: Vec<Write>,
    /// Those that would only say the same in other words.
    pub(crate) words: Vec<Write>,
}

/// One write to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: Arc<str>,
    pub(crate) verb: Verb,
}

/// What is done to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Register(Arc<Offer>),
    /// Only what its checks say has changed.
    Refresh(Arc<Offer>),
    Deregister,
}

impl Plan {
    /// `wanted` is by key. Recorded entries that nobody wants go only once they are `settled`: once it is
    /// known what has become of the container behind them.
    pub(crate) fn new(
        wanted: &BTreeMap<Arc<str>, Arc<Offer>>,
        recorded: &Recorded,
        abilities: &Abilities,
        settled: impl Fn(&Registration) -> bool,
    ) -> Self {
        let (mut states, mut others, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let write = |key: &Arc<str>, verb| Write {
            key: key.clone(),
            verb,
        };
        for (key, offer) in wanted {
            let held = recorded.get(key);
            match held.map(|held| difference(&offer.registration, held, abilities)) {
                Some(Difference::None) => {}
                Some(Difference::Words) => words.push(write(key, Verb::Refresh(offer.clone()))),
                Some(Difference::State) => states.push(write(key, Verb::Refresh(offer.clone()))),
                Some(Difference::Service) | None => others.push(write(key, Verb::Register(offer.clone()))),
            }
        }
        for (key, held) in recorded {
            if !wanted.contains_key(key) && settled(&held.entry) {
                others.push(write(key, Verb::Deregister));
            }
        }
        states.append(&mut others);
        Self {
            writes: states,
            words,
        }
    }
}

/// How far two registrations of one id are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    None,
    /// What a program printed.
    Words,
    State,
    Service,
}

/// How far what is held is from what is wanted.
pub(crate) fn difference(wanted: &Registration, held: &Held, abilities: &Abilities) -> Difference {
    match held.known {
        Lists::Nothing => Difference::Service,
        // Nobody knows whether its checks are there.
        Lists::Services if abilities.tells_health && !wanted.checks.is_empty() => Difference::Service,
        known if abilities.tells_health => apart(wanted, &held.entry, known),
        known => apart(wanted, &held.entry, known.min(Lists::Services)),
    }
}

/// How far two registrations of one key are apart, in what a listing of that kind shows.
pub(crate) fn apart(wanted: &Registration, held: &Registration, shown: Lists) -> Difference {
    if std::ptr::eq(wanted, held) || shown == Lists::Nothing {
        return Difference::None;
    }
    let same = match shown {
        Lists::Nothing | Lists::Places => same_place(&wanted.service, &held.service),
        _ => same_service(&wanted.service, &held.service),
    };
    if !same {
        return Difference::Service;
    }
    let id = &wanted.service.id;
    let (container, asked) = (format!("{CONTAINER_PREFIX}{id}"), format!("service:{id}"));
    // Checks of other names somebody else hung on our service: they are his affair.
    let is_shown = |check: &&Definition| {
        let further = || check.id.strip_prefix(asked.as_str());
        shown >= Lists::States && *check.id == *container
            || shown >= Lists::Checks && further().is_some_and(|n| n.is_empty() || n.starts_with(':'))
    };
    let find = |checks: &[Definition], id: &str| checks.iter().find(|check| *check.id == *id).cloned();
    let mut difference = Difference::None;
    let both = wanted.checks.iter().chain(&held.checks);
    for Definition { id, .. } in both.filter(is_shown) {
        let step = match (find(&wanted.checks, id), find(&held.checks, id)) {
            (None, None) => Difference::None,
            (Some(wanted), Some(held)) if shown == Lists::States => state_difference(&wanted, &held),
            (Some(wanted), Some(held)) => check_difference(&wanted, held),
            _ => Difference::Service,
        };
        difference = difference.max(step);
    }
    difference
}

fn check_difference(wanted: &Definition, mut held: Definition) -> Difference {
    let state = state_difference(wanted, &held);
    held.initial = wanted.initial;
    held.output.clone_from(&wanted.output);
    if held != *wanted {
        Difference::Service
    } else if wanted.probe == Probe::Container {
        state
    } else {
        // What other checks say is theirs to find out; ours was only where they began.
        Difference::None
    }
}

fn state_difference(wanted: &Definition, held: &Definition) -> Difference {
    // Behind a colon stands what a HEALTHCHECK printed, perhaps with a clock in it.
    let verdict = |output: &str| output.split_once(':').map(|(verdict, _)| verdict.to_owned());
    if (held.initial, &held.output) == (wanted.initial, &wanted.output) {
        Difference::None
    } else if held.initial == wanted.initial
        && verdict(&held.output).is_some_and(|before| Some(before) == verdict(&wanted.output))
    {
        Difference::Words
    } else {
        Difference::State
    }
}

fn same_place(wanted: &ServiceSpec, held: &ServiceSpec) -> bool {
    (&wanted.name, &wanted.address, wanted.port) == (&held.name, &held.address, held.port)
}

/// Addresses that Consul adds by itself.
const FILLED_IN: [&str; 4] = ["lan_ipv4", "lan_ipv6", "wan_ipv4", "wan_ipv6"];

/// Whether two services say the same, in all that we set: a registry may fill in addresses, and where it
/// lets others override tags, those are theirs.
fn same_service(wanted: &ServiceSpec, held: &ServiceSpec) -> bool {
    // By name, so that a field that is added later is not forgotten here.
    let ServiceSpec {
        id: _,
        name: _,
        port: _,
        address: _,
        kind,
        tags,
        meta,
        tagged_addresses,
        weights,
        enable_tag_override,
    } = wanted;
    let filled_in = |name: &str| FILLED_IN.contains(&name) && !tagged_addresses.contains_key(name);
    let theirs = held.tagged_addresses.iter().filter(|(name, _)| !filled_in(name));
    same_place(wanted, held)
        && (*enable_tag_override || *tags == held.tags)
        && *enable_tag_override == held.enable_tag_override
        && *kind == held.kind
        && *meta == held.meta
        && *weights == held.weights
        && theirs.eq(tagged_addresses)
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
