//! Services and checks this agent vouches for.
//!
//! The table here is the truth for this node; `sync` carries it to the catalog. Every change is
//! made under one lock held for a few lines, marks what it touched, and is synced before the
//! caller is answered. Must not run checks itself (`check` does) nor write to the store (`sync` does).

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use catalog::check::{Definition, NODE_MAINTENANCE, Probe, SERVICE_MAINTENANCE_PREFIX};
use catalog::{Registration, ServiceSpec, Status};

pub use self::table::{LocalCheck, Table};
use crate::check::Checks;
use crate::sync::Sync;

const NO_REASON_NODE: &str =
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const NO_REASON_SERVICE: &str =
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";

/// Handle to the local table; cheap to clone.
#[derive(Clone)]
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    table: Mutex<Table>,
    checks: Checks,
    sync: Sync,
}

/// Why a change of the local table was refused. Trying again will not help.
/// The texts are Consul's, which clients match on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// A check or maintenance for a service that is not registered here.
    #[error("ServiceID {0:?} does not exist")]
    NoService(String),
    /// A report for a check that does not exist or that nobody may report on.
    #[error("CheckID {0:?} does not have associated TTL")]
    NotTtl(String),
}

impl Local {
    /// An empty table whose checks are run by `checks` and whose changes go out through `sync`.
    pub fn new(checks: Checks, sync: Sync) -> Self {
        Self {
            inner: Arc::new(Inner {
                table: Mutex::default(),
                checks,
                sync,
            }),
        }
    }

    /// Adds or replaces a service with its checks. A check that exists keeps its status, unless its
    /// status is told with the registration. `replace_checks` drops the service's other checks.
    pub async fn register(&self, registration: Registration, replace_checks: bool) {
        let Registration { service, checks } = registration;
        {
            let mut table = self.table();
            let mut stopped = Vec::new();
            let id = service.id.clone();
            let count = checks.len();
            table.put_service(service);
            let started: Vec<_> = (1..)
                .zip(checks)
                .map(|(n, check)| name_check(check, &id, n, count))
                .collect();
            if replace_checks {
                let kept: BTreeSet<_> = started.iter().map(|check| check.id.clone()).collect();
                stopped = table.checks_of(&id);
                // Maintenance is somebody's order, not part of what the service brings.
                stopped.retain(|old| !kept.contains(old) && !old.starts_with(SERVICE_MAINTENANCE_PREFIX));
                stopped.iter().for_each(|old| table.remove_check(old));
            }
            started
                .iter()
                .for_each(|definition| table.put_check(definition.clone(), Some(&id)));
            self.run_checks(&stopped, &started);
        }
        self.flush().await;
    }

    /// Forgets a service and its checks. False when there was none.
    pub async fn deregister(&self, id: &str) -> bool {
        {
            let mut table = self.table();
            if !table.remove_service(id) {
                return false;
            }
            let checks = table.checks_of(id);
            checks.iter().for_each(|check| table.remove_check(check));
            self.run_checks(&checks, &[]);
        }
        self.flush().await;
        true
    }

    /// Adds or replaces one check, of the node or of a service.
    pub async fn register_check(
        &self,
        definition: Definition,
        service: Option<&str>,
    ) -> Result<(), LocalError> {
        {
            let mut table = self.table();
            if let Some(id) = service.filter(|id| !table.services.contains_key(*id)) {
                return Err(LocalError::NoService(id.to_owned()));
            }
            table.put_check(definition.clone(), service);
            self.run_checks(&[], &[definition]);
        }
        self.flush().await;
        Ok(())
    }

    /// Forgets a check. False when there was none.
    pub async fn deregister_check(&self, id: &str) -> bool {
        let known = {
            let mut table = self.table();
            let known = table.checks.contains_key(id);
            table.remove_check(id);
            self.run_checks(&[id.into()], &[]);
            known
        };
        self.flush().await;
        known
    }

