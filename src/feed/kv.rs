//! A foreign Consul's key-value store, for the balancer: overrides are written to it, ACME keeps its things in it.

use std::sync::Arc;

use api::client::{Client, Consistency, Query};
use api::wire::kv::Pair;
use lb::{Entry, Kv, KvError};

/// The store behind an agent's HTTP API.
#[derive(Clone, Debug)]
pub struct ConsulKv {
    client: Client,
}

impl ConsulKv {
    /// Asks and writes through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// What is compared and then set must not be read from a server that lags behind.
    fn query() -> Query {
        Query {
            consistency: Consistency::Consistent,
            ..Query::default()
        }
    }
}

impl Kv for ConsulKv {
    fn get<'a>(&'a self, key: &'a str) -> lb::KvFuture<'a, Option<Entry>> {
        Box::pin(async move {
            let answer = self
                .client
                .kv_get(key, &Self::query())
                .await
                .map_err(|error| failed(&error))?;
            Ok(answer.rows.as_ref().map(entry))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> lb::KvFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let answer = self
                .client
                .kv_list(prefix, &Self::query())
                .await
                .map_err(|error| failed(&error))?;
            Ok(answer.rows.iter().map(entry).collect())
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> lb::KvFuture<'a, bool> {
        Box::pin(async move {
            self.client
                .kv_put(key, value, 0, cas)
                .await
                .map_err(|error| failed(&error))
        })
    }

    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> lb::KvFuture<'a, bool> {
        Box::pin(async move {
            let deleted = self.client.kv_delete(key, cas).await;
            deleted.map_err(|error| failed(&error))
        })
    }
}

fn entry(pair: &Pair) -> Entry {
    Entry {
        key: pair.key.to_string(),
        value: pair.value.to_vec(),
        index: pair.modify_index,
    }
}

fn failed(error: &api::ClientError) -> KvError {
    KvError(error.to_string())
}

/// As the balancer takes it.
pub fn door(client: Client) -> Arc<dyn Kv> {
    Arc::new(ConsulKv::new(client))
}
