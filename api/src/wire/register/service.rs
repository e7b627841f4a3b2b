//! A service to register: read from a client, or written for an outside Consul.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use catalog::service::{ServiceAddress, Weights};
use catalog::{Registration, ServiceSpec};
use serde::Serialize;

use super::check::{CheckBody, embedded};
use crate::wire::body::{self, BodyError, Fields};
use crate::wire::service::{Address, WireWeights};

type Result<T> = std::result::Result<T, BodyError>;

/// Consul's bounds on free key-value pairs.
const META_PAIRS: usize = 64;
const META_KEY: usize = 128;
const META_VALUE: usize = 512;

/// Fields of later Consul versions and other editions that change nothing here.
const IGNORED: [&str; 8] = [
    "Token",
    "Namespace",
    "Partition",
    "Locality",
    "CreateIndex",
    "ModifyIndex",
    "ContentHash",
    "Datacenter",
];

/// Reads the body of `agent/service/register`.
///
/// # Errors
/// In Consul's words.
pub fn service(body: &[u8]) -> Result<Registration> {
    let mut fields = Fields::parse(body)?;
    let name = fields.text(&["Name"])?;
    let mut spec = spec(&mut fields)?;
    let mut checks = Vec::new();
    if let Some(check) = fields.object(&["Check"])? {
        checks.extend(embedded(check, true)?);
    }
    for check in fields.objects(&["Checks"])? {
        checks.extend(embedded(check, false)?);
    }
    IGNORED.iter().for_each(|field| fields.ignore(&[field]));
    fields.finish()?;
    if name.is_empty() {
        return Err(BodyError::Invalid("Missing service name".to_owned()));
    }
    spec.name = name.into();
    if spec.id.is_empty() {
        spec.id = spec.name.clone();
    }
    body::check_id("service", &spec.id)?;
    if matches!(spec.address.as_str(), "0.0.0.0" | "::" | "[::]") {
        return Err(BodyError::Invalid("Invalid service address".to_owned()));
    }
    check_meta(&spec.meta).map_err(|why| BodyError::Invalid(format!("Invalid Service Meta: {why}")))?;
    name_addresses(&mut spec);
    Ok(Registration {
        service: spec,
        checks,
    })
}

/// Everything but the name and the checks.
fn spec(fields: &mut Fields) -> Result<ServiceSpec> {
    let kind = fields.text(&["Kind"])?;
    let mesh = fields.asks_for(&["Proxy"]) | fields.asks_for(&["Connect"]);
    if mesh || !kind.is_empty() {
        let text = "Invalid service: Kind, Proxy and Connect are not supported by this version of Lictor";
        return Err(BodyError::Invalid(text.to_owned()));
    }
    if fields.asks_for(&["SocketPath", "socket_path"]) {
        let text = "Invalid service: SocketPath is not supported by this version of Lictor";
        return Err(BodyError::Invalid(text.to_owned()));
    }
    Ok(ServiceSpec {
        id: fields.text(&["ID"])?.into(),
        name: Arc::default(),
        kind,
        tags: fields.texts(&["Tags"])?,
        meta: fields.text_map(&["Meta"])?,
        port: ports_of(fields, "Port")?,
        address: fields.text(&["Address"])?,
        tagged_addresses: tagged(fields)?,
        weights: weights(fields)?,
        enable_tag_override: fields.flag(&["EnableTagOverride", "enable_tag_override"])?,
    })
}

/// Further addresses by name.
pub(in crate::wire) fn tagged(fields: &mut Fields) -> Result<BTreeMap<String, ServiceAddress>> {
    fields.map(&["TaggedAddresses", "tagged_addresses"], |value| {
        let mut at = Fields::try_from(value)?;
        let address = ServiceAddress {
            address: at.text(&["Address"])?,
            port: ports_of(&mut at, "Port")?,
        };
        at.finish()?;
        Ok(address)
    })
}

/// A port; 0 when not given.
pub(in crate::wire) fn ports_of(fields: &mut Fields, name: &str) -> Result<u16> {
    let port = fields.integer(&[name])?.unwrap_or(0);
    u16::try_from(port)
        .map_err(|_| BodyError::Invalid(format!("Invalid port: {port} is not within 0 and 65535")))
}

/// DNS weights; 1 and 1 when not given.
pub(in crate::wire) fn weights(fields: &mut Fields) -> Result<Weights> {
    let Some(mut given) = fields.object(&["Weights"])? else {
        return Ok(Weights::default());
    };
    let (passing, warning) = (
        given.integer(&["Passing"])?.unwrap_or(0),
        given.integer(&["Warning"])?.unwrap_or(0),
    );
    given.finish()?;
    let invalid = |text: &str| Err(BodyError::Invalid(format!("Invalid Weights: {text}")));
    match (u16::try_from(passing), u16::try_from(warning)) {
        _ if passing < 1 => invalid("Passing must be greater than 0"),
        _ if warning < 0 => invalid("Warning must be greater or equal than 0"),
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => invalid("Passing and Warning must be at most 65535"),
    }
}

/// Consul's rules for free key-value pairs.
pub(in crate::wire) fn check_meta(meta: &BTreeMap<String, String>) -> std::result::Result<(), String> {
    if meta.len() > META_PAIRS {
        return Err(format!(
            "Node metadata cannot contain more than {META_PAIRS} key/value pairs"
        ));
    }
    for (key, value) in meta {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fault = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(plain) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY {
            format!("Key is too long (limit: {META_KEY} characters)")
        } else if key.starts_with("consul-") {
            "Key prefix 'consul-' is reserved for internal use".to_owned()
        } else if value.len() > META_VALUE {
            format!("Value is too long (limit: {META_VALUE} characters)")
        } else {
            continue;
        };
        return Err(format!(
            "Couldn't load metadata pair ('{key}', '{value}'): {fault}"
        ));
    }
    Ok(())
}

/// An address that is an IP is also known by its family, as Consul has it.
fn name_addresses(spec: &mut ServiceSpec) {
    let names = match spec.address.parse() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return,
    };
    for name in names {
        let own = || ServiceAddress {
            address: spec.address.clone(),
            port: spec.port,
        };
        spec.tagged_addresses.entry(name.to_owned()).or_insert_with(own);
    }
}

/// A service as it is registered with an outside Consul.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceBody {
    #[serde(rename = "ID")]
    id: Arc<str>,
    name: Arc<str>,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    port: u16,
    address: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: BTreeMap<String, Address>,
    weights: WireWeights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckBody>,
}

impl From<&Registration> for ServiceBody {
    fn from(Registration { service, checks }: &Registration) -> Self {
        let address = |at: &ServiceAddress| Address {
            address: at.address.clone(),
            port: at.port,
        };
        let tagged = service.tagged_addresses.iter();
        Self {
            id: service.id.clone(),
            name: service.name.clone(),
            tags: service.tags.clone(),
            meta: service.meta.clone(),
            port: service.port,
            address: service.address.clone(),
            tagged_addresses: tagged.map(|(name, at)| (name.clone(), address(at))).collect(),
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
            checks: checks.iter().filter_map(CheckBody::of).collect(),
        }
    }
}
