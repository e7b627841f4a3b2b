//! Built-in host names: `nginx-80.<suffix>` and `nginx.<suffix>` reach every instance of a service,
//! wherever it runs, without a tag. The suffix says only which names are ours.
//!
//! Services and suffixes are not multiplied: a host is parted at its dots, the head looked up among
//! services, the rest among suffixes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use catalog::InstanceKey;
use catalog::spelling::dns_safe;
use imbl::{HashMap, OrdMap, OrdSet};

use super::census::Census;
use super::options::Options;
use super::part::{Named, Part};
use super::probed::Probes;
use super::roll::Roll;
use super::route::{self, Candidate, Kind, Place, Route};
use super::stats::Layout;
use super::{HTTP_PORT, alter};
use crate::config::Config;

/// All built-in names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    heads: OrdMap<Box<str>, Arc<Route>>,
    /// Heads that DNS cannot spell, by how it spells them.
    spelled: HashMap<Box<str>, OrdSet<Box<str>>>,
    suffixes: Arc<Suffixes>,
    /// Node names by their instances; each is also a suffix itself.
    nodes: Census,
}

/// The names we answer for.
#[derive(Debug, Default)]
struct Suffixes {
    /// Whole: `localhost`, `<domain>`, `service.<domain>`, `service.<dc>.<domain>`.
    whole: HashSet<Box<str>>,
    /// What may follow a node name: `<domain>`, `node.<domain>`, `<dc>.<domain>`, `node.<dc>.<domain>`.
    after_node: HashSet<Box<str>>,
}

impl Names {
    /// The suffixes that the operator chose, this node's name among them.
    pub(super) fn answer_for(&mut self, config: &Config) {
        self.suffixes = Arc::new(Suffixes::new(config));
        self.learn_node(&config.node);
    }

    /// An instance came to a node; true when it is the first there.
    pub(super) fn learn_node(&mut self, node: &str) -> bool {
        self.nodes.enter(&node.to_lowercase())
    }

    /// An instance left a node; true when it was the last there.
    pub(super) fn forget_node(&mut self, node: &str) -> bool {
        self.nodes.leave(&node.to_lowercase())
    }

    /// The route of a head; `None`: it has none any more.
    pub(super) fn set(&mut self, head: Box<str>, route: Option<Arc<Route>>) {
        // A name that DNS cannot spell is also known as one that it can, unless that is taken.
        let spelled: Box<str> = dns_safe(&head).into();
        if spelled != head {
            let known = |heads: Option<OrdSet<Box<str>>>| {
                let mut heads = heads.unwrap_or_default();
                match route {
                    Some(_) => heads.insert(head.clone()),
                    None => heads.remove(&head),
                };
                Some(heads).filter(|heads| !heads.is_empty())
            };
            alter(&mut self.spelled, spelled, known);
        }
        match route {
            Some(route) => self.heads.insert(head, route),
            None => self.heads.remove(&head),
        };
    }

    pub(super) fn routes(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.heads.values()
    }

    pub(super) fn route(&self, head: &str) -> Option<&Arc<Route>> {
        self.heads.get(head)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<Route>> {
        if self.heads.is_empty() {
            return None;
        }
        name.match_indices('.').find_map(|(dot, _)| {
            let head = &name[..dot];
            let spelled = || self.heads.get(self.spelled.get(head)?.get_min()?);
            let route = self.heads.get(head).or_else(spelled)?;
            self.answers_for(&name[dot + 1..]).then_some(route)
        })
    }

    fn answers_for(&self, suffix: &str) -> bool {
        let Suffixes { whole, after_node } = &*self.suffixes;
        whole.contains(suffix)
            || self.nodes.contains(suffix)
            || suffix.match_indices('.').any(|(dot, _)| {
                after_node.contains(&suffix[dot + 1..]) && self.nodes.contains(&suffix[..dot])
            })
    }
}

impl Suffixes {
    fn new(config: &Config) -> Self {
        let mut suffixes = Self::default();
        suffixes.whole.insert("localhost".into());
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
        suffixes
    }
}

/// Parts that are known by built-in names, and which names.
///
/// * `nginx-80`: port 80 of nginx, whether its instances are called `nginx` (one port) or `nginx-80`
///   (several). A service that really is called `nginx-80` keeps that name for itself.
/// * `nginx`: the service of that name, and what is the same port of the same thing elsewhere; where
///   there is no such service, port 80 of nginx.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<Box<str>, Group>,
    by_port: BTreeMap<Port, Group>,
    /// Heads whose routes have to be made anew.
    changed: BTreeSet<Box<str>>,
}

