//! Who this agent is: the facts every part may ask for and none may change.

use std::net::IpAddr;
use std::sync::Arc;

use catalog::node::NodeSpec;

/// Port that servers of a cluster would talk to each other on. Only told, never bound: one node
/// has nobody to talk to, but clients expect `status/leader` to name an address.
pub const SERVER_PORT: u16 = 8300;
/// Port of the gossip layer; told, not bound, like [`SERVER_PORT`].
pub const SERF_PORT: u16 = 8301;

/// Name, address and place of this agent.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the node.
    pub node: Arc<str>,
    /// UUID of the node, new at each start while everything is kept in memory.
    pub id: String,
    /// Name of the datacenter.
    pub datacenter: String,
    /// DNS domain without dots at its ends; default `consul`.
    pub domain: String,
    /// Where other machines reach this node.
    pub advertise: IpAddr,
    /// Whether answers are indented and details shown, as `-dev` asks.
    pub dev: bool,
}

impl Identity {
    /// The node as the catalog records it.
    pub fn node_spec(&self) -> NodeSpec {
        let address = self.advertise.to_string();
        let family = if self.advertise.is_ipv4() { "ipv4" } else { "ipv6" };
        let names = [
            "lan".to_owned(),
            format!("lan_{family}"),
            "wan".to_owned(),
            format!("wan_{family}"),
        ];
        NodeSpec {
            id: self.id.clone(),
            name: self.node.clone(),
            address: address.clone(),
            tagged_addresses: names.into_iter().map(|name| (name, address.clone())).collect(),
            meta: [("consul-network-segment".to_owned(), String::new())].into(),
        }
    }

    /// `ip:port` of this server towards other servers.
    pub fn server_address(&self) -> String {
        std::net::SocketAddr::new(self.advertise, SERVER_PORT).to_string()
    }
}

#[cfg(test)]
impl Identity {
    /// Some agent on loopback.
    pub(crate) fn example() -> Self {
        Self {
            node: "n1".into(),
            id: String::new(),
            datacenter: "dc1".to_owned(),
            domain: "consul".to_owned(),
            advertise: [127, 0, 0, 1].into(),
            dev: true,
        }
    }
}
