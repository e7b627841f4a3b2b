//! A service in its three shapes: on agent routes, inside a node, and flat with its node.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::service::{ServiceAddress, Weights};
use catalog::{Index, Instance, Service, ServiceSpec};
use serde::{Deserialize, Deserializer, Serialize};

use super::{hash, null_if_empty, null_is_default};

/// A further address of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Address {
    /// IP address or host name.
    pub address: String,
    /// Its port.
    #[serde(deserialize_with = "port")]
    pub port: u16,
}

/// Addresses by name: `lan`, `wan`, …
pub type Addresses = BTreeMap<String, Address>;

/// DNS weights by health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WireWeights {
    /// While passing.
    #[serde(deserialize_with = "port")]
    pub passing: u16,
    /// While warning.
    #[serde(deserialize_with = "port")]
    pub warning: u16,
}

impl Default for WireWeights {
    fn default() -> Self {
        Weights::default().into()
    }
}

impl From<Weights> for WireWeights {
    fn from(Weights { passing, warning }: Weights) -> Self {
        Self { passing, warning }
    }
}

impl From<WireWeights> for Weights {
    fn from(WireWeights { passing, warning }: WireWeights) -> Self {
        Self { passing, warning }
    }
}

/// What Consul shows for the `Proxy` of a service that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoProxy {
    mode: &'static str,
    mesh_gateway: Nothing,
    expose: Nothing,
}

/// `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nothing {}

/// A service on agent routes: what this agent vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentService {
    /// Left out for an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Unique on its agent.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    #[serde(rename = "Service")]
    pub name: Arc<str>,
    /// `[]` when there are none.
    #[serde(deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// `{}` when there is none.
    #[serde(deserialize_with = "null_is_default")]
    pub meta: BTreeMap<String, String>,
    /// 0 when it has none.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// Empty means the node's.
    pub address: String,
    /// Left out when there are none.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub tagged_addresses: Addresses,
    /// For DNS clients.
    #[serde(deserialize_with = "null_is_default")]
    pub weights: WireWeights,
    /// Tags may be changed in the catalog.
    pub enable_tag_override: bool,
    /// Only on `agent/service/<id>`: changes with the content.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_hash: String,
    /// Where the agent is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub datacenter: String,
}

impl AgentService {
    /// How an agent in `datacenter` shows a service it vouches for.
    #[must_use]
    pub fn of(spec: &ServiceSpec, datacenter: &str) -> Self {
        Self {
            kind: spec.kind.clone(),
            id: spec.id.clone(),
            name: spec.name.clone(),
            tags: spec.tags.clone(),
            meta: spec.meta.clone(),
            port: spec.port,
            address: spec.address.clone(),
            tagged_addresses: addresses(&spec.tagged_addresses),
            weights: spec.weights.into(),
            enable_tag_override: spec.enable_tag_override,
            content_hash: String::new(),
            datacenter: datacenter.to_owned(),
        }
    }

    /// The same with its `ContentHash`.
    #[must_use]
    pub fn with_hash(self) -> Self {
        let content_hash = hash::of_agent_service(&self);
        Self { content_hash, ..self }
    }
}

impl From<AgentService> for ServiceSpec {
    fn from(service: AgentService) -> Self {
        Self {
            id: service.id,
            name: service.name,
            kind: service.kind,
            tags: service.tags,
            meta: service.meta,
            port: service.port,
            address: service.address,
            tagged_addresses: own_addresses(service.tagged_addresses),
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
        }
    }
}

/// A service inside its node: `catalog/node`, `catalog/node-services`, `health/service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeService {
    /// Left out for an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    #[serde(rename = "Service")]
    pub name: Arc<str>,
    /// `[]` when there are none.
    #[serde(deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// Empty means the node's.
    pub address: String,
    /// Left out when there are none.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub tagged_addresses: Addresses,
    /// `null` when there is none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub meta: BTreeMap<String, String>,
    /// 0 when it has none.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// For DNS clients.
    #[serde(deserialize_with = "null_is_default")]
    pub weights: WireWeights,
    /// Tags may be changed in the catalog.
    pub enable_tag_override: bool,
    #[serde(skip_deserializing)]
    proxy: NoProxy,
    #[serde(skip_deserializing)]
    connect: Nothing,
    /// When it was first recorded.
    pub create_index: Index,
    /// When it last changed.
    pub modify_index: Index,
}

