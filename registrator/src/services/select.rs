//! Whether a container, or a port of it, is registered at all. What is left out has its reason.

use std::collections::BTreeSet;

use super::metadata::{Metadata, Settings, split_tags};
use super::{Fault, stack};
use crate::config::Config;
use crate::container::{Container, Mesh, Network, Port};
use crate::registry::Reason;

/// Why the whole container is left alone, if it is.
pub(super) fn left_alone(container: &Container, config: &Config, metadata: &Metadata) -> Option<Reason> {
    if !config.filter.holds(container) {
        return Some(Reason::new("container", "-filter", &config.filter));
    }
    match metadata.common("ignore") {
        // Said for all ports, it may still be unsaid for one.
        Some(_) => None,
        None => stack::helper(container).map(|why| Reason::new("container", why, &container.name)),
    }
}

/// The ports a container speaks of.
pub(super) struct Ports {
    pub(super) all: BTreeSet<Port>,
    /// They were named by this setting, and no others count.
    pub(super) named_by: Option<String>,
}

/// Every port that the image or its user declared, or those alone that `SERVICE_PORT` names.
pub(super) fn ports(container: &Container, metadata: &Metadata, faults: &mut Vec<Fault>) -> Ports {
    for by in metadata.narrow("port") {
        faults.push(Fault::new(
            by,
            "is said for the whole container only, as SERVICE_PORT; left out",
        ));
    }
    if let Some((text, by)) = metadata.common("port") {
        let mut named = BTreeSet::new();
        for word in split_tags(text) {
            match word.trim().parse::<Port>() {
                Ok(port) => _ = named.insert(port),
                Err(problem) => faults.push(Fault::new(by, problem.to_string())),
            }
        }
        if !named.is_empty() {
            return Ports {
                all: named,
                named_by: Some(by.to_owned()),
            };
        }
    }
    let declared = container.exposed.iter().chain(container.bindings.keys());
    let mut all: BTreeSet<Port> = declared.copied().chain(container.mesh.ports()).collect();
    if !container.runs() {
        all.extend(container.asked.keys());
    }
    Ports { all, named_by: None }
}

/// Names the settings that are for ports which the container does not have. What a swarm publishes may be known later.
pub(super) fn nobodys(container: &Container, metadata: &Metadata, ports: &Ports, faults: &mut Vec<Fault>) {
    let no_port = |by| {
        Fault::new(
            by,
            "left out: its number is that of no port, or its range of none",
        )
    };
    let known = matches!(container.mesh, Mesh::Ports(_));
    let declared = container.exposed.iter().chain(container.bindings.keys());
    let declared = declared.chain(container.asked.keys()).chain(&ports.all);
    let all: BTreeSet<Port> = declared.copied().chain(container.mesh.ports()).collect();
    faults.extend(metadata.nobodys(&all, known).map(no_port));
}

/// Why a port cannot be had by anybody.
pub(super) fn unreachable(container: &Container, config: &Config) -> &'static str {
    match &container.network {
        Network::None => "no network",
        Network::Container(_) => "not to be had through the container whose network it shares",
        Network::Host => "not running",
        Network::Bridge | Network::Named(_) if config.internal => "no address of its own",
        Network::Bridge | Network::Named(_) => "not published",
    }
}

/// Why nothing is known of what a swarm publishes of a container, where that is so. That an engine will not tell is a
/// fault: somebody meant it to be known.
pub(super) fn untold(container: &Container, config: &Config, faults: &mut Vec<Fault>) -> Option<Reason> {
    let why = match &container.mesh {
        _ if config.internal => return None,
        Mesh::Ports(_) => return None,
        Mesh::Pending => "the routing mesh of the swarm has not let it in yet".to_owned(),
        Mesh::Untold(refusal) => {
            let why =
                format!("the engine does not tell what the routing mesh of the swarm publishes: {refusal}");
            faults.push(Fault::new("routing mesh", format!("not registered there: {why}")));
            why
        }
    };
    Some(Reason::new("container", why, &container.name))
}

/// Why a container without any port is not registered.
pub(super) fn portless(container: &Container) -> Reason {
    let why = "no port of it is declared or published; SERVICE_PORT declares one";
    Reason::new("container", why, &container.name)
}

/// That ports are not registered because the container has `most` of them without these.
pub(super) fn too_many(beyond: &[Port], most: usize) -> Option<(Fault, Reason)> {
    let (first, last) = (beyond.first()?, beyond.last()?);
    let why = format!("a container has at most {most} ports registered; SERVICE_PORT names those that count");
    let which = format!("{} ports, {first} to {last}", beyond.len());
    let fault = Fault::new("ports", format!("{which}, not registered: {why}"));
    Some((fault, Reason::new("port", why, &which)))
}

/// Whether a port that can be had is ignored: by which setting.
pub(super) fn ignored(port: Port, settings: &Settings) -> Option<Reason> {
    let by = settings.spelling("ignore").filter(|_| settings.is_on("ignore"))?;
    Some(Reason::new("port", by, &port))
}

/// Whether a port lacks the name that `-explicit` asks for. Where somebody meant it to be known that is a fault.
pub(super) fn unnamed(
    port: Port,
    settings: &Settings,
    config: &Config,
    faults: &mut Vec<Fault>,
) -> Option<Reason> {
    if !config.explicit || settings.get("name").is_some() {
        return None;
    }
    if let Some(by) = settings.any() {
        let number = port.number;
        let wanted = format!("SERVICE_NAME or SERVICE_{number}_NAME beside it");
        faults.push(Fault::new(
            by,
            format!("port {port} not registered: -explicit wants a name, {wanted}"),
        ));
    }
    Some(Reason::new("port", "-explicit, and no name", &port))
}
