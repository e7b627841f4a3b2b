//! The agent's own key-value store, for the balancer.

use std::fmt;

use catalog::Command;
use catalog::command::{KvCommand, Reply};
use lb::{Entry, Kv, KvError, KvFuture};

use crate::store::Store;

/// The store in this process.
pub(super) struct StoreKv {
    store: Store,
}

impl StoreKv {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    async fn write(&self, command: KvCommand) -> Result<bool, KvError> {
        match self.store.propose(&Command::Kv(command)).await {
            Ok(Reply::Bool(done)) => Ok(done),
            Ok(Reply::Done) => Ok(true),
            Err(refused) => Err(KvError(refused.to_string())),
        }
    }
}

impl fmt::Debug for StoreKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKv")
    }
}

impl Kv for StoreKv {
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>> {
        Box::pin(async move { Ok(self.store.read().kv(key).rows.map(|found| entry(&found))) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> KvFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let found = self.store.read().kv_under(prefix).rows;
            Ok(found.iter().map(|found| entry(found)).collect())
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> KvFuture<'a, bool> {
        let (key, value) = (key.into(), value.into());
        Box::pin(self.write(match cas {
            None => KvCommand::Set { key, value, flags: 0 },
            Some(expected) => KvCommand::Cas {
                key,
                value,
                flags: 0,
                expected,
            },
        }))
    }

    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> KvFuture<'a, bool> {
        let key = key.into();
        Box::pin(self.write(match cas {
            None => KvCommand::Delete { key },
            Some(expected) => KvCommand::DeleteCas { key, expected },
        }))
    }
}

fn entry(found: &catalog::kv::Entry) -> Entry {
    Entry {
        key: found.key.to_string(),
        value: found.value.to_vec(),
        index: found.modified,
    }
}
