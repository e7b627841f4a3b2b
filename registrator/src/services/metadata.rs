//! What a container says of its services: `SERVICE_*` labels and variables, and `lictor.*` labels.
//!
//! `SERVICE_X` is for every port, `SERVICE_9000-9010_X` for a range of container ports, `SERVICE_80_X` for
//! one, `SERVICE_53_UDP_X` for 53/udp alone; `lictor.80.x` is `SERVICE_80_X`. The closer scope wins; within
//! one scope a `lictor.` label beats a `SERVICE_` label, which beats a variable.
//!
//! A port looks its settings up in the scopes that hold it: nothing is copied per port, because a container
//! may have ten thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT};

use super::Fault;
use super::text::unfit;
use crate::container::{Container, Port, Protocol};

/// Pairs that a catalog accepts for one service.
pub(crate) const MOST_PAIRS: usize = 64;
/// Attributes and words about checks that may be said of the same ports: four times what a catalog takes. Each port has
/// them all, and a container may have ten thousand.
const MOST_SETTINGS: usize = 256;
/// Bytes that these may have together.
const MOST_SETTING_BYTES: usize = 64 << 10;
/// Ranges of ports that a container may speak of: each port asks all of them.
const MOST_RANGES: usize = 100;
const LONGEST_KEY: usize = 128;

/// Keys that steer the registration instead of describing it.
const STEERING: &[&str] = &[
    "name",
    "id",
    "tags",
    "ignore",
    "port",
    "weight",
    "weight_warning",
    "enable_tag_override",
    "network",
    "internal",
    "ip",
];

/// Words that switch something off; anything else that is said switches it on.
const NO: &[&str] = &["false", "f", "0", "no", "n", "off"];

/// A value and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    value: String,
    /// The setting in the user's own spelling.
    by: String,
}

/// What is said in one scope, by key in lower case.
type Values = BTreeMap<String, Said>;

/// Which ports a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    first: u16,
    last: u16,
    /// `None`: whatever is spoken.
    protocol: Option<Protocol>,
}

impl Scope {
    fn holds(&self, port: Port) -> bool {
        (self.first..=self.last).contains(&port.number)
            && self.protocol.is_none_or(|protocol| protocol == port.protocol)
    }
}

/// Everything a container says of its services.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    common: Values,
    /// One number each.
    numbers: BTreeMap<(u16, Option<Protocol>), Values>,
    /// Several numbers each, the widest first.
    ranges: Vec<(Scope, Values)>,
    /// What was too much.
    cut: Vec<Fault>,
}

/// What describes a service: values by key, with the spelling that gave each.
pub(crate) type Pairs = BTreeMap<String, (String, String)>;

/// What applies to one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings<'a> {
    /// The closest first; the last is for every port.
    scopes: Vec<&'a Values>,
}

impl Metadata {
    /// Reads what `container` says; `expand` makes the text of a value out of what is written, or leaves it out.
    pub(crate) fn read(
        container: &Container,
        mut expand: impl FnMut(&str, &str, &str) -> Option<String>,
    ) -> Self {
        let mut read = Self::default();
        let mut ranges = BTreeMap::<Scope, Values>::new();
        for (by, value, rest) in entries(container) {
            let (scope, key) = scope(&rest);
            let key = plain_key(key);
            let values = match scope {
                None => &mut read.common,
                Some(scope) if scope.first == scope.last => {
                    read.numbers.entry((scope.first, scope.protocol)).or_default()
                }
                Some(scope) => ranges.entry(scope).or_default(),
            };
            let by = by.to_owned();
            values.insert(
                key,
                Said {
                    value: value.to_owned(),
                    by,
                },
            );
        }
        let widest_first = |(scope, _): &(Scope, Values)| {
            let width = scope.last - scope.first;
            (std::cmp::Reverse(width), scope.protocol.is_some())
        };
        read.ranges = ranges.into_iter().collect();
        read.ranges.sort_by_key(widest_first);
        for (_, values) in read.ranges.drain(..read.ranges.len().saturating_sub(MOST_RANGES)) {
            let said = values.values().next().map(|said| said.by.as_str());
            let why = format!("left out: settings for more than {MOST_RANGES} ranges of ports");
            read.cut.push(Fault::new(said.unwrap_or_default(), why));
        }
        read.expand(&mut expand);
        read
    }

