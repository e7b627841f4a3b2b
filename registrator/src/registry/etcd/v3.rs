//! v3, through the gateway that every server has beside gRPC: JSON, keys and values in base64, numbers of 64 bits as
//! strings, what is zero left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::auth::{Credentials, Pass, Passes};
use super::endpoints::{Ask, Endpoints, MAX_ANSWER, Reply, said};
use super::fault::Fault;
use super::mark::Marks;
use super::tree::Entry;
use crate::registry::Error;

/// The gateway of one cluster, for the time of one request.
#[derive(Clone, Copy)]
pub(super) struct V3<'a> {
    pub(super) endpoints: &'a Endpoints,
    pub(super) prefix: &'static str,
    pub(super) user: Option<&'a Credentials>,
    pub(super) passes: &'a Passes,
    pub(super) marks: &'a Marks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Range {
    header: Header,
    kvs: Vec<Pair>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    revision: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pair {
    key: String,
    value: String,
    lease: Number,
    mod_revision: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Txn {
    succeeded: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Token {
    token: String,
}

/// One message of an answer that lasts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Streamed<T> {
    result: T,
    error: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kept {
    #[serde(rename = "TTL")]
    ttl: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Watched {
    created: bool,
    canceled: bool,
    cancel_reason: String,
    events: Vec<Event>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    kv: Pair,
}

/// A number of 64 bits, which JSON has as a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
struct Number(i64);

impl TryFrom<Value> for Number {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        number.map(Self).ok_or_else(|| format!("{value} is no number"))
    }
}

impl V3<'_> {
    /// Everything whose key begins so, and the revision that shows it.
    pub(super) async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, i64), Fault> {
        let question = json!({"key": coded(prefix), "range_end": coded(&end_of(prefix))});
        self.range(&question).await
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Entry>, Fault> {
        Ok(self.range(&json!({"key": coded(key)})).await?.0.pop())
    }

    /// Whether it may be read at all; the revision of now.
    pub(super) async fn probe(&self, prefix: &str) -> Result<i64, Fault> {
        let question = json!({
            "key": coded(prefix), "range_end": coded(&end_of(prefix)), "limit": "1", "keys_only": true
        });
        self.range(&question).await.map(|(_, revision)| revision)
    }

    async fn range(&self, question: &Value) -> Result<(Vec<Entry>, i64), Fault> {
        let answer: Range = self.call("kv/range", question).await?;
        let entries = answer.kvs.iter().filter_map(|pair| self.entry(pair));
        Ok((entries.collect(), answer.header.revision.0))
    }

    /// Keys and values that are no text are none of ours.
    fn entry(&self, pair: &Pair) -> Option<Entry> {
        Some(Entry {
            key: decoded(&pair.key)?,
            value: decoded(&pair.value)?,
            holder: self.marks.of_lease(pair.lease.0),
            seen: pair.mod_revision.0,
        })
    }

    /// Writes a key that is as it was `seen`, or is not there. A lease that has run out is asked for again.
    pub(super) async fn put(&self, key: &str, value: &str, seen: Option<i64>) -> Result<(), Fault> {
        let lease = self.marks.lease().to_string();
        let put = json!({"request_put": {"key": coded(key), "value": coded(value), "lease": lease}});
        match self.change(key, seen, &put).await {
            Err(Fault::NoLease) => {
                self.grant().await?;
                self.change(key, seen, &put).await
            }
            outcome => outcome,
        }
    }

    pub(super) async fn delete(&self, key: &str, seen: i64) -> Result<(), Fault> {
        let delete = json!({"request_delete_range": {"key": coded(key)}});
        self.change(key, Some(seen), &delete).await
    }

    async fn change(&self, key: &str, seen: Option<i64>, request: &Value) -> Result<(), Fault> {
        let seen = seen.unwrap_or_default().to_string();
        let transaction = json!({
            "compare": [{"key": coded(key), "target": "MOD", "result": "EQUAL", "mod_revision": seen}],
            "success": [request],
        });
        let answer: Txn = self.call("kv/txn", &transaction).await?;
        if answer.succeeded {
            Ok(())
        } else {
            Err(Fault::overtaken(key))
        }
    }

    async fn grant(&self) -> Result<(), Fault> {
        let wanted = json!({"ID": self.marks.lease().to_string(), "TTL": self.marks.seconds().to_string()});
        match self.call::<Value>("lease/grant", &wanted).await {
            // Somebody else of us was faster.
            Ok(_) | Err(Fault::LeaseThere) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Renews the lease, and with it every key of ours. `false` if there is none any more: the keys are gone with it.
    pub(super) async fn keep(&self) -> Result<bool, Fault> {
        let lease = json!({"ID": self.marks.lease().to_string()});
        let kept: Streamed<Kept> = self.call("lease/keepalive", &lease).await?;
        match refusal(StatusCode::OK, &kept.error) {
            None => Ok(kept.result.ttl.0 > 0),
            Some(fault) => Err(fault),
        }
    }

    /// Hears of keys that begin so when they are removed, or were after this revision.
    pub(super) async fn watch(&self, prefix: &str, after: i64) -> Result<Watch, Fault> {
        let question = json!({"create_request": {
            "key": coded(prefix), "range_end": coded(&end_of(prefix)), "filters": ["NOPUT"],
            "start_revision": (after + 1).to_string(),
        }});
        let pass = self.pass(None).await?;
        let ask = Ask::json(format!("{}/watch", self.prefix), &question).authorized(pass);
        let answer = self.endpoints.hold(&ask).await?;
        Ok(Watch {
            answer,
            unread: Vec::new(),
        })
    }

    /// One request; once more with a fresh token where the server has forgotten ours.
    async fn call<T: DeserializeOwned>(&self, verb: &str, body: &Value) -> Result<T, Fault> {
        let pass = self.pass(None).await?;
        match self.once(verb, body, pass.clone()).await {
            Err(Fault::Pass(_)) if self.user.is_some() => {
                let fresh = self.pass(Some(&pass)).await?;
                self.once(verb, body, fresh).await
            }
            outcome => outcome,
        }
    }

    async fn once<T: DeserializeOwned>(&self, verb: &str, body: &Value, pass: Pass) -> Result<T, Fault> {
        let ask = Ask::json(format!("{}/{verb}", self.prefix), body).authorized(pass);
        read(&self.endpoints.send(&ask).await?)
    }

    async fn pass(&self, spent: Option<&Pass>) -> Result<Pass, Fault> {
        match self.user {
            Some(user) => self.passes.get(spent, self.login(user)).await,
            None => Ok(None),
        }
    }

    async fn login(&self, user: &Credentials) -> Result<Pass, Fault> {
        let question = json!({"name": user.user, "password": user.password});
        match self.once::<Token>("auth/authenticate", &question, None).await {
            Ok(answer) => {
                let token = HeaderValue::from_str(&answer.token);
                let mut token =
                    token.map_err(|_| Fault::refused("its token has characters that no header may have"))?;
                token.set_sensitive(true);
                Ok(Some(token))
            }
            // Whoever may come in without a word need not show one.
            Err(Fault::AuthOff) => Ok(None),
            Err(Fault::Failed(Error::Refused(why))) => {
                Err(Fault::refused(&format!("user {:?}: {why}", user.user)))
            }
            Err(fault) => Err(fault),
        }
    }
}

/// Removals, as they happen.
pub(super) struct Watch {
    answer: Response<Incoming>,
    unread: Vec<u8>,
}

impl Watch {
    /// The keys removed next; empty when the watch has begun.
    ///
    /// # Errors
    /// The server ended it, or went away.
    pub(super) async fn next(&mut self) -> Result<Vec<String>, Fault> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return removed(&line);
            }
            if self.unread.len() > MAX_ANSWER {
                return Err(Fault::gone("an answer without an end"));
            }
            match self.answer.frame().await {
                Some(Ok(frame)) => self.unread.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(Fault::gone(&error.to_string())),
                None => return Err(Fault::gone("the server ended the watch")),
            }
        }
    }
}

