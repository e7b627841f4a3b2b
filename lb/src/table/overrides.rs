//! What people command on top of what tags ask for, found by the source that it is about: a change of one instance
//! makes its own routes anew, however many commands there are. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Skipped;
use super::command::{Command, Commands, Filter};
use super::route::Candidate;
use super::tag::Source;
use crate::config::Config;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    commands: Vec<Command>,
    /// Each command about a source, as its number and which of its sources that is: by source, then number. A map would
    /// cost a hundred bytes for each.
    by_source: Box<[(u32, u32)]>,
    /// Numbers of those about whatever source, by service; `None`: whatever service.
    everywhere: HashMap<Option<Arc<str>>, Vec<u32>>,
    /// Lines that are no command.
    pub skipped: Arc<[Skipped]>,
    /// Lines with options that have no effect.
    pub notes: Arc<[Skipped]>,
}

/// What has to be made anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    Sources(BTreeSet<Source>),
    Everything,
}

impl Overrides {
    /// Reads a text.
    pub(super) fn parse(config: &Config, text: &str) -> Self {
        let Commands {
            commands,
            skipped,
            notes,
        } = Commands::parse(config, text);
        let mut overrides = Self {
            skipped: skipped.into(),
            notes: notes.into(),
            ..Self::default()
        };
        let mut by_source = Vec::with_capacity(commands.len());
        // No text of fewer than four gigabytes has more commands than that.
        for (number, command) in (0_u32..).zip(&commands) {
            let sources = sources(command);
            by_source.extend((0_u32..).zip(sources).map(|(which, _)| (number, which)));
            if let (Command::Del(filter) | Command::Weight(filter, ..), []) = (command, sources) {
                let service = filter.service().cloned();
                overrides.everywhere.entry(service).or_default().push(number);
            }
        }
        overrides.commands = commands;
        by_source.sort_unstable_by_key(|at| (overrides.source(*at), *at));
        overrides.by_source = by_source.into();
        overrides
    }

    /// Every source that a command is about, as often as one is.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.by_source.iter().map(|at| self.source(*at))
    }

    fn source(&self, (number, which): (u32, u32)) -> &Source {
        &sources(&self.commands[number as usize])[which as usize]
    }

    /// Numbers of the commands about a source, ascending.
    fn numbers(&self, source: &Source) -> impl Iterator<Item = u32> {
        let from = self.by_source.partition_point(|at| self.source(*at) < source);
        let about = self.by_source[from..].iter();
        about
            .take_while(move |at| self.source(**at) == source)
            .map(|(number, _)| *number)
    }

    /// Addresses of the targets that are added.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().filter_map(|command| match command {
            Command::Add(_, candidate) if candidate.options.redirect.is_none() => Some(&*candidate.part.addr),
            _ => None,
        })
    }

    /// What differs between the tables of these commands and of others.
    pub(super) fn touched(&self, other: &Self) -> Touched {
        let same = |(left, right): &(&Command, &Command)| left == right;
        let head = self.commands.iter().zip(&other.commands).take_while(same).count();
        let (ours, theirs) = (&self.commands[head..], &other.commands[head..]);
        let tail = ours
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(same)
            .count();
        let differing = ours[..ours.len() - tail]
            .iter()
            .chain(&theirs[..theirs.len() - tail]);
        let mut touched = BTreeSet::new();
        for command in differing {
            match sources(command) {
                [] => return Touched::Everything,
                sources => touched.extend(sources.iter().cloned()),
            }
        }
        Touched::Sources(touched)
    }

    /// Lines of weights that name nothing among what tags ask for, `tagged`, and what is added.
    pub(super) fn idle<'a>(&self, tagged: impl Fn(&Source) -> Vec<&'a Candidate>) -> Vec<&str> {
        let added = |source: &Source, filter: &Filter| {
            self.numbers(source)
                .map(|number| &self.commands[number as usize])
                .any(|command| match command {
                    Command::Add(_, candidate) => filter.takes(candidate),
                    Command::Del(_) | Command::Weight(..) => false,
                })
        };
        let names_any = |filter: &Filter, source: &Source| {
            added(source, filter) || tagged(source).iter().any(|candidate| filter.takes(candidate))
        };
        let mut idle = Vec::new();
        for command in &self.commands {
            if let Command::Weight(filter, _, line) = command
                && !filter.sources().iter().any(|source| names_any(filter, source))
            {
                idle.push(&**line);
            }
        }
        idle
    }

    /// What is left of, and comes to, those who ask for the route of `source`.
    pub(super) fn apply(&self, source: &Source, candidates: &mut Vec<Candidate>) {
        for command in self.about(source, candidates) {
            match command {
                Command::Add(_, new)
                    if candidates
                        .iter()
                        .any(|known| known.is_fit() && known.is_same(new)) => {}
                Command::Add(_, new) => candidates.push(new.clone()),
                Command::Del(filter) => candidates.retain(|candidate| !filter.takes(candidate)),
                Command::Weight(filter, weight, _) => reweigh(candidates, filter, *weight),
            }
        }
    }

    /// In their order, the commands about a source or one of these services.
    fn about(&self, source: &Source, candidates: &[Candidate]) -> Vec<&Command> {
        let mut numbers: Vec<u32> = self.numbers(source).collect();
        if !self.everywhere.is_empty() {
            let added = numbers
                .iter()
                .filter_map(|number| match &self.commands[*number as usize] {
                    Command::Add(_, candidate) => Some(candidate),
                    Command::Del(_) | Command::Weight(..) => None,
                });
            let services: HashSet<Option<Arc<str>>> = candidates
                .iter()
                .chain(added)
                .map(|candidate| Some(candidate.part.service.clone()))
                .chain([None])
                .collect();
            let everywhere = services.iter().filter_map(|service| self.everywhere.get(service));
            let everywhere: Vec<u32> = everywhere.flatten().copied().collect();
            numbers.extend(everywhere);
            numbers.sort_unstable();
        }
        let command = |number: u32| &self.commands[number as usize];
        numbers.into_iter().map(command).collect()
    }
}

/// The targets that are meant share the weight. Those that may not get traffic do not count, as they would not be there
/// for fabio.
fn reweigh(candidates: &mut [Candidate], filter: &Filter, weight: f64) {
    let meant = |candidate: &Candidate| candidate.is_fit() && filter.takes(candidate);
    let count = candidates.iter().filter(|candidate| meant(candidate)).count();
    for candidate in candidates.iter_mut().filter(|candidate| meant(candidate)) {
        candidate.weight = weight / count as f64;
    }
}

fn sources(command: &Command) -> &[Source] {
    match command {
        Command::Add(source, _) => std::slice::from_ref(source),
        Command::Del(filter) | Command::Weight(filter, ..) => filter.sources(),
    }
}
