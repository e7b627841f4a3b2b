//! A key with its value as KV answers show it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::Index;
use catalog::kv::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One key-value pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pair {
    /// How often a lock on it was taken.
    #[serde(default)]
    pub lock_index: Index,
    /// Any text.
    pub key: Arc<str>,
    /// Opaque.
    #[serde(default)]
    pub flags: u64,
    /// Base64 on the wire; `null` when empty.
    #[serde(
        default = "nothing",
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    pub value: Arc<[u8]>,
    /// Who holds the lock, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When it was first written.
    #[serde(default)]
    pub create_index: Index,
    /// When it last changed.
    #[serde(default)]
    pub modify_index: Index,
}

impl From<&Entry> for Pair {
    fn from(entry: &Entry) -> Self {
        Self {
            lock_index: entry.lock_index,
            key: entry.key.clone(),
            flags: entry.flags,
            value: entry.value.clone(),
            session: None,
            create_index: entry.created,
            modify_index: entry.modified,
        }
    }
}

fn nothing() -> Arc<[u8]> {
    Arc::from([])
}

fn to_base64<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() {
        serializer.serialize_none()
    } else {
        serializer.serialize_str(&STANDARD.encode(value))
    }
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD
        .decode(text)
        .map(Arc::from)
        .map_err(serde::de::Error::custom)
}
