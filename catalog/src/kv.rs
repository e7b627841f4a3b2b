//! The key-value store: an entry, its flags, and what becomes of prefixes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Index;

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
