//! Makes tables. It keeps the parts of all instances, grouped by the routes they belong to, and the commands on top of
//! them; a change makes the routes that it touches anew, and the next table shares all others with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{InstanceKey, Picture};

use super::alike::Recent;
use super::names::Groups;
use super::overrides::{Overrides, Touched};
use super::part::Part;
use super::probed::Probes;
use super::roll::Roll;
use super::route::{self, Candidate, Place, Route};
use super::stats::Layout;
use super::tag::Source;
use super::{Port, Skipped, Table};
use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub struct Builder {
    config: Arc<Config>,
    layout: Layout,
    parts: BTreeMap<InstanceKey, Arc<Part>>,
    /// Who asks for a route: by instance, and by number of the tag where one asks twice.
    tagged: BTreeMap<Source, Roll<(InstanceKey, usize), Candidate>>,
    /// What tags ask for alike.
    alike: Recent,
    /// Whose routes have to be made anew.
    changed: BTreeSet<Source>,
    named: Groups,
    overrides: Overrides,
    differences: Vec<Difference>,
    /// As made last, but for what has changed since.
    table: Table,
}

/// A route that differs; `None`: there is none.
#[derive(Debug)]
pub struct Difference {
    /// As it was.
    pub before: Option<Arc<Route>>,
    /// As it is.
    pub now: Option<Arc<Route>>,
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
            alike: Recent::default(),
            changed: BTreeSet::new(),
            named: Groups::default(),
            overrides: Overrides::default(),
            differences: Vec::new(),
            table,
        }
    }

    /// The table of one picture and of what is commanded on top of it.
    #[must_use]
    pub fn table_of(config: Config, picture: &Picture, commands: &str) -> Table {
        let mut builder = Self::new(Arc::new(config));
        builder.command(commands);
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
        let new = part.map(|part| Arc::new(self.alike.shared(part)));
        let old = self.parts.remove(key);
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
        for (number, definition) in part.said.definitions.iter().enumerate() {
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
        for (number, definition) in part.said.definitions.iter().enumerate() {
            let source = definition.source.clone();
            let candidate = Candidate {
                part: part.clone(),
                options: definition.options.clone(),
                weight: definition.options.weight,
                to: None,
            };
            let group = self.tagged.entry(source.clone()).or_default();
            group.insert((key.clone(), number), candidate);
            self.changed.insert(source);
        }
        self.named.offer(key, part);
        if !part.said.skipped.is_empty() {
            self.table.skipped.insert(key.clone(), part.said.skipped.clone());
        }
        if !part.said.notes.is_empty() {
            self.table.notes.insert(key.clone(), part.said.notes.clone());
        }
        if part.is_target() {
            self.table.targets.enter(&part.addr);
        }
    }

    /// What is commanded on top of what tags ask for, from now on. Returns whether that makes another table.
    pub fn command(&mut self, text: &str) -> bool {
        let overrides = Overrides::parse(&self.config, text);
        match overrides.touched(&self.overrides) {
            Touched::Sources(sources) => self.changed.extend(sources),
            Touched::Everything => {
                let known = self.tagged.keys().chain(self.overrides.sources());
                self.changed.extend(known.chain(overrides.sources()).cloned());
            }
        }
        overrides
            .addresses()
            .for_each(|addr| _ = self.table.targets.enter(addr));
        self.overrides
            .addresses()
            .for_each(|addr| _ = self.table.targets.leave(addr));
        let said = (&overrides.skipped, &overrides.notes) != (&self.overrides.skipped, &self.overrides.notes);
        self.table.bad_commands = overrides.skipped.clone();
        self.table.command_notes = overrides.notes.clone();
        self.overrides = overrides;
        said || !self.changed.is_empty()
    }

    /// Lines of the commands that are left out, and those that say something without effect.
    #[must_use]
    pub fn complaints(&self) -> [Arc<[Skipped]>; 2] {
        [self.overrides.skipped.clone(), self.overrides.notes.clone()]
    }

    /// Commands of weights that name no target now.
    #[must_use]
    pub fn idle_commands(&self) -> Vec<&str> {
        let tagged = |source: &Source| {
            self.tagged
                .get(source)
                .into_iter()
                .flat_map(Roll::values)
                .collect()
        };
        self.overrides.idle(tagged)
    }

    /// A route made anew of all who ask for it; `None` when nobody does.
    fn route(
        &self,
        source: &Source,
        place: &Place,
        before: Option<&Route>,
        probes: &mut Probes,
    ) -> Option<Route> {
        let tagged = self.tagged.get(source).into_iter().flat_map(Roll::values);
        let mut candidates = route::without_twins(tagged);
        self.overrides.apply(source, &mut candidates);
        (!candidates.is_empty()).then(|| Route::of(place, &candidates, before, &self.layout, probes))
    }

    /// Routes that differ since this was asked last.
    pub fn take_differences(&mut self) -> Vec<Difference> {
        std::mem::take(&mut self.differences)
    }

    /// The table of all parts.
    pub fn build(&mut self) -> Table {
        let (mut probes, mut gone) = (std::mem::take(&mut self.table.probes), Vec::new());
        for source in std::mem::take(&mut self.changed) {
            let place = Place::of(&source);
            let before = self.table.listing.get(&place).cloned();
            let route = self.route(&source, &place, before.as_deref(), &mut probes);
            let route = route.map(Arc::new);
            if self.tagged.get(&source).is_some_and(Roll::is_empty) {
                self.tagged.remove(&source);
            }
            match source {
                Source::Tcp(ip, port) => self.table.set_tcp((ip, port), route.clone()),
                Source::Http { .. } | Source::Sni(_) => {
                    self.table.hosts.set(&self.config, &place, route.clone());
                }
            }
            self.table.listing.set(&place, route.clone());
            let aliases = &mut self.table.aliases;
            let came = route.iter().flat_map(|route| route.aliases());
            came.for_each(|alias| _ = aliases.enter(alias));
            let left = before.iter().flat_map(|route| route.aliases());
            left.for_each(|alias| _ = aliases.leave(alias));
            gone.extend(before.clone());
            self.differences.push(Difference { before, now: route });
        }
        // Last, so that what one route hands over to another is not forgotten in between.
        let probed = gone.iter().flat_map(|route| route.probed());
        probed.for_each(|probed| probes.leave(probed));
        for head in self.named.take_changed() {
            let before = self.table.names.route(&head).cloned();
            let route = self
                .named
                .route(&head, before.as_deref(), &self.layout, &mut probes);
            self.table.names.set(head, route.map(Arc::new));
        }
        self.table.probes = probes;
        self.table.clone()
    }
}

impl Table {
    fn set_tcp(&mut self, port: Port, route: Option<Arc<Route>>) {
        match route {
            Some(route) => self.tcp.insert(port, route),
            None => self.tcp.remove(&port),
        };
    }
}
