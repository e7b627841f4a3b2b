//! The key-value store: an entry, its flags, and what becomes of prefixes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::command::{KvCommand, Reply};
use crate::state::{Answer, Change, State};
use crate::topic::Topic;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Any text.
    pub key: Arc<str>,
    /// Opaque to us; at most 512 KiB over HTTP.
    pub value: Arc<[u8]>,
    /// Opaque to us.
    pub flags: u64,
    /// How often a lock on it was taken.
    pub lock_index: Index,
    /// When it was first written; fixed for life.
    pub created: Index,
    /// When it last changed.
    pub modified: Index,
}

impl State {
    /// One key. Without it, the index is that of the last change to any key.
    #[must_use]
    pub fn kv(&self, key: &str) -> Answer<Option<Arc<Entry>>> {
        let rows = self.kv.get(key).cloned();
        let index = rows.as_ref().map_or(self.kv_index, |entry| entry.modified);
        Answer { index, rows }
    }

    /// Keys with a prefix, in order. The index is the latest change or remembered deletion among
    /// them; of the whole table where the prefix is empty or nothing is known under it.
    #[must_use]
    pub fn kv_under(&self, prefix: &str) -> Answer<Vec<Arc<Entry>>> {
        let rows: Vec<_> = under(&self.kv, prefix).map(|(_, entry)| entry.clone()).collect();
        let changed = rows.iter().map(|entry| entry.modified);
        let deleted = under(&self.tombstones, prefix).map(|(_, index)| *index);
        let index = match changed.chain(deleted).max() {
            Some(index) if !prefix.is_empty() => index,
            _ => self.kv_index,
        };
        Answer { index, rows }
    }

    /// Whether any deletion at or before `up_to` is still remembered.
    #[must_use]
    pub fn buried(&self, up_to: Index) -> bool {
        self.tombstones.values().any(|at| *at <= up_to)
    }

    pub(crate) fn apply_kv(&mut self, change: &mut Change, command: &KvCommand) -> Reply {
        match command {
            KvCommand::Set { key, value, flags } => {
                self.put_key(change, key, value, *flags);
                Reply::Done
            }
            KvCommand::Cas {
                key,
                value,
                flags,
                expected,
            } => {
                let fits = self.modified(key) == *expected;
                if fits {
                    self.put_key(change, key, value, *flags);
                }
                Reply::Bool(fits)
            }
            KvCommand::Delete { key } => {
                self.remove_key(change, key);
                Reply::Bool(true)
            }
            KvCommand::DeleteCas { key, expected } => {
                let modified = self.modified(key);
                let fits = modified == 0 || modified == *expected;
                if fits {
                    self.remove_key(change, key);
                }
                Reply::Bool(fits)
            }
            KvCommand::DeleteTree { prefix } => {
                self.remove_tree(change, prefix);
                Reply::Bool(true)
            }
        }
    }

    /// Deletions at or before `up_to` need not be remembered any longer.
    pub(crate) fn reap_tombstones(&mut self, up_to: Index) {
        self.tombstones = self
            .tombstones
            .iter()
            .filter(|(_, at)| **at > up_to)
            .map(|(k, v)| (k.clone(), *v))
            .collect();
    }

    /// `ModifyIndex` of a key; 0 without it, which is what compare-and-set calls "not there".
    fn modified(&self, key: &str) -> Index {
        self.kv.get(key).map_or(0, |entry| entry.modified)
    }

    fn put_key(&mut self, change: &mut Change, key: &Arc<str>, value: &Arc<[u8]>, flags: u64) {
        let before = self.kv.get(key);
        if before.is_some_and(|known| known.value == *value && known.flags == flags) {
            return;
        }
        let entry = Entry {
            key: key.clone(),
            value: value.clone(),
            flags,
            lock_index: before.map_or(0, |known| known.lock_index),
            created: before.map_or(change.index, |known| known.created),
            modified: change.index,
        };
        self.kv.insert(key.clone(), Arc::new(entry));
        self.kv_index = change.index;
        change.touched.insert(Topic::Key(key.clone()));
    }

    fn remove_key(&mut self, change: &mut Change, key: &Arc<str>) {
        if self.kv.remove(key).is_some() {
            self.bury(change, key);
            change.touched.insert(Topic::Key(key.clone()));
        }
    }

    fn remove_tree(&mut self, change: &mut Change, prefix: &Arc<str>) {
        let keys: Vec<_> = under(&self.kv, prefix).map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            self.kv.remove(&key);
            self.bury(change, &key);
        }
        change.touched.insert(Topic::Tree(prefix.clone()));
    }

    fn bury(&mut self, change: &Change, key: &Arc<str>) {
        self.kv_index = change.index;
        self.tombstones.insert(key.clone(), change.index);
    }
}

/// Rows whose key starts with `prefix`, in order.
fn under<'a, T: Clone>(
    map: &'a imbl::OrdMap<Arc<str>, T>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a T)> {
    map.range(Arc::<str>::from(prefix)..)
        .take_while(move |(key, _)| key.starts_with(prefix))
}
