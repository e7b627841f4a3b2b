//! `SERVICE_*` labels and variables: what they apply to, which one wins, what may pass.
//!
//! `SERVICE_X` is for every port, `SERVICE_80_X` for container port 80, `SERVICE_53_UDP_X` for
//! 53/udp alone. The closer scope wins; within one scope a label beats a variable.

use std::collections::{BTreeMap, BTreeSet};

use catalog::service::{META_BASE, META_CONTAINER, META_OWNER, META_PORT};

use super::Fault;
use crate::container::{Container, Port, Protocol};

/// Pairs that a catalog accepts for one service.
pub(crate) const MOST_PAIRS: usize = 64;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 512;

/// Keys that steer the registration instead of describing it.
const STEERING: &[&str] = &[
    "name", "id", "tags", "ignore", "port", "network", "internal", "ip",
];

type Values = BTreeMap<String, String>;

/// Everything a container says of its services.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    common: Values,
    by_number: BTreeMap<String, Values>,
    by_port: BTreeMap<(String, Protocol), Values>,
}

/// What applies to one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: Values,
    /// Keys that were given for this port alone.
    own: BTreeSet<String>,
}

impl Metadata {
    pub(crate) fn read(container: &Container) -> Self {
        let mut read = Self::default();
        let variables = container.env.iter().filter_map(|entry| entry.split_once('='));
        let labels = container
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in variables.chain(labels) {
            if let Some(rest) = key.strip_prefix("SERVICE_") {
                let (scope, key) = read.scope(&rest.to_lowercase());
                scope.insert(key, value.to_owned());
            }
        }
        read
    }

    fn scope(&mut self, rest: &str) -> (&mut Values, String) {
        let Some((number, key)) = rest.split_once('_').filter(|(number, _)| is_number(number)) else {
            return (&mut self.common, rest.to_owned());
        };
        let exact = key.split_once('_').and_then(|(word, key)| {
            Protocol::ALL
                .into_iter()
                .find(|protocol| protocol.as_str() == word)
                .map(|protocol| (protocol, key))
        });
        match exact {
            Some((protocol, key)) => (
                self.by_port.entry((number.to_owned(), protocol)).or_default(),
                key.to_owned(),
            ),
            None => (
                self.by_number.entry(number.to_owned()).or_default(),
                key.to_owned(),
            ),
        }
    }

    /// A setting that is for every port, unless empty.
    pub(crate) fn common(&self, key: &str) -> Option<&str> {
        self.common
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn for_port(&self, port: Port) -> Settings {
        // Compared as text, so that `080` is nobody's port.
        let number = port.number.to_string();
        let mut settings = Settings {
            values: self.common.clone(),
            own: BTreeSet::new(),
        };
        let narrower = [
            self.by_number.get(&number),
            self.by_port.get(&(number, port.protocol)),
        ];
        for (key, value) in narrower.into_iter().flatten().flatten() {
            settings.values.insert(key.clone(), value.clone());
            settings.own.insert(key.clone());
        }
        settings
    }
}

impl Settings {
    /// The value, unless empty: an empty value unsets what a wider scope says.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// All that describes the service, as it was said.
    pub(crate) fn attributes(&self) -> Values {
        let mut attributes = self.values.clone();
        attributes.retain(|key, _| !["name", "id", "tags"].contains(&key.as_str()));
        attributes
    }

    /// Whether the key was given for this port alone, even if empty.
    pub(crate) fn is_own(&self, key: &str) -> bool {
        self.own.contains(key)
    }

    /// Whether a switch is on: anything but nothing and the usual words for no.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| {
            !["false", "f", "0", "no", "off"]
                .iter()
                .any(|no| value.trim().eq_ignore_ascii_case(no))
        })
    }
}

/// What describes the service, at most `room` pairs, each within what a catalog accepts.
pub(crate) fn attributes(settings: &Settings, room: usize, faults: &mut Vec<Fault>) -> Values {
    let mut kept = Values::new();
    for (key, value) in &settings.values {
        if STEERING.contains(&key.as_str()) || key.starts_with("check_") {
            continue;
        }
        let mut fault =
            |reason: String| faults.push(Fault::new(format!("SERVICE_{}", key.to_uppercase()), reason));
        let Some(clean) = clean_key(key) else {
            fault("attribute left out: its key is reserved, empty or longer than 128 characters".to_owned());
            continue;
        };
        if let Some(problem) = unprintable(value) {
            fault(format!("attribute left out: {problem}"));
        } else if value.len() > LONGEST_VALUE {
            fault(format!(
                "attribute left out: {} bytes, and a catalog takes {LONGEST_VALUE}",
                value.len()
            ));
        } else if kept.len() == room && !kept.contains_key(&clean) {
            fault(format!("attribute left out: a service has at most {MOST_PAIRS}"));
        } else {
            if clean != *key {
                fault(format!(
                    "attribute registered as {clean}: a key has letters, digits, _ and - only"
                ));
            }
            kept.entry(clean).or_insert_with(|| value.clone());
        }
    }
    kept
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

/// What makes a text unfit to be shown and compared, if anything does.
pub(crate) fn unprintable(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        Some("it contains control characters")
    } else if text.contains(char::REPLACEMENT_CHARACTER) {
        Some("it is not UTF-8")
    } else {
        None
    }
}

/// Splits at commas; `\,` is a comma that belongs to the tag. Empty parts vanish.
#[must_use]
pub fn split_tags(text: &str) -> Vec<String> {
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_split_at_commas_that_are_not_escaped() {
        for (text, tags) in [
            ("", vec![]),
            ("foobar", vec!["foobar"]),
            ("foo,bar", vec!["foo", "bar"]),
            (r"foo\,bar", vec!["foo,bar"]),
            (r"foo,bar\,baz", vec!["foo", "bar,baz"]),
            (r"\,foobar\,", vec![",foobar,"]),
            (",,,,foo,,,bar,,,", vec!["foo", "bar"]),
            (",,,,", vec![]),
            (r",,\,,", vec![","]),
            (r"a\\,b", vec![r"a\,b"]),
        ] {
            assert_eq!(split_tags(text), tags, "{text}");
        }
    }

    proptest! {
        #[test]
        fn tags_joined_with_escaped_commas_split_into_themselves(tags in proptest::collection::vec("[a-z ,=/:]{1,8}", 0..6)) {
            let joined: Vec<_> = tags.iter().map(|tag| tag.replace(',', r"\,")).collect();
            prop_assert_eq!(split_tags(&joined.join(",")), tags);
        }
    }

    #[test]
    fn the_closest_scope_wins_and_a_label_beats_a_variable() {
        let container = Container {
            env: [
                "SERVICE_A=env",
                "SERVICE_80_B=env port",
                "SERVICE_C=env",
                "SERVICE_080_A=nobody's",
            ]
            .map(str::to_owned)
            .to_vec(),
            labels: [
                ("SERVICE_B", "label"),
                ("SERVICE_C", "label"),
                ("SERVICE_80_TCP_C", "exact"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            ..Container::default()
        };
        let settings = Metadata::read(&container).for_port("80".parse().unwrap());
        let seen = ["a", "b", "c"].map(|key| settings.get(key).unwrap());
        assert_eq!(seen, ["env", "env port", "exact"]);
    }
}
