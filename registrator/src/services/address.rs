//! Which ports of a container can be had, and where.
//!
//! The rule: an address that somebody can connect to, or no registration. Never an unspecified
//! or empty address, never a container's address with a port of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Fault, Lookup};
use crate::config::Config;
use crate::container::{Binding, Container, Network, Port};

/// How many containers may hand on a network to the next before we stop following.
const LONGEST_CHAIN: usize = 4;

/// Where a port can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    /// 0 for a container that does not run.
    pub(crate) port: u16,
    /// Bound to a loopback address: of no use to other machines.
    pub(crate) only_here: bool,
    /// What gave it.
    pub(crate) rule: &'static str,
    /// What gave another address in its place.
    pub(crate) told: Option<&'static str>,
}

/// Those of `ports` that can be had, each with its place.
pub(crate) fn places(
    container: &Container,
    ports: &BTreeSet<Port>,
    config: &Config,
    lookup: Lookup<'_>,
) -> BTreeMap<Port, Place> {
    let find = |port: &Port| {
        if container.runs() {
            place(container, *port, config, lookup)
        } else {
            expected(container, *port, config)
        }
    };
    ports
        .iter()
        .filter_map(|port| Some((*port, find(port)?)))
        .collect()
}

fn place(container: &Container, port: Port, config: &Config, lookup: Lookup<'_>) -> Option<Place> {
    match &container.network {
        Network::None => None,
        Network::Host => Some(on_host(config, port.number, "host network")),
        Network::Container(_) => shared(container, port, config, lookup),
        Network::Bridge | Network::Named(_) if config.internal => {
            Some(anywhere(container_address(container)?, port.number, "-internal"))
        }
        Network::Bridge | Network::Named(_) => bound(container.bindings.get(&port)?, config),
    }
}

/// A port in somebody else's network: published by that container or, failing that, at its address.
fn shared(container: &Container, port: Port, config: &Config, lookup: Lookup<'_>) -> Option<Place> {
    let mut owner = container;
    for _ in 0..LONGEST_CHAIN {
        let Network::Container(id) = &owner.network else {
            break;
        };
        owner = lookup(id).filter(|owner| owner.runs())?;
    }
    match &owner.network {
        Network::Container(_) | Network::None => None,
        Network::Host => Some(on_host(config, port.number, "host network of another container")),
        Network::Bridge | Network::Named(_) => {
            let published = owner.bindings.get(&port).filter(|_| !config.internal);
            let inside = || {
                let address = container_address(owner)?;
                Some(anywhere(address, port.number, "network of another container"))
            };
            published
                .and_then(|bindings| bound(bindings, config))
                .or_else(inside)
        }
    }
}

/// Where a stopped container's port will be had once it runs; the number is not known yet.
fn expected(container: &Container, port: Port, config: &Config) -> Option<Place> {
    let published = match &container.network {
        Network::None | Network::Container(_) => return None,
        Network::Host => true,
        Network::Bridge | Network::Named(_) => config.internal || container.publish_all,
    };
    match container.asked.get(&port).filter(|asked| !asked.is_empty()) {
        Some(asked) if container.network != Network::Host && !config.internal => Some(Place {
            port: 0,
            ..bound(asked, config)?
        }),
        _ => published.then(|| on_host(config, 0, "not running")),
    }
}

/// The best of several bindings: the address we are known by, else all addresses, else any single
/// one, else one that is only reachable from here.
fn bound(bindings: &[Binding], config: &Config) -> Option<Place> {
    let known = |binding: &Binding| binding.address == config.advertise || Some(binding.address) == config.ip;
    let rank = |binding: &Binding| match binding.address {
        // Even where this host is known by a loopback address: who binds there wants no visitors.
        address if address.is_loopback() => 4,
        _ if known(binding) => 0,
        address if address.is_unspecified() && address.is_ipv4() => 1,
        address if address.is_unspecified() => 2,
        _ => 3,
    };
    let best = bindings
        .iter()
        .min_by_key(|binding| (rank(binding), binding.address, binding.port))?;
    if rank(best) == 4 {
        return Some(Place {
            address: best.address,
            port: best.port,
            only_here: true,
            rule: "published on loopback",
            told: None,
        });
    }
    let (address, rule) = match best.address {
        address if !address.is_unspecified() => (address, "published on one address"),
        IpAddr::V6(_) => (
            config.advertise_v6.map_or(config.advertise, IpAddr::V6),
            "published on all addresses",
        ),
        IpAddr::V4(_) => (config.advertise, "published on all addresses"),
    };
    Some(Place {
        address: config.ip.unwrap_or(address),
        told: config.ip.map(|_| "-ip"),
        ..anywhere(address, best.port, rule)
    })
}

/// The container's own address: in the network it was started with, else the first by name.
fn container_address(container: &Container) -> Option<IpAddr> {
    let preferred = match &container.network {
        Network::Named(name) => name.as_str(),
        _ => "bridge",
    };
    let addresses = &container.addresses;
    let usable = |addresses: &Vec<IpAddr>| {
        addresses
            .iter()
            .find(|address| !address.is_unspecified())
            .copied()
    };
    addresses
        .get(preferred)
        .and_then(usable)
        .or_else(|| addresses.values().find_map(usable))
}

/// The address in the label `name`, a prefix length behind it cut off.
pub(crate) fn from_label(container: &Container, name: &str) -> Result<Option<IpAddr>, Fault> {
    let Some(text) = container.labels.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let bare = text
        .rsplit_once('/')
        .map_or(text.as_str(), |(address, _)| address);
    match bare.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() => Ok(Some(address)),
        _ => Err(Fault::new(
            name,
            format!("{text:?} is no address; the usual one is registered"),
        )),
    }
}

fn on_host(config: &Config, port: u16, rule: &'static str) -> Place {
    Place {
        told: config.ip.map(|_| "-ip"),
        ..anywhere(config.ip.unwrap_or(config.advertise), port, rule)
    }
}

fn anywhere(address: IpAddr, port: u16, rule: &'static str) -> Place {
    Place {
        address,
        port,
        only_here: false,
        rule,
        told: None,
    }
}
