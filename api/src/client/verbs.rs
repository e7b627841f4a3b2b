//! The questions and changes themselves: one function per route.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::{Answer, Index, Registration, Status};
use hyper::{Method, StatusCode};

use super::{Call, Client, Query, Result};
use crate::wire;
use crate::wire::agent::{AgentSelf, Member};
use crate::wire::check::{AgentCheck, HealthCheck};
use crate::wire::health::HealthEntry;
use crate::wire::kv::Pair;
use crate::wire::node::Node;
use crate::wire::register::{CheckBody, ServiceBody};
use crate::wire::service::{AgentService, CatalogService};

/// Services and checks the agent vouches for.
impl Client {
    /// Who the agent is.
    ///
    /// # Errors
    /// As every function here: no answer, a refusal, or an unreadable answer.
    pub async fn agent_self(&self) -> Result<AgentSelf> {
        self.ask(Call::get("/v1/agent/self", &[])).await?.json()
    }

    /// Whom the agent knows.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn members(&self) -> Result<Vec<Member>> {
        self.ask(Call::get("/v1/agent/members", &[])).await?.json()
    }

    /// Services the agent vouches for, by id.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn agent_services(&self) -> Result<BTreeMap<String, AgentService>> {
        self.ask(Call::get("/v1/agent/services", &[])).await?.json()
    }

    /// One service the agent vouches for.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn agent_service(&self, id: &str) -> Result<Option<AgentService>> {
        let reply = self.send(Call::get("/v1/agent/service", &[id])).await?;
        if reply.status == StatusCode::NOT_FOUND {
            Ok(None)
        } else {
            reply.checked()?.json().map(Some)
        }
    }

    /// The same with its `ContentHash`; with `seen` answered once that is another, or after `wait`.
    ///
    /// # Errors
    /// See [`Client::agent_self`]. An agent that does not know the question, as Consul before 1.3, refuses it.
    pub async fn agent_service_after(
        &self,
        id: &str,
        seen: Option<&str>,
        wait: Duration,
    ) -> Result<Option<AgentService>> {
        let mut call = Call::get("/v1/agent/service", &[id]);
        if let Some(hash) = seen {
            call = call.with("hash", hash).held(wait);
        }
        let reply = self.send(call).await?;
        let unknown = String::from_utf8_lossy(&reply.body).contains("unknown service");
        if reply.status == StatusCode::NOT_FOUND && unknown {
            Ok(None)
        } else {
            reply.checked()?.json().map(Some)
        }
    }

    /// Checks the agent runs or listens for, by id.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn agent_checks(&self) -> Result<BTreeMap<String, AgentCheck>> {
        self.ask(Call::get("/v1/agent/checks", &[])).await?.json()
    }

    /// Asks the agent to vouch for a service. Checks of the kind `Container` are left out: only the
    /// process that watches the container knows them, so it must bring a TTL check and report on it.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn register(&self, registration: &Registration) -> Result<()> {
        let body = body(&ServiceBody::from(registration));
        self.ask(Call::put("/v1/agent/service/register", &[]).body(body))
            .await
            .map(drop)
    }

    /// Asks the agent to forget a service.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn deregister(&self, id: &str) -> Result<()> {
        self.ask(Call::put("/v1/agent/service/deregister", &[id]))
            .await
            .map(drop)
    }

    /// Asks the agent to run or listen for a check, of a service or of its node.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn register_check(
        &self,
        definition: &catalog::check::Definition,
        service: Option<&str>,
    ) -> Result<()> {
        let Some(check) = CheckBody::of(definition) else {
            return Ok(());
        };
        let body = body(&check.for_service(service));
        self.ask(Call::put("/v1/agent/check/register", &[]).body(body))
            .await
            .map(drop)
    }

    /// Asks the agent to forget a check.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn deregister_check(&self, id: &str) -> Result<()> {
        self.ask(Call::put("/v1/agent/check/deregister", &[id]))
            .await
            .map(drop)
    }

    /// Reports on a TTL check.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn update_check(&self, id: &str, status: Status, output: &str) -> Result<()> {
        let body = body(&serde_json::json!({ "Status": status, "Output": output }));
        self.ask(Call::put("/v1/agent/check/update", &[id]).body(body))
            .await
            .map(drop)
    }

    /// Switches maintenance of a service, or of the agent's node, on or off.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn maintenance(&self, service: Option<&str>, enable: bool, reason: &str) -> Result<()> {
        let call = match service {
            Some(id) => Call::put("/v1/agent/service/maintenance", &[id]),
            None => Call::put("/v1/agent/maintenance", &[]),
        };
        self.ask(call.with("enable", enable.to_string()).with("reason", reason))
            .await
            .map(drop)
    }
}

