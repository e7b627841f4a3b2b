//! What a registration says beside its name and place: tags, pairs, weights; and what templates in them come to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT, Weights};

use super::address::{self, Place, Situation};
use super::metadata::{self, Metadata, Pairs, Settings, split_tags};
use super::{Fault, stack, text};
use crate::config::Config;
use crate::container::{Port, Protocol};
use crate::registry::Reason;
use crate::template::Subject;

/// Tags that one setting may give. People have dozens; a list made by a machine gone wrong has no end, and every
/// tag is compared, written and shown for each port.
const MOST_TAGS: usize = 1000;
/// Bytes that they may have together. With it an entry stays below what one write to any registry may have: 512 KiB in
/// Consul, 1 MiB in ZooKeeper, 1.5 MiB in etcd.
const MOST_TAG_BYTES: usize = 64 << 10;

/// What of a description is the same for every port and name of a container.
pub(super) struct Shared<'a, 'm> {
    pub(super) situation: Situation<'a>,
    pub(super) metadata: &'m Metadata,
    /// What `-tags` comes to.
    pub(super) tags: Vec<String>,
    /// What the last port said: mostly the next one says the same, and shares it.
    pub(super) said: RefCell<Said>,
}

/// What settings come to, and which settings.
#[derive(Default)]
pub(super) struct Said {
    attributes: (Vec<*const ()>, Arc<BTreeMap<String, String>>),
    pairs: (Vec<*const ()>, usize, Rc<Pairs>),
}

impl Shared<'_, '_> {
    /// Own tags, then everybody's, then the protocol; each once, in the order given.
    pub(super) fn tags(&self, settings: &Settings, port: Port, why: &mut Vec<Reason>) -> Vec<String> {
        let own = settings.get("tags").map(split_tags).unwrap_or_default();
        let by = settings.spelling("tags").unwrap_or_default();
        let protocol = Some(port.protocol).filter(|protocol| *protocol != Protocol::Tcp);
        let all = own
            .iter()
            .map(|tag| (tag.as_str(), by))
            .chain(self.tags.iter().map(|tag| (tag.as_str(), "-tags")))
            .chain(protocol.map(|protocol| (protocol.as_str(), "protocol")));
        let mut known = BTreeSet::new();
        let mut tags = Vec::new();
        for (tag, by) in all {
            if known.insert(tag) {
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
        for (key, (value, by)) in &*self.pairs(settings, room, faults) {
            why.push(Reason::new("meta", by, &format!("{key}={value}")));
            meta.insert(key.clone(), value.clone());
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

    /// What is wrong with them is said once where ports share them.
    fn pairs(&self, settings: &Settings, room: usize, faults: &mut Vec<Fault>) -> Rc<Pairs> {
        let last = &mut self.said.borrow_mut().pairs;
        if (&last.0, last.1) != (&settings.identity(), room) {
            *last = (settings.identity(), room, Rc::new(settings.pairs(room, faults)));
        }
        last.2.clone()
    }

    /// All that describes the service, as it was said.
    pub(super) fn attributes(&self, settings: &Settings) -> Arc<BTreeMap<String, String>> {
        let last = &mut self.said.borrow_mut().attributes;
        if last.0 != settings.identity() {
            *last = (settings.identity(), Arc::new(settings.attributes()));
        }
        last.1.clone()
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
    subject: &mut Subject<'_>,
    (key, by, value): (&str, &str, &str),
    faults: &mut Vec<Fault>,
) -> Option<String> {
    if key.starts_with("check_") {
        return Some(value.to_owned());
    }
    let made = made(subject, (key, by, value), faults)?;
    match key {
        // Once, and not again for each port.
        "tags" => Some(joined(&bearable(&split_tags(&made), by, faults))),
        _ => Some(made),
    }
}

fn made(
    subject: &mut Subject<'_>,
    (key, by, value): (&str, &str, &str),
    faults: &mut Vec<Fault>,
) -> Option<String> {
    if !value.contains("{{") {
        return Some(value.to_owned());
    }
    match subject.make(value) {
        Ok(text) => Some(text),
        Err(error) => {
            faults.push(Fault::new(by, format!("left out: {error}")));
            (key == "tags").then(|| joined(&without_templates(value)))
        }
    }
}

/// The tags as they were written: what [`split_tags`] makes the same of.
fn joined(tags: &[String]) -> String {
    let escaped: Vec<_> = tags.iter().map(|tag| tag.replace(',', r"\,")).collect();
    escaped.join(",")
}

/// Of the tags that one setting gives, each once, those that can be had; the others are named.
fn bearable(tags: &[String], by: &str, faults: &mut Vec<Fault>) -> Vec<String> {
    let (mut known, mut kept) = (BTreeSet::new(), Vec::new());
    let (mut bytes, mut beyond) = (0, 0);
    for tag in tags.iter().filter(|tag| known.insert(tag.as_str())) {
        if let Some(problem) = text::unprintable(tag) {
            faults.push(Fault::new(by, format!("tag {tag:?} left out: {problem}")));
        } else if kept.len() == MOST_TAGS || bytes + tag.len() > MOST_TAG_BYTES {
            beyond += 1;
        } else {
            bytes += tag.len();
            kept.push(tag.clone());
        }
    }
    if beyond > 0 {
        let why = format!("it may give {MOST_TAGS}, of {MOST_TAG_BYTES} bytes together");
        faults.push(Fault::new(by, format!("{beyond} tags left out: {why}")));
    }
    kept
}

/// What `-tags` comes to for this container.
pub(super) fn common_tags(
    subject: &mut Subject<'_>,
    config: &Config,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let tags = match subject.run(&config.tags) {
        Ok(text) => split_tags(&text),
        Err(error) => {
            faults.push(Fault::new("-tags", format!("left out: {error}")));
            without_templates(&config.tags.to_string())
        }
    };
    bearable(&tags, "-tags", faults)
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