/// A port of something: its base name and the port inside the container.
type Port = (Box<str>, u16);
type Group = Roll<InstanceKey, Arc<Part>>;

impl Groups {
    pub(super) fn offer(&mut self, key: &InstanceKey, part: &Arc<Part>) {
        let Some((name, port)) = self.touch(part) else {
            return;
        };
        let by_name = self.by_name.entry(name).or_default();
        by_name.insert(key.clone(), part.clone());
        let by_port = self.by_port.entry(port).or_default();
        by_port.insert(key.clone(), part.clone());
    }

    pub(super) fn withdraw(&mut self, key: &InstanceKey, part: &Part) {
        let Some((name, port)) = self.touch(part) else {
            return;
        };
        take(&mut self.by_name, &name, key);
        take(&mut self.by_port, &port, key);
    }

    /// Notes every head that the part may be behind.
    fn touch(&mut self, part: &Part) -> Option<(Box<str>, Port)> {
        let port = port(part.said.named.as_ref()?);
        let name: Box<str> = part.service.to_lowercase().into();
        let heads = [name.clone(), derived(&port), port.0.clone()];
        self.changed.extend(heads);
        Some((name, port))
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut self.changed)
    }

    /// The route of a head, which reads `nginx-80.*`, the star standing for every suffix.
    pub(super) fn route(
        &self,
        head: &str,
        before: Option<&Route>,
        layout: &Layout,
        probes: &mut Probes,
    ) -> Option<Route> {
        let options = Arc::new(Options::default());
        let candidate = |part: &Arc<Part>| Candidate {
            part: part.clone(),
            options: options.clone(),
            weight: 0.0,
            to: None,
        };
        let candidates: Vec<Candidate> = self.behind(head)?.values().map(candidate).collect();
        let place = Place {
            host: format!("{head}.*").into(),
            path: "/".into(),
            kind: Kind::BuiltIn,
        };
        let candidates = route::without_twins(candidates.iter());
        Some(Route::of(&place, &candidates, before, layout, probes))
    }

    fn behind(&self, head: &str) -> Option<&Group> {
        let Some(named) = self.by_name.get(head) else {
            return self
                .derived_from(head)
                .or_else(|| self.by_port.get(&(head.into(), HTTP_PORT)));
        };
        let mut ports = named
            .values()
            .filter_map(|part| part.said.named.as_ref())
            .map(port);
        // Only one base and port behind the name, and the name says no more than they do.
        let first = ports.next()?;
        let same_elsewhere =
            (*first.0 == *head || *derived(&first) == *head) && ports.all(|port| port == first);
        if same_elsewhere {
            self.by_port.get(&first)
        } else {
            Some(named)
        }
    }

    fn derived_from(&self, head: &str) -> Option<&Group> {
        let (base, number) = head.rsplit_once('-')?;
        let port = (base.into(), number.parse().ok()?);
        self.by_port.get(&port).filter(|_| *derived(&port) == *head)
    }
}

fn take<K: Ord>(groups: &mut BTreeMap<K, Group>, name: &K, key: &InstanceKey) {
    if let Some(group) = groups.get_mut(name) {
        group.remove(key);
        if group.is_empty() {
            groups.remove(name);
        }
    }
}

fn port(named: &Named) -> Port {
    (named.base.to_lowercase().into(), named.port)
}

fn derived((base, port): &Port) -> Box<str> {
    format!("{base}-{port}").into()
}
