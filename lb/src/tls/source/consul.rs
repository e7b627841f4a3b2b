//! PEM files in a Consul's key-value store, over its HTTP API: held questions, so that a change is seen at once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::Deserialize;

use super::NotRead;
use super::files::{Files, MAX_ALL};
use crate::fetch::{Fetcher, Limits, header, refuse_unless_ok};

/// How long a question may be held; Consul adds a sixteenth of it.
const HOLD: Duration = Duration::from_secs(300);

/// Where the files are: an address that lists everything below a prefix, and who asks.
#[derive(Debug)]
pub(super) struct Place {
    url: String,
    prefix: String,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    value: Option<String>,
}

impl Place {
    /// Out of `http(s)://agent/v1/kv/<prefix>[?token=…]`; other parts of the query are passed on.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let prefix = match base.split_once("/v1/kv/") {
            Some((agent, prefix)) if crate::fetch::url_of(agent).is_ok() && !prefix.is_empty() => prefix,
            Some((agent, _)) if crate::fetch::url_of(agent).is_ok() => {
                return Err("missing prefix: /v1/kv/".to_owned());
            }
            _ => {
                return Err("invalid url: it is http://<agent>:8500/v1/kv/<prefix>?token=<token>".to_owned());
            }
        };
        let mut token = None;
        let mut url = format!("{base}?recurse=true&consistent=true");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("token", value)) => {
                    token = Some(
                        percent_encoding::percent_decode_str(value)
                            .decode_utf8_lossy()
                            .into_owned(),
                    );
                }
                Some(("index" | "wait" | "recurse" | "raw" | "keys" | "consistent" | "stale", _)) => {}
                _ => url = format!("{url}&{pair}"),
            }
        }
        Ok(Self {
            url,
            prefix: percent_encoding::percent_decode_str(prefix)
                .decode_utf8_lossy()
                .into_owned(),
            token,
        })
    }

    /// Everything below the prefix and its index, once that is no longer `index` (0: now).
    pub(super) async fn read(
        &self,
        fetcher: &Fetcher,
        index: u64,
        extra: &[(hyper::header::HeaderName, hyper::header::HeaderValue)],
    ) -> Result<(Files, u64), NotRead> {
        let mut headers = extra.to_vec();
        if let Some(token) = &self.token {
            headers.push(header("x-consul-token", token)?);
        }
        let (url, time) = match index {
            0 => (self.url.clone(), super::PATIENCE),
            _ => (
                format!("{}&index={index}&wait={}s", self.url, HOLD.as_secs()),
                HOLD + HOLD / 16 + super::PATIENCE,
            ),
        };
        // Values are a third longer in base64, with some JSON around each.
        let size = MAX_ALL / 2 * 3;
        let answer = fetcher.ask(&url, &headers, Limits { time, size }).await?;
        let next = answer.headers().get("x-consul-index");
        let next = next
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        // An index that went back, or none, means that the next question is not to be held by the old one.
        let next = if next < index { 0 } else { next };
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok((Files::new(), next));
        }
        let answer = refuse_unless_ok(&url, answer)?;
        let entries: Vec<Entry> = serde_json::from_slice(answer.body())
            .map_err(|error| NotRead::Answer(format!("{} is no list of keys: {error}", self.prefix)))?;
        let files = entries.into_iter().map(|entry| {
            let name = entry.key.strip_prefix(&self.prefix).unwrap_or(&entry.key);
            let name = name.trim_start_matches('/');
            // The prefix may be a whole key, or end within a name.
            let name = if name.is_empty() { &entry.key } else { name };
            let text = STANDARD
                .decode(entry.value.unwrap_or_default())
                .map_err(|error| format!("its value is no base64: {error}"));
            (name.to_owned(), text)
        });
        Ok((files.collect(), next))
    }
}
