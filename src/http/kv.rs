//! The key-value store.

use std::sync::Arc;

use api::wire::kv::Pair;
use catalog::command::KvCommand;
use catalog::kv::Entry;
use catalog::{Answer, Command, Index, Interest};

use super::endpoint::not_implemented;
use super::reply::{Fault, Reply};
use super::request::{Ask, Params};

/// `GET /v1/kv/<key>`.
pub async fn get(ask: Ask) -> Result<Reply, Fault> {
    let (keys, recurse) = (ask.params.has("keys"), ask.params.has("recurse"));
    if keys || recurse {
        let prefix: Arc<str> = ask.rest.as_str().into();
        let answer = ask
            .answer(Interest::Prefix(prefix), |state| state.kv_under(&ask.rest))
            .await;
        return if keys { names(&ask, &answer) } else { list(&answer) };
    }
    require_key(&ask)?;
    let answer = ask
        .answer(Interest::Key(ask.rest.as_str().into()), |state| {
            state.kv(&ask.rest)
        })
        .await;
    match answer.rows {
        None => Err(Fault::missing("").indexed(answer.index)),
        Some(entry) if ask.params.has("raw") => Ok(Reply::raw(entry.value.to_vec()).indexed(answer.index)),
        Some(entry) => Ok(Reply::json([Pair::from(&*entry)]).indexed(answer.index)),
    }
}

fn list(answer: &Answer<Vec<Arc<Entry>>>) -> Result<Reply, Fault> {
    if answer.rows.is_empty() {
        return Err(Fault::missing("").indexed(answer.index));
    }
    let pairs: Vec<_> = answer.rows.iter().map(|entry| Pair::from(&**entry)).collect();
    Ok(Reply::json(pairs).indexed(answer.index))
}

/// Keys, each cut after the first separator behind the prefix.
fn names(ask: &Ask, answer: &Answer<Vec<Arc<Entry>>>) -> Result<Reply, Fault> {
    let prefix = ask.rest.as_str();
    if answer.rows.is_empty() && !prefix.is_empty() {
        return Err(Fault::missing("").indexed(answer.index));
    }
    // The second spelling is Consul's own mistake of old.
    let separator = ask
        .params
        .given("separator")
        .or_else(|| ask.params.given("seperator"));
    let cut = |key: &str| {
        let end = separator.and_then(|by| {
            key[prefix.len()..]
                .find(by)
                .map(|at| prefix.len() + at + by.len())
        });
        key[..end.unwrap_or(key.len())].to_owned()
    };
    let mut names: Vec<String> = answer.rows.iter().map(|entry| cut(&entry.key)).collect();
    // Entries come in order, so equal names are neighbours.
    names.dedup();
    Ok(Reply::json(names).indexed(answer.index))
}

/// `PUT /v1/kv/<key>`.
pub async fn put(ask: Ask) -> Result<Reply, Fault> {
    require_key(&ask)?;
    refuse_conflicts(&ask.params, &["acquire", "cas", "release"])?;
    for lock in ["acquire", "release"] {
        if ask.params.has(lock) {
            return Err(not_implemented(&format!("PUT /v1/kv/ with {lock}")));
        }
    }
    let key: Arc<str> = ask.rest.as_str().into();
    let value: Arc<[u8]> = ask.body.as_ref().into();
    let flags = number(&ask.params, "flags")?.unwrap_or(0);
    let command = match number(&ask.params, "cas")? {
        None => KvCommand::Set { key, value, flags },
        Some(expected) => KvCommand::Cas {
            key,
            value,
            flags,
            expected,
        },
    };
    propose(&ask, command).await
}

/// `DELETE /v1/kv/<key>`.
pub async fn delete(ask: Ask) -> Result<Reply, Fault> {
    refuse_conflicts(&ask.params, &["cas", "recurse"])?;
    let key: Arc<str> = ask.rest.as_str().into();
    let command = if ask.params.has("recurse") {
        KvCommand::DeleteTree { prefix: key }
    } else {
        require_key(&ask)?;
        match number(&ask.params, "cas")? {
            None => KvCommand::Delete { key },
            Some(expected) => KvCommand::DeleteCas { key, expected },
        }
    };
    propose(&ask, command).await
}

async fn propose(ask: &Ask, command: KvCommand) -> Result<Reply, Fault> {
    let done = match ask.context.store.propose(&Command::Kv(command)).await? {
        catalog::Reply::Done => true,
        catalog::Reply::Bool(done) => done,
    };
    Ok(Reply::json(done))
}

fn require_key(ask: &Ask) -> Result<(), Fault> {
    if ask.rest.is_empty() {
        Err(Fault::bad("Missing key name"))
    } else {
        Ok(())
    }
}

fn refuse_conflicts(params: &Params, names: &[&str]) -> Result<(), Fault> {
    let given: Vec<_> = names.iter().filter(|name| params.has(name)).collect();
    if given.len() < 2 {
        return Ok(());
    }
    let pairs: Vec<_> = given
        .into_iter()
        .map(|name| format!("{name}={}", params.get(name).unwrap_or_default()))
        .collect();
    Err(Fault::bad(format!("Conflicting flags: {}", pairs.join("&"))))
}

/// Consul answers a bad number with what Go's parser says.
fn number(params: &Params, name: &str) -> Result<Option<Index>, Fault> {
    let text = params.get(name).filter(|_| params.has(name));
    let bad = |text: &str| Fault::internal(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
    text.map(|text| text.parse().map_err(|_| bad(text))).transpose()
}
