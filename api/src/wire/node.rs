//! A node as catalog and health answers show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Index;
use catalog::node::NodeSpec;
use serde::{Deserialize, Serialize};

use super::{null_if_empty, null_is_default};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID, or empty.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    #[serde(rename = "Node")]
    pub name: Arc<str>,
    /// IP address or host name.
    pub address: String,
    /// Where it is.
    pub datacenter: String,
    /// `null` when there are none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// `null` when there is none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub meta: BTreeMap<String, String>,
    /// When it was first recorded.
    pub create_index: Index,
    /// When it last changed.
    pub modify_index: Index,
}

impl Node {
    /// How `node` of `datacenter` is shown.
    #[must_use]
    pub fn of(node: &catalog::Node, datacenter: &str) -> Self {
        Self {
            id: node.spec.id.clone(),
            name: node.spec.name.clone(),
            address: node.spec.address.clone(),
            datacenter: datacenter.to_owned(),
            tagged_addresses: node.spec.tagged_addresses.clone(),
            meta: node.spec.meta.clone(),
            create_index: node.created,
            modify_index: node.modified,
        }
    }
}

impl From<Node> for catalog::Node {
    fn from(node: Node) -> Self {
        Self {
            spec: NodeSpec {
                id: node.id,
                name: node.name,
                address: node.address,
                tagged_addresses: node.tagged_addresses,
                meta: node.meta,
            },
            created: node.create_index,
            modified: node.modify_index,
        }
    }
}
