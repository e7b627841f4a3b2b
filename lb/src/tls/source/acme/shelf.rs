//! Where account and certificates of an authority are kept, for all balancers that share a key-value store.
//!
//! | key | |
//! | --- | --- |
//! | `account` | the account, with its key |
//! | `cert/<host>` | certificate and key |
//! | `challenge/<host>` | what the authority is to see; any balancer may be the one that it asks |
//! | `failed/<host>` | orders that failed |
//! | `lease` | who orders now, and until when |
//! | `mark` | changes with every certificate |

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::mind::Failed;
use crate::kv::{Kv, KvError};

/// A store and a prefix in it; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    kv: Arc<dyn Kv>,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// A certificate that was issued, PEM.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: String,
}

/// What an authority is to see for a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// End of the path that is asked for.
    pub(crate) token: String,
    /// The text there.
    pub(crate) text: String,
    /// SHA-256 of it, for the certificate.
    pub(crate) digest: Vec<u8>,
    /// Until when it is of use, seconds since 1970.
    pub(crate) until: i64,
}

#[derive(Serialize, Deserialize)]
struct Lease {
    holder: String,
    /// Seconds since 1970.
    until: i64,
}

impl Shelf {
    pub(super) fn new(kv: Arc<dyn Kv>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Self { kv, prefix }
    }

    /// Every certificate, and the keys whose values are none.
    pub(super) async fn certs(&self) -> Result<BTreeMap<String, Option<Issued>>, KvError> {
        self.list("cert/").await
    }

    pub(super) async fn put_cert(&self, host: &str, issued: &Issued, mark: &str) -> Result<(), KvError> {
        self.put(&format!("cert/{host}"), issued).await?;
        self.put("mark", mark).await
    }

    /// Differs whenever a certificate was put.
    pub(super) async fn mark(&self) -> Result<u64, KvError> {
        let entry = self.kv.get(&self.key("mark")).await?;
        Ok(entry.map_or(0, |entry| entry.index))
    }

    pub(super) async fn failures(&self) -> Result<BTreeMap<String, Failed>, KvError> {
        let listed = self.list("failed/").await?;
        Ok(listed
            .into_iter()
            .filter_map(|(host, failed)| Some((host, failed?)))
            .collect())
    }

    pub(super) async fn put_failure(&self, host: &str, failed: Failed) -> Result<(), KvError> {
        self.put(&format!("failed/{host}"), &failed).await
    }

    /// What is to be seen for a host now.
    pub(crate) async fn challenge(&self, host: &str, now: i64) -> Result<Option<Shown>, KvError> {
        let shown: Option<Shown> = self.get(&format!("challenge/{host}")).await?;
        Ok(shown.filter(|shown| shown.until > now))
    }

    pub(super) async fn put_challenge(&self, host: &str, shown: &Shown) -> Result<(), KvError> {
        self.put(&format!("challenge/{host}"), shown).await
    }

    pub(super) async fn account(&self) -> Result<Option<serde_json::Value>, KvError> {
        self.get("account").await
    }

    pub(super) async fn put_account(&self, account: &serde_json::Value) -> Result<(), KvError> {
        self.put("account", account).await
    }

    /// Takes the lease, or keeps it. `false`: somebody else has it.
    pub(super) async fn lease(&self, holder: &str, now: i64, until: i64) -> Result<bool, KvError> {
        let key = self.key("lease");
        let entry = self.kv.get(&key).await?;
        let known: Option<Lease> = entry
            .as_ref()
            .and_then(|entry| serde_json::from_slice(&entry.value).ok());
        if known.is_some_and(|lease| lease.holder != holder && lease.until > now) {
            return Ok(false);
        }
        let lease = Lease {
            holder: holder.to_owned(),
            until,
        };
        let cas = entry.map_or(0, |entry| entry.index);
        self.kv.put(&key, json(&lease)?, Some(cas)).await
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, KvError> {
        let entry = self.kv.get(&self.key(name)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    async fn list<T: DeserializeOwned>(&self, name: &str) -> Result<BTreeMap<String, Option<T>>, KvError> {
        let prefix = self.key(name);
        let entries = self.kv.list(&prefix).await?;
        let named = entries.into_iter().filter_map(|entry| {
            let host = entry.key.strip_prefix(&prefix)?.to_owned();
            Some((host, serde_json::from_slice(&entry.value).ok()))
        });
        Ok(named.collect())
    }

    async fn put<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), KvError> {
        let written = self.kv.put(&self.key(name), json(value)?, None).await?;
        written
            .then_some(())
            .ok_or_else(|| KvError(format!("{name} was not written")))
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, KvError> {
    serde_json::to_vec(value).map_err(|error| KvError(error.to_string()))
}
