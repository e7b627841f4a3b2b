//! From a container to the registrations it should have. Pure: same facts, same answer.
//!
//! [`derive`] is the only entry. It never fails: a setting it cannot use becomes a [`Fault`] that
//! names container, key and reason, and costs only what depends on that setting.
//!
//! | file | |
//! | --- | --- |
//! | `metadata.rs` | `SERVICE_*` labels and variables: scopes, precedence, tags, attributes |
//! | `address.rs` | which ports can be had, and where |
//! | `naming.rs` | names and ids |
//! | `checks.rs` | the container's own check, and the one it asks for |
//! | `time.rs` | how long something is, as users write it |

pub(crate) mod address;
pub(crate) mod checks;
pub(crate) mod metadata;
pub(crate) mod naming;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT, ServiceAddress};
use catalog::{Registration, ServiceSpec};

use crate::config::Config;
use crate::container::{Container, Network, Port, Protocol};
use crate::registry::{Offer, Reason};
use address::{Place, Situation};
use metadata::{Metadata, Settings};
use naming::{Id, Name};

/// Whoever has to mend more of one container's settings than this begins with the first.
const MOST_FAULTS: usize = 20;

/// What a container should be known as, and what of it was not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Derived {
    /// One per usable port and address that it is published on, ordered by port.
    pub(crate) offers: Vec<Offer>,
    /// Settings that were left out.
    pub(crate) faults: Vec<Fault>,
}

/// A setting of a container that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The setting, as close to the user's spelling as we know it.
    pub(crate) key: String,
    /// Why, and what became of it.
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// Finds another container by id: one that shares its network is reached through it.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a Container>;

/// What should be registered for `container`. For one that does not run: what is to be expected
/// once it does, with port 0 and a critical check.
pub(crate) fn derive<'a>(container: &'a Container, config: &'a Config, lookup: Lookup<'a>) -> Derived {
    if container.holds_a_pod() {
        return Derived::default();
    }
    let metadata = Metadata::read(container);
    let mut faults = Vec::new();
    let ports = ports(container, &metadata, config, &mut faults);
    let situation = Situation {
        container,
        config,
        lookup,
    };
    let mut wanted: Vec<(Port, Place, Settings)> = Vec::with_capacity(ports.len());
    // Where a port is published on several addresses: the places beside the first.
    let mut further: Vec<Vec<Place>> = Vec::with_capacity(ports.len());
    for port in ports {
        let settings = metadata.for_port(port);
        if settings.is_on("ignore") {
            continue;
        }
        let mut places = address::places(situation, port, &settings, &mut faults).into_iter();
        if let Some(first) = places.next() {
            wanted.push((port, first, settings));
            further.push(places.collect());
        }
    }
    // The suffix depends on how many ports are left, whether or not each of them gets a name.
    let several = wanted.len() > 1;
    let ids = naming::ids(container, config, &wanted, &mut faults);
    let mut offers = Vec::with_capacity(wanted.len());
    for (((port, first, settings), id), further) in wanted.iter().zip(ids).zip(&further) {
        if config.explicit && settings.get("name").is_none() {
            continue;
        }
        let Some(name) = naming::name(container, settings, *port, several, &mut faults) else {
            continue;
        };
        let mut add = |place: &Place, id: &Id| {
            offers.push(offer(
                (container, config),
                (*port, place),
                (settings, &name, id),
                &mut faults,
            ));
        };
        add(first, &id);
        for place in further {
            let text = format!("{}:{}", id.text, place.address);
            let rule = "id of the first address, this address";
            add(place, &Id { text, rule });
        }
    }
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert((fault.key.clone(), fault.reason.clone())));
    cut_short(&mut faults);
    Derived { offers, faults }
}

