//! The tables, and the one function by which they change.
//!
//! `apply` dispatches to the rules beside each noun, stamps indexes and collects what was touched.
//! A refused command leaves the state as it was: every rule is checked before the first write.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::Index;
use crate::check::Check;
use crate::command::{Command, Record, Refused, Reply, Target};
use crate::kv::Entry;
use crate::node::{Node, fold};
use crate::service::{Picture, Service};
use crate::topic::Topic;

/// A name in lower case, and an id on that node.
pub(crate) type OnNode = (Arc<str>, Arc<str>);

/// Everything that is true at one index. Cloning shares every table with the original.
#[derive(Clone, Debug, Default)]
pub struct State {
    index: Index,
    pub(crate) nodes: OrdMap<Arc<str>, Arc<Node>>,
    pub(crate) services: OrdMap<OnNode, Arc<Service>>,
    pub(crate) checks: OrdMap<OnNode, Arc<Check>>,
    /// Derived from the three tables above, instance by instance, so that readers share it.
    pub(crate) picture: Picture,
    pub(crate) kv: OrdMap<Arc<str>, Arc<Entry>>,
    /// When a key was deleted; reaped after a while.
    pub(crate) tombstones: OrdMap<Arc<str>, Index>,

    pub(crate) nodes_index: Index,
    pub(crate) services_index: Index,
    /// When the last instance of any service went.
    pub(crate) services_gone: Index,
    pub(crate) checks_index: Index,
    pub(crate) kv_index: Index,
    /// Per service name in lower case; only names with instances.
    pub(crate) service_index: OrdMap<Arc<str>, Index>,
    /// Services whose names DNS cannot spell: how it does, and their names in lower case.
    pub(crate) spelled: OrdSet<(Arc<str>, Arc<str>)>,
    /// Per node name in lower case: its record and its services.
    pub(crate) node_index: OrdMap<Arc<str>, Index>,
}

/// Rows as an answer to a question, with the index after which to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// Moves only when `rows` may have changed.
    pub index: Index,
    /// The answer itself.
    pub rows: T,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For whoever proposed it.
    pub reply: Result<Reply, Refused>,
    /// For whoever waits; empty when nothing changed.
    pub touched: Vec<Topic>,
}

/// One application in progress.
pub(crate) struct Change {
    pub(crate) index: Index,
    pub(crate) touched: BTreeSet<Topic>,
    /// Instances to draw again once all tables are right.
    pub(crate) stale: BTreeSet<OnNode>,
}

impl State {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The only way truth changes: same index and command, same outcome, on every server.
    /// `index` must be greater than any index applied before.
    pub fn apply(&mut self, index: Index, command: &Command) -> Applied {
        debug_assert!(index > self.index, "indexes are applied in order");
        self.index = index;
        let mut change = Change {
            index,
            touched: BTreeSet::new(),
            stale: BTreeSet::new(),
        };
        let reply = self.dispatch(&mut change, command);
        for (node, id) in std::mem::take(&mut change.stale) {
            self.draw_instance(&node, &id);
        }
        Applied {
            reply,
            touched: change.touched.into_iter().collect(),
        }
    }

    /// Index of the last command applied.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    fn dispatch(&mut self, change: &mut Change, command: &Command) -> Result<Reply, Refused> {
        match command {
            Command::Register(record) => self.register(change, record),
            Command::Deregister { node, target } => {
                let node = fold(node);
                match target {
                    Target::Node => self.remove_node(change, &node),
                    Target::Service(id) => self.remove_service(change, &node, id),
                    Target::Check(id) => self.remove_check(change, &node, id),
                }
                Ok(Reply::Done)
            }
            Command::Kv(command) => Ok(self.apply_kv(change, command)),
            Command::ReapTombstones { up_to } => {
                self.reap_tombstones(*up_to);
                Ok(Reply::Done)
            }
        }
    }

    fn register(&mut self, change: &mut Change, record: &Record) -> Result<Reply, Refused> {
        let name = fold(&record.node.name);
        self.allow_node(&record.node, record.skip_node_update)?;
        if let Some(service) = &record.service {
            Self::allow_service(service)?;
        }
        for check in &record.checks {
            self.allow_check(&name, check, record.service.as_ref())?;
        }
        self.put_node(change, &record.node, record.skip_node_update);
        if let Some(service) = &record.service {
            self.put_service(change, &name, service);
        }
        for check in &record.checks {
            self.put_check(change, &name, check);
        }
        Ok(Reply::Done)
    }
}

/// Rows of one node, by id. `node` is in lower case.
pub(crate) fn on_node<'a, T: Clone>(
    table: &'a OrdMap<OnNode, T>,
    node: &'a Arc<str>,
) -> impl Iterator<Item = &'a T> {
    let from = (node.clone(), Arc::<str>::from(""));
    table
        .range(from..)
        .take_while(move |((on, _), _)| on == node)
        .map(|(_, row)| row)
}