/// The catalog and its health.
impl Client {
    /// Names of the datacenters, nearest first.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn datacenters(&self) -> Result<Vec<String>> {
        self.ask(Call::get("/v1/catalog/datacenters", &[])).await?.json()
    }

    /// All nodes.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn nodes(&self, query: &Query) -> Result<Answer<Vec<Node>>> {
        self.ask(Call::get("/v1/catalog/nodes", &[]).asking(query))
            .await?
            .indexed()
    }

    /// Service names, each with the tags of all its instances.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn services(&self, query: &Query) -> Result<Answer<BTreeMap<Arc<str>, Vec<String>>>> {
        self.ask(Call::get("/v1/catalog/services", &[]).asking(query))
            .await?
            .indexed()
    }

    /// Instances of a service, whatever their health.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn service(&self, name: &str, query: &Query) -> Result<Answer<Vec<CatalogService>>> {
        self.ask(Call::get("/v1/catalog/service", &[name]).asking(query))
            .await?
            .indexed()
    }

    /// Instances of a service with their checks.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn health_service(&self, name: &str, query: &Query) -> Result<Answer<Vec<HealthEntry>>> {
        self.ask(Call::get("/v1/health/service", &[name]).asking(query))
            .await?
            .indexed()
    }

    /// Checks in a state; `None` for any.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn health_state(
        &self,
        state: Option<Status>,
        query: &Query,
    ) -> Result<Answer<Vec<HealthCheck>>> {
        let state = state.map_or("any", Status::as_str);
        self.ask(Call::get("/v1/health/state", &[state]).asking(query))
            .await?
            .indexed()
    }

    /// Checks in any state, as text: whoever asks again and again compares before reading.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn health_state_text(&self, query: &Query) -> Result<Answer<Bytes>> {
        let reply = self
            .ask(Call::get("/v1/health/state/any", &[]).asking(query))
            .await?;
        Ok(reply.text())
    }

    /// Service names with their tags, as text.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn services_text(&self, query: &Query) -> Result<Answer<Bytes>> {
        let reply = self
            .ask(Call::get("/v1/catalog/services", &[]).asking(query))
            .await?;
        Ok(reply.text())
    }

    /// A node and its services, as text; `null` where there is no such node.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn node_text(&self, node: &str, query: &Query) -> Result<Answer<Bytes>> {
        let reply = self
            .ask(Call::get("/v1/catalog/node", &[node]).asking(query))
            .await?;
        Ok(reply.text())
    }

    /// Any path of the server, which a query may follow: for servers that are no Consul.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn fetch(&self, path_and_query: &str) -> Result<Bytes> {
        let mut call = Call::get("", &[]);
        path_and_query.clone_into(&mut call.path);
        Ok(self.ask(call).await?.body)
    }

    /// `host:port` of the leader; empty when there is none.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn leader(&self) -> Result<String> {
        self.ask(Call::get("/v1/status/leader", &[])).await?.json()
    }
}

/// Keys and values. A key's slashes separate segments of the path.
impl Client {
    /// One pair, if it exists. The index says after which change to ask again.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_get(&self, key: &str, query: &Query) -> Result<Answer<Option<Pair>>> {
        let pairs = self
            .kv_read::<Vec<Pair>>(kv(Method::GET, key).asking(query))
            .await?;
        let rows = pairs.rows.and_then(|pairs| pairs.into_iter().next());
        Ok(Answer {
            index: pairs.index,
            rows,
        })
    }

    /// All pairs whose key starts with `prefix`, ordered by key.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_list(&self, prefix: &str, query: &Query) -> Result<Answer<Vec<Pair>>> {
        let pairs = self
            .kv_read(kv(Method::GET, prefix).with("recurse", "").asking(query))
            .await?;
        Ok(Answer {
            index: pairs.index,
            rows: pairs.rows.unwrap_or_default(),
        })
    }

    /// Names of the keys that start with `prefix`, each cut after the first `separator` behind it.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_keys(&self, prefix: &str, separator: &str, query: &Query) -> Result<Answer<Vec<String>>> {
        let call = kv(Method::GET, prefix)
            .with("keys", "")
            .with("separator", separator)
            .asking(query);
        let keys = self.kv_read(call).await?;
        Ok(Answer {
            index: keys.index,
            rows: keys.rows.unwrap_or_default(),
        })
    }

    /// Writes a value; with `cas` only if the key was last changed at that index, 0 meaning that it
    /// does not exist. False when it was not written.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_put(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        flags: u64,
        cas: Option<Index>,
    ) -> Result<bool> {
        let mut call = kv(Method::PUT, key).body(value);
        if flags != 0 {
            call = call.with("flags", flags.to_string());
        }
        if let Some(index) = cas {
            call = call.with("cas", index.to_string());
        }
        self.ask(call).await?.json()
    }

    /// Removes a key; with `cas` only if it was last changed at that index.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_delete(&self, key: &str, cas: Option<Index>) -> Result<bool> {
        let mut call = kv(Method::DELETE, key);
        if let Some(index) = cas {
            call = call.with("cas", index.to_string());
        }
        self.ask(call).await?.json()
    }

    /// Removes every key that starts with `prefix`.
    ///
    /// # Errors
    /// See [`Client::agent_self`].
    pub async fn kv_delete_tree(&self, prefix: &str) -> Result<bool> {
        self.ask(kv(Method::DELETE, prefix).with("recurse", ""))
            .await?
            .json()
    }

    /// A missing key is an answer, with an index to wait after.
    async fn kv_read<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<Answer<Option<T>>> {
        let reply = self.send(call).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(Answer {
                index: reply.index(),
                rows: None,
            });
        }
        let reply = reply.checked()?;
        Ok(Answer {
            index: reply.index(),
            rows: Some(reply.json()?),
        })
    }
}

fn kv(method: Method, key: &str) -> Call {
    let segments: Vec<&str> = key.split('/').collect();
    Call::new(method, "/v1/kv", &segments)
}

fn body<T: serde::Serialize>(value: &T) -> Vec<u8> {
    wire::encode(value).expect("request bodies have text keys and whole numbers only")
}