/// What registries are told of one port in one place.
fn offer(
    (container, config): (&Container, &Config),
    (port, place): (Port, &Place),
    (settings, name, id): (&Settings, &Name, &Id),
    faults: &mut Vec<Fault>,
) -> Offer {
    let address_rule = place.told.as_deref().unwrap_or(place.rule);
    let why = vec![
        Reason::new("id", id.rule, &id.text),
        Reason::new("name", name.rule, &name.full),
        Reason::new("address", address_rule, &place.address),
        Reason::new("port", place.rule, &place.port),
    ];
    let service = ServiceSpec {
        id: id.text.as_str().into(),
        name: name.full.as_str().into(),
        tags: tags(settings, port, config, faults),
        meta: meta(container, config, (port, place), (settings, &name.base), faults),
        port: place.port,
        address: place.address.to_string(),
        tagged_addresses: by_family(place),
        ..ServiceSpec::default()
    };
    let checks = checks::all(container, settings, port, &service, faults);
    Offer {
        port,
        container: container.id.clone(),
        inside_name: container.hostname.clone(),
        attributes: settings.attributes(),
        fit: checks::fit(&checks),
        why,
        registration: Arc::new(Registration { service, checks }),
    }
}

/// Both addresses of a place that has one of each family, as Consul names them; else none: the service's own
/// says it.
fn by_family(place: &Place) -> BTreeMap<String, ServiceAddress> {
    let both = place
        .twin
        .map(|twin| [SocketAddr::new(place.address, place.port), twin]);
    let named = both.into_iter().flatten().map(|at| {
        let name = if at.is_ipv4() { "lan_ipv4" } else { "lan_ipv6" };
        let address = at.ip().to_string();
        (
            name.to_owned(),
            ServiceAddress {
                address,
                port: at.port(),
            },
        )
    });
    named.collect()
}

/// A thousand labels that are one too many each are one mistake.
fn cut_short(faults: &mut Vec<Fault>) {
    if let Some(more) = faults.len().checked_sub(MOST_FAULTS).filter(|more| *more > 0) {
        faults.truncate(MOST_FAULTS);
        faults.push(Fault::new("SERVICE_*", format!("{more} more settings left out")));
    }
}

/// Every port the container speaks of. `SERVICE_PORT` helps where an image declares none and the
/// number inside is the number outside.
fn ports(
    container: &Container,
    metadata: &Metadata,
    config: &Config,
    faults: &mut Vec<Fault>,
) -> BTreeSet<Port> {
    let mut ports: BTreeSet<Port> = container
        .exposed
        .iter()
        .chain(container.bindings.keys())
        .copied()
        .collect();
    if !container.runs() {
        ports.extend(container.asked.keys());
    }
    let asked = ["internal", "network"]
        .iter()
        .any(|key| metadata.common(key).is_some());
    let direct = config.internal || container.network == Network::Host || asked;
    if let Some(text) = metadata.common("port").filter(|_| ports.is_empty() && direct) {
        match text.parse() {
            Ok(port) => _ = ports.insert(port),
            Err(problem) => faults.push(Fault::new("SERVICE_PORT", problem.to_string())),
        }
    }
    ports
}

/// Own tags, then everybody's, then the protocol; each once, in the order given.
fn tags(settings: &Settings, port: Port, config: &Config, faults: &mut Vec<Fault>) -> Vec<String> {
    let own = settings.get("tags").map(metadata::split_tags).unwrap_or_default();
    let protocol = Some(port.protocol).filter(|protocol| *protocol != Protocol::Tcp);
    let mut tags: Vec<String> = Vec::new();
    for tag in own
        .iter()
        .chain(&config.tags)
        .map(String::as_str)
        .chain(protocol.map(Protocol::as_str))
    {
        if let Some(problem) = metadata::unprintable(tag) {
            faults.push(Fault::new(
                "SERVICE_TAGS",
                format!("tag {tag:?} left out: {problem}"),
            ));
        } else if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// The container's attributes within the catalog's limits, and ours beside them.
fn meta(
    container: &Container,
    config: &Config,
    (port, place): (Port, &Place),
    (settings, base): (&Settings, &str),
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut ours = BTreeMap::from([
        (META_CONTAINER.to_owned(), container.id.to_string()),
        (META_OWNER.to_owned(), config.owner.clone()),
        (META_BASE.to_owned(), base.to_owned()),
    ]);
    if port.protocol == Protocol::Tcp && !place.only_here {
        ours.insert(META_PORT.to_owned(), port.number.to_string());
    }
    let room = metadata::MOST_PAIRS - ours.len();
    let mut meta = metadata::attributes(settings, room, faults);
    meta.append(&mut ours);
    meta
}

#[cfg(test)]
mod tests;
