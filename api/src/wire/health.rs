//! Health answers: an instance with its checks, and the agent's verdict on its own services.

use std::sync::Arc;

use catalog::{Check, Instance};
use serde::{Deserialize, Serialize};

use super::check::{AgentCheck, HealthCheck};
use super::node::Node;
use super::null_is_default;
use super::service::{AgentService, NodeService};

/// One row of `health/service/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthEntry {
    /// Where it runs.
    pub node: Node,
    /// What it is.
    pub service: NodeService,
    /// Checks of the node, then of the service.
    #[serde(default, deserialize_with = "null_is_default")]
    pub checks: Vec<HealthCheck>,
}

impl HealthEntry {
    /// How an instance in `datacenter` is shown.
    #[must_use]
    pub fn of(instance: &Instance, datacenter: &str) -> Self {
        Self {
            node: Node::of(&instance.node, datacenter),
            service: NodeService::from(&*instance.service),
            checks: instance
                .checks
                .iter()
                .map(|check| HealthCheck::from(&**check))
                .collect(),
        }
    }
}

impl From<HealthEntry> for Instance {
    fn from(entry: HealthEntry) -> Self {
        let mut checks: Vec<Check> = entry.checks.into_iter().map(Check::from).collect();
        // The node's before the service's, each by id: the order of the catalog, whoever was asked.
        checks.sort_by(|a, b| {
            let key = |check: &Check| (check.spec.service_id.is_some(), check.spec.id.clone());
            key(a).cmp(&key(b))
        });
        Self {
            node: Arc::new(entry.node.into()),
            service: Arc::new(entry.service.into()),
            checks: checks.into_iter().map(Arc::new).collect(),
        }
    }
}

/// The answer of `agent/health/service/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentHealth {
    /// `passing`, `warning`, `critical` or `maintenance`.
    pub aggregated_status: String,
    /// `null` when there is no such service.
    pub service: Option<AgentService>,
    /// `null` when there is no such service.
    pub checks: Option<Vec<AgentCheck>>,
}
