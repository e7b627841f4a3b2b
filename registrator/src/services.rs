//! From a container to the registrations it should have. Pure: same facts, same answer.
//!
//! [`derive`] is the only entry. It never fails: a setting it cannot use becomes a [`Fault`] that
//! names container, key and reason, and costs only what depends on that setting.
//!
//! | file | |
//! | --- | --- |
//! | `metadata.rs` | `SERVICE_*` labels and variables: scopes, precedence, attributes |
//! | `text.rs` | which texts are fit to be shown and sent |
//! | `stack.rs` | labels of compose, swarm and the like |
//! | `filter.rs` | the expression that chooses containers |
//! | `select.rs` | which containers and ports are registered, and why others are not |
//! | `address.rs` | which ports can be had, and where |
//! | `naming.rs` | names and ids |
//! | `description.rs` | tags, pairs, weights |
//! | `checks.rs` | the container's own check, and those it asks for |

pub(crate) mod address;
pub(crate) mod checks;
mod description;
pub(crate) mod filter;
pub(crate) mod metadata;
mod naming;
mod select;
mod stack;
mod text;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use catalog::service::ServiceAddress;
use catalog::{Registration, ServiceSpec};

use crate::config::Config;
use crate::container::{Container, Port};
use crate::registry::{Offer, Reason};
use crate::template::Subject;
use address::{Place, Situation};
use checks::Checked;
use description::Shared;
use metadata::{Metadata, Settings};
use naming::{Id, Name};

pub(crate) use naming::BY_IMAGE;
pub(crate) use stack::unversioned;

/// Whoever has to mend more of one container's settings than this begins with the first.
const MOST_FAULTS: usize = 20;

/// Whoever exposes more ports than this has a range for media streams or the like, which nobody looks up port by port.
const MOST_PORTS: usize = 1000;

/// What a container should be known as, and what of it was not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Derived {
    /// One per usable port, ordered by port.
    pub(crate) offers: Vec<Offer>,
    /// Settings that were left out.
    pub(crate) faults: Vec<Fault>,
    /// What is not registered, and which rule says so.
    pub(crate) skipped: Vec<Reason>,
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
    let mut faults = Vec::new();
    let mut subject = Subject::new(container.raw.as_deref());
    let metadata = Metadata::read(container, |key, by, value| {
        description::expanded(&mut subject, (key, by, value), &mut faults)
    });
    if let Some(reason) = select::left_alone(container, config, &metadata) {
        return Derived {
            skipped: vec![reason],
            ..Derived::default()
        };
    }
    faults.extend(metadata.faults());
    let mut skipped = Vec::new();
    let situation = Situation {
        container,
        config,
        lookup,
    };
    let (wanted, further) = wanted(situation, &metadata, (&mut faults, &mut skipped));
    // The suffix depends on how many ports are left, whether or not each of them gets a name.
    let several = wanted.len() > 1;
    let ids = naming::ids(container, config, &wanted, &mut faults);
    let shared = Shared {
        situation,
        metadata: &metadata,
        said: RefCell::default(),
        tags: description::common_tags(&mut subject.afresh(), config, &mut faults),
    };
    let mut offers = Vec::with_capacity(wanted.len());
    let mut taken = naming::held(&ids);
    for (at, ((port, place, settings), id)) in wanted.iter().zip(&ids).enumerate() {
        if let Some(reason) = select::unnamed(*port, settings, config, &mut faults) {
            skipped.push(reason);
            continue;
        }
        let names = naming::names(container, settings, (*port, several), config, &mut faults);
        for (index, name) in names.iter().enumerate() {
            let (id, by) = match index {
                0 => (id.clone(), settings.spelling("id").unwrap_or("SERVICE_ID")),
                _ => (id.also(name), name.rule.as_str()),
            };
            let elsewhere = further[at].iter().map(|place| (place, id.at(place)));
            for (place, id) in std::iter::once((place, id.clone())).chain(elsewhere) {
                if let Some(fault) = id.overlong(*port) {
                    faults.push(fault);
                    continue;
                }
                // Ports come before further names: giving a name never takes an id away.
                if *taken.entry(id.text.clone()).or_insert((at, index)) == (at, index) {
                    offers.push(offer(&shared, (*port, place, settings), (name, id), &mut faults));
                } else {
                    let why = format!("{port} not registered as {:?}: another port has that id", id.text);
                    faults.push(Fault::new(by, why));
                }
            }
        }
    }
    cut_short(&mut faults);
    Derived {
        offers,
        faults,
        skipped,
    }
}

