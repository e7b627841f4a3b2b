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

/// What keys begin with; a host follows.
const CERT: &str = "cert/";
const CHALLENGE: &str = "challenge/";
const FAILED: &str = "failed/";

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

/// An entry of a list.
pub(super) struct Kept<T> {
    /// `None`: the value is none that we have put there.
    pub(super) value: Option<T>,
    /// To compare with.
    pub(super) index: u64,
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

    /// Every certificate, by host.
    pub(super) async fn certs(&self) -> Result<BTreeMap<String, Kept<Issued>>, KvError> {
        self.list(CERT).await
    }

    /// Takes a certificate off, unless it was replaced meanwhile.
    pub(super) async fn drop_cert(&self, host: &str, index: u64) -> Result<(), KvError> {
        self.delete(CERT, host, Some(index)).await
    }

    /// Takes off challenges that are over, which whoever put them there did not live to do, and notes about orders that
    /// failed for hosts of which nobody has said anything since `long_ago`.
    pub(super) async fn tidy(&self, now: i64, long_ago: i64) -> Result<(), KvError> {
        for (host, kept) in self.list::<Shown>(CHALLENGE).await? {
            if kept.value.is_some_and(|shown| shown.until <= now) {
                self.delete(CHALLENGE, &host, Some(kept.index)).await?;
            }
        }
        for (host, kept) in self.list::<Failed>(FAILED).await? {
            if kept.value.is_some_and(|failed| failed.next <= long_ago) {
                self.delete(FAILED, &host, Some(kept.index)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn put_cert(&self, host: &str, issued: &Issued, mark: &str) -> Result<(), KvError> {
        self.put(&format!("{CERT}{host}"), issued).await?;
        self.put("mark", mark).await
    }

    /// Differs whenever a certificate was put.
    pub(super) async fn mark(&self) -> Result<u64, KvError> {
        let entry = self.kv.get(&self.key("mark")).await?;
        Ok(entry.map_or(0, |entry| entry.index))
    }

    pub(super) async fn failures(&self) -> Result<BTreeMap<String, Failed>, KvError> {
        let listed = self.list(FAILED).await?.into_iter();
        Ok(listed
            .filter_map(|(host, failed)| Some((host, failed.value?)))
            .collect())
    }

    pub(super) async fn put_failure(&self, host: &str, failed: Failed) -> Result<(), KvError> {
        self.put(&format!("{FAILED}{host}"), &failed).await
    }

    pub(super) async fn drop_failure(&self, host: &str) -> Result<(), KvError> {
        self.delete(FAILED, host, None).await
    }

    /// What is to be seen for a host now.
    pub(crate) async fn challenge(&self, host: &str, now: i64) -> Result<Option<Shown>, KvError> {
        let shown: Option<Shown> = self.get(&format!("{CHALLENGE}{host}")).await?;
        Ok(shown.filter(|shown| shown.until > now))
    }

    pub(super) async fn put_challenge(&self, host: &str, shown: &Shown) -> Result<(), KvError> {
        self.put(&format!("{CHALLENGE}{host}"), shown).await
    }

    /// Takes a challenge off, unless another balancer shows one of its own there by now.
    pub(super) async fn drop_challenge(&self, host: &str, shown: &Shown) -> Result<(), KvError> {
        let entry = self.kv.get(&self.key(&format!("{CHALLENGE}{host}"))).await?;
        match entry {
            Some(entry) if entry.value == json(shown)? => {
                self.delete(CHALLENGE, host, Some(entry.index)).await
            }
            _ => Ok(()),
        }
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

    async fn list<T: DeserializeOwned>(&self, name: &str) -> Result<BTreeMap<String, Kept<T>>, KvError> {
        let prefix = self.key(name);
        let entries = self.kv.list(&prefix).await?;
        let named = entries.into_iter().filter_map(|entry| {
            let host = entry.key.strip_prefix(&prefix)?.to_owned();
            let kept = Kept {
                value: serde_json::from_slice(&entry.value).ok(),
                index: entry.index,
            };
            Some((host, kept))
        });
        Ok(named.collect())
    }

    /// That somebody else has changed it meanwhile is fine: it is theirs then.
    async fn delete(&self, kind: &str, host: &str, cas: Option<u64>) -> Result<(), KvError> {
        let key = self.key(&format!("{kind}{host}"));
        self.kv.delete(&key, cas).await.map(drop)
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