impl From<&Service> for NodeService {
    fn from(
        Service {
            spec,
            created,
            modified,
        }: &Service,
    ) -> Self {
        Self {
            kind: spec.kind.clone(),
            id: spec.id.clone(),
            name: spec.name.clone(),
            tags: spec.tags.clone(),
            address: spec.address.clone(),
            tagged_addresses: addresses(&spec.tagged_addresses),
            meta: spec.meta.clone(),
            port: spec.port,
            weights: spec.weights.into(),
            enable_tag_override: spec.enable_tag_override,
            proxy: NoProxy::default(),
            connect: Nothing::default(),
            create_index: *created,
            modify_index: *modified,
        }
    }
}

impl From<NodeService> for Service {
    fn from(service: NodeService) -> Self {
        Self {
            spec: ServiceSpec {
                id: service.id,
                name: service.name,
                kind: service.kind,
                tags: service.tags,
                meta: service.meta,
                port: service.port,
                address: service.address,
                tagged_addresses: own_addresses(service.tagged_addresses),
                weights: service.weights.into(),
                enable_tag_override: service.enable_tag_override,
            },
            created: service.create_index,
            modified: service.modify_index,
        }
    }
}

/// As much of a service of `catalog/node` as says whether it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceVersion {
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Its name.
    #[serde(rename = "Service")]
    pub name: Arc<str>,
    /// When it last changed.
    pub modify_index: Index,
}

/// A service flat with its node: `catalog/service/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CatalogService {
    /// Of the node.
    #[serde(rename = "ID")]
    pub node_id: String,
    /// Name of the node.
    pub node: Arc<str>,
    /// Of the node.
    pub address: String,
    /// Where the node is.
    pub datacenter: String,
    /// Of the node; `null` when there are none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// `null` when there is none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub node_meta: BTreeMap<String, String>,
    /// Empty for an ordinary service.
    pub service_kind: String,
    /// Unique on its node.
    #[serde(rename = "ServiceID")]
    pub service_id: Arc<str>,
    /// Its name.
    pub service_name: Arc<str>,
    /// `[]` when there are none.
    #[serde(deserialize_with = "null_is_default")]
    pub service_tags: Vec<String>,
    /// Empty means the node's.
    pub service_address: String,
    /// Left out when there are none.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub service_tagged_addresses: Addresses,
    /// For DNS clients.
    #[serde(deserialize_with = "null_is_default")]
    pub service_weights: WireWeights,
    /// `null` when there is none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "null_is_default")]
    pub service_meta: BTreeMap<String, String>,
    /// 0 when it has none.
    #[serde(deserialize_with = "port")]
    pub service_port: u16,
    #[serde(skip_deserializing)]
    service_socket_path: &'static str,
    /// Tags may be changed in the catalog.
    pub service_enable_tag_override: bool,
    #[serde(skip_deserializing)]
    service_proxy: NoProxy,
    #[serde(skip_deserializing)]
    service_connect: Nothing,
    /// Of the service.
    pub create_index: Index,
    /// Of the service.
    pub modify_index: Index,
}

impl CatalogService {
    /// How an instance in `datacenter` is shown.
    #[must_use]
    pub fn of(instance: &Instance, datacenter: &str) -> Self {
        let (node, service) = (&instance.node.spec, &instance.service.spec);
        Self {
            node_id: node.id.clone(),
            node: node.name.clone(),
            address: node.address.clone(),
            datacenter: datacenter.to_owned(),
            tagged_addresses: node.tagged_addresses.clone(),
            node_meta: node.meta.clone(),
            service_kind: service.kind.clone(),
            service_id: service.id.clone(),
            service_name: service.name.clone(),
            service_tags: service.tags.clone(),
            service_address: service.address.clone(),
            service_tagged_addresses: addresses(&service.tagged_addresses),
            service_weights: service.weights.into(),
            service_meta: service.meta.clone(),
            service_port: service.port,
            service_socket_path: "",
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: NoProxy::default(),
            service_connect: Nothing::default(),
            create_index: instance.service.created,
            modify_index: instance.service.modified,
        }
    }
}

fn addresses(own: &BTreeMap<String, ServiceAddress>) -> Addresses {
    own.iter()
        .map(|(name, at)| {
            (
                name.clone(),
                Address {
                    address: at.address.clone(),
                    port: at.port,
                },
            )
        })
        .collect()
}

fn own_addresses(wire: Addresses) -> BTreeMap<String, ServiceAddress> {
    wire.into_iter()
        .map(|(name, at)| {
            (
                name,
                ServiceAddress {
                    address: at.address,
                    port: at.port,
                },
            )
        })
        .collect()
}

/// Consul keeps ports and weights as plain integers; what cannot be one is shown as 0.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = Option::<i64>::deserialize(deserializer)?.unwrap_or(0);
    Ok(u16::try_from(number).unwrap_or(0))
}