fn removed(line: &[u8]) -> Result<Vec<String>, Fault> {
    let message: Streamed<Watched> = serde_json::from_slice(line).map_err(|_| unreadable(line))?;
    if let Some(fault) = refusal(StatusCode::OK, &message.error) {
        return Err(fault);
    }
    let Watched {
        canceled, created, ..
    } = message.result;
    if canceled {
        return Err(Fault::refused(&message.result.cancel_reason));
    }
    let keys = message
        .result
        .events
        .iter()
        .filter_map(|event| decoded(&event.kv.key));
    Ok(if created { Vec::new() } else { keys.collect() })
}

fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Fault> {
    if reply.status.is_success() {
        return serde_json::from_slice(&reply.body).map_err(|_| unreadable(&reply.body));
    }
    let error: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Err(
        refusal(reply.status, &error).unwrap_or_else(|| match reply.status {
            StatusCode::NOT_FOUND => Fault::NoApi,
            status => Fault::refused(&format!("{status} {}", said(&reply.body))),
        }),
    )
}

fn unreadable(answer: &[u8]) -> Fault {
    Fault::refused(&format!("an answer that is none of a gateway: {}", said(answer)))
}

/// What the server's words mean; `None` where it said nothing.
fn refusal(status: StatusCode, error: &Value) -> Option<Fault> {
    let inner = error.get("error").unwrap_or(error);
    let words = error
        .get("message")
        .or_else(|| inner.get("message"))
        .unwrap_or(inner)
        .as_str()?;
    let says = |text| words.contains(text);
    Some(if says("requested lease not found") {
        Fault::NoLease
    } else if says("lease already exists") {
        Fault::LeaseThere
    } else if says("authentication is not enabled") {
        Fault::AuthOff
    } else if status == StatusCode::UNAUTHORIZED
        || says("user name is empty")
        || says("revision of auth store is old")
    {
        Fault::Pass(words.to_owned())
    } else {
        Fault::refused(words)
    })
}