/// A port with its first place and what is said of it.
type Wanted<'a> = (Port, Place, Settings<'a>);

/// The ports that are to be registered; beside each, the further places where it can be had.
fn wanted<'a>(
    situation: Situation<'_>,
    metadata: &'a Metadata,
    (faults, skipped): (&mut Vec<Fault>, &mut Vec<Reason>),
) -> (Vec<Wanted<'a>>, Vec<Vec<Place>>) {
    let Situation {
        container, config, ..
    } = situation;
    let ports = select::ports(container, metadata, faults);
    select::nobodys(container, metadata, &ports, faults);
    let untold = select::untold(container, config, faults);
    if ports.all.is_empty() && untold.is_none() {
        skipped.push(select::portless(container));
    }
    skipped.extend(untold);
    let (mut wanted, mut further, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for &port in &ports.all {
        let settings = metadata.for_port(port);
        if let Some(reason) = select::ignored(port, &settings) {
            skipped.push(reason);
            continue;
        }
        let mut places = address::places(situation, port, &settings, faults).into_iter();
        if let Some(first) = places.next() {
            if wanted.len() == MOST_PORTS {
                beyond.push(port);
                continue;
            }
            wanted.push((port, first, settings));
            further.push(places.collect());
            continue;
        }
        let why = select::unreachable(container, config);
        if let Some(by) = ports.named_by.as_ref().filter(|_| container.runs()) {
            faults.push(Fault::new(by, format!("port {port} not registered: {why}")));
        }
        skipped.push(Reason::new("port", why, &port));
    }
    if let Some((fault, reason)) = select::too_many(&beyond, MOST_PORTS) {
        faults.push(fault);
        skipped.push(reason);
    }
    (wanted, further)
}

/// The service on one port under one name.
fn offer(
    shared: &Shared<'_, '_>,
    (port, place, settings): (Port, &Place, &Settings<'_>),
    (name, id): (&Name, Id),
    faults: &mut Vec<Fault>,
) -> Offer {
    let mut why = vec![
        Reason::new("id", id.rule, &id.text),
        Reason::new("name", &name.rule, &name.full),
        Reason::new(
            "address",
            place.told.as_deref().unwrap_or(place.rule),
            &place.address,
        ),
        Reason::new("port", place.rule, &place.port),
    ];
    let tags = shared.tags(settings, port, &mut why);
    let meta = shared.meta(settings, (port, place), &name.base, (faults, &mut why));
    let weights = description::weights(settings, (faults, &mut why));
    let enable_tag_override = settings.is_on("enable_tag_override");
    if let Some(by) = settings.spelling("enable_tag_override") {
        why.push(Reason::new("tag override", by, &enable_tag_override));
    }
    let service = ServiceSpec {
        id: id.text.into(),
        name: name.full.as_str().into(),
        tags,
        meta,
        port: place.port,
        address: place.address.to_string(),
        tagged_addresses: by_family(place),
        weights,
        enable_tag_override,
        ..ServiceSpec::default()
    };
    let container = shared.situation.container;
    let tasks_of = container.swarm_service().filter(|_| place.of_mesh);
    let checked = Checked {
        container,
        settings,
        port,
        service: &service,
        elsewhere: &|other| shared.elsewhere(other, settings),
    };
    let checks = checks::all(checked, faults);
    Offer {
        port,
        container: container.id.clone(),
        tasks_of: tasks_of.map(Arc::from),
        told_id: id.told,
        inside_name: container.hostname.clone(),
        attributes: shared.attributes(settings),
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

/// What is wrong for every port is wrong once, and a thousand labels that are one too many each are one mistake.
fn cut_short(faults: &mut Vec<Fault>) {
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert((fault.key.clone(), fault.reason.clone())));
    if let Some(more) = faults.len().checked_sub(MOST_FAULTS).filter(|more| *more > 0) {
        faults.truncate(MOST_FAULTS);
        faults.push(Fault::new("SERVICE_*", format!("{more} more settings left out")));
    }
}

#[cfg(test)]
mod tests;
