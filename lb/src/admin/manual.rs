//! Overrides: documents of route commands in the key-value store, shown and replaced as fabio does it. A write says
//! which version it replaces, so that of two people who edit at once the second learns of it.

use std::net::SocketAddr;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::View;
use super::answer::{Answer, json, plain};
use super::guard::Who;
use crate::kv::KvError;

/// A document as fabio's API has it.
#[derive(Debug, Deserialize, Serialize)]
struct Document {
    #[serde(default)]
    value: String,
    /// Consul's ModifyIndex; `0`: there is none.
    #[serde(default)]
    version: String,
}

/// The text and version of a document; empty and `0` where there is none.
pub(super) async fn read(view: &View, sub: &str) -> Result<(String, String), Answer> {
    let kv = view.kv.as_ref().ok_or_else(none)?;
    let entry = kv.get(&key(view, sub)).await.map_err(|error| failed(&error))?;
    Ok(entry.map_or_else(
        || (String::new(), "0".to_owned()),
        |entry| {
            (
                String::from_utf8_lossy(&entry.value).into_owned(),
                entry.index.to_string(),
            )
        },
    ))
}

/// `GET /api/manual[/sub]`.
pub(super) async fn get(view: &View, sub: &str, pretty: bool) -> Answer {
    match read(view, sub).await {
        Ok((value, version)) => json(&Document { value, version }, pretty),
        Err(refused) => refused,
    }
}

/// `PUT /api/manual[/sub]`.
pub(super) async fn put(view: &View, sub: &str, body: &[u8], (who, from): (&Who, SocketAddr)) -> Answer {
    let Some(kv) = &view.kv else { return none() };
    let bad = |problem: String| plain(StatusCode::BAD_REQUEST, problem + "\n");
    let document: Document = match serde_json::from_slice(body) {
        Ok(document) => document,
        Err(error) => return bad(error.to_string()),
    };
    let version = if document.version.is_empty() {
        "0"
    } else {
        &document.version
    };
    let Ok(before) = version.parse::<u64>() else {
        return bad(format!("version {version:?} is no number"));
    };
    let (key, bytes) = (key(view, sub), document.value.len());
    let written = kv.put(&key, document.value.into_bytes(), Some(before)).await;
    // Whoever can change routes can take all traffic: each try leaves a line.
    let outcome = match &written {
        Ok(true) => "written",
        Ok(false) => "version mismatch",
        Err(_) => "failed",
    };
    tracing::info!(%who, %from, ?key, version, bytes, outcome, "override");
    match written {
        Ok(true) => plain(StatusCode::OK, ""),
        Ok(false) => plain(StatusCode::CONFLICT, "version mismatch\n"),
        Err(error) => failed(&error),
    }
}

/// `GET /api/paths`.
pub(super) async fn paths(view: &View, pretty: bool) -> Answer {
    match names(view).await {
        Ok(names) => json(&names, pretty),
        Err(refused) => refused,
    }
}

/// Keys of all documents, without the path that they have in common.
pub(super) async fn names(view: &View) -> Result<Vec<String>, Answer> {
    let base = base(view);
    let entries = view
        .kv
        .as_ref()
        .ok_or_else(none)?
        .list(&base)
        .await
        .map_err(|error| failed(&error))?;
    let name = |key: &str| {
        let rest = key.strip_prefix(&base)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
    };
    Ok(entries.iter().filter_map(|entry| name(&entry.key)).collect())
}

fn none() -> Answer {
    plain(
        StatusCode::NOT_IMPLEMENTED,
        "the source of the routes has no key-value store\n",
    )
}

fn base(view: &View) -> String {
    view.config().kv_path.trim_matches('/').to_owned()
}

/// `sub` is empty or begins with a slash.
fn key(view: &View, sub: &str) -> String {
    base(view) + sub
}

fn failed(error: &KvError) -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}
