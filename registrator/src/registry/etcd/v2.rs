//! v2, `/v2/keys`: what the original writes and its readers read. Lifetimes belong to keys, rights to a password.
//!
//! A name that begins with an underscore is in no listing and wakes nobody who watches what is above it: marks are kept
//! in `<path>/_lictor/<owner>/<entry>`. One is written before its key, with the same value, and removed after it. So a
//! crash, a lifetime that ends or a race leaves at worst a mark of another value beside that of who has the key.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::auth::Credentials;
use super::endpoints::{Ask, Endpoints, Reply, said};
use super::fault::Fault;
use super::keys::Shelf;
use super::mark::{Holder, Marks};
use super::tree::Entry;

/// The folder of marks, below the path of the registry.
const MARKS: &str = "_lictor";
/// A key that nobody ever writes.
const NEVER: &str = "_lictor/_none";
/// What is not there.
const NOT_FOUND: i64 = 100;
/// What is not as it was said to be: another value or index, or there already.
const COMPARED: [i64; 2] = [101, 105];
/// What stays as it is in a path or a form.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// `/v2/keys` of one cluster, for the time of one request.
#[derive(Clone, Copy)]
pub(super) struct V2<'a> {
    pub(super) endpoints: &'a Endpoints,
    pub(super) shelf: &'a Shelf,
    pub(super) refreshes: bool,
    pub(super) user: Option<&'a Credentials>,
    pub(super) marks: &'a Marks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    node: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    key: String,
    value: String,
    dir: bool,
    ttl: Option<i64>,
    modified_index: i64,
    nodes: Vec<Node>,
}

impl Node {
    /// Every key below, folders left out.
    fn leaves(self, into: &mut Vec<Self>) {
        if self.dir {
            self.nodes.into_iter().for_each(|node| node.leaves(into));
        } else {
            into.push(self);
        }
    }
}

/// What an owner has said of an entry before it wrote it.
#[derive(Clone, Debug)]
struct Mark {
    owner: String,
    /// What the entry was to say.
    value: String,
    /// Grows with the time of writing.
    written: i64,
}

impl Mark {
    fn of(owner: &str, node: &Node) -> Self {
        Self {
            owner: owner.to_owned(),
            value: node.value.clone(),
            written: node.modified_index,
        }
    }
}

/// Whose an entry with this value is: of several marks those of another value were left where a key ended by itself or
/// was removed by hand, or where somebody else was faster; else the last counts.
fn holder<'a>(marks: &'a [Mark], value: &str) -> Option<&'a str> {
    let last = marks
        .iter()
        .max_by_key(|mark| (mark.value == value, mark.written));
    last.map(|mark| mark.owner.as_str())
}