fn coded(text: &str) -> String {
    STANDARD.encode(text)
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// The first key behind all that begin so: a prefix of ours ends in a slash.
fn end_of(prefix: &str) -> String {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    format!("{bare}0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn numbers_come_as_strings_and_zero_does_not_come_at_all() {
        let body = r#"{"header":{"revision":"2"},"kvs":[{"key":"L3MvYQ==","mod_revision":"2","value":"eA==","lease":"4611686018427387001"},{"key":"L3MvYg=="}],"count":"2"}"#;
        let range: Range = read(&reply(200, body)).unwrap();
        assert_eq!(range.kvs[0].lease, Number(4_611_686_018_427_387_001));
        assert_eq!(range.kvs[1].lease, Number(0));
        assert_eq!(decoded(&range.kvs[1].value).as_deref(), Some(""));
        let kept: Streamed<Kept> = read(&reply(200, "{\"result\":{\"ID\":\"77\"}}\n\n")).unwrap();
        assert_eq!(kept.result.ttl, Number(0));
    }

    #[test]
    fn what_a_server_says_no_to_is_told_apart() {
        let fault = |status, body: &str| read::<Value>(&reply(status, body)).unwrap_err();
        let says = |words: &str| {
            format!(r#"{{"error":"etcdserver: {words}","message":"etcdserver: {words}","code":5}}"#)
        };
        assert!(matches!(
            fault(404, &says("requested lease not found")),
            Fault::NoLease
        ));
        assert!(matches!(
            fault(412, &says("lease already exists")),
            Fault::LeaseThere
        ));
        assert!(matches!(
            fault(412, &says("authentication is not enabled")),
            Fault::AuthOff
        ));
        assert!(matches!(fault(401, &says("invalid auth token")), Fault::Pass(_)));
        assert!(matches!(fault(400, &says("user name is empty")), Fault::Pass(_)));
        assert!(matches!(
            fault(403, &says("permission denied")),
            Fault::Failed(Error::Refused(_))
        ));
        // Since 3.5 without the second copy of the words.
        let newer = r#"{"code":5,"message":"etcdserver: requested lease not found","details":[]}"#;
        assert!(matches!(fault(404, newer), Fault::NoLease));
        assert!(matches!(fault(404, "404 page not found"), Fault::NoApi));
        assert!(matches!(fault(400, "<html>"), Fault::Failed(Error::Refused(_))));
        let streamed =
            r#"{"error":{"grpc_code":16,"http_code":401,"message":"etcdserver: invalid auth token"}}"#;
        let streamed: Streamed<Kept> = serde_json::from_str(streamed).unwrap();
        assert!(refusal(StatusCode::OK, &streamed.error).is_some());
    }

    #[test]
    fn a_watch_tells_its_begin_its_removals_and_its_end() {
        let begun = r#"{"result":{"header":{"revision":"2"},"created":true}}"#;
        assert_eq!(removed(begun.as_bytes()).unwrap(), Vec::<String>::new());
        let gone = r#"{"result":{"events":[{"type":"DELETE","kv":{"key":"L3MvYQ==","mod_revision":"3"}}]}}"#;
        assert_eq!(removed(gone.as_bytes()).unwrap(), ["/s/a"]);
        let refused = r#"{"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"permission denied"}}"#;
        assert!(removed(refused.as_bytes()).is_err());
        assert!(removed(b"nonsense\n").is_err());
    }

    #[test]
    fn a_prefix_ends_before_the_first_key_that_does_not_begin_so() {
        assert_eq!(end_of("/services/"), "/services0");
        assert_eq!(end_of("/"), "0");
        assert!("/services/\u{10ffff}" < "/services0" && "/services-b" < "/services/");
    }
}