    /// Once for each value, not for each port it is for.
    fn expand(&mut self, expand: &mut impl FnMut(&str, &str, &str) -> Option<String>) {
        let ranges = self.ranges.iter_mut().map(|(_, values)| values);
        for values in std::iter::once(&mut self.common)
            .chain(self.numbers.values_mut())
            .chain(ranges)
        {
            values.retain(|key, said| match expand(key, &said.by, &said.value) {
                Some(value) => {
                    said.value = value;
                    true
                }
                None => false,
            });
            self.cut.extend(cut(values));
        }
    }

    /// A setting that is for every port, unless empty; and its spelling.
    pub(crate) fn common(&self, key: &str) -> Option<(&str, &str)> {
        let said = self.common.get(key).filter(|said| !said.value.is_empty())?;
        Some((&said.value, &said.by))
    }

    /// The spellings of `key` in scopes closer than all ports.
    pub(crate) fn narrow(&self, key: &str) -> impl Iterator<Item = &str> {
        let ranges = self.ranges.iter().map(|(_, values)| values);
        let narrow = self.numbers.values().chain(ranges);
        narrow.filter_map(move |values| Some(values.get(key)?.by.as_str()))
    }

    /// Settings that are too many.
    pub(crate) fn faults(&self) -> impl Iterator<Item = Fault> {
        self.cut.iter().cloned()
    }

    /// Settings whose scope holds none of `ports`; while these are not all `known`, those that hold no port at all, as
    /// `SERVICE_080_X`.
    pub(crate) fn nobodys(&self, ports: &BTreeSet<Port>, known: bool) -> impl Iterator<Item = &str> {
        let has = |number, asked: Option<Protocol>| {
            let asked = |protocol: &Protocol| asked.is_none_or(|asked| asked == *protocol);
            let mut protocols = Protocol::ALL.into_iter().filter(asked);
            protocols.any(|protocol| ports.contains(&Port { number, protocol }))
        };
        let holds = move |scope: &Scope| !known || ports.iter().any(|port| scope.holds(*port));
        let numbers = self
            .numbers
            .iter()
            .filter(move |((number, protocol), _)| *number == 0 || known && !has(*number, *protocol));
        let ranges = self.ranges.iter().filter(move |(scope, _)| !holds(scope));
        let of_none = numbers
            .map(|(_, values)| values)
            .chain(ranges.map(|(_, values)| values));
        of_none.flat_map(|values| values.values().map(|said| said.by.as_str()))
    }

    pub(crate) fn for_port(&self, port: Port) -> Settings<'_> {
        let exact = [Some(port.protocol), None].map(|protocol| self.numbers.get(&(port.number, protocol)));
        let ranges = self.ranges.iter().rev().filter(|(scope, _)| scope.holds(port));
        let scopes = exact
            .into_iter()
            .flatten()
            .chain(ranges.map(|(_, values)| values))
            .chain([&self.common]);
        Settings {
            scopes: scopes.collect(),
        }
    }
}