impl V2<'_> {
    /// Everything below the path, with whose it is.
    pub(super) async fn list(&self) -> Result<Vec<Entry>, Fault> {
        let below = self.below(&self.shelf.prefix()).await?;
        let marks = if below.is_empty() {
            BTreeMap::new()
        } else {
            self.marked().await?
        };
        let entry = |node: Node| {
            let of_it = marks.get(self.shelf.entry(&node.key)?);
            Some(self.entry(node, of_it.map_or(&[], Vec::as_slice)))
        };
        Ok(below.into_iter().filter_map(entry).collect())
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let Some(node) = self.get(key, "quorum=true").await? else {
            return Ok(None);
        };
        if node.dir {
            return Err(Fault::refused(&format!("{key} is a folder of keys")));
        }
        let name = self.shelf.entry(key).unwrap_or_default();
        let us = self.marks.owner();
        let own = self.get(&self.mark(us, name), "quorum=true").await?;
        // The common case; others' marks are looked for only where ours leaves a doubt.
        if let Some(own) = own.filter(|own| own.value == node.value) {
            return Ok(Some(self.entry(node, &[Mark::of(us, &own)])));
        }
        let marks = self.marked().await?.remove(name).unwrap_or_default();
        Ok(Some(self.entry(node, &marks)))
    }

    fn entry(&self, node: Node, marks: &[Mark]) -> Entry {
        let holder = holder(marks, &node.value);
        let holder = holder.map(|owner| self.marks.of_owner(owner, node.ttl.is_some()));
        Entry {
            holder: holder.unwrap_or(Holder::Nobody),
            key: node.key,
            value: node.value,
            seen: node.modified_index,
        }
    }

    /// Whether it may be read at all, and is there to be read.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        self.get(&self.shelf.prefix(), "").await.map(drop)
    }

    /// Writes a key that is as it was found, or is not there.
    pub(super) async fn put(&self, key: &str, value: &str, found: Option<&Entry>) -> Result<(), Fault> {
        let name = self.shelf.entry(key).unwrap_or_default();
        let before = found.and_then(Entry::owner);
        let own = self.mark(self.marks.owner(), name);
        self.set(&own, &format!("value={}", plain(value))).await?;
        let condition = match found {
            Some(found) => format!("prevIndex={}", found.seen),
            None => "prevExist=false".to_owned(),
        };
        let fields = format!("value={}{}&{condition}", plain(value), self.lifetime());
        self.set(key, &fields).await?;
        match before.filter(|owner| *owner != self.marks.owner()) {
            Some(former) => self.remove(&self.mark(former, name), "").await,
            None => Ok(()),
        }
    }

    pub(super) async fn delete(&self, key: &str, found: &Entry) -> Result<(), Fault> {
        self.remove(key, &format!("prevIndex={}", found.seen)).await?;
        let name = self.shelf.entry(key).unwrap_or_default();
        match found.owner() {
            Some(owner) => self.remove(&self.mark(owner, name), "").await,
            None => Ok(()),
        }
    }

    /// Lets one key live on if it still has our value; `false` if it has not. Nobody who watches it is woken.
    pub(super) async fn keep(&self, key: &str, value: &str) -> Result<bool, Fault> {
        let value = plain(value);
        let means = if self.refreshes {
            "refresh=true".to_owned()
        } else {
            format!("value={value}")
        };
        let fields = format!("{means}{}&prevValue={value}", self.lifetime());
        match self.set(key, &fields).await {
            Ok(()) => Ok(true),
            Err(Fault::Gone | Fault::Overtaken(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// An answer that has begun and only ends with the server: what is asked for never happens.
    pub(super) async fn watch(&self) -> Result<hyper::Response<hyper::body::Incoming>, Fault> {
        let key = self.shelf.key(NEVER);
        let target = format!("{}?wait=true", target(&key));
        Ok(self.endpoints.hold(&self.ask(Method::GET, target)).await?)
    }

    fn lifetime(&self) -> String {
        let seconds = self.marks.lifetime();
        seconds
            .map(|seconds| format!("&ttl={seconds}"))
            .unwrap_or_default()
    }

    fn mark(&self, owner: &str, entry: &str) -> String {
        self.shelf
            .key(&format!("{MARKS}/{}/{}", one_part(owner), one_part(entry)))
    }

    /// Marks of entries, by entry.
    async fn marked(&self) -> Result<BTreeMap<String, Vec<Mark>>, Fault> {
        let folder = self.shelf.key(MARKS);
        let mut marked = BTreeMap::<String, Vec<Mark>>::new();
        for node in self.below(&folder).await? {
            let rest = node.key.strip_prefix(&folder).unwrap_or_default();
            if let Some((owner, entry)) = rest.trim_start_matches('/').split_once('/') {
                let mark = Mark::of(&whole(owner), &node);
                marked.entry(whole(entry)).or_default().push(mark);
            }
        }
        Ok(marked)
    }

    async fn below(&self, key: &str) -> Result<Vec<Node>, Fault> {
        let mut leaves = Vec::new();
        if let Some(node) = self.get(key, "recursive=true&quorum=true").await? {
            node.leaves(&mut leaves);
        }
        Ok(leaves)
    }

    async fn get(&self, key: &str, how: &str) -> Result<Option<Node>, Fault> {
        let target = format!("{}?{how}", target(key));
        match self.send(&self.ask(Method::GET, target)).await {
            Ok(node) => Ok(Some(node)),
            Err(Fault::Gone) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn set(&self, key: &str, fields: &str) -> Result<(), Fault> {
        let ask = self.ask(Method::PUT, target(key)).form(fields.to_owned());
        self.send(&ask).await.map(drop)
    }

    /// What is not there is removed already.
    async fn remove(&self, key: &str, condition: &str) -> Result<(), Fault> {
        let target = format!("{}?{condition}", target(key));
        match self.send(&self.ask(Method::DELETE, target)).await {
            Ok(_) | Err(Fault::Gone) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn ask(&self, method: Method, target: String) -> Ask {
        let basic = |user: &Credentials| {
            let both = STANDARD.encode(format!("{}:{}", user.user, user.password));
            let mut header = HeaderValue::try_from(format!("Basic {both}")).ok()?;
            header.set_sensitive(true);
            Some(header)
        };
        Ask::new(method, target).authorized(self.user.and_then(basic))
    }

    async fn send(&self, ask: &Ask) -> Result<Node, Fault> {
        read(&self.endpoints.send(ask).await?)
    }
}

fn read(reply: &Reply) -> Result<Node, Fault> {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    if reply.status.is_success() {
        let answer = body.and_then(|body| serde_json::from_value::<Answer>(body).ok());
        return match answer {
            Some(answer) => Ok(answer.node),
            None => Err(Fault::refused(&format!(
                "an answer that is none of etcd: {}",
                said(&reply.body)
            ))),
        };
    }
    let body = body.unwrap_or_default();
    let words = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match body.get("errorCode").and_then(Value::as_i64) {
        Some(NOT_FOUND) => Err(Fault::Gone),
        Some(code) if COMPARED.contains(&code) => Err(Fault::overtaken(words("cause"))),
        Some(_) => Err(Fault::refused(&format!(
            "{} {}",
            words("message"),
            words("cause")
        ))),
        None if reply.status == StatusCode::NOT_FOUND => Err(Fault::NoApi),
        None => Err(Fault::refused(&format!("{} {}", reply.status, said(&reply.body)))),
    }
}

fn target(key: &str) -> String {
    let parts = key.split('/').filter(|part| !part.is_empty());
    let coded: String = parts.map(|part| format!("/{}", plain(part))).collect();
    format!("/v2/keys{coded}")
}

fn plain(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A name as one part of a key that is not hidden: no slash, no underscore at its start.
fn one_part(text: &str) -> String {
    let whole = text.replace('%', "%25").replace('/', "%2F");
    match whole.strip_prefix('_') {
        Some(rest) => format!("%5F{rest}"),
        None => whole,
    }
}

fn whole(part: &str) -> String {
    part.replace("%5F", "_").replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let node = read(&reply(
            200,
            r#"{"action":"get","node":{"key":"/s/a","value":"x","ttl":30,"modifiedIndex":4}}"#,
        ));
        let node = node.unwrap();
        assert_eq!(
            (node.key.as_str(), node.ttl, node.modified_index),
            ("/s/a", Some(30), 4)
        );
        let fault = |status, body: &str| read(&reply(status, body)).unwrap_err();
        assert!(matches!(
            fault(404, r#"{"errorCode":100,"message":"Key not found","cause":"/s"}"#),
            Fault::Gone
        ));
        assert!(matches!(
            fault(412, r#"{"errorCode":101,"cause":"[1 != 2]"}"#),
            Fault::Overtaken(_)
        ));
        assert!(matches!(
            fault(412, r#"{"errorCode":105,"cause":"/s/a"}"#),
            Fault::Overtaken(_)
        ));
        assert!(matches!(fault(404, "404 page not found"), Fault::NoApi));
        assert!(matches!(
            fault(401, r#"{"message":"Insufficient credentials"}"#),
            Fault::Failed(_)
        ));
    }

    #[test]
    fn a_folder_is_what_is_in_it() {
        let tree = r#"{"node":{"key":"/s","dir":true,"nodes":[
            {"key":"/s/web","dir":true,"nodes":[{"key":"/s/web/1","value":"x"}]},{"key":"/s/empty","dir":true}]}}"#;
        let mut leaves = Vec::new();
        read(&reply(200, tree)).unwrap().leaves(&mut leaves);
        let keys: Vec<&str> = leaves.iter().map(|node| node.key.as_str()).collect();
        assert_eq!(keys, ["/s/web/1"]);
    }

    #[test]
    fn of_several_marks_the_one_of_the_value_counts_and_then_the_last() {
        let mark = |owner: &str, value: &str, written| Mark {
            owner: owner.to_owned(),
            value: value.to_owned(),
            written,
        };
        assert_eq!(holder(&[], "a:1"), None);
        // Those of earlier versions are as old as the key, and there is no other.
        assert_eq!(holder(&[mark("t1", "a:0", 3)], "a:1"), Some("t1"));
        let left = [mark("t1", "a:1", 7), mark("t2", "b:1", 9)];
        assert_eq!(holder(&left, "a:1"), Some("t1"));
        assert_eq!(holder(&left, "b:1"), Some("t2"));
        assert_eq!(holder(&left, "c:1"), Some("t2"));
        let same = [mark("t2", "a:1", 9), mark("t1", "a:1", 7)];
        assert_eq!(holder(&same, "a:1"), Some("t2"));
    }

    proptest! {
        #[test]
        fn any_name_can_be_a_part_of_a_key_and_is_read_back(text in "[ -~]{0,20}") {
            let part = one_part(&text);
            prop_assert!(!part.contains('/') && !part.starts_with('_'));
            prop_assert_eq!(whole(&part), text);
        }
    }
}
