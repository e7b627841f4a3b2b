//! Names and ids of services.

use super::Fault;
use super::address::Place;
use super::metadata::{Settings, unprintable};
use crate::config::Config;
use crate::container::{Container, Port, Protocol};

/// What a service is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// As registered.
    pub(crate) full: String,
    /// Before any port suffix.
    pub(crate) base: String,
    /// What gave it.
    pub(crate) rule: &'static str,
}

/// What a service is told apart by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) text: String,
    /// What gave it.
    pub(crate) rule: &'static str,
}

/// The name of the service on `port`; `None`, with its fault, where it would not be a name.
pub(crate) fn name(
    container: &Container,
    settings: &Settings,
    port: Port,
    several: bool,
    faults: &mut Vec<Fault>,
) -> Option<Name> {
    let (base, rule) = match settings.get("name") {
        Some(name) => (name.to_owned(), "SERVICE_NAME"),
        None => default_name(container),
    };
    if let Some(problem) = unprintable(&base) {
        faults.push(Fault::new(
            "SERVICE_NAME",
            format!("{base:?} is no name: {problem}; port {port} not registered"),
        ));
        return None;
    }
    let suffixed = several && !settings.is_own("name");
    let full = if suffixed {
        format!("{base}-{}", port.number)
    } else {
        base.clone()
    };
    Some(Name { full, base, rule })
}

/// The last part of the image's name. A container made from an image id has no such thing: there
/// the compose service, else its own name, is what people know it by.
fn default_name(container: &Container) -> (String, &'static str) {
    let image = container.image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let base = last.split(':').next().unwrap_or_default();
    if !base.is_empty() && !is_id(container) {
        return (base.to_owned(), "image");
    }
    match container.service() {
        Some(service) => (service.to_owned(), "compose service"),
        None => (container.name.clone(), "container name"),
    }
}

/// Whether the image was given by its id, whole or the first digits of it.
fn is_id(container: &Container) -> bool {
    let digits = container
        .image_id
        .strip_prefix("sha256:")
        .unwrap_or(&container.image_id);
    container.image.starts_with("sha256:")
        || (container.image.len() >= 4
            && container.image.bytes().all(|byte| byte.is_ascii_hexdigit())
            && digits.starts_with(&container.image))
}

/// One id per wanted port, all different: an id that the user gave to several is told apart by
/// port number, then by protocol.
pub(crate) fn ids(
    container: &Container,
    config: &Config,
    wanted: &[(Port, Place, Settings)],
    faults: &mut Vec<Fault>,
) -> Vec<Id> {
    let given: Vec<Option<&str>> = wanted
        .iter()
        .map(|(_, _, settings)| given(settings, faults))
        .collect();
    let one = |(index, (port, _, _)): (usize, &(Port, Place, Settings))| {
        let Some(id) = given[index] else {
            let suffix = protocol_suffix(*port);
            return Id {
                text: format!("{}:{}:{}{suffix}", config.hostname, container.name, port.number),
                rule: "host name, container name, port",
            };
        };
        let rivals = || (0..wanted.len()).filter(|other| *other != index && given[*other] == Some(id));
        let number = if rivals().any(|other| wanted[other].0.number != port.number) {
            format!(":{}", port.number)
        } else {
            String::new()
        };
        let protocol = if rivals().any(|other| wanted[other].0.number == port.number) {
            protocol_suffix(*port)
        } else {
            String::new()
        };
        Id {
            text: format!("{id}{number}{protocol}"),
            rule: "SERVICE_ID",
        }
    };
    wanted.iter().enumerate().map(one).collect()
}

fn given<'a>(settings: &'a Settings, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let id = settings.get("id")?;
    match unprintable(id) {
        None => Some(id),
        Some(problem) => {
            faults.push(Fault::new(
                "SERVICE_ID",
                format!("{id:?} is no id: {problem}; the usual one is registered"),
            ));
            None
        }
    }
}

fn protocol_suffix(port: Port) -> String {
    match port.protocol {
        Protocol::Tcp => String::new(),
        other => format!(":{}", other.as_str()),
    }
}
