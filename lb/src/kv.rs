//! The door to the catalog's key-value store: whoever feeds the balancer brings it.
//!
//! A trait, because there are two stores: the agent's own, and a foreign Consul's over HTTP.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// What a call resolves to.
pub type KvFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KvError>> + Send + 'a>>;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, whole.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// Consul's ModifyIndex; the version to compare with.
    pub index: u64,
}

/// Why the store did not do it. Whether it is worth another try is not known here: all are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key-value store: {0}")]
pub struct KvError(pub String);

/// A key-value store with compare-and-set, as Consul's.
pub trait Kv: Send + Sync + fmt::Debug {
    /// One entry; `None`: there is none.
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>>;
    /// All entries whose keys begin with `prefix`, by key.
    fn list<'a>(&'a self, prefix: &'a str) -> KvFuture<'a, Vec<Entry>>;
    /// Writes where the entry's index still is `cas` (0: where there is none); `None`: in any case. Returns whether
    /// it was written.
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> KvFuture<'a, bool>;
    /// Deletes where the entry's index still is `cas`; `None`: in any case. Returns whether it is gone, which an entry
    /// that was never there is.
    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> KvFuture<'a, bool>;
}
