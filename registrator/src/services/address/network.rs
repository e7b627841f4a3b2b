//! Which of a container's own addresses stands for it.

use std::net::{IpAddr, SocketAddr};

use super::{Place, at};
use crate::config::Config;
use crate::container::{Container, Network};

/// Networks by which a swarm moves its own traffic: nobody connects to a container there.
const OF_SWARM: &[&str] = &["ingress", "docker_gwbridge"];

/// The engine's name for what a user calls `name`: compose puts its project in front.
pub(super) fn find<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let known = |name: &str| {
        container
            .addresses
            .get_key_value(name)
            .map(|(name, _)| name.as_str())
    };
    known(name).or_else(|| {
        let project = container.label("com.docker.compose.project")?;
        known(&format!("{project}_{name}"))
    })
}

/// The container's own address: in the network that was `wished` for, else the first of those that are
/// preferred everywhere, else the one it was started with, else the first by name.
pub(super) fn place(
    container: &Container,
    wished: Option<&str>,
    config: &Config,
    (port, rule): (u16, &'static str),
) -> Option<Place> {
    let addresses = &container.addresses;
    let usable = |name: &str| {
        let mut usable = addresses
            .get(name)?
            .iter()
            .filter(|address| !address.is_unspecified());
        let first = *usable.next()?;
        let twin = usable.find(|other| other.is_ipv4() != first.is_ipv4()).copied();
        Some((first, twin))
    };
    let (name, why, (address, twin)) = if let Some(name) = wished {
        (name, "as SERVICE_NETWORK says", usable(name)?)
    } else {
        let preferred = config.networks.iter().filter_map(|name| find(container, name));
        let started_with = match &container.network {
            Network::Named(name) => name.as_str(),
            _ => "bridge",
        };
        let others = addresses.keys().map(String::as_str);
        let others = others.filter(|name| !OF_SWARM.contains(name));
        let ordered = preferred
            .map(|name| (name, "as -networks says"))
            .chain([(started_with, "which it was started with")])
            .chain(others.map(|name| (name, "the first by name")));
        let mut found = ordered.filter_map(|(name, why)| Some((name, why, usable(name)?)));
        found.next()?
    };
    Some(Place {
        twin: twin.map(|twin: IpAddr| SocketAddr::new(twin, port)),
        told: Some(format!("network {name}, {why}").into()),
        ..at(address, port, rule)
    })
}
