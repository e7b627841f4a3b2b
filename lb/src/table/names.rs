//! Built-in host names: `nginx-80.<suffix>` and `nginx.<suffix>` reach every instance of a service,
//! wherever it runs, without a tag. The suffix says only which names are ours.
//!
//! Services and suffixes are not multiplied: a host is parted at its dots, the head looked up among
//! services, the rest among suffixes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::HTTP_PORT;
use super::part::{Named, Part};
use super::route::Route;
use crate::config::Config;

/// All built-in names.
#[derive(Debug, Default)]
pub(super) struct Names {
    heads: HashMap<Box<str>, Arc<Route>>,
    suffixes: Suffixes,
}

/// The names we answer for.
#[derive(Debug, Default)]
struct Suffixes {
    /// Whole: `localhost`, `<domain>`, `service.<domain>`, `service.<dc>.<domain>`.
    whole: HashSet<Box<str>>,
    /// Node names; each is also a suffix itself.
    nodes: HashSet<Box<str>>,
    /// What may follow a node name: `<domain>`, `node.<domain>`, `<dc>.<domain>`, `node.<dc>.<domain>`.
    after_node: HashSet<Box<str>>,
}

impl Names {
    /// `routes`: by head, as [`groups`] has them.
    pub(super) fn new<'a>(
        config: &Config,
        parts: impl Iterator<Item = &'a Part>,
        routes: Vec<(Box<str>, Arc<Route>)>,
    ) -> Self {
        let mut heads: HashMap<Box<str>, Arc<Route>> = routes.iter().cloned().collect();
        // A name that DNS cannot spell is also known as one that it can, unless that is taken.
        for (head, route) in routes {
            heads.entry(dns_safe(&head).into()).or_insert(route);
        }
        Self {
            heads,
            suffixes: Suffixes::new(config, parts),
        }
    }

    pub(super) fn knows_node(&self, node: &str) -> bool {
        self.suffixes.nodes.contains(&*node.to_lowercase())
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<Route>> {
        if self.heads.is_empty() {
            return None;
        }
        name.match_indices('.').find_map(|(dot, _)| {
            let route = self.heads.get(&name[..dot])?;
            self.suffixes.contains(&name[dot + 1..]).then_some(route)
        })
    }
}

impl Suffixes {
    fn new<'a>(config: &Config, parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut suffixes = Self::default();
        suffixes.whole.insert("localhost".into());
        suffixes.nodes.insert(config.node.to_lowercase().into());
        let datacenter = config.datacenter.to_lowercase();
        for domain in &config.domains {
            let domain = domain.trim_matches('.').to_lowercase();
            for middle in ["", "service."] {
                suffixes.whole.insert(format!("{middle}{domain}").into());
            }
            suffixes
                .whole
                .insert(format!("service.{datacenter}.{domain}").into());
            for middle in ["", "node."] {
                suffixes.after_node.insert(format!("{middle}{domain}").into());
                suffixes
                    .after_node
                    .insert(format!("{middle}{datacenter}.{domain}").into());
            }
        }
        let mut last: Option<&str> = None;
        for part in parts {
            // Neighbours often share a node.
            if last != Some(&*part.node) {
                suffixes.nodes.insert(part.node.to_lowercase().into());
                last = Some(&*part.node);
            }
        }
        suffixes
    }

    fn contains(&self, suffix: &str) -> bool {
        self.whole.contains(suffix)
            || self.nodes.contains(suffix)
            || suffix.match_indices('.').any(|(dot, _)| {
                self.after_node.contains(&suffix[dot + 1..]) && self.nodes.contains(&suffix[..dot])
            })
    }
}

/// Which parts are known under which head.
///
/// * `nginx-80`: port 80 of nginx, whether its instances are called `nginx` (one port) or `nginx-80`
///   (several). A service that really is called `nginx-80` keeps that name for itself.
/// * `nginx`: the service of that name, and what is the same port of the same thing elsewhere; where
///   there is no such service, port 80 of nginx.
pub(super) fn groups<'a>(parts: impl Iterator<Item = &'a Part>) -> BTreeMap<Box<str>, Vec<&'a Part>> {
    let mut by_name: BTreeMap<Box<str>, Vec<&Part>> = BTreeMap::new();
    let mut by_port: BTreeMap<(Box<str>, u16), Vec<&Part>> = BTreeMap::new();
    for part in parts {
        let Some(named) = &part.named else { continue };
        by_name
            .entry(part.service.to_lowercase().into())
            .or_default()
            .push(part);
        by_port.entry(key(named)).or_default().push(part);
    }
    let mut heads: BTreeMap<Box<str>, Vec<&Part>> = BTreeMap::new();
    for ((base, port), members) in &by_port {
        heads.insert(derived(base, *port), members.clone());
    }
    for (name, members) in by_name {
        let ports: BTreeSet<_> = members
            .iter()
            .filter_map(|part| part.named.as_ref())
            .map(key)
            .collect();
        // Only one base and port behind the name, and the name says no more than they do.
        let same_elsewhere = ports
            .first()
            .filter(|(base, port)| ports.len() == 1 && (*base == name || derived(base, *port) == name));
        let members = same_elsewhere
            .and_then(|same| by_port.get(same).cloned())
            .unwrap_or(members);
        heads.insert(name, members);
    }
    for ((base, _), members) in by_port.into_iter().filter(|((_, port), _)| *port == HTTP_PORT) {
        heads.entry(base).or_insert(members);
    }
    heads
}

fn key(named: &Named) -> (Box<str>, u16) {
    (named.base.to_lowercase().into(), named.port)
}

fn derived(base: &str, port: u16) -> Box<str> {
    format!("{base}-{port}").into()
}

fn dns_safe(name: &str) -> String {
    name.replace(['_', '.', '@'], "-")
}
