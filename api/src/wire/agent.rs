//! What an agent says of itself and of its peers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::null_is_default;

/// `agent/self`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentSelf {
    /// Who it is.
    pub config: AgentConfig,
    /// How it was told to run; a free object.
    pub debug_config: Value,
    /// Itself as a member.
    pub member: Member,
    /// Groups of numbers, all written as text.
    #[serde(deserialize_with = "null_is_default")]
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
    /// Free key-value pairs of the node.
    #[serde(deserialize_with = "null_is_default")]
    pub meta: BTreeMap<String, String>,
}

/// The part of `agent/self` that clients read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentConfig {
    /// Where it is.
    pub datacenter: String,
    /// The datacenter that leads the others; ours.
    pub primary_datacenter: String,
    /// Name of the node.
    pub node_name: String,
    /// UUID of the node.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Commit it was built from.
    pub revision: String,
    /// Whether it holds the catalog itself.
    pub server: bool,
    /// The Consul version it behaves as.
    pub version: String,
}

/// One row of `agent/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Name of the node.
    pub name: String,
    /// Gossip address.
    pub addr: String,
    /// Gossip port.
    pub port: u16,
    /// `role`, `dc`, `id`, `build`, …
    #[serde(deserialize_with = "null_is_default")]
    pub tags: BTreeMap<String, String>,
    /// 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
    /// Gossip protocol: lowest understood.
    pub protocol_min: u8,
    /// Gossip protocol: highest understood.
    pub protocol_max: u8,
    /// Gossip protocol: spoken.
    pub protocol_cur: u8,
    /// Same for what rides on gossip.
    pub delegate_min: u8,
    /// Same for what rides on gossip.
    pub delegate_max: u8,
    /// Same for what rides on gossip.
    pub delegate_cur: u8,
}
