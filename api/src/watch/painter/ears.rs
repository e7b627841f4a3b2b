//! The two lists that are held, and what they have told since anybody listened.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use catalog::node::fold;
use catalog::{Answer, Check, Index, InstanceKey};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::super::Question;
use super::super::rows::{Change, Rows};
use super::unexplained::Moved;
use crate::client::ClientError;
use crate::wire::check::HealthCheck;

/// Changes that are kept for whoever listens.
const MOST_MOVES: usize = 64;

/// Both lists as last heard.
#[derive(Default)]
pub(in crate::watch) struct Ears {
    checks: List,
    names: List,
    /// Servers that lag may answer the lists, so an index may fall for nothing.
    may_lag: bool,
    /// How many checks of its own the list shows of each instance.
    speaking: BTreeMap<InstanceKey, usize>,
    told: Told,
}

/// A list as last heard.
#[derive(Default)]
struct List {
    rows: Rows,
    at: Index,
    known: bool,
    /// The last question had no answer.
    failing: bool,
}

/// What is said by an answer as a whole.
struct Advance {
    change: Change,
    /// The index of the answer before.
    before: Index,
    /// How many rows that one had.
    rows: usize,
    fell: bool,
    after_failure: bool,
}

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// Services to read again.
    pub(super) services: BTreeSet<Arc<str>>,
    /// Checks of nodes that came, changed or went, in this order.
    pub(super) node_checks: Vec<NodeCheck>,
    /// Some service changed, which the index of the names told.
    pub(super) moves: Vec<Moved>,
    /// There was a time of which nothing was told.
    pub(super) missed: bool,
    /// At these indexes checks changed.
    pub(super) checked_at: BTreeSet<Index>,
    /// The catalog began anew: what it says now does not follow from what it said before.
    pub(super) restarted: bool,
}

/// A check of a node as it is now; `None`: it is gone.
pub(super) struct NodeCheck {
    pub(super) node: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) now: Option<Arc<Check>>,
}

/// Whom a check speaks for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subject {
    node: Arc<str>,
    #[serde(rename = "CheckID")]
    id: Arc<str>,
    #[serde(rename = "ServiceID", default)]
    service_id: Arc<str>,
    #[serde(default)]
    service_name: Arc<str>,
    #[serde(default)]
    create_index: Index,
    #[serde(default)]
    modify_index: Index,
}

impl List {
    /// `None`: it is no list at all.
    fn advance(&mut self, answer: Answer<Bytes>) -> Option<Advance> {
        let rows = self.rows.len();
        let change = self.rows.advance(answer.rows)?;
        self.known = true;
        let before = std::mem::replace(&mut self.at, answer.index);
        Some(Advance {
            change,
            before,
            rows,
            fell: answer.index < before,
            after_failure: std::mem::take(&mut self.failing),
        })
    }
}

impl Advance {
    /// Whether another history is told, as far as the index and how much was `lost` show. An index that fell says so by
    /// itself, but where servers may lag. After a question without an answer, a loss of most says so as well: by then a
    /// catalog that began anew may have passed any index.
    fn restarted(&self, lost: usize, may_lag: bool) -> bool {
        let most = self.rows > 0 && lost * 2 >= self.rows;
        (self.fell && (most || !may_lag)) || (self.after_failure && most)
    }
}

impl Told {
    /// Of very many, it is enough to know that there were some.
    fn moved(&mut self, moved: Moved) {
        match self.moves.len() < MOST_MOVES {
            true => self.moves.push(moved),
            false => self.missed = true,
        }
    }
}

impl Ears {
    pub(in crate::watch) fn new(may_lag: bool) -> Self {
        Self {
            may_lag,
            ..Self::default()
        }
    }

    /// Takes over the next answer to one of the two.
    pub(in crate::watch) fn hear(
        &mut self,
        question: Question,
        answer: Answer<Bytes>,
    ) -> Result<(), ClientError> {
        match question {
            Question::Names => self.names(answer),
            _ => self.checks(answer),
        }
    }

    /// One of the two had no answer that could be read.
    pub(in crate::watch) fn failed(&mut self, question: Question) {
        match question {
            Question::Names => self.names.failing = true,
            _ => self.checks.failing = true,
        }
    }