impl Settings<'_> {
    fn said(&self, key: &str) -> Option<&Said> {
        let closest = self.scopes.iter().find_map(|values| values.get(key));
        // Nobody can ask for a service that is called by blanks.
        let blank = |said: &Said| ["name", "id"].contains(&key) && said.value.trim().is_empty();
        closest.filter(|said| !said.value.is_empty() && !blank(said))
    }

    /// The value, unless empty: an empty value unsets what a wider scope says.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.said(key).map(|said| said.value.as_str())
    }

    /// How the user spelled the setting that [`Settings::get`] gives.
    pub(crate) fn spelling(&self, key: &str) -> Option<&str> {
        self.said(key).map(|said| said.by.as_str())
    }

    /// Any setting at all, as its user spelled it: the container means to be known.
    pub(crate) fn any(&self) -> Option<&str> {
        let mut said = self.scopes.iter().flat_map(|values| values.values());
        said.next().map(|said| said.by.as_str())
    }

    /// The same for two ports of which the same is said, and for no others.
    pub(crate) fn identity(&self) -> Vec<*const ()> {
        let scopes = self.scopes.iter().copied();
        scopes.map(|values| std::ptr::from_ref(values).cast()).collect()
    }

    /// All that describes the service, as it was said.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        for (key, said) in self.scopes.iter().rev().copied().flatten() {
            attributes.insert(key.clone(), said.value.clone());
        }
        attributes.retain(|key, _| !["name", "id", "tags"].contains(&key.as_str()));
        attributes
    }

    /// Whether the key was given for fewer than all ports, even if empty.
    pub(crate) fn is_own(&self, key: &str) -> bool {
        let narrow = self.scopes.split_last().map(|(_, narrow)| narrow);
        narrow
            .unwrap_or_default()
            .iter()
            .any(|values| values.contains_key(key))
    }

    /// Whether a switch is on: anything but nothing and the usual words for no.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_yes)
    }

    /// Every key about checks that is said of this port, each once, but for what its closest scope leaves empty.
    pub(crate) fn about_checks(&self) -> impl Iterator<Item = &str> {
        let mut closest = BTreeMap::new();
        for values in &self.scopes {
            let from = (Bound::Included("check_"), Bound::Unbounded);
            let keys = values.range::<str, _>(from);
            for (key, said) in keys.take_while(|(key, _)| key.starts_with("check_")) {
                closest.entry(key.as_str()).or_insert(said);
            }
        }
        let said = closest.into_iter().filter(|(_, said)| !said.value.is_empty());
        said.map(|(key, _)| key)
    }

    /// What describes the service, at most `room` pairs, each within what a catalog accepts; with its spelling.
    pub(crate) fn pairs(&self, room: usize, faults: &mut Vec<Fault>) -> Pairs {
        let mut kept = BTreeMap::new();
        let keys: BTreeSet<&String> = self.scopes.iter().flat_map(|values| values.keys()).collect();
        for key in keys {
            if STEERING.contains(&key.as_str()) || key.starts_with("check_") {
                continue;
            }
            let Some(Said { value, by }) = self.scopes.iter().find_map(|values| values.get(key)) else {
                continue;
            };
            let mut fault = |reason: String| faults.push(Fault::new(by, reason));
            let Some(clean) = clean_key(key) else {
                fault(
                    "attribute left out: its key is reserved, empty or longer than 128 characters".to_owned(),
                );
                continue;
            };
            if let Some(problem) = unfit(value) {
                fault(format!("attribute left out: {problem}"));
            } else if kept.len() == room && !kept.contains_key(&clean) {
                fault(format!("attribute left out: a service has at most {MOST_PAIRS}"));
            } else {
                if clean != *key {
                    fault(format!(
                        "attribute registered as {clean}: a key has letters, digits, _ and - only"
                    ));
                }
                kept.entry(clean).or_insert_with(|| (value.clone(), by.clone()));
            }
        }
        kept
    }
}

