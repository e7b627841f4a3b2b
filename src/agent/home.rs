//! Where others reach this host, for the registrator: as somebody said, else as the kernel finds the way out.

use std::net::{IpAddr, Ipv6Addr};

use registrator::Home;

use crate::net;

/// What somebody said of where this host is reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Address of the node, where others reach that.
    pub(super) node: Option<IpAddr>,
    /// For ports that are published on IPv6.
    pub(super) ipv6: Option<Ipv6Addr>,
    /// `-ip`, which stands for all of them.
    pub(super) ip: bool,
    /// What serves where nothing else is known: a loopback address, if somebody asked for one.
    pub(super) otherwise: Option<IpAddr>,
}

impl Said {
    pub(super) fn home(self) -> Home {
        let found = || net::host_address_v6().filter(|_| !self.ip);
        Home {
            address: self.node.or_else(net::host_address).or(self.otherwise),
            v6: self.ipv6.or_else(found),
        }
    }

    /// What the user should hear of it.
    pub(super) fn note(self, option: &str) -> Option<String> {
        (!self.ip && self.home().address.is_none()).then(|| {
            format!(
                "this host has no default route: ports that containers publish are registered once it has; \
                 {option} says where others reach this host"
            )
        })
    }
}
