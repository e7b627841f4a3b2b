//! What a registration says beside its name and place: tags, pairs, weights; and what templates in them come to.

use std::collections::BTreeMap;

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT, Weights};

use super::address::{self, Place, Situation};
use super::metadata::{self, Metadata, Settings, split_tags};
use super::{Fault, stack, text};
use crate::config::Config;
use crate::container::{Container, Port, Protocol};
use crate::registry::Reason;
use crate::template::Template;

/// What of a description is the same for every port and name of a container.
pub(super) struct Shared<'a, 'm> {
    pub(super) situation: Situation<'a>,
    pub(super) metadata: &'m Metadata,
    /// What `-tags` comes to.
    pub(super) tags: Vec<String>,
}

impl Shared<'_, '_> {
    /// Own tags, then everybody's, then the protocol; each once, in the order given.
    pub(super) fn tags(
        &self,
        settings: &Settings,
        port: Port,
        (faults, why): (&mut Vec<Fault>, &mut Vec<Reason>),
    ) -> Vec<String> {
        let own = settings.get("tags").map(split_tags).unwrap_or_default();
        let by = settings.spelling("tags").unwrap_or_default();
        let protocol = Some(port.protocol).filter(|protocol| *protocol != Protocol::Tcp);
        let all = own
            .iter()
            .map(|tag| (tag.as_str(), by))
            .chain(self.tags.iter().map(|tag| (tag.as_str(), "-tags")))
            .chain(protocol.map(|protocol| (protocol.as_str(), "protocol")));
        let mut tags: Vec<String> = Vec::new();
        for (tag, by) in all {
            if let Some(problem) = text::unprintable(tag) {
                faults.push(Fault::new(by, format!("tag {tag:?} left out: {problem}")));
            } else if !tags.iter().any(|known| known == tag) {
                why.push(Reason::new("tag", by, &tag));
                tags.push(tag.to_owned());
            }
        }
        tags
    }

    /// The container's attributes within the catalog's limits, what its tools say of it, and ours beside them.
    pub(super) fn meta(
        &self,
        settings: &Settings,
        (port, place): (Port, &Place),
        base: &str,
        (faults, why): (&mut Vec<Fault>, &mut Vec<Reason>),
    ) -> BTreeMap<String, String> {
        let mut ours = BTreeMap::from([
            (META_CONTAINER.to_owned(), self.situation.container.id.to_string()),
            (META_OWNER.to_owned(), self.situation.config.owner.clone()),
            (META_BASE.to_owned(), base.to_owned()),
        ]);
        if port.protocol == Protocol::Tcp && !place.only_here {
            ours.insert(META_PORT.to_owned(), port.number.to_string());
        }
        let room = metadata::MOST_PAIRS - ours.len();
        let mut meta = BTreeMap::new();
        for (key, (value, by)) in settings.pairs(room, faults) {
            why.push(Reason::new("meta", by, &format!("{key}={value}")));
            meta.insert(key, value);
        }
        // An entry that stands for all tasks of a service is none of them.
        let told = stack::TOLD
            .iter()
            .filter(|(key, _)| !place.of_mesh || *key != stack::TASK);
        for (key, label) in told {
            let value = self.situation.container.label(label);
            if let Some(value) = value.filter(|value| text::unfit(value).is_none())
                && !meta.contains_key(*key)
                && meta.len() < room
            {
                why.push(Reason::new("meta", *label, &format!("{key}={value}")));
                meta.insert((*key).to_owned(), value.to_owned());
            }
        }
        meta.append(&mut ours);
        meta
    }

    /// Where another port is had, ignored or not: as is said of it, else as the service is that asks for it. What is
    /// wrong with its settings is said where it is registered.
    pub(super) fn elsewhere(&self, port: Port, asker: &Settings) -> Option<Place> {
        let had = |settings: &Settings| {
            let places = address::places(self.situation, port, settings, &mut Vec::new());
            places.into_iter().next()
        };
        had(&self.metadata.for_port(port)).or_else(|| had(asker))
    }
}

/// What is written comes to for this container: itself, or what its template makes. What checks are told stays as it
/// is: commands have braces of their own. Of tags, those without a template outlive the failure of others.
pub(super) fn expanded(
    container: &Container,
    (key, by, value): (&str, &str, &str),
    faults: &mut Vec<Fault>,
) -> Option<String> {
    if key.starts_with("check_") || !value.contains("{{") {
        return Some(value.to_owned());
    }
    let made = value
        .parse::<Template>()
        .and_then(|template| template.run(container.raw.as_deref()));
    match made {
        Ok(text) => Some(text),
        Err(error) => {
            faults.push(Fault::new(by, format!("left out: {error}")));
            let escaped = |tag: &String| tag.replace(',', r"\,");
            let kept = || {
                without_templates(value)
                    .iter()
                    .map(escaped)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            (key == "tags").then(kept)
        }
    }
}

/// What `-tags` comes to for this container.
pub(super) fn common_tags(container: &Container, config: &Config, faults: &mut Vec<Fault>) -> Vec<String> {
    match config.tags.run(container.raw.as_deref()) {
        Ok(text) => split_tags(&text),
        Err(error) => {
            faults.push(Fault::new("-tags", format!("left out: {error}")));
            without_templates(&config.tags.to_string())
        }
    }
}

fn without_templates(text: &str) -> Vec<String> {
    let mut tags = split_tags(text);
    tags.retain(|tag| !tag.contains("{{") && !tag.contains("}}"));
    tags
}

/// The share of traffic that a container asks for.
pub(super) fn weights(settings: &Settings, (faults, why): (&mut Vec<Fault>, &mut Vec<Reason>)) -> Weights {
    let mut weights = Weights::default();
    for (key, least, weight) in [
        ("weight", 1, &mut weights.passing),
        ("weight_warning", 0, &mut weights.warning),
    ] {
        let Some((text, by)) = settings.get(key).zip(settings.spelling(key)) else {
            continue;
        };
        match text.trim().parse::<u16>() {
            Ok(number) if number >= least => {
                *weight = number;
                why.push(Reason::new(
                    if least == 1 {
                        "weight"
                    } else {
                        "weight while warning"
                    },
                    by,
                    &number,
                ));
            }
            _ => faults.push(Fault::new(
                by,
                format!("{text:?} is no weight: a number from {least} to 65535; {weight} is used"),
            )),
        }
    }
    weights
}
