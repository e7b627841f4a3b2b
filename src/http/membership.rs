//! Who this agent is and whom it knows.

use std::collections::BTreeMap;

use api::wire::agent::{AgentConfig, AgentSelf, Member};
use serde_json::json;

use super::reply::{Fault, Reply};
use super::request::Ask;
use crate::identity::{Identity, SERF_PORT, SERVER_PORT};

/// The Consul whose API this is; some clients switch features by it.
const CONSUL_VERSION: &str = "1.10.11";
const ALIVE: u8 = 1;

/// `GET /v1/agent/self`.
pub fn own(ask: &Ask) -> Result<Reply, Fault> {
    let identity = &ask.context.identity;
    let node = identity.node_spec();
    Ok(Reply::json(AgentSelf {
        config: AgentConfig {
            datacenter: identity.datacenter.clone(),
            primary_datacenter: identity.datacenter.clone(),
            node_name: identity.node.to_string(),
            node_id: identity.id.clone(),
            revision: String::new(),
            server: true,
            version: CONSUL_VERSION.to_owned(),
        },
        debug_config: json!({
            "Bootstrap": true,
            "Datacenter": identity.datacenter,
            "DevMode": identity.dev,
            "DNSDomain": format!("{}.", identity.domain),
            "EnableDebug": false,
            "NodeName": identity.node,
            "NodeID": identity.id,
            "SerfAdvertiseAddrLAN": format!("tcp://{}", std::net::SocketAddr::new(identity.advertise, SERF_PORT)),
            "ServerMode": true,
        }),
        member: member(identity, false),
        stats: stats(ask),
        meta: node.meta,
    }))
}

/// `GET /v1/agent/members`.
pub fn members(ask: &Ask) -> Result<Reply, Fault> {
    Ok(Reply::json([member(
        &ask.context.identity,
        ask.params.has("wan"),
    )]))
}

fn member(identity: &Identity, wan: bool) -> Member {
    let name = if wan {
        format!("{}.{}", identity.node, identity.datacenter)
    } else {
        identity.node.to_string()
    };
    let port = SERVER_PORT.to_string();
    let build = format!("{CONSUL_VERSION}:");
    let tags = [
        ("acls", "0"),
        ("bootstrap", "1"),
        ("build", &build),
        ("dc", &identity.datacenter),
        ("ft_fs", "1"),
        ("id", &identity.id),
        ("port", &port),
        ("raft_vsn", "3"),
        ("role", "consul"),
        ("segment", ""),
        ("vsn", "2"),
        ("vsn_max", "3"),
        ("vsn_min", "2"),
    ];
    Member {
        name,
        addr: identity.advertise.to_string(),
        port: SERF_PORT,
        tags: tags
            .into_iter()
            .map(|(tag, value)| (tag.to_owned(), value.to_owned()))
            .collect(),
        status: ALIVE,
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
    }
}

/// What scripts read; numbers are text, as Consul has them.
fn stats(ask: &Ask) -> BTreeMap<String, BTreeMap<String, String>> {
    let (identity, local) = (&ask.context.identity, &ask.context.local);
    let index = ask.context.store.read().index().to_string();
    let cpus = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let (checks, services) = (
        local.checks().len().to_string(),
        local.services().len().to_string(),
    );
    let leader = identity.server_address();
    let groups: [(&str, &[(&str, &str)]); 6] = [
        ("agent", &[("checks", &checks), ("services", &services)]),
        (
            "build",
            &[("prerelease", ""), ("revision", ""), ("version", CONSUL_VERSION)],
        ),
        (
            "consul",
            &[
                ("acl", "disabled"),
                ("bootstrap", "true"),
                ("known_datacenters", "1"),
                ("leader", "true"),
                ("leader_addr", &leader),
                ("server", "true"),
            ],
        ),
        (
            "raft",
            &[
                ("applied_index", &index),
                ("commit_index", &index),
                ("last_contact", "0"),
                ("last_log_index", &index),
                ("num_peers", "0"),
                ("state", "Leader"),
            ],
        ),
        (
            "runtime",
            &[
                ("arch", std::env::consts::ARCH),
                ("cpu_count", &cpus),
                ("os", std::env::consts::OS),
                ("version", concat!("lictor ", env!("CARGO_PKG_VERSION"))),
            ],
        ),
        (
            "serf_lan",
            &[
                ("encrypted", "false"),
                ("failed", "0"),
                ("left", "0"),
                ("members", "1"),
            ],
        ),
    ];
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    groups
        .iter()
        .map(|(group, pairs)| ((*group).to_owned(), own(pairs)))
        .collect()
}
