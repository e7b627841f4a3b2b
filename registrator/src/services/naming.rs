//! Names and ids of services.

use std::collections::BTreeMap;

use super::address::Place;
use super::metadata::{Settings, split_tags};
use super::text::{quoted, unnameable};
use super::{Fault, stack};
use crate::config::Config;
use crate::container::{Container, Port, Protocol};

/// More names than this for one port are a mistake.
const MOST_NAMES: usize = 16;

/// Bytes of an id with all that is added to what was given; only the names of containers and of services of a swarm,
/// which engines let grow for ever, come near it.
const LONGEST_ID: usize = 1024;

/// The rule that names a service by its image.
pub(crate) const BY_IMAGE: &str = "image";

/// What a service is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// As registered.
    pub(crate) full: String,
    /// Before any port suffix.
    pub(crate) base: String,
    /// What gave it.
    pub(crate) rule: String,
}

/// What a service is told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) text: String,
    /// What gave it.
    pub(crate) rule: String,
    /// That was a setting, which can name any id, and not a rule of ours.
    pub(crate) told: bool,
}

impl Id {
    /// Why nothing can be registered under it, if nothing can.
    pub(crate) fn overlong(&self, port: Port) -> Option<Fault> {
        let length = self.text.len();
        let why = || format!("port {port} not registered: its id has {length} bytes, more than {LONGEST_ID}");
        (length > LONGEST_ID).then(|| Fault::new(&self.rule, why()))
    }

    /// That of the same port and name at a further address.
    pub(crate) fn at(&self, place: &Place) -> Self {
        Self {
            text: format!("{}:{}", self.text, place.address),
            rule: "id of the first address, this address".to_owned(),
            told: self.told,
        }
    }

    /// That of the same port under its second or a further name: giving one never changes the first.
    pub(crate) fn also(&self, name: &Name) -> Self {
        Self {
            text: format!("{}:{}", self.text, name.base),
            rule: format!("{}, {}", self.rule, name.rule),
            told: self.told,
        }
    }
}

/// The names of the service on `port`, each once, the first one first. Those that would be none are faults.
pub(crate) fn names(
    container: &Container,
    settings: &Settings,
    (port, several): (Port, bool),
    config: &Config,
    faults: &mut Vec<Fault>,
) -> Vec<Name> {
    let given = settings.get("name").zip(settings.spelling("name"));
    let (bases, rule) = match given {
        Some((names, by)) => (listed(names), by),
        None => {
            let (name, rule) = default_name(container, config);
            (vec![name], rule)
        }
    };
    let suffix = match several && !settings.is_own("name") {
        true => format!("-{}", port.number),
        false => String::new(),
    };
    if bases.is_empty() {
        let what = format!("no name is left of it; port {port} not registered");
        faults.push(Fault::new(rule, what));
    }
    let mut names: Vec<Name> = Vec::new();
    for base in bases {
        let problem = match unnameable(&base) {
            None if names.len() == MOST_NAMES => Some("one port has at most 16".to_owned()),
            problem => problem,
        };
        if let Some(problem) = problem {
            let base = quoted(&base);
            let what = match names.is_empty() {
                true => format!("{base} is no name: {problem}; port {port} not registered"),
                false => format!("{base} is no name: {problem}; the others are registered"),
            };
            faults.push(Fault::new(rule, what));
        } else if !names.iter().any(|known| known.base == base) {
            names.push(Name {
                full: format!("{base}{suffix}"),
                base,
                rule: rule.to_owned(),
            });
        }
    }
    names
}

/// Several names stand between commas; `\,` is a comma that belongs to one.
fn listed(text: &str) -> Vec<String> {
    let names = split_tags(text);
    let trimmed = names.iter().map(|name| name.trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}

/// The last part of the image's name; with `-compose-names` the service of compose or swarm before that. A container
/// made from an image id has no such thing: there that service, else what the image is called, else its own name.
fn default_name(container: &Container, config: &Config) -> (String, &'static str) {
    let service = stack::named_service(container);
    if let Some((service, rule)) = service.filter(|_| config.compose_names) {
        return (service.to_owned(), rule);
    }
    let by_image = last_part(&container.image).filter(|_| !container.is_of_image_id());
    let by_tag = || Some((last_part(container.image_tag.as_deref()?)?, "tag of the image"));
    let named = by_image.map(|base| (base, BY_IMAGE)).or(service).or_else(by_tag);
    let (name, rule) = named.unwrap_or((&container.name, "container name"));
    (name.to_owned(), rule)
}

/// Of `registry:5000/team/api:1.2` the `api`.
fn last_part(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    let last = named.rsplit('/').next()?;
    last.split(':').next().filter(|base| !base.is_empty())
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
    // How often each id was given, by port number.
    let mut claims = BTreeMap::<&str, BTreeMap<u16, usize>>::new();
    for ((port, _, _), id) in wanted.iter().zip(&given) {
        if let Some(id) = id {
            *claims.entry(id).or_default().entry(port.number).or_default() += 1;
        }
    }
    let one = |((port, place, settings), id): (&(Port, Place, Settings), &Option<&str>)| {
        let Some(id) = *id else {
            let suffix = protocol_suffix(*port);
            // All tasks of a service on this node are reached there: they are one entry.
            let (name, rule) = match stack::swarm_service(container).filter(|_| place.of_mesh) {
                Some(service) => (service, "host name, swarm service, port"),
                None => (container.name.as_str(), "host name, container name, port"),
            };
            return Id {
                text: format!("{}:{name}:{}{suffix}", config.hostname, port.number),
                rule: rule.to_owned(),
                told: false,
            };
        };
        let claims = &claims[id];
        let number = match claims.len() {
            1 => String::new(),
            _ => format!(":{}", port.number),
        };
        let protocol = match claims[&port.number] {
            1 => String::new(),
            _ => protocol_suffix(*port),
        };
        Id {
            text: format!("{id}{number}{protocol}"),
            rule: settings.spelling("id").unwrap_or_default().to_owned(),
            told: true,
        }
    };
    wanted.iter().zip(&given).map(one).collect()
}

/// The ids of ports, each with the first port that has it, under its first name.
pub(crate) fn held(ids: &[Id]) -> BTreeMap<String, (usize, usize)> {
    let mut held = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        held.entry(id.text.clone()).or_insert((at, 0));
    }
    held
}

fn given<'a>(settings: &'a Settings, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let id = settings.get("id")?;
    match unnameable(id) {
        None => Some(id),
        Some(problem) => {
            faults.push(Fault::new(
                settings.spelling("id").unwrap_or_default(),
                format!("{} is no id: {problem}; the usual one is registered", quoted(id)),
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
