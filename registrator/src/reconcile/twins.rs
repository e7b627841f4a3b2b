//! Checks of two services that would be one. Pure.
//!
//! All checks of a node share their ids, and `service:<id of a service>:<number>` is also what another service's first
//! check is called, if that took `<id>:<number>` for its own id. An agent would keep the one that came last, for the
//! service that brought it, and the other service would be judged by nobody.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use catalog::check::{Definition, Probe};

use super::Intended;
use super::knowledge::Loser;
use super::ledger::Ledger;
use crate::registry::Offer;

/// Leaves each id of a check to one service, as ids of services are left to one container: to who runs, then to who holds
/// it, then to the first in order of containers. The others are intended without that check; returns who they are, each
/// with the service that has it.
pub(super) fn parted(intended: &mut Intended, ledgers: &[Ledger], runs: impl Fn(&str) -> bool) -> Vec<Loser> {
    let mut seen = HashSet::new();
    let all = intended.values().flat_map(|offer| asked(offer));
    let twice: HashSet<Arc<str>> = all
        .filter(|check| !seen.insert(&*check.id))
        .map(|check| check.id.clone())
        .collect();
    if twice.is_empty() {
        return Vec::new();
    }
    let mut claims = BTreeMap::<Arc<str>, Vec<Arc<str>>>::new();
    for (service, offer) in &*intended {
        for check in asked(offer).filter(|check| twice.contains(&check.id)) {
            claims.entry(check.id.clone()).or_default().push(service.clone());
        }
    }
    let mut losers = Vec::new();
    for (check, mut services) in claims {
        let rank = |service: &Arc<str>| {
            let offer = &intended[service];
            let holds = ledgers.iter().any(|ledger| ledger.brought(offer, &check));
            (!runs(&offer.container), !holds, offer.container.clone())
        };
        services.sort_by_cached_key(rank);
        let mut services = services.into_iter();
        let Some(winner) = services.next() else { continue };
        for service in services {
            let Some(offer) = intended.get_mut(&service) else {
                continue;
            };
            let registration = &mut Arc::make_mut(offer).registration;
            Arc::make_mut(registration).checks.retain(|own| own.id != check);
            losers.push(Loser {
                id: winner.clone(),
                container: offer.container.clone(),
                shares: false,
                told: false,
                check: Some(check.clone()),
            });
        }
    }
    losers
}

/// The checks that a container asks for: that of its own state is called by the id of its service, which is but one.
fn asked(offer: &Offer) -> impl Iterator<Item = &Definition> {
    let checks = offer.registration.checks.iter();
    checks.filter(|check| check.probe != Probe::Container)
}
