//! One `api` call a verb, and what to print. Writes nothing itself: values may be any bytes, and
//! the exit code is part of the answer.

use std::io::Read as _;

use api::client::ClientError;
use api::{Client, Consistency, Query};
use base64::Engine as _;
use catalog::check::{NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};

use super::{Call, Scope, Source, Verb, print};

/// What a verb came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub out: Vec<u8>,
    /// For standard error.
    pub err: String,
    /// Exit code.
    pub code: u8,
}

impl Outcome {
    fn said(out: impl Into<Vec<u8>>) -> Self {
        Self {
            out: out.into(),
            ..Self::default()
        }
    }

    fn refused(err: impl Into<String>) -> Self {
        Self {
            err: err.into() + "\n",
            code: 1,
            ..Self::default()
        }
    }
}

/// What failed, in words to be followed by the client's.
type Asked<T> = Result<T, (String, ClientError)>;

/// Asks, and lays out the answer.
pub async fn run(call: Call) -> Outcome {
    let asked = async {
        let client = Client::new(&call.agent).doing("Error connecting to Consul agent")?;
        let consistency = if call.stale {
            Consistency::Stale
        } else {
            Consistency::Default
        };
        let query = Query {
            consistency,
            ..Query::default()
        };
        match call.verb {
            Verb::Members { detailed, status } => members(&client, detailed, status.as_deref()).await,
            Verb::Datacenters => {
                let names = client.datacenters().await.doing("Error listing datacenters")?;
                Ok(Outcome::said(names.join("\n") + "\n"))
            }
            Verb::Nodes { detailed, service } => nodes(&client, &query, detailed, service).await,
            Verb::Services { tags } => {
                let services = client.services(&query).await.doing("Error listing services")?;
                Ok(Outcome::said(print::services(&services.rows, tags)))
            }
            Verb::KvGet {
                key,
                scope,
                detailed,
                base64,
            } => get(&client, &query, &key, &scope, Show { detailed, base64 }).await,
            Verb::KvPut { .. } => put(&client, call.verb).await,
            Verb::KvDelete { key, recurse, cas } => delete(&client, &key, recurse, cas).await,
            Verb::Register(service) => {
                let name = service.name.clone();
                let registration = catalog::Registration {
                    service: *service,
                    checks: Vec::new(),
                };
                let doing = format!("Error registering service {name:?}");
                client.register(&registration).await.doing(doing)?;
                Ok(Outcome::said(format!("Registered service: {name}\n")))
            }
            Verb::Deregister { id } => {
                client
                    .deregister(&id)
                    .await
                    .doing(format!("Error deregistering service {id:?}"))?;
                Ok(Outcome::said(format!("Deregistered service: {id}\n")))
            }
            Verb::Maint {
                service,
                enable,
                reason,
            } => maintenance(&client, service, enable, &reason).await,
        }
    };
    asked
        .await
        .unwrap_or_else(|(doing, error)| Outcome::refused(format!("{doing}: {}", chain(&error))))
}

async fn members(client: &Client, detailed: bool, wanted: Option<&str>) -> Asked<Outcome> {
    let mut members = client.members().await.doing("Error retrieving members")?;
    if let Some(wanted) = wanted {
        let words: Vec<&str> = wanted.trim_matches(['^', '$', '(', ')']).split('|').collect();
        members.retain(|member| words.contains(&print::status(member)) || wanted == ".*");
        if members.is_empty() {
            return Ok(Outcome {
                code: 2,
                ..Outcome::default()
            });
        }
    }
    Ok(Outcome::said(print::members(&members, detailed)))
}

async fn nodes(client: &Client, query: &Query, detailed: bool, service: Option<String>) -> Asked<Outcome> {
    let doing = "Error listing nodes";
    let mut nodes = client.nodes(query).await.doing(doing)?.rows;
    if let Some(service) = service {
        let instances = client.service(&service, query).await.doing(doing)?.rows;
        nodes.retain(|node| instances.iter().any(|instance| instance.node == node.name));
    }
    Ok(Outcome::said(print::nodes(&nodes, detailed)))
}

/// How values are shown.
#[derive(Clone, Copy)]
struct Show {
    detailed: bool,
    base64: bool,
}

