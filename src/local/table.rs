//! The local table itself: what is vouched for, and what has not reached the catalog yet. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::check::{CheckSpec, Definition, Probe};
use catalog::{ServiceSpec, Status};

/// A check with the definition it is run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCheck {
    /// What the catalog is told.
    pub spec: CheckSpec,
    /// How it is run; `None` for maintenance, which nobody runs.
    pub definition: Option<Definition>,
}

/// Everything this agent vouches for.
#[derive(Debug, Default)]
pub struct Table {
    /// By id.
    pub services: BTreeMap<Arc<str>, Arc<ServiceSpec>>,
    /// By id.
    pub checks: BTreeMap<Arc<str>, LocalCheck>,
    /// Ids of services that changed or went since the last sync.
    pub stale_services: BTreeSet<Arc<str>>,
    /// Ids of checks that changed or went since the last sync.
    pub stale_checks: BTreeSet<Arc<str>>,
    /// Ids of checks by the service they speak for.
    by_service: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Table {
    /// Adds or replaces a service.
    pub fn put_service(&mut self, service: ServiceSpec) {
        self.stale_services.insert(service.id.clone());
        self.services.insert(service.id.clone(), Arc::new(service));
    }

    /// False when there was none.
    pub fn remove_service(&mut self, id: &str) -> bool {
        let Some((id, _)) = self.services.remove_entry(id) else {
            return false;
        };
        self.stale_services.insert(id);
        true
    }

    /// Adds or replaces a check. One that is known keeps its status, unless its status is told with
    /// the registration.
    pub fn put_check(&mut self, definition: Definition, service: Option<&str>) {
        let id = definition.id.clone();
        let told = matches!(definition.probe, Probe::Container);
        let (status, output) = match self.checks.get(&id).filter(|_| !told) {
            Some(known) => (known.spec.status, known.spec.output.clone()),
            None => (
                definition.initial.unwrap_or(Status::Critical),
                definition.output.clone(),
            ),
        };
        let spec = CheckSpec {
            id,
            name: self.name_of(&definition, service),
            status,
            notes: definition.notes.clone(),
            output,
            service_id: service.map(Into::into),
            kind: definition.probe.kind().to_owned(),
        };
        self.insert_check(LocalCheck {
            spec,
            definition: Some(definition),
        });
    }

    /// Adds or replaces a check that holds traffic off.
    pub fn put_maintenance(&mut self, id: &str, name: &str, notes: &str, service: Option<&str>) {
        let spec = CheckSpec {
            id: id.into(),
            name: name.to_owned(),
            status: Status::Critical,
            notes: notes.to_owned(),
            output: String::new(),
            service_id: service.map(Into::into),
            kind: "maintenance".to_owned(),
        };
        self.insert_check(LocalCheck {
            spec,
            definition: None,
        });
    }

    /// No error when there is none.
    pub fn remove_check(&mut self, id: &str) {
        let Some((id, check)) = self.checks.remove_entry(id) else {
            return;
        };
        self.unlist(&id, &check);
        self.stale_checks.insert(id);
    }

    /// Records a result. Only what changed becomes stale, so steady checks keep the catalog silent.
    ///
    /// A mere change of words waits for the next whole comparison (Consul: five minutes), because
    /// bodies with a clock in them would wake every watcher at every run; but the first words are
    /// told at once, so that nobody looks at a critical check without a reason.
    pub fn set_status(&mut self, id: &str, status: Status, output: &str) {
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        let urgent = check.spec.status != status || check.spec.output.is_empty() != output.is_empty();
        check.spec.status = status;
        output.clone_into(&mut check.spec.output);
        if urgent {
            self.stale_checks.insert(check.spec.id.clone());
        }
    }

    /// Ids of the checks that speak for one service.
    pub fn checks_of(&self, service: &str) -> Vec<Arc<str>> {
        self.by_service
            .get(service)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Everything is to be compared with the catalog again.
    pub fn touch_all(&mut self) {
        self.stale_services.extend(self.services.keys().cloned());
        self.stale_checks.extend(self.checks.keys().cloned());
    }

    fn insert_check(&mut self, check: LocalCheck) {
        let id = check.spec.id.clone();
        if let Some(old) = self.checks.remove(&id) {
            self.unlist(&id, &old);
        }
        if let Some(service) = &check.spec.service_id {
            self.by_service
                .entry(service.clone())
                .or_default()
                .insert(id.clone());
        }
        self.stale_checks.insert(id.clone());
        self.checks.insert(id, check);
    }

    fn unlist(&mut self, id: &Arc<str>, check: &LocalCheck) {
        let Some(service) = &check.spec.service_id else {
            return;
        };
        let Some(ids) = self.by_service.get_mut(service) else {
            return;
        };
        ids.remove(id);
        if ids.is_empty() {
            self.by_service.remove(service);
        }
    }

    fn name_of(&self, definition: &Definition, service: Option<&str>) -> String {
        match service.and_then(|id| self.services.get(id)) {
            Some(service) if definition.name.is_empty() => format!("Service '{}' check", service.name),
            _ if definition.name.is_empty() => definition.id.to_string(),
            _ => definition.name.clone(),
        }
    }
}
