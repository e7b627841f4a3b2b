//! Pictures from a few lines of text. A service is a line `name address:port word…`, its tags are the
//! indented lines below. Words: `node=` `id=` `kind=` `base=` `cport=` `check=<status>` (any number, or
//! `check=http:<status>`) `container=<status>` `maintenance` `node-maintenance` `node-failed` `node-check=<status>`.
//! In tags `<x300>` stands for 300 times x, `\e` for an escape character, `\n` for a line break.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::check::{
    CONTAINER_PREFIX, CheckSpec, NODE_MAINTENANCE, SERF_HEALTH, SERVICE_MAINTENANCE_PREFIX,
};
use catalog::node::NodeSpec;
use catalog::service::{META_BASE, META_PORT};
use catalog::{Check, Instance, Node, Picture, Service, ServiceSpec, Status};

pub(crate) fn picture(text: &str) -> Picture {
    let mut picture = Picture::new();
    let mut lines = text.lines().peekable();
    while let Some(head) = lines.next() {
        let mut tags = Vec::new();
        while let Some(tag) = lines.next_if(|line| line.starts_with(' ')) {
            tags.push(unescape(&tag[2..]));
        }
        let instance = Arc::new(instance(head, tags));
        picture.insert(instance.key(), instance);
    }
    picture
}

fn unescape(tag: &str) -> String {
    let tag = tag.replace("\\e", "\u{1b}").replace("\\n", "\n");
    match tag.split_once("<x") {
        Some((before, rest)) => {
            let (count, after) = rest.split_once('>').unwrap();
            format!("{before}{}{after}", "x".repeat(count.parse().unwrap()))
        }
        None => tag,
    }
}

fn instance(head: &str, tags: Vec<String>) -> Instance {
    let mut words = head.split(' ');
    let name = words.next().unwrap();
    let (address, port) = words.next().unwrap().rsplit_once(':').unwrap();
    let mut spec = ServiceSpec {
        id: format!("{name}-{}", address.rsplit('.').next().unwrap()).into(),
        name: name.into(),
        port: port.parse().unwrap(),
        address: address.to_owned(),
        tags,
        ..ServiceSpec::default()
    };
    let mut node = "n1";
    let mut checks = Vec::new();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("node", value) => node = value,
            ("id", value) => spec.id = value.into(),
            ("kind", value) => spec.kind = value.into(),
            ("base", value) => _ = spec.meta.insert(META_BASE.into(), value.into()),
            ("cport", value) => _ = spec.meta.insert(META_PORT.into(), value.into()),
            ("check", value) => {
                let (kind, status) = value.split_once(':').unwrap_or(("ttl", value));
                let id = format!("check:{}", checks.len());
                checks.push((id, kind, status.parse().unwrap(), true));
            }
            ("container", value) => {
                let id = format!("{CONTAINER_PREFIX}{}", spec.id);
                checks.push((id, "container", value.parse().unwrap(), true));
            }
            ("maintenance", _) => {
                checks.push((
                    format!("{SERVICE_MAINTENANCE_PREFIX}{}", spec.id),
                    "",
                    Status::Critical,
                    true,
                ));
            }
            ("node-maintenance", _) => checks.push((NODE_MAINTENANCE.into(), "", Status::Critical, false)),
            ("node-failed", _) => checks.push((SERF_HEALTH.into(), "", Status::Critical, false)),
            ("node-check", value) => checks.push(("disk".into(), "http", value.parse().unwrap(), false)),
            other => panic!("unknown word {other:?}"),
        }
    }
    let checks = checks
        .into_iter()
        .map(|check| Arc::new(recorded(check, node, &spec)))
        .collect();
    let address = "192.168.0.1".to_owned();
    let node = NodeSpec {
        name: node.into(),
        address,
        tagged_addresses: BTreeMap::new(),
        ..NodeSpec::default()
    };
    Instance {
        node: Arc::new(Node {
            spec: node,
            created: 1,
            modified: 1,
        }),
        service: Arc::new(Service {
            spec,
            created: 1,
            modified: 1,
        }),
        checks,
    }
}

fn recorded(
    (id, kind, status, of_service): (String, &str, Status, bool),
    node: &str,
    of: &ServiceSpec,
) -> Check {
    let spec = CheckSpec {
        id: id.into(),
        name: String::new(),
        status,
        notes: String::new(),
        output: String::new(),
        service_id: of_service.then(|| of.id.clone()),
        kind: kind.to_owned(),
    };
    Check {
        node: node.into(),
        spec,
        service_name: of.name.clone(),
        service_tags: Vec::new(),
        created: 1,
        modified: 1,
    }
}
