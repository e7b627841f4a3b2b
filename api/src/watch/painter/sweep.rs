//! The comparison of all versions: finds what changed without showing in a list of names, tags or checks.
//!
//! Asks node by node for what runs there, which is fewer questions than services, and marks the services whose version
//! is not the one that was read. Reads no service itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use catalog::node::fold;
use catalog::{Answer, Index, InstanceKey};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::Question;
use super::super::rows::{Change, Rows};
use super::Painter;
use super::ears::{odd, read};
use crate::client::ClientError;
use crate::wire::service::ServiceVersion;

/// A node as last compared.
pub(super) struct Node {
    /// Of its record.
    version: Index,
    /// `None`: not heard yet.
    services: Option<Rows>,
}

impl Painter<'_> {
    /// Marks what differs. What could not be asked is asked at the next comparison, which then comes soon.
    pub(super) async fn sweep(&mut self, told: &impl Fn(Question, Option<&ClientError>)) {
        let started = Instant::now();
        let whole = match self.config.client.nodes(&self.fresh()).await {
            Ok(nodes) => {
                told(Question::Service, None);
                let nodes = nodes.rows.into_iter();
                self.take_nodes(nodes.map(|node| (node.name, node.modify_index)).collect());
                self.compare(told).await
            }
            Err(error) => {
                told(Question::Service, Some(&error));
                false
            }
        };
        if whole {
            self.unexplained.compared();
        }
        let pause = if whole {
            self.config.slow_sweep
        } else {
            self.config.sweep_gap
        };
        // In a catalog of very many nodes, comparing must not become what this process does all day.
        let rest = started.elapsed() * 20;
        self.sweep_at = Instant::now() + pause.max(rest);
        self.soon_at = Instant::now() + self.config.sweep_gap.max(rest);
    }

    /// Marks what runs, or ran, on a node whose record came, changed or went.
    fn take_nodes(&mut self, now: BTreeMap<Arc<str>, Index>) {
        let mut before = std::mem::take(&mut self.nodes);
        let first = before.is_empty();
        let mut touched = BTreeSet::new();
        for (name, version) in now {
            let known = before.remove(&name);
            if !first && known.as_ref().is_none_or(|known| known.version != version) {
                touched.insert(fold(&name));
            }
            let services = known.and_then(|known| known.services);
            self.nodes.insert(name, Node { version, services });
        }
        touched.extend(before.keys().map(|name| fold(name)));
        let stale = self.versions.keys().filter(|key| touched.contains(&key.node));
        self.stale.extend(stale.map(|key| key.service.clone()));
    }

    /// Whether every node answered.
    async fn compare(&mut self, told: &impl Fn(Question, Option<&ClientError>)) -> bool {
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        let mut waiting = names.into_iter();
        let mut asking = JoinSet::new();
        let mut whole = true;
        loop {
            while asking.len() < self.config.parallel.max(1) {
                let Some(name) = waiting.next() else { break };
                let (client, query) = (self.config.client.clone(), self.fresh());
                asking.spawn(async move {
                    let answer = client.node_text(&name, &query).await;
                    (name, answer)
                });
            }
            let (name, answer) = match asking.join_next().await {
                None => return whole,
                Some(Ok(answered)) => answered,
                Some(Err(lost)) => std::panic::resume_unwind(lost.into_panic()),
            };
            let outcome = answer.and_then(|answer| self.mark_changed(&name, answer));
            whole &= outcome.is_ok();
            told(Question::Service, outcome.as_ref().err());
        }
    }

    fn mark_changed(&mut self, name: &Arc<str>, answer: Answer<Bytes>) -> Result<(), ClientError> {
        let Some(node) = self.nodes.get_mut(name) else {
            return Ok(());
        };
        let first = node.services.is_none();
        let rows = node.services.get_or_insert_with(|| Rows::of_member("Services"));
        let Some(Change { came, gone }) = rows.advance(answer.rows) else {
            return Err(odd("/v1/catalog/node"));
        };
        let node = fold(name);
        // Of a row that changed both texts are here, and the new one counts.
        let mut rows = BTreeMap::new();
        let mut outcome = Ok(());
        let gone = gone.iter().map(|row| (row, false));
        for (row, there) in gone.chain(came.iter().map(|row| (row, true))) {
            match services_in(row) {
                Ok(services) => rows.extend(services.into_values().map(|service| {
                    let key = InstanceKey {
                        service: fold(&service.name),
                        node: node.clone(),
                        id: service.id,
                    };
                    (key, there.then_some(service.modify_index))
                })),
                Err(error) => outcome = Err(error),
            }
        }
        for (key, version) in &rows {
            if self.versions.get(key) != version.as_ref() {
                self.stale.insert(key.service.clone());
            }
        }
        if first {
            let unseen = self
                .versions
                .keys()
                .filter(|key| key.node == node && !rows.contains_key(*key));
            self.stale.extend(unseen.map(|key| key.service.clone()));
        }
        outcome
    }
}

/// The service of a row, by its id.
fn services_in(row: &[u8]) -> Result<BTreeMap<Arc<str>, ServiceVersion>, ClientError> {
    read("/v1/catalog/node", &[b"{", row, b"}"].concat())
}
