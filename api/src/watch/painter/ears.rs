//! The two lists that are held, and what they have told since anybody listened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use catalog::{Check, Index};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::super::rows::Rows;
use crate::client::ClientError;
use crate::wire::check::HealthCheck;

/// Both lists as last heard.
#[derive(Default)]
pub(in crate::watch) struct Ears {
    checks: Rows,
    names: Rows,
    know_checks: bool,
    know_names: bool,
    checks_at: Index,
    names_at: Index,
    told: Told,
}

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// Services to read again.
    pub(super) services: BTreeSet<Arc<str>>,
    /// Checks of nodes that came, changed or went, in this order.
    pub(super) node_checks: Vec<NodeCheck>,
    /// Some service changed, last at this index.
    pub(super) changed_at: Option<Index>,
    /// The catalog began anew: its index fell, and most of what it had told is gone.
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
}

impl Ears {
    /// The checks as they are now.
    pub(in crate::watch) fn checks(&mut self, index: Index, body: Bytes) -> Result<(), ClientError> {
        let rows = self.checks.len();
        let change = self
            .checks
            .advance(body)
            .ok_or_else(|| odd("/v1/health/state/any"))?;
        self.know_checks = true;
        let before = std::mem::replace(&mut self.checks_at, index);
        self.told.restarted |= index < before && change.gone.len() * 2 >= rows;
        // What is gone may have come back changed, so that goes first. A row that cannot be read harms only itself.
        let mut outcome = Ok(());
        for row in &change.gone {
            match read("/v1/health/state/any", row) {
                Ok(check) => self.about(check, None),
                Err(error) => outcome = Err(error),
            }
        }
        for row in &change.came {
            match arrived(row) {
                Ok((check, now)) => self.about(check, now),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// The names as they are now. A new index means that some service has changed.
    pub(in crate::watch) fn names(&mut self, index: Index, body: Bytes) -> Result<(), ClientError> {
        let rows = self.names.len();
        let change = self
            .names
            .advance(body)
            .ok_or_else(|| odd("/v1/catalog/services"))?;
        let mut outcome = Ok(());
        for row in change.came.iter().chain(&change.gone) {
            match named(row) {
                Ok(names) => self.told.services.extend(names),
                Err(error) => outcome = Err(error),
            }
        }
        // The first answer names everything, so everything is read.
        let before = std::mem::replace(&mut self.names_at, index);
        let moved = before != index;
        self.told.restarted |= index < before && change.gone.len() * 2 >= rows;
        if std::mem::replace(&mut self.know_names, true) && moved {
            self.told.changed_at = Some(index);
        }
        outcome
    }

    pub(super) fn know_all(&self) -> bool {
        self.know_checks && self.know_names
    }

    pub(super) fn take(&mut self) -> Told {
        std::mem::take(&mut self.told)
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
