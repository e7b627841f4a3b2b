//! Every way truth may change, and what each change answers.
//!
//! A command holds every fact it needs, so that applying it asks nobody: same state, index and
//! command, same outcome on every server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::check::CheckSpec;
use crate::node::NodeSpec;
use crate::service::ServiceSpec;

/// A change of truth. The only persisted enum: variants are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Record a node, and on it a service and checks. What is left out stays as it is.
    Register(Box<Record>),
    /// Forget a check, a service with its checks, or a whole node. Missing targets are no error.
    Deregister {
        /// Name of the node.
        node: Arc<str>,
        /// What of it; nothing means the node with all it has.
        target: Target,
    },
    /// Change the key-value store.
    Kv(KvCommand),
    /// Forget that keys deleted at or before this index ever existed. Deletions are remembered so
    /// that prefix watches see them; the leader asks for this once they are 15 minutes old.
    ReapTombstones {
        /// Marks up to and including this index go.
        up_to: Index,
    },
}

/// What a registration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The node it is about. With `skip_node_update` only its name counts if it is known.
    pub node: NodeSpec,
    /// Do not touch a node that is known already.
    pub skip_node_update: bool,
    /// A service to add or replace.
    pub service: Option<ServiceSpec>,
    /// Checks to add or replace.
    pub checks: Vec<CheckSpec>,
}

/// What a deregistration removes from a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Everything: the node, its services and its checks.
    Node,
    /// The service of this id and its checks.
    Service(Arc<str>),
    /// The check of this id.
    Check(Arc<str>),
}

/// A change of the key-value store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    /// Write, whatever was there. Replies [`Reply::Done`].
    Set {
        /// Any text.
        key: Arc<str>,
        /// Opaque to us.
        value: Arc<[u8]>,
        /// Opaque to us.
        flags: u64,
    },
    /// Write if the key was last changed at `expected`; 0 means "if it does not exist".
    /// Replies [`Reply::Bool`].
    Cas {
        /// Any text.
        key: Arc<str>,
        /// Opaque to us.
        value: Arc<[u8]>,
        /// Opaque to us.
        flags: u64,
        /// `ModifyIndex` the writer has seen.
        expected: Index,
    },
    /// Remove one key; true also when there was none.
    Delete {
        /// The key.
        key: Arc<str>,
    },
    /// Remove one key if it was last changed at `expected`, or if it does not exist.
    DeleteCas {
        /// The key.
        key: Arc<str>,
        /// `ModifyIndex` the writer has seen.
        expected: Index,
    },
    /// Remove every key that starts with `prefix`.
    DeleteTree {
        /// May be empty: everything.
        prefix: Arc<str>,
    },
}

/// What an accepted command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// Whether a conditional change took place.
    Bool(bool),
}

/// A command that truth does not allow. Nothing was changed; trying again will not help.
/// The texts are Consul's, which clients match on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// Registration without a node name.
    #[error("Must provide node")]
    NoNode,
    /// Registration of a new node without an address.
    #[error("Must provide address if SkipNodeUpdate is not set")]
    NoAddress,
    /// A service without a name.
    #[error("Must provide service name with ID")]
    NoServiceName,
    /// A check for a service that is not on its node.
    #[error("failed inserting check: Missing service registration on node {node:?}")]
    NoService {
        /// The node that lacks it.
        node: Arc<str>,
    },
    /// A node id that another node holds.
    #[error(
        "failed inserting node: Error while renaming Node ID: {id:?}: Node name {name} is reserved by node {holder}"
    )]
    NodeIdTaken {
        /// The id asked for.
        id: String,
        /// Who asked.
        name: Arc<str>,
        /// Who has it.
        holder: Arc<str>,
    },
}
