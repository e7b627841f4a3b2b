//! Which ports of a container can be had, and where.
//!
//! The rule: an address that somebody can connect to, or no registration. Never an unspecified
//! or empty address, never a container's address with a port of the host.
//!
//! | file | |
//! | --- | --- |
//! | `binding.rs` | where published ports are had on the host |
//! | `network.rs` | which of a container's own addresses stands for it |

mod binding;
mod network;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::metadata::Settings;
use super::{Fault, Lookup};
use crate::config::{Config, Home};
use crate::container::{Binding, Container, Network, Port};

/// How many containers may hand on a network to the next before we stop following.
pub(crate) const LONGEST_CHAIN: usize = 4;

/// Where a port can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    /// 0 for a container that does not run.
    pub(crate) port: u16,
    /// The same place in the other family of addresses.
    pub(crate) twin: Option<SocketAddr>,
    /// A loopback address: of no use to other machines.
    pub(crate) only_here: bool,
    /// The routing mesh of a swarm answers there, for all tasks of the service.
    pub(crate) of_mesh: bool,
    /// What gave it.
    pub(crate) rule: &'static str,
    /// What gave the address, where that was something else.
    pub(crate) told: Option<Cow<'static, str>>,
}

/// A container, and what its addresses depend on besides.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) container: &'a Container,
    pub(crate) config: &'a Config,
    pub(crate) lookup: Lookup<'a>,
}

/// What is wished of the address of one port.
struct Wish<'a> {
    /// Who wants the container's own address instead of the host's.
    inside: Option<&'static str>,
    /// The network that is to give it, by the name that the engine has for it.
    network: Option<&'a str>,
    /// The address itself, and who says so.
    told: Option<(IpAddr, &'static str)>,
    host: Host,
}

/// Where ports of the host are had.
#[derive(Clone, Copy)]
struct Host {
    /// What stands for all of its addresses.
    ip: Option<IpAddr>,
    home: Home,
}

/// Where `port` can be had: nowhere, or in one place for each address that it was published on,
/// the best first.
pub(crate) fn places(
    situation: Situation<'_>,
    port: Port,
    settings: &Settings,
    faults: &mut Vec<Fault>,
) -> Vec<Place> {
    let Some(owner) = owner(situation) else {
        return Vec::new();
    };
    let wish = Wish::read(situation, owner, settings, faults);
    let mut places = if situation.container.runs() {
        found(situation, owner, port, (&wish, faults))
    } else {
        expected(situation, port, &wish)
    };
    // All of them came out at this address: they are one.
    if let Some((address, rule)) = wish.told {
        for place in &mut places {
            place.address = address;
            place.twin = None;
            place.only_here = address.is_loopback();
            place.told = Some(rule.into());
        }
    }
    places
}

/// Whose network the container is in: mostly its own.
fn owner(situation: Situation<'_>) -> Option<&Container> {
    let mut owner = situation.container;
    if !owner.runs() {
        return Some(owner);
    }
    for _ in 0..LONGEST_CHAIN {
        let Network::Container(id) = &owner.network else {
            break;
        };
        owner = (situation.lookup)(id).filter(|owner| owner.runs())?;
    }
    Some(owner)
}

