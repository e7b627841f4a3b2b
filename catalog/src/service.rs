//! A service: asked for as a [`Registration`], recorded as a [`Service`], met as an [`Instance`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::check::{self, Check, Status};
use crate::command::Refused;
use crate::node::{Node, fold};
use crate::state::{Answer, Change, State, on_node};
use crate::topic::Topic;

/// Meta key: full id of the container behind a service. Marks entries that a registrator owns.
pub const META_CONTAINER: &str = "lictor-container";
/// Meta key: who registered it, so that two registrators never touch each other's entries.
pub const META_OWNER: &str = "lictor-owner";
/// Meta key: service name before any port suffix (image basename or `SERVICE_NAME`).
/// With [`META_PORT`] it lets `nginx-80.<node>` find a service registered as plain `nginx`.
pub const META_BASE: &str = "lictor-base";
/// Meta key: port inside the container, decimal. Only noted for TCP ports that other machines may reach.
pub const META_PORT: &str = "lictor-port";

/// An address and port under which a service can be reached, beside its main one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// TCP or UDP port.
    pub port: u16,
}

/// Share of traffic that DNS clients should send, by health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// 1 to 65535; default 1.
    pub passing: u16,
    /// 0 to 65535; default 1.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

/// The facts of a service as its owner states them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique on its node.
    pub id: Arc<str>,
    /// What it is looked up by; many instances share it.
    pub name: Arc<str>,
    /// Consul's `Kind`; empty for an ordinary service.
    pub kind: String,
    /// In the order given.
    pub tags: Vec<String>,
    /// Free key-value pairs.
    pub meta: BTreeMap<String, String>,
    /// 0 when it has none.
    pub port: u16,
    /// IP address or host name; empty means the node's.
    pub address: String,
    /// Further addresses by name: `lan_ipv4`, `wan`, …
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// For DNS clients.
    pub weights: Weights,
    /// Lets tags changed in the catalog flow back to the agent.
    pub enable_tag_override: bool,
}

/// What somebody asks an agent to vouch for: a service and the checks it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The service.
    pub service: ServiceSpec,
    /// Its checks, each run or listened for by the agent.
    pub checks: Vec<check::Definition>,
}

/// A service as recorded on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What its owner said of it.
    pub spec: ServiceSpec,
    /// When it was first recorded.
    pub created: Index,
    /// When `spec` last changed.
    pub modified: Index,
}

/// A node with its services, ordered by id.
pub type NodeServices = (Arc<Node>, Vec<Arc<Service>>);

/// One place where a service can be had, with everything known of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// What it is.
    pub service: Arc<Service>,
    /// Checks of the node, then of the service; each ordered by id.
    pub checks: Vec<Arc<Check>>,
}

impl Instance {
    /// Worst of all its checks; passing when there is none.
    #[must_use]
    pub fn status(&self) -> Status {
        check::worst(self.checks.iter().map(|check| check.spec.status))
    }

    /// Address of the service, or of its node where the service names none.
    #[must_use]
    pub fn address(&self) -> &str {
        let own = &self.service.spec.address;
        if own.is_empty() {
            &self.node.spec.address
        } else {
            own
        }
    }

    /// The key under which a [`Picture`] holds this instance.
    #[must_use]
    pub fn key(&self) -> InstanceKey {
        InstanceKey {
            service: fold(&self.service.spec.name),
            node: fold(&self.node.spec.name),
            id: self.service.spec.id.clone(),
        }
    }
}

/// Orders instances by service, then node, then id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Name of the service, in lower case: lookups are blind to case.
    pub service: Arc<str>,
    /// Name of the node, in lower case.
    pub node: Arc<str>,
    /// Id of the service on that node.
    pub id: Arc<str>,
}

/// All instances at one moment. Pictures share what did not change: an unchanged instance is the
/// same `Arc` in the next picture, so a consumer finds the difference by pointer.
pub type Picture = imbl::OrdMap<InstanceKey, Arc<Instance>>;

/// The instances of one service, its name in lower case.
pub fn within<'a>(
    picture: &'a Picture,
    service: &'a Arc<str>,
) -> impl Iterator<Item = (&'a InstanceKey, &'a Arc<Instance>)> {
    let first = InstanceKey {
        service: service.clone(),
        node: "".into(),
        id: "".into(),
    };
    picture
        .range(first..)
        .take_while(move |(key, _)| key.service == *service)
}

impl State {
    /// Instances of a service on all nodes, ordered by node and id. Its index moves with its own
    /// instances, their checks, and their nodes' checks and records, never for another service.
    #[must_use]
    pub fn instances_of(&self, service: &str) -> Answer<Vec<Arc<Instance>>> {
        let name = fold(service);
        let rows = within(&self.picture, &name)
            .map(|(_, instance)| instance.clone())
            .collect();
        // A name without instances moves when any service vanishes: its own last instance may have.
        let missing = if self.services_gone > 0 {
            self.services_gone
        } else {
            self.services_index
        };
        let index = self.service_index.get(&name).copied().unwrap_or(missing);
        Answer { index, rows }
    }

