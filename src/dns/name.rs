//! What a question's name asks for, and the names that answers point at.
//!
//! Only labels in and out: whether anything of that name exists is `answer`'s business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// The part of the name space this agent answers for.
#[derive(Clone, Debug)]
pub struct Zone {
    /// `consul.` unless configured otherwise.
    pub origin: Name,
    /// The only datacenter known here.
    pub datacenter: String,
    /// Node that is named as the domain's name server.
    pub node: String,
    /// Keep warning instances out of answers, not only critical ones.
    pub only_passing: bool,
}

/// What a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The domain itself.
    Origin,
    /// A name below which others exist but which is nothing itself, such as `service.consul`.
    /// It must not be denied: resolvers that ask label by label would stop there.
    Branch,
    /// Instances of a service.
    Service {
        /// Without underscore.
        name: String,
        /// Only instances with this tag, in any case.
        tag: Option<String>,
    },
    /// A node by name.
    Node(String),
    /// An address spelled in the name itself.
    Address(IpAddr),
    /// Whose address this is: a name under `arpa.`.
    Reverse(IpAddr),
    /// In the domain, but nothing can be called that.
    Nothing,
    /// Outside the domain.
    Foreign,
}

impl Zone {
    /// Reads a question's name. Case never matters.
    #[must_use]
    pub fn read(&self, name: &Name) -> Asked {
        if !self.origin.zone_of(name) {
            return reverse(name).map_or(Asked::Foreign, Asked::Reverse);
        }
        let own = usize::from(name.num_labels() - self.origin.num_labels());
        let labels: Option<Vec<String>> = name
            .iter()
            .take(own)
            .map(|label| std::str::from_utf8(label).ok().map(str::to_lowercase))
            .collect();
        let Some(labels) = labels else {
            return Asked::Nothing;
        };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.read_labels(&labels)
    }

    fn read_labels(&self, labels: &[&str]) -> Asked {
        match labels {
            [] => Asked::Origin,
            ["ns"] => Asked::Node(self.node.clone()),
            [dc] if self.is_here(dc) => Asked::Branch,
            [rest @ .., "service"] => service(rest),
            [rest @ .., "node"] => node(rest),
            [rest @ .., "addr"] => address(rest),
            [rest @ .., "service", dc] if self.is_here(dc) => service(rest),
            [rest @ .., "node", dc] if self.is_here(dc) => node(rest),
            [rest @ .., "addr", dc] if self.is_here(dc) => address(rest),
            [name, tag] => rfc2782(name, tag),
            [name, tag, dc] if self.is_here(dc) => rfc2782(name, tag),
            _ => Asked::Nothing,
        }
    }

    fn is_here(&self, datacenter: &str) -> bool {
        datacenter.eq_ignore_ascii_case(&self.datacenter)
    }

    /// `<node>.node.<dc>.<domain>.`; `None` when the node's name cannot be one.
    #[must_use]
    pub fn node_name(&self, node: &str) -> Option<Name> {
        self.name_of(node.split('.').chain(["node", &self.datacenter]))
    }

    /// `<hex>.addr.<dc>.<domain>.`.
    #[must_use]
    pub fn address_name(&self, address: IpAddr) -> Option<Name> {
        let hex = match address {
            IpAddr::V4(address) => format!("{:08x}", u32::from(address)),
            IpAddr::V6(address) => format!("{:032x}", u128::from(address)),
        };
        self.name_of([&hex, "addr", &self.datacenter])
    }

    /// `<service>.service.<dc>.<domain>.`.
    #[must_use]
    pub fn service_name(&self, service: &str) -> Option<Name> {
        self.name_of([service, "service", &self.datacenter])
    }

    /// `<label>.<domain>.`.
    #[must_use]
    pub fn child(&self, label: &str) -> Option<Name> {
        self.name_of([label])
    }

    fn name_of<'a>(&'a self, labels: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let labels = labels.into_iter().map(str::as_bytes);
        Name::from_labels(labels.chain(self.origin.iter())).ok()
    }
}

/// A host name that somebody registered as an address, as the absolute name it means.
#[must_use]
pub fn host(address: &str) -> Option<Name> {
    let labels = address.strip_suffix('.').unwrap_or(address).split('.');
    Name::from_labels(labels.map(str::as_bytes)).ok()
}

fn service(labels: &[&str]) -> Asked {
    match labels {
        [] => Asked::Branch,
        // `_web._tcp` exists below `_tcp`, though nobody is called that.
        [tag] if tag.starts_with('_') => Asked::Branch,
        [name] => Asked::Service {
            name: (*name).to_owned(),
            tag: None,
        },
        [name, tag] if name.starts_with('_') => rfc2782(name, tag),
        [tag, name] => Asked::Service {
            name: (*name).to_owned(),
            tag: Some((*tag).to_owned()),
        },
        _ => Asked::Nothing,
    }
}

/// `_name._tag`; the protocol `_tcp` asks for no tag.
fn rfc2782(name: &str, tag: &str) -> Asked {
    let (Some(name), Some(tag)) = (name.strip_prefix('_'), tag.strip_prefix('_')) else {
        return Asked::Nothing;
    };
    Asked::Service {
        name: name.to_owned(),
        tag: (tag != "tcp").then(|| tag.to_owned()),
    }
}

/// Names of nodes may have dots.
fn node(labels: &[&str]) -> Asked {
    if labels.is_empty() {
        return Asked::Branch;
    }
    Asked::Node(labels.join("."))
}

fn address(labels: &[&str]) -> Asked {
    let address = |hex: &str| match hex.len() {
        8 => u32::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    };
    match labels {
        [] => Asked::Branch,
        // `from_str_radix` would take a sign.
        [hex] if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            address(hex).map_or(Asked::Nothing, Asked::Address)
        }
        _ => Asked::Nothing,
    }
}

/// The whole address that a name under `in-addr.arpa.` or `ip6.arpa.` spells.
fn reverse(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}
