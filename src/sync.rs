//! Carries the local table to the catalog: what differs is written, what is equal is not.
//!
//! The comparison is pure. One sync at a time, in order; a change made while one runs is taken by
//! the next. Entries of this node that nobody here vouches for are removed on a whole comparison,
//! but for those that the leader keeps (service `consul`, check `serfHealth`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catalog::check::{CheckSpec, SERF_HEALTH};
use catalog::command::{Record, Target};
use catalog::node::NodeSpec;
use catalog::{Command, ServiceSpec, State};

use crate::identity::Identity;
use crate::leader::CONSUL_SERVICE;
use crate::local::Table;
use crate::store::Store;

/// The way from a local table to the catalog.
pub struct Sync {
    identity: Arc<Identity>,
    store: Store,
    turn: tokio::sync::Mutex<()>,
}

/// What is to be compared, copied out of the table so that no lock is held meanwhile.
#[derive(Debug, Default)]
struct Stale {
    services: Vec<(Arc<str>, Option<Arc<ServiceSpec>>)>,
    checks: Vec<(Arc<str>, Option<CheckSpec>)>,
}

impl Sync {
    /// Syncs to `store` in the name of `identity`'s node.
    pub fn new(identity: Arc<Identity>, store: Store) -> Self {
        Self {
            identity,
            store,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Writes what changed since the last time.
    ///
    /// Dropped before its turn, its marks stay for the next sync.
    pub async fn changed(&self, table: &Mutex<Table>) {
        let _turn = self.turn.lock().await;
        let stale = take_stale(&mut lock(table));
        self.write(stale).await;
    }

    /// Compares everything, and also removes what nobody here vouches for.
    pub async fn whole(&self, table: &Mutex<Table>) {
        let _turn = self.turn.lock().await;
        // Marked and taken in one go: marks that another sync carried off meanwhile would turn all
        // that they stood for into strangers.
        let mut stale = {
            let mut table = lock(table);
            table.touch_all();
            take_stale(&mut table)
        };
        add_strangers(&mut stale, &self.store.read(), &self.identity.node);
        self.write(stale).await;
    }

    async fn write(&self, mut stale: Stale) {
        // What the leader keeps is his, whatever is registered here.
        stale.services.retain(|(id, _)| **id != *CONSUL_SERVICE);
        stale.checks.retain(|(id, _)| **id != *SERF_HEALTH);
        for command in difference(&stale, &self.store.read(), &self.identity.node_spec()) {
            if let Err(error) = self.store.propose(&command).await {
                // Refusals are about content, which the next registration may mend; until then the
                // rest of the table must not suffer.
                tracing::warn!(%error, ?command, "catalog refused a local entry");
            }
        }
    }
}

/// The table, for a few lines.
pub fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every method of the table leaves it whole, so a panic elsewhere while it is held harms nothing.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_stale(table: &mut Table) -> Stale {
    let services = std::mem::take(&mut table.stale_services);
    let checks = std::mem::take(&mut table.stale_checks);
    let spec = |id: &Arc<str>| table.checks.get(id).map(|check| check.spec.clone());
    Stale {
        services: services
            .into_iter()
            .map(|id| (id.clone(), table.services.get(&id).cloned()))
            .collect(),
        checks: checks.into_iter().map(|id| (id.clone(), spec(&id))).collect(),
    }
}

/// Adds what the catalog holds for this node and the table does not.
fn add_strangers(stale: &mut Stale, state: &State, node: &str) {
    let known: BTreeSet<_> = stale.services.iter().map(|(id, _)| id.clone()).collect();
    let services = state
        .services_on(node)
        .rows
        .map(|(_, services)| services)
        .unwrap_or_default();
    let strange = services.iter().map(|service| service.spec.id.clone());
    let strange = strange.filter(|id| !known.contains(id));
    stale.services.extend(strange.map(|id| (id, None)));
    let known: BTreeSet<_> = stale.checks.iter().map(|(id, _)| id.clone()).collect();
    let checks = state.checks_on(node).rows;
    let strange = checks.iter().map(|check| check.spec.id.clone());
    let strange = strange.filter(|id| !known.contains(id));
    stale.checks.extend(strange.map(|id| (id, None)));
}

/// Commands that make the catalog agree with the table. A service and its checks travel in one
/// command, so that no reader ever sees one without the other.
fn difference(stale: &Stale, state: &State, node: &NodeSpec) -> Vec<Command> {
    let same = |check: &CheckSpec| {
        state
            .check_at(&node.name, &check.id)
            .is_some_and(|known| known.spec == *check)
    };
    // Grouped first: a whole comparison holds thousands of both.
    let mut of_service = BTreeMap::<&Arc<str>, Vec<CheckSpec>>::new();
    for check in stale.checks.iter().filter_map(|(_, check)| check.as_ref()) {
        if let Some(id) = &check.service_id {
            of_service.entry(id).or_default().push(check.clone());
        }
    }
    let mut commands = Vec::new();
    let mut carried = BTreeSet::new();
    for (id, wanted) in &stale.services {
        let recorded = state.service_at(&node.name, id);
        let Some(wanted) = wanted else {
            commands.extend(recorded.map(|_| forget(node, Target::Service(id.clone()))));
            continue;
        };
        let own = of_service.remove(id).unwrap_or_default();
        carried.extend(own.iter().map(|check| check.id.clone()));
        if recorded.is_none_or(|recorded| recorded.spec != **wanted) || !own.iter().all(same) {
            commands.push(record(node, Some(ServiceSpec::clone(wanted)), own));
        }
    }
    for (id, wanted) in stale.checks.iter().filter(|(id, _)| !carried.contains(id)) {
        match wanted {
            Some(wanted) if !same(wanted) => commands.push(record(node, None, vec![wanted.clone()])),
            None if state.check_at(&node.name, id).is_some() => {
                commands.push(forget(node, Target::Check(id.clone())));
            }
            _ => {}
        }
    }
    commands
}

fn record(node: &NodeSpec, service: Option<ServiceSpec>, checks: Vec<CheckSpec>) -> Command {
    Command::Register(Box::new(Record {
        node: node.clone(),
        skip_node_update: true,
        service,
        checks,
    }))
}

fn forget(node: &NodeSpec, target: Target) -> Command {
    Command::Deregister {
        node: node.name.clone(),
        target,
    }
}