/// Cuts what is said of some ports to what can be borne for each of them: what steers stays.
fn cut(values: &mut Values) -> Option<Fault> {
    let (mut count, mut bytes) = (0, 0);
    let mut left_out = Vec::new();
    values.retain(|key, said| {
        let size = key.len() + said.value.len();
        let fits =
            STEERING.contains(&key.as_str()) || count < MOST_SETTINGS && bytes + size <= MOST_SETTING_BYTES;
        if !fits {
            left_out.push(std::mem::take(&mut said.by));
        } else if !STEERING.contains(&key.as_str()) {
            (count, bytes) = (count + 1, bytes + size);
        }
        fits
    });
    let first = left_out.first()?;
    let others = left_out.len() - 1;
    let limits = format!("at most {MOST_SETTINGS} of {MOST_SETTING_BYTES} bytes together");
    Some(Fault::new(
        first,
        format!("left out, and {others} more for the same ports: {limits}"),
    ))
}

/// Settings from the weakest to the strongest: spelling, value, and what the spelling says behind its prefix in
/// lower case, with `_` between its parts.
fn entries(container: &Container) -> impl Iterator<Item = (&str, &str, String)> {
    let variables = container.env.iter().filter_map(|entry| entry.split_once('='));
    let labels = || {
        let pairs = container.labels.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    };
    let old = |(by, value)| {
        let rest = str::strip_prefix(by, "SERVICE_")?;
        Some((by, value, rest.to_lowercase()))
    };
    let new = |(by, value)| {
        let rest = str::strip_prefix(by, "lictor.")?;
        Some((by, value, rest.to_lowercase().replace('.', "_")))
    };
    variables
        .chain(labels())
        .filter_map(old)
        .chain(labels().filter_map(new))
}

/// What ports the rest of a spelling is for, and its key.
fn scope(rest: &str) -> (Option<Scope>, &str) {
    let all = (None, rest);
    let Some((numbers, key)) = rest.split_once('_').filter(|(numbers, _)| is_numbers(numbers)) else {
        return all;
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let protocol = key.split_once('_').and_then(|(word, key)| {
        let protocol = Protocol::ALL.into_iter().find(|known| known.as_str() == word)?;
        Some((protocol, key))
    });
    let (protocol, key) = match protocol {
        Some((protocol, key)) => (Some(protocol), key),
        None => (None, key),
    };
    // Port 0 is nobody's, and so is one that is not written as a number is: `080`.
    let (first, last) = match (exactly(first), exactly(last)) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => (0, 0),
    };
    (
        Some(Scope {
            first,
            last,
            protocol,
        }),
        key,
    )
}

/// Digits, or digits on both sides of a `-`.
fn is_numbers(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((first, last)) => is_number(first) && is_number(last),
        None => is_number(text),
    }
}

fn exactly(text: &str) -> Option<u16> {
    let number: u16 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The key as we know it: labels of today have `-` where variables have `_`.
fn plain_key(key: &str) -> String {
    let plain = key.replace('-', "_");
    let known = STEERING.contains(&plain.as_str()) || plain.starts_with("check_");
    if known { plain } else { key.to_owned() }
}

/// Whether a text means yes where yes or no is asked.
pub(crate) fn is_yes(text: &str) -> bool {
    !NO.iter().any(|no| text.trim().eq_ignore_ascii_case(no))
}

/// The key in characters that a catalog accepts; `None` where no such spelling would do.
fn clean_key(key: &str) -> Option<String> {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '_'
        }
    };
    let clean: String = key.chars().map(allowed).collect();
    let ours = [META_BASE, META_CONTAINER, META_OWNER, META_PORT].contains(&clean.as_str());
    let fits = !clean.is_empty() && clean.len() <= LONGEST_KEY && !clean.starts_with("consul-");
    (fits && !ours).then_some(clean)
}

/// Splits at commas; `\,` is a comma that belongs to the part. Empty parts vanish.
pub(crate) fn split_tags(text: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let last = tags.last_mut().expect("there is a tag from the start on");
        match c {
            '\\' if rest.next_if_eq(&',').is_some() => last.push(','),
            ',' => tags.push(String::new()),
            other => last.push(other),
        }
    }
    tags.retain(|tag| !tag.is_empty());
    tags
}

#[cfg(test)]
mod tests;