    /// Names of all services with the union of their instances' tags.
    #[must_use]
    pub fn services(&self) -> Answer<BTreeMap<Arc<str>, BTreeSet<String>>> {
        let mut rows = BTreeMap::<Arc<str>, BTreeSet<String>>::new();
        for service in self.services.values() {
            let tags = rows.entry(service.spec.name.clone()).or_default();
            tags.extend(service.spec.tags.iter().cloned());
        }
        Answer {
            index: self.services_index,
            rows,
        }
    }

    /// A node with its services ordered by id; `None` when there is no such node.
    #[must_use]
    pub fn services_on(&self, node: &str) -> Answer<Option<NodeServices>> {
        let Answer { index, rows } = self.node(node);
        let rows = rows.map(|found| (found, on_node(&self.services, &fold(node)).cloned().collect()));
        Answer { index, rows }
    }

    /// One service of one node.
    #[must_use]
    pub fn service_at(&self, node: &str, id: &Arc<str>) -> Option<&Arc<Service>> {
        self.services.get(&(fold(node), id.clone()))
    }

    /// Every instance there is.
    #[must_use]
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Adds or replaces a service on a node that exists. Saying the same again changes nothing.
    pub(crate) fn put_service(&mut self, change: &mut Change, node: &Arc<str>, spec: &ServiceSpec) {
        let key = (node.clone(), spec.id.clone());
        let before = self.services.get(&key).cloned();
        if before.as_ref().is_some_and(|known| known.spec == *spec) {
            return;
        }
        let created = before.as_ref().map_or(change.index, |known| known.created);
        let service = Service {
            spec: spec.clone(),
            created,
            modified: change.index,
        };
        self.services.insert(key.clone(), Arc::new(service));
        if let Some(before) = before.filter(|before| fold(&before.spec.name) != fold(&spec.name)) {
            self.drop_instance(change, node, &before.spec);
        }
        self.touch_service(change, node, &spec.name);
        change.stale.insert(key);
        self.retell_checks(change, node, spec);
    }

    /// Removes a service and its checks; no error when it is not there.
    pub(crate) fn remove_service(&mut self, change: &mut Change, node: &Arc<str>, id: &Arc<str>) {
        let Some(service) = self.services.remove(&(node.clone(), id.clone())) else {
            return;
        };
        for check in self.checks_of_service(node, id) {
            self.remove_check(change, node, &check);
        }
        self.touch_service(change, node, &service.spec.name);
        self.drop_instance(change, node, &service.spec);
        change.stale.remove(&(node.clone(), id.clone()));
    }

    /// Consul's rules for what a registration must say of a service.
    pub(crate) fn allow_service(spec: &ServiceSpec) -> Result<(), Refused> {
        if spec.name.is_empty() {
            Err(Refused::NoServiceName)
        } else {
            Ok(())
        }
    }

    /// Moves the indexes that cover a service and notes who may be waiting.
    fn touch_service(&mut self, change: &mut Change, node: &Arc<str>, name: &str) {
        self.services_index = change.index;
        self.node_index.insert(node.clone(), change.index);
        change.touched.insert(Topic::Services);
        change.touched.insert(Topic::OnNode(node.clone()));
        self.touch_health(change, name);
    }

    /// Moves the index of one service: its instances or their health changed.
    pub(crate) fn touch_health(&mut self, change: &mut Change, name: &str) {
        let name = fold(name);
        self.service_index.insert(name.clone(), change.index);
        change.touched.insert(Topic::Service(name));
    }

    /// Takes an instance out of the picture; the last one of its name takes the name's index along.
    fn drop_instance(&mut self, change: &mut Change, node: &Arc<str>, spec: &ServiceSpec) {
        let name = fold(&spec.name);
        let key = InstanceKey {
            service: name.clone(),
            node: node.clone(),
            id: spec.id.clone(),
        };
        self.picture.remove(&key);
        self.touch_health(change, &name);
        if within(&self.picture, &name).next().is_none() {
            self.service_index.remove(&name);
            self.services_gone = change.index;
            self.spell(&name);
        }
    }

    /// Puts what the tables say of a service into the picture.
    pub(crate) fn draw_instance(&mut self, node: &Arc<str>, id: &Arc<str>) {
        let (Some(record), Some(service)) = (
            self.nodes.get(node),
            self.services.get(&(node.clone(), id.clone())),
        ) else {
            return;
        };
        let of = |id: Option<&Arc<str>>| {
            let id = id.cloned();
            on_node(&self.checks, node)
                .filter(move |check| check.spec.service_id == id)
                .cloned()
        };
        let checks = of(None).chain(of(Some(id))).collect();
        let instance = Instance {
            node: record.clone(),
            service: service.clone(),
            checks,
        };
        let key = instance.key();
        let name = key.service.clone();
        self.picture.insert(key, Arc::new(instance));
        self.spell(&name);
    }
}