async fn get(client: &Client, query: &Query, key: &str, scope: &Scope, show: Show) -> Asked<Outcome> {
    let doing = "Error querying Consul agent";
    let pairs = match scope {
        Scope::Keys { separator } => {
            let keys = client.kv_keys(key, separator, query).await.doing(doing)?.rows;
            return Ok(Outcome::said(
                keys.iter().map(|key| format!("{key}\n")).collect::<String>(),
            ));
        }
        Scope::Recurse => client.kv_list(key, query).await.doing(doing)?.rows,
        Scope::One => match client.kv_get(key, query).await.doing(doing)?.rows {
            Some(pair) => vec![pair],
            None => return Ok(Outcome::refused(format!("Error! No key exists at: {key}"))),
        },
    };
    let mut out = Vec::new();
    for (position, pair) in pairs.iter().enumerate() {
        if show.detailed {
            if position > 0 {
                out.push(b'\n');
            }
            out.extend(print::detailed(pair, show.base64));
            continue;
        }
        if *scope == Scope::Recurse {
            out.extend(format!("{}:", pair.key).into_bytes());
        }
        out.extend(print::value(pair, show.base64));
        out.push(b'\n');
    }
    Ok(Outcome::said(out))
}

async fn put(client: &Client, verb: Verb) -> Asked<Outcome> {
    let Verb::KvPut {
        key,
        value,
        base64,
        flags,
        cas,
    } = verb
    else {
        return Ok(Outcome::default());
    };
    let value = match value {
        Source::Text(text) => Ok(text.into_bytes()),
        Source::File(path) => {
            std::fs::read(&path).map_err(|error| format!("Error! Failed to read file {path}: {error}"))
        }
        Source::Input => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map(|_| bytes)
                .map_err(|error| format!("Error! Failed to read stdin: {error}"))
        }
    };
    let value = value.and_then(|bytes| match base64 {
        true => base64::engine::general_purpose::STANDARD
            .decode(bytes.trim_ascii())
            .map_err(|error| format!("Error! Cannot base 64 decode data: {error}")),
        false => Ok(bytes),
    });
    let value = match value {
        Ok(value) => value,
        Err(text) => return Ok(Outcome::refused(text)),
    };
    let written = client
        .kv_put(&key, value, flags, cas)
        .await
        .doing("Error! Failed writing data")?;
    Ok(match written {
        true => Outcome::said(format!("Success! Data written to: {key}\n")),
        false => Outcome::refused(format!("Error! Did not write to {key}: CAS failed")),
    })
}

async fn delete(client: &Client, key: &str, recurse: bool, cas: Option<u64>) -> Asked<Outcome> {
    if recurse {
        let doing = format!("Error! Did not delete prefix {key}");
        client.kv_delete_tree(key).await.doing(doing)?;
        return Ok(Outcome::said(format!(
            "Success! Deleted keys with prefix: {key}\n"
        )));
    }
    let deleted = client
        .kv_delete(key, cas)
        .await
        .doing(format!("Error! Did not delete key {key}"))?;
    Ok(match deleted {
        true => Outcome::said(format!("Success! Deleted key: {key}\n")),
        false => Outcome::refused(format!("Error! Did not delete key {key}: CAS failed")),
    })
}

async fn maintenance(
    client: &Client,
    service: Option<String>,
    enable: Option<bool>,
    reason: &str,
) -> Asked<Outcome> {
    let Some(enable) = enable else {
        return maintained(client).await;
    };
    let (verb, state) = if enable {
        ("enabling", "enabled")
    } else {
        ("disabling", "disabled")
    };
    let subject = if service.is_some() { "service" } else { "node" };
    let doing = format!("Error {verb} {subject} maintenance");
    client
        .maintenance(service.as_deref(), enable, reason)
        .await
        .doing(doing)?;
    Ok(Outcome::said(match service {
        Some(id) => format!("Service maintenance is now {state} for {id:?}\n"),
        None => format!("Node maintenance is now {state}\n"),
    }))
}

async fn maintained(client: &Client) -> Asked<Outcome> {
    let checks = client.agent_checks().await.doing("Error getting checks")?;
    let mut text = String::new();
    for (id, check) in checks {
        let check = check.check;
        if id == NODE_MAINTENANCE {
            text += &format!("Node:\n  Name:   {}\n  Reason: {}\n\n", check.node, check.notes);
        } else if let Some(service) = id.strip_prefix(SERVICE_MAINTENANCE_PREFIX) {
            text += &format!("Service:\n  ID:     {service}\n  Reason: {}\n\n", check.notes);
        }
    }
    Ok(Outcome::said(text))
}

/// Says what was being done when the client failed.
trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Asked<T>;
}

impl<T> Doing<T> for Result<T, ClientError> {
    fn doing(self, what: impl Into<String>) -> Asked<T> {
        self.map_err(|error| (what.into(), error))
    }
}

/// An error and its causes: the last one is what a user can act on.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text += &format!(": {inner}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
