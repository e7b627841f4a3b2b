//! A service: asked for as a [`Registration`], recorded as a [`Service`], met as an [`Instance`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::check::{self, Check, Status};
use crate::node::Node;

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
            service: self.service.spec.name.clone(),
            node: self.node.spec.name.clone(),
            id: self.service.spec.id.clone(),
        }
    }
}

/// Orders instances by service, then node, then id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Name of the service.
    pub service: Arc<str>,
    /// Name of the node.
    pub node: Arc<str>,
    /// Id of the service on that node.
    pub id: Arc<str>,
}

/// All instances at one moment. Pictures share what did not change: an unchanged instance is the
/// same `Arc` in the next picture, so a consumer finds the difference by pointer.
pub type Picture = imbl::OrdMap<InstanceKey, Arc<Instance>>;
