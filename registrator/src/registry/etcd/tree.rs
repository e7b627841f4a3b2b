//! What can be done with keys, whichever API does it.

use super::fault::Fault;
use super::mark::Holder;
use super::v2::V2;
use super::v3::V3;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) holder: Holder,
    /// Changes with every write.
    pub(super) seen: i64,
}

impl Entry {
    pub(super) fn owner(&self) -> Option<&str> {
        match &self.holder {
            Holder::Us { owner, .. } => Some(owner),
            _ => None,
        }
    }
}

/// The two APIs as one.
pub(super) enum Tree<'a> {
    V2(V2<'a>),
    V3(V3<'a>),
}

impl Tree<'_> {
    /// Everything that begins so, and the revision of v3 that shows it, else 0.
    pub(super) async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, i64), Fault> {
        match self {
            Self::V2(tree) => Ok((tree.list().await?, 0)),
            Self::V3(tree) => tree.list(prefix).await,
        }
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Entry>, Fault> {
        match self {
            Self::V2(tree) => tree.find(key).await,
            Self::V3(tree) => tree.find(key).await,
        }
    }

    pub(super) async fn put(&self, key: &str, value: &str, found: Option<&Entry>) -> Result<(), Fault> {
        match self {
            Self::V2(tree) => tree.put(key, value, found).await,
            Self::V3(tree) => tree.put(key, value, found.map(|found| found.seen)).await,
        }
    }

    pub(super) async fn delete(&self, found: &Entry) -> Result<(), Fault> {
        match self {
            Self::V2(tree) => tree.delete(&found.key, found).await,
            Self::V3(tree) => tree.delete(&found.key, found.seen).await,
        }
    }

    /// Whether it may be read at all; the revision of now, or 0.
    pub(super) async fn probe(&self, prefix: &str) -> Result<i64, Fault> {
        match self {
            Self::V2(tree) => tree.probe().await.map(|()| 0),
            Self::V3(tree) => tree.probe(prefix).await,
        }
    }
}