    /// Records what somebody outside says of a TTL check, which also starts its time anew.
    pub async fn report(&self, id: &str, status: Status, output: &str) -> Result<(), LocalError> {
        {
            let mut table = self.table();
            let ttl = |check: &LocalCheck| {
                check
                    .definition
                    .as_ref()
                    .is_some_and(|known| matches!(known.probe, Probe::Ttl { .. }))
            };
            if !table.checks.get(id).is_some_and(ttl) {
                return Err(LocalError::NotTtl(id.to_owned()));
            }
            table.set_status(id, status, output);
            self.inner.checks.heard(id, status, output);
        }
        self.flush().await;
        Ok(())
    }

    /// Records a result of a check that this agent runs; nothing if it is gone meanwhile.
    pub async fn result(&self, id: &str, status: Status, output: &str) {
        self.table().set_status(id, status, output);
        self.flush().await;
    }

    /// A check has been critical for as long as its service was willing to put up with: the service
    /// goes. Nothing if either is gone meanwhile, or the check has recovered.
    pub async fn expire(&self, check: &str) {
        let critical = |check: &&LocalCheck| check.spec.status == Status::Critical;
        let service = self
            .table()
            .checks
            .get(check)
            .filter(critical)
            .and_then(|check| check.spec.service_id.clone());
        if let Some(id) = service {
            tracing::warn!(service = %id, check, "critical for too long; deregistering the service");
            self.deregister(&id).await;
        }
    }

    /// Switches maintenance of a service, or of the node, on or off.
    pub async fn maintenance(&self, service: Option<&str>, on: bool, reason: &str) -> Result<(), LocalError> {
        {
            let mut table = self.table();
            if let Some(id) = service.filter(|id| !table.services.contains_key(*id)) {
                return Err(LocalError::NoService(id.to_owned()));
            }
            let (id, name, default) = match service {
                None => (
                    NODE_MAINTENANCE.to_owned(),
                    "Node Maintenance Mode",
                    NO_REASON_NODE,
                ),
                Some(id) => (
                    format!("{SERVICE_MAINTENANCE_PREFIX}{id}"),
                    "Service Maintenance Mode",
                    NO_REASON_SERVICE,
                ),
            };
            let notes = if reason.is_empty() { default } else { reason };
            match on {
                true => table.put_maintenance(&id, name, notes, service),
                false => table.remove_check(&id),
            }
        }
        self.flush().await;
        Ok(())
    }

    /// All services by id.
    pub fn services(&self) -> BTreeMap<Arc<str>, Arc<ServiceSpec>> {
        self.table().services.clone()
    }

    /// One service.
    pub fn service(&self, id: &str) -> Option<Arc<ServiceSpec>> {
        self.table().services.get(id).cloned()
    }

    /// All checks by id.
    pub fn checks(&self) -> BTreeMap<Arc<str>, LocalCheck> {
        self.table().checks.clone()
    }

    /// Compares everything with the catalog and mends what differs.
    pub async fn sync_all(&self) {
        self.inner.sync.whole(&self.inner.table).await;
    }

    async fn flush(&self) {
        self.inner.sync.changed(&self.inner.table).await;
    }

    /// Called while the table is held: in another order than its changes, a check could go on for a
    /// service that is gone.
    fn run_checks(&self, stopped: &[Arc<str>], started: &[Definition]) {
        for id in stopped {
            self.inner.checks.stop(id);
        }
        for definition in started {
            self.inner.checks.start(definition);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        crate::sync::lock(&self.inner.table)
    }
}

/// Gives a service's check the id Consul would: `service:<id>` alone, `service:<id>:<n>` among several.
fn name_check(mut check: Definition, service: &str, n: usize, count: usize) -> Definition {
    if check.id.is_empty() {
        check.id = if count == 1 {
            format!("service:{service}")
        } else {
            format!("service:{service}:{n}")
        }
        .into();
    }
    check
}

#[cfg(test)]
mod tests;
