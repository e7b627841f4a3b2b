//! A node: a machine that offers services, known by its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;

/// The facts of a node as its owner states them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// UUID text, or empty for a node registered from outside without one.
    pub id: String,
    /// Unique without regard to case; shown as first written.
    pub name: Arc<str>,
    /// IP address or host name.
    pub address: String,
    /// Further addresses by name: `lan`, `wan`, `lan_ipv4`, …
    pub tagged_addresses: BTreeMap<String, String>,
    /// Free key-value pairs.
    pub meta: BTreeMap<String, String>,
}

/// A node as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What its owner said of it.
    pub spec: NodeSpec,
    /// When it was first recorded.
    pub created: Index,
    /// When `spec` last changed.
    pub modified: Index,
}
