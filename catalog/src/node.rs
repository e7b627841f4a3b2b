//! A node: a machine that offers services, known by its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::command::Refused;
use crate::state::{Answer, Change, State, on_node};
use crate::topic::Topic;

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

/// Names of nodes and services are compared without regard to case, so tables are keyed by this.
#[must_use]
pub fn fold(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

impl State {
    /// All nodes, ordered by name without regard to case.
    #[must_use]
    pub fn nodes(&self) -> Answer<Vec<Arc<Node>>> {
        Answer {
            index: self.nodes_index,
            rows: self.nodes.values().cloned().collect(),
        }
    }

    /// One node; its index moves with its record and its services. Without it, the index is that of
    /// the last change to any node's record: whoever waited for this one hears that it is gone.
    #[must_use]
    pub fn node(&self, name: &str) -> Answer<Option<Arc<Node>>> {
        let name = fold(name);
        let rows = self.nodes.get(&name).cloned();
        let index = rows
            .as_ref()
            .and_then(|_| self.node_index.get(&name).copied())
            .unwrap_or(self.nodes_index);
        Answer { index, rows }
    }

    /// Consul's rules for what a registration must say of a node.
    pub(crate) fn allow_node(&self, spec: &NodeSpec, skip_update: bool) -> Result<(), Refused> {
        if spec.name.is_empty() {
            return Err(Refused::NoNode);
        }
        let name = fold(&spec.name);
        if spec.address.is_empty() && !(skip_update && self.nodes.contains_key(&name)) {
            return Err(Refused::NoAddress);
        }
        let same_id = |node: &&Arc<Node>| !spec.id.is_empty() && node.spec.id == spec.id;
        match self.nodes.values().find(same_id) {
            Some(holder) if fold(&holder.spec.name) != name => Err(Refused::NodeIdTaken {
                id: spec.id.clone(),
                name: spec.name.clone(),
                holder: holder.spec.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Adds or replaces a node's record. Saying the same again changes nothing.
    pub(crate) fn put_node(&mut self, change: &mut Change, spec: &NodeSpec, skip_update: bool) {
        let name = fold(&spec.name);
        let before = self.nodes.get(&name);
        if before.is_some_and(|known| skip_update || known.spec == *spec) {
            return;
        }
        let created = before.map_or(change.index, |known| known.created);
        let node = Node {
            spec: spec.clone(),
            created,
            modified: change.index,
        };
        self.nodes.insert(name.clone(), Arc::new(node));
        self.touch_node(change, &name);
        self.touch_all_on(change, &name);
    }

    /// Removes a node with all it has; no error when it is not there.
    pub(crate) fn remove_node(&mut self, change: &mut Change, name: &Arc<str>) {
        if !self.nodes.contains_key(name) {
            return;
        }
        let services: Vec<_> = on_node(&self.services, name)
            .map(|service| service.spec.id.clone())
            .collect();
        for id in services {
            self.remove_service(change, name, &id);
        }
        let checks: Vec<_> = on_node(&self.checks, name)
            .map(|check| check.spec.id.clone())
            .collect();
        for id in checks {
            self.remove_check(change, name, &id);
        }
        self.nodes.remove(name);
        self.touch_node(change, name);
        self.node_index.remove(name);
    }

    fn touch_node(&mut self, change: &mut Change, name: &Arc<str>) {
        self.nodes_index = change.index;
        self.node_index.insert(name.clone(), change.index);
        change.touched.insert(Topic::Node(name.clone()));
        change.touched.insert(Topic::OnNode(name.clone()));
    }

    /// Something every service of the node is judged by has changed.
    pub(crate) fn touch_all_on(&mut self, change: &mut Change, node: &Arc<str>) {
        let services: Vec<_> = on_node(&self.services, node).cloned().collect();
        for service in services {
            self.touch_health(change, &service.spec.name);
            change.stale.insert((node.clone(), service.spec.id.clone()));
        }
    }
}
