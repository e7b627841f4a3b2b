//! Makes tables. It keeps the parts of all instances, grouped by the routes they belong to; a change of an
//! instance makes the routes of its groups anew, and the next table shares all others with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{InstanceKey, Picture};

use super::names::Groups;
use super::part::Part;
use super::route::{Candidate, Place, Route};
use super::stats::Layout;
use super::tag::Source;
use super::{Port, Table};
use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub struct Builder {
    config: Arc<Config>,
    layout: Layout,
    parts: BTreeMap<InstanceKey, Arc<Part>>,
    /// Who asks for a route: by instance, and by number of the tag where one asks twice.
    tagged: BTreeMap<Source, BTreeMap<(InstanceKey, usize), Candidate>>,
    /// Whose routes have to be made anew.
    changed: BTreeSet<Source>,
    named: Groups,
    /// As made last, but for what has changed since.
    table: Table,
}

impl Builder {
    /// Without any part.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        let mut table = Table::default();
        table.names.answer_for(&config);
        Self {
            layout: Layout::of(&config),
            config,
            parts: BTreeMap::new(),
            tagged: BTreeMap::new(),
            changed: BTreeSet::new(),
            named: Groups::default(),
            table,
        }
    }

    /// The table of one picture.
    #[must_use]
    pub fn table_of(config: Config, picture: &Picture) -> Table {
        let mut builder = Self::new(Arc::new(config));
        for (key, instance) in picture {
            let part = Part::of(&builder.config, instance);
            builder.put(key, Some(part));
        }
        builder.build()
    }

    /// What an instance brings now.
    #[must_use]
    pub fn part(&self, key: &InstanceKey) -> Option<&Part> {
        self.parts.get(key).map(|part| &**part)
    }

    /// What an instance brings from now on; `None`: it is gone. Returns whether that makes another table.
    pub fn put(&mut self, key: &InstanceKey, part: Option<Part>) -> bool {
        let (old, new) = (self.parts.remove(key), part.map(Arc::new));
        // An instance without routes still makes the name of its node one of ours. In this order, so that a node is
        // not forgotten for a moment.
        let came = new
            .as_ref()
            .is_some_and(|new| self.table.names.learn_node(&new.node));
        let left = old
            .as_ref()
            .is_some_and(|old| self.table.names.forget_node(&old.node));
        let nodes_differ = came || left;
        let parts_differ = old.iter().chain(&new).any(|part| !part.is_empty());
        if let Some(old) = old {
            self.withdraw(key, &old);
        }
        if let Some(new) = new {
            self.offer(key, &new);
            self.parts.insert(key.clone(), new);
        }
        nodes_differ || parts_differ
    }

    fn withdraw(&mut self, key: &InstanceKey, part: &Part) {
        for (number, definition) in part.definitions.iter().enumerate() {
            let source = definition.source.clone();
            if let Some(group) = self.tagged.get_mut(&source) {
                group.remove(&(key.clone(), number));
            }
            self.changed.insert(source);
        }
        self.named.withdraw(key, part);
        self.table.skipped.remove(key);
        self.table.notes.remove(key);
        if part.is_target() {
            self.table.targets.leave(&part.addr);
        }
    }

    fn offer(&mut self, key: &InstanceKey, part: &Arc<Part>) {
        for (number, definition) in part.definitions.iter().enumerate() {
            let source = definition.source.clone();
            let candidate = Candidate {
                part: part.clone(),
                options: definition.options.clone(),
            };
            let group = self.tagged.entry(source.clone()).or_default();
            group.insert((key.clone(), number), candidate);
            self.changed.insert(source);
        }
        self.named.offer(key, part);
        if !part.skipped.is_empty() {
            self.table.skipped.insert(key.clone(), part.skipped.clone());
        }
        if !part.notes.is_empty() {
            self.table.notes.insert(key.clone(), part.notes.clone());
        }
        if part.is_target() {
            self.table.targets.enter(&part.addr);
        }
    }

    /// A route made anew of all who ask for it; `None` when nobody does.
    fn route(&self, source: &Source, place: &Place) -> Option<Route> {
        let group = self.tagged.get(source).filter(|group| !group.is_empty())?;
        let candidates: Vec<&Candidate> = group.values().collect();
        Some(Route::of(
            place,
            &candidates,
            self.table.route(place),
            &self.layout,
        ))
    }

    /// The table of all parts.
    pub fn build(&mut self) -> Table {
        let mut hosts = BTreeSet::new();
        for source in std::mem::take(&mut self.changed) {
            let place = Place::of(&source);
            let route = self.route(&source, &place).map(Arc::new);
            if route.is_none() {
                self.tagged.remove(&source);
            }
            match source {
                Source::Tcp(ip, port) => self.table.set_tcp((ip, port), route.clone()),
                Source::Http { .. } | Source::Sni(_) => _ = hosts.insert(place.host.clone()),
            }
            self.table.set(&place, route);
        }
        for host in hosts {
            let routes = self.table.tagged.get(&host);
            self.table.hosts.set(&self.config, &host, routes);
        }
        for head in self.named.take_changed() {
            let before = self.table.names.route(&head).cloned();
            let route = self.named.route(&head, before.as_deref(), &self.layout);
            self.table.names.set(head, route.map(Arc::new));
        }
        self.table.clone()
    }
}

impl Table {
    fn route(&self, place: &Place) -> Option<&Route> {
        Some(self.tagged.get(&place.host)?.get(&place.spot())?)
    }

    fn set(&mut self, place: &Place, route: Option<Arc<Route>>) {
        let routes = self.tagged.entry(place.host.clone()).or_default();
        match route {
            Some(route) => routes.insert(place.spot(), route),
            None => routes.remove(&place.spot()),
        };
        if routes.is_empty() {
            self.tagged.remove(&place.host);
        }
    }

    fn set_tcp(&mut self, port: Port, route: Option<Arc<Route>>) {
        match route {
            Some(route) => self.tcp.insert(port, route),
            None => self.tcp.remove(&port),
        };
    }
}