    /// The checks as they are now.
    fn checks(&mut self, answer: Answer<Bytes>) -> Result<(), ClientError> {
        let (index, first) = (answer.index, !self.checks.known);
        let step = self
            .checks
            .advance(answer)
            .ok_or_else(|| odd("/v1/health/state/any"))?;
        // What is gone may have come back changed, so that goes first. A row that cannot be read harms only itself.
        let mut outcome = Ok(());
        let mut lost = BTreeSet::new();
        for row in &step.change.gone {
            match read::<Subject>("/v1/health/state/any", row) {
                Ok(check) => {
                    lost.insert(check.identity());
                    self.quiet(&check);
                    self.about(check, None);
                }
                Err(error) => outcome = Err(error),
            }
        }
        for row in &step.change.came {
            match arrived(row) {
                Ok((check, now)) => {
                    lost.remove(&check.identity());
                    // In one history, all that is new in a list was written after the list before.
                    let written = 1..=step.before;
                    self.told.restarted |= !step.fell && written.contains(&check.modify_index);
                    if !first {
                        self.told.checked_at.insert(check.modify_index);
                    }
                    if !check.service_id.is_empty() {
                        *self.speaking.entry(check.speaker()).or_default() += 1;
                    }
                    self.about(check, now);
                }
                Err(error) => outcome = Err(error),
            }
        }
        self.told.checked_at.insert(index);
        self.told.restarted |= step.restarted(lost.len(), self.may_lag);
        outcome
    }

    /// The names as they are now. A new index means that some service has changed; so may an old one after a failure.
    fn names(&mut self, answer: Answer<Bytes>) -> Result<(), ClientError> {
        let (index, first) = (answer.index, !self.names.known);
        let step = self
            .names
            .advance(answer)
            .ok_or_else(|| odd("/v1/catalog/services"))?;
        let mut outcome = Ok(());
        let mut sides = [BTreeSet::new(), BTreeSet::new()];
        for (side, rows) in sides.iter_mut().zip([&step.change.gone, &step.change.came]) {
            for row in rows {
                match named(row) {
                    Ok(names) => side.extend(names),
                    Err(error) => outcome = Err(error),
                }
            }
        }
        let [gone, came] = sides;
        self.told.restarted |= step.restarted(gone.difference(&came).count(), self.may_lag);
        self.told.services.extend(gone.into_iter().chain(came));
        // The first answer names everything, so everything is read.
        if !first && step.before != index {
            let after = if step.fell {
                index.saturating_sub(1)
            } else {
                step.before
            };
            self.told.moved(Moved { after, at: index });
        }
        self.told.missed |= !first && step.after_failure;
        outcome
    }

    pub(super) fn know_all(&self) -> bool {
        self.checks.known && self.names.known
    }

    /// How many of the two have no answer at the moment.
    pub(super) fn failing(&self) -> usize {
        usize::from(self.checks.failing) + usize::from(self.names.failing)
    }

    /// Whether the catalog began anew since anybody listened.
    pub(super) fn restarted(&self) -> bool {
        self.told.restarted
    }

    /// Whether the list of checks, while there is one, shows any of this instance. A service goes together with its checks,
    /// so one that seems to have gone alone was asked of a catalog of which the list has not told yet.
    pub(super) fn show(&self, key: &InstanceKey) -> bool {
        !self.checks.failing && self.speaking.contains_key(key)
    }

    pub(super) fn take(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    fn quiet(&mut self, check: &Subject) {
        if let Entry::Occupied(mut count) = self.speaking.entry(check.speaker()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn about(&mut self, check: Subject, now: Option<Arc<Check>>) {
        if check.service_id.is_empty() {
            self.told.node_checks.push(NodeCheck {
                node: check.node,
                id: check.id,
                now,
            });
        } else {
            self.told.services.insert(check.service_name);
        }
    }
}

impl Subject {
    /// The instance it speaks for.
    fn speaker(&self) -> InstanceKey {
        InstanceKey {
            service: fold(&self.service_name),
            node: fold(&self.node),
            id: self.service_id.clone(),
        }
    }

    /// Stays for as long as the check does, whatever it says.
    fn identity(&self) -> (Arc<str>, Arc<str>, Index) {
        (self.node.clone(), self.id.clone(), self.create_index)
    }
}

/// A check that came; itself where it is one of a node.
fn arrived(row: &[u8]) -> Result<(Subject, Option<Arc<Check>>), ClientError> {
    let check: Subject = read("/v1/health/state/any", row)?;
    if !check.service_id.is_empty() {
        return Ok((check, None));
    }
    let whole: HealthCheck = read("/v1/health/state/any", row)?;
    Ok((check, Some(Arc::new(Check::from(whole)))))
}

/// The name in a row of names.
fn named(row: &[u8]) -> Result<impl Iterator<Item = Arc<str>>, ClientError> {
    let names: BTreeMap<Arc<str>, IgnoredAny> = read("/v1/catalog/services", &[b"{", row, b"}"].concat())?;
    Ok(names.into_keys())
}

pub(super) fn read<T: DeserializeOwned>(path: &str, row: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(row).map_err(|source| ClientError::Decode {
        url: path.to_owned(),
        source,
    })
}

/// An answer that is no list at all.
pub(super) fn odd(path: &str) -> ClientError {
    ClientError::Decode {
        url: path.to_owned(),
        source: serde::de::Error::custom("expected a list"),
    }
}
