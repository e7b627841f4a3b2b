//! What the catalog is told directly, past any agent: bodies of `catalog/register` and
//! `catalog/deregister`. Pure.

use std::sync::Arc;

use catalog::check::CheckSpec;
use catalog::command::{Record, Target};
use catalog::node::NodeSpec;
use catalog::{Command, ServiceSpec, Status};

use super::body::{BodyError, Fields};
use super::register::{check_meta, ports_of, tagged, weights};

type Result<T> = std::result::Result<T, BodyError>;

/// A change of the catalog, and the datacenter it is meant for (empty: the agent's own).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogChange {
    /// Empty: the agent's own.
    pub datacenter: String,
    /// What to do.
    pub command: Command,
}

/// Reads the body of `catalog/register`.
///
/// `Definition` of a check is accepted and forgotten: only programs outside would act on it.
///
/// # Errors
/// In Consul's words.
pub fn register(body: &[u8]) -> Result<CatalogChange> {
    let mut fields = Fields::parse(body)?;
    let datacenter = fields.text(&["Datacenter"])?;
    let node = NodeSpec {
        id: fields.text(&["ID"])?,
        name: fields.text(&["Node"])?.into(),
        address: fields.text(&["Address"])?,
        tagged_addresses: fields.text_map(&["TaggedAddresses"])?,
        meta: fields.text_map(&["NodeMeta"])?,
    };
    if !node.id.is_empty() && node.id.len() != 36 {
        return Err(BodyError::Refused(
            "Bad node ID: uuid string is wrong length".to_owned(),
        ));
    }
    check_meta(&node.meta).map_err(|why| BodyError::Refused(format!("Invalid node metadata: {why}")))?;
    let service = fields.object(&["Service"])?.map(service).transpose()?;
    let mut checks = Vec::new();
    let lone = fields.object(&["Check"])?;
    for fields in lone.into_iter().chain(fields.objects(&["Checks"])?) {
        checks.push(check(fields, &node.name)?);
    }
    let skip_node_update = fields.flag(&["SkipNodeUpdate"])?;
    ignore(
        &mut fields,
        &[
            "WriteRequest",
            "Token",
            "Namespace",
            "Partition",
            "CreateIndex",
            "ModifyIndex",
        ],
    );
    fields.finish()?;
    let record = Record {
        node,
        skip_node_update,
        service,
        checks,
    };
    Ok(CatalogChange {
        datacenter,
        command: Command::Register(Box::new(record)),
    })
}

/// Reads the body of `catalog/deregister`.
///
/// # Errors
/// In Consul's words.
pub fn deregister(body: &[u8]) -> Result<CatalogChange> {
    let mut fields = Fields::parse(body)?;
    let datacenter = fields.text(&["Datacenter"])?;
    let node = fields.text(&["Node"])?;
    let service = fields.text(&["ServiceID"])?;
    let check = fields.text(&["CheckID"])?;
    ignore(
        &mut fields,
        &["Address", "Token", "Namespace", "Partition", "WriteRequest"],
    );
    fields.finish()?;
    if node.is_empty() {
        return Err(BodyError::Refused("Must provide node".to_owned()));
    }
    let target = match (service.is_empty(), check.is_empty()) {
        (false, _) => Target::Service(service.into()),
        (true, false) => Target::Check(check.into()),
        (true, true) => Target::Node,
    };
    Ok(CatalogChange {
        datacenter,
        command: Command::Deregister {
            node: node.into(),
            target,
        },
    })
}

fn service(mut fields: Fields) -> Result<ServiceSpec> {
    let kind = fields.text(&["Kind"])?;
    if fields.asks_for(&["Proxy"]) | fields.asks_for(&["Connect"]) || !kind.is_empty() {
        let text = "Invalid service: Kind, Proxy and Connect are not supported by this version of Lictor";
        return Err(BodyError::Invalid(text.to_owned()));
    }
    let name: Arc<str> = fields.text(&["Service"])?.into();
    let id: Arc<str> = fields.text(&["ID"])?.into();
    let spec = ServiceSpec {
        id: if id.is_empty() { name.clone() } else { id },
        name,
        kind,
        tags: fields.texts(&["Tags"])?,
        meta: fields.text_map(&["Meta"])?,
        port: ports_of(&mut fields, "Port")?,
        address: fields.text(&["Address"])?,
        tagged_addresses: tagged(&mut fields)?,
        weights: weights(&mut fields)?,
        enable_tag_override: fields.flag(&["EnableTagOverride"])?,
    };
    check_meta(&spec.meta).map_err(|why| BodyError::Refused(format!("Invalid service metadata: {why}")))?;
    ignore(
        &mut fields,
        &[
            "CreateIndex",
            "ModifyIndex",
            "Namespace",
            "Partition",
            "SocketPath",
            "Datacenter",
            "ContentHash",
        ],
    );
    fields.finish()?;
    Ok(spec)
}

fn check(mut fields: Fields, node: &str) -> Result<CheckSpec> {
    let on = fields.text(&["Node"])?;
    if !on.is_empty() && !on.eq_ignore_ascii_case(node) {
        return Err(BodyError::Refused(format!(
            "check node {on:?} does not match node {node:?}"
        )));
    }
    let name = fields.text(&["Name"])?;
    let id = fields.text(&["CheckID"])?;
    let service_id = fields.text(&["ServiceID"])?;
    let spec = CheckSpec {
        id: if id.is_empty() {
            name.as_str().into()
        } else {
            id.into()
        },
        name,
        status: match fields.text(&["Status"])?.as_str() {
            "" => Status::Critical,
            word => word
                .parse()
                .map_err(|_| BodyError::Refused(format!("Invalid check status: '{word}'")))?,
        },
        notes: fields.text(&["Notes"])?,
        output: fields.text(&["Output"])?,
        service_id: (!service_id.is_empty()).then(|| service_id.into()),
        kind: fields.text(&["Type"])?,
    };
    ignore(
        &mut fields,
        &[
            "ServiceName",
            "ServiceTags",
            "Definition",
            "CreateIndex",
            "ModifyIndex",
            "Namespace",
            "Partition",
            "Interval",
            "Timeout",
            "ExposedPort",
        ],
    );
    fields.finish()?;
    Ok(spec)
}

fn ignore(fields: &mut Fields, names: &[&str]) {
    names.iter().for_each(|name| fields.ignore(&[name]));
}