fn found(
    situation: Situation<'_>,
    owner: &Container,
    port: Port,
    (wish, faults): (&Wish<'_>, &mut Vec<Fault>),
) -> Vec<Place> {
    let host = wish.host;
    let shared = !std::ptr::eq(owner, situation.container);
    let bindings = owner.bindings.get(&port).filter(|bindings| !bindings.is_empty());
    match &owner.network {
        Network::Container(_) | Network::None => Vec::new(),
        Network::Host => {
            let rule = if shared {
                "host network of another container"
            } else {
                "host network"
            };
            let place = on_host(host, port.number, rule);
            if place.is_none() {
                faults.push(Fault::new(port.to_string(), UNKNOWN_HOST));
            }
            faults.extend(discarded(owner, port).filter(|_| !shared));
            place.into_iter().collect()
        }
        Network::Bridge | Network::Named(_) => match (wish.inside, bindings) {
            (None, Some(bindings)) => {
                let places = binding::places(bindings, host);
                if places.is_empty() {
                    let v6 = bindings.iter().all(|binding| binding.address.is_ipv6());
                    let why = if v6 { binding::UNKNOWN_V6 } else { UNKNOWN_HOST };
                    faults.push(Fault::new(port.to_string(), why));
                }
                places
            }
            (None, None) if !shared => {
                let published = owner.mesh.bindings(port).unwrap_or_default();
                let places = meshed(published, host);
                if places.is_empty() && !published.is_empty() {
                    faults.push(Fault::new(port.to_string(), UNKNOWN_HOST));
                }
                places
            }
            (asked, _) => {
                let rule = asked.unwrap_or("network of another container");
                let place = network::place(owner, wish.network, situation.config, (port.number, rule));
                place.into_iter().collect()
            }
        },
    }
}

/// That a port was asked for under another number, which engines pass over in the host's network.
fn discarded(container: &Container, port: Port) -> Option<Fault> {
    let mut asked = container.asked.get(&port)?.iter().map(|binding| binding.port);
    let number = asked.find(|number| *number > 0 && *number != port.number)?;
    let why = "has no effect in the host's network; registered with its own number";
    Some(Fault::new(format!("-p {number}:{port}"), why))
}

/// Where this node answers for the port on behalf of the whole swarm.
fn meshed(bindings: &[Binding], host: Host) -> Vec<Place> {
    let places = binding::places(bindings, host).into_iter();
    let of_mesh = |place| Place {
        of_mesh: true,
        rule: "routing mesh of the swarm",
        ..place
    };
    places.map(of_mesh).collect()
}

/// Where a stopped container's port will be had once it runs; the number is not known yet.
fn expected(situation: Situation<'_>, port: Port, wish: &Wish<'_>) -> Vec<Place> {
    let container = situation.container;
    let inside = wish.inside.is_some();
    let published = match &container.network {
        Network::None | Network::Container(_) => return Vec::new(),
        Network::Host => true,
        Network::Bridge | Network::Named(_) => inside || container.publish_all,
    };
    match container.asked.get(&port).filter(|asked| !asked.is_empty()) {
        Some(asked) if container.network != Network::Host && !inside => {
            let mut places = binding::places(asked, wish.host);
            places
                .iter_mut()
                .for_each(|place| (place.port, place.twin) = (0, None));
            places
        }
        _ if published => on_host(wish.host, 0, "not running").into_iter().collect(),
        _ => Vec::new(),
    }
}

impl<'a> Wish<'a> {
    fn read(
        situation: Situation<'_>,
        owner: &'a Container,
        settings: &Settings,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let Situation {
            container, config, ..
        } = situation;
        let asked = settings.get("network");
        let network = asked.and_then(|name| network::find(owner, name));
        if let Some(name) = asked.filter(|_| network.is_none() && container.runs()) {
            let names: Vec<&str> = owner.addresses.keys().map(String::as_str).collect();
            faults.push(Fault::new(
                settings.spelling("network").unwrap_or("SERVICE_NETWORK"),
                format!("not in a network {name:?} but in {names:?}; registered as without this setting"),
            ));
        }
        let inside = match settings.get("internal") {
            Some(_) if settings.is_on("internal") => Some("SERVICE_INTERNAL"),
            Some(_) => None,
            None if network.is_some() => Some("SERVICE_NETWORK"),
            None => config.internal.then_some("-internal"),
        };
        let mut parsed = |text: Option<&str>, key: &str| {
            let address = address_of(text?);
            if address.is_none() {
                faults.push(Fault::new(
                    key,
                    format!(
                        "{text:?} is no address; the usual one is registered",
                        text = text?
                    ),
                ));
            }
            address
        };
        let spelled = settings.spelling("ip").unwrap_or("SERVICE_IP");
        let by_setting = parsed(settings.get("ip"), spelled).map(|address| (address, "SERVICE_IP"));
        let by_label = config.use_ip_from_label.as_deref();
        let by_label = by_label.and_then(|label| parsed(container.label(label), label));
        let told = by_setting.or(by_label.map(|address| (address, "-useIpFromLabel")));
        let host = match told {
            // Whoever is told the address need not know the host's.
            Some((address, _)) => Host {
                ip: Some(address),
                home: Home::default(),
            },
            None => Host {
                ip: config.ip,
                home: config.home,
            },
        };
        Self {
            inside,
            network,
            told,
            host,
        }
    }
}

/// The address in a text, a prefix length behind it cut off.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.rsplit_once('/').map_or(text, |(address, _)| address);
    bare.parse()
        .ok()
        .filter(|address: &IpAddr| !address.is_unspecified())
}

/// Why a port of the host is not registered.
const UNKNOWN_HOST: &str =
    "not registered: this host has no address that others reach (no default route); -ip names one";

fn on_host(host: Host, port: u16, rule: &'static str) -> Option<Place> {
    Some(Place {
        told: host.ip.map(|_| "-ip".into()),
        ..at(host.ip.or(host.home.address)?, port, rule)
    })
}

fn at(address: IpAddr, port: u16, rule: &'static str) -> Place {
    Place {
        address,
        port,
        twin: None,
        only_here: false,
        of_mesh: false,
        rule,
        told: None,
    }
}
