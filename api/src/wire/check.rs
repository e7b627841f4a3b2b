//! A check in its two shapes: in the catalog, and on the agent that runs it.

use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CheckSpec, Definition};
use catalog::{Check, Index, Status, duration};
use serde::{Deserialize, Deserializer, Serialize};

use super::null_is_default;
use super::service::Nothing;

/// A check as catalog and health routes show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheck {
    /// Name of its node.
    pub node: Arc<str>,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub id: Arc<str>,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Anything but Consul's three words reads as critical: an odd entry must not get traffic.
    #[serde(default = "critical", deserialize_with = "status")]
    pub status: Status,
    /// For people.
    #[serde(default)]
    pub notes: String,
    /// What the last run said.
    #[serde(default)]
    pub output: String,
    /// Empty for a check of the node.
    #[serde(rename = "ServiceID", default)]
    pub service_id: Arc<str>,
    /// Empty for a check of the node.
    #[serde(default)]
    pub service_name: Arc<str>,
    /// `[]` when there are none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, `ttl`, …; may be empty.
    #[serde(rename = "Type", default)]
    pub kind: String,
    #[serde(skip_deserializing)]
    definition: Nothing,
    /// When it was first recorded.
    #[serde(default)]
    pub create_index: Index,
    /// When it last changed.
    #[serde(default)]
    pub modify_index: Index,
}

impl From<&Check> for HealthCheck {
    fn from(check: &Check) -> Self {
        Self {
            create_index: check.created,
            modify_index: check.modified,
            ..Self::shown(&check.spec, &check.node, &check.service_name, &check.service_tags)
        }
    }
}

impl HealthCheck {
    fn shown(spec: &CheckSpec, node: &Arc<str>, service_name: &Arc<str>, service_tags: &[String]) -> Self {
        Self {
            node: node.clone(),
            id: spec.id.clone(),
            name: spec.name.clone(),
            status: spec.status,
            notes: spec.notes.clone(),
            output: spec.output.clone(),
            service_id: spec.service_id.clone().unwrap_or_default(),
            service_name: service_name.clone(),
            service_tags: service_tags.to_vec(),
            kind: spec.kind.clone(),
            definition: Nothing::default(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

impl From<HealthCheck> for Check {
    fn from(check: HealthCheck) -> Self {
        Self {
            node: check.node,
            spec: CheckSpec {
                id: check.id,
                name: check.name,
                status: check.status,
                notes: check.notes,
                output: check.output,
                service_id: (!check.service_id.is_empty()).then_some(check.service_id),
                kind: check.kind,
            },
            service_name: check.service_name,
            service_tags: check.service_tags,
            created: check.create_index,
            modified: check.modify_index,
        }
    }
}

/// A check as the agent that runs it shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentCheck {
    /// What the catalog shows too; the indexes are 0 here.
    #[serde(flatten)]
    pub check: HealthCheck,
    /// From one run to the next; empty where nothing runs.
    #[serde(default)]
    pub interval: String,
    /// After which a run counts as failed; empty where nothing runs.
    #[serde(default)]
    pub timeout: String,
    #[serde(default)]
    exposed_port: u16,
}

impl AgentCheck {
    /// How the agent on `node` shows a check of the service of this name and tags; both are empty
    /// for a check of the node. `definition` is `None` for checks that nobody runs.
    #[must_use]
    pub fn of(
        node: &Arc<str>,
        spec: &CheckSpec,
        definition: Option<&Definition>,
        (service_name, service_tags): (&Arc<str>, &[String]),
    ) -> Self {
        let pace = definition.and_then(|definition| definition.probe.pace());
        let text = |time: Option<Duration>| time.map(duration::format).unwrap_or_default();
        Self {
            check: HealthCheck::shown(spec, node, service_name, service_tags),
            interval: text(pace.map(|(interval, _)| interval)),
            timeout: text(pace.map(|(_, timeout)| timeout)),
            exposed_port: 0,
        }
    }
}

fn critical() -> Status {
    Status::Critical
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(word.parse().unwrap_or(Status::Critical))
}
