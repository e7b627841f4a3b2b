//! One row per option: its name, spellings, owner, type, default and what this version does with it.
//!
//! Flags, environment variables, configuration keys, help texts and `docs/options.md` are all read
//! off these rows; a name that is not in a row does not exist. Values are not judged here: that is
//! `config.rs`, which must read every supported row (a test counts).

mod consul;
mod fabio;
mod own;
mod registrator;
mod registry;

use std::collections::BTreeMap;

use super::values;

/// The long-running commands that take options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Catalog, registrator and balancer in one.
    Agent,
    /// The balancer alone, fed by somebody's Consul.
    Lb,
    /// The registrator alone, writing to somebody's registry.
    Registrator,
}

impl Command {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Lb => "lb",
            Self::Registrator => "registrator",
        }
    }
}

/// Whose users know the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Consul's agent.
    Consul,
    /// The fabio balancer.
    Fabio,
    /// The registrator for Docker.
    Registrator,
    /// Nobody before us.
    Lictor,
}

impl Owner {
    /// The name as that project writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consul => "Consul",
            Self::Fabio => "fabio",
            Self::Registrator => "registrator",
            Self::Lictor => "Lictor",
        }
    }
}

/// What a value looks like, for readers; only `Bool` and `Tree` matter to parsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; as a flag it may stand alone.
    Bool,
    /// A whole number.
    Number,
    /// A number that may have a fraction.
    Float,
    /// A port; -1 switches it off.
    Port,
    /// Go's notation: `250ms`, `1m30s`, `0`.
    Duration,
    /// Free text.
    Text,
    /// An IP address.
    Ip,
    /// Parts separated by commas.
    List,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A path that may be given several times.
    Paths,
    /// A whole section of a configuration file.
    Tree,
}

impl Kind {
    /// For help and documentation.
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "bool".to_owned(),
            Self::Number | Self::Float => "number".to_owned(),
            Self::Port => "port".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Ip => "IP address".to_owned(),
            Self::List => "list".to_owned(),
            Self::OneOf(words) => words.join(", "),
            Self::Paths => "path, repeatable".to_owned(),
            Self::Tree => "section".to_owned(),
        }
    }

    /// Whether Go's flag parser takes a text for a value of such a type.
    pub fn admits(self, text: &str) -> bool {
        match self {
            Self::Bool => values::boolean(text).is_ok(),
            Self::Number | Self::Port => text.parse::<i64>().is_ok(),
            Self::Float => text.parse::<f64>().is_ok(),
            // Of times below 0, too, which make no sense to us.
            Self::Duration => values::duration(text.strip_prefix('-').unwrap_or(text)).is_ok(),
            Self::Text | Self::Ip | Self::List | Self::OneOf(_) | Self::Paths | Self::Tree => true,
        }
    }
}

/// What this version does with the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Supported,
    /// Accepted, because nothing a user relies on is lost; the reason is logged.
    Ignored(&'static str),
    /// The original has it, we never will: setting it to anything but its default is an error, with the reason and what
    /// to use instead.
    Refused(&'static str),
    /// The original has it, we do not: setting it to anything but its default is an error.
    NotYet,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the flag, and a valid key of configuration files.
    pub name: &'static str,
    /// Further spellings in configuration files.
    pub keys: &'static [&'static str],
    /// Whose it is.
    pub owner: Owner,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when nobody sets it; empty: nothing.
    pub default: &'static str,
    /// The default inside `agent`, where it differs.
    pub agent_default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
    /// Who takes it.
    pub commands: &'static [Command],
    /// Whether it works.
    pub status: Status,
    /// Whether its value, or a part of it, must not be shown.
    pub secret: bool,
    /// Only a restart changes it; else reading the configuration again does.
    pub lasting: bool,
}

impl Row {
    const fn new(owner: Owner, commands: &'static [Command], name: &'static str) -> Self {
        let (keys, kind, status): (&[&str], _, _) = (&[], Kind::Text, Status::Supported);
        Self {
            name,
            keys,
            owner,
            kind,
            default: "",
            agent_default: None,
            help: "",
            commands,
            status,
            secret: false,
            lasting: true,
        }
    }

    const fn is(mut self, kind: Kind, default: &'static str, help: &'static str) -> Self {
        self.kind = kind;
        self.default = default;
        self.help = help;
        self
    }

    const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }

    const fn in_agent(mut self, default: &'static str) -> Self {
        self.agent_default = Some(default);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn at_once(mut self) -> Self {
        self.lasting = false;
        self
    }

    const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }

    const fn refused(mut self, why: &'static str) -> Self {
        self.status = Status::Refused(why);
        self
    }

    const fn not_yet(mut self) -> Self {
        self.status = Status::NotYet;
        self
    }

    /// How `command` spells the flag: the registrator alone drops its prefix.
    pub fn flag(&self, command: Command) -> &'static str {
        match command {
            Command::Registrator => self.name.strip_prefix("registrator.").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// The default that holds for `command`.
    pub fn default_for(&self, command: Command) -> &'static str {
        match command {
            Command::Agent => self.agent_default.unwrap_or(self.default),
            _ => self.default,
        }
    }

    /// Whether `command` takes it.
    pub fn serves(&self, command: Command) -> bool {
        self.commands.contains(&command)
    }

    /// Whether a value says nothing that the default does not.
    pub fn is_default(&self, command: Command, value: &str) -> bool {
        self.same(value, self.default_for(command))
    }

    /// Whether two values mean the same, as far as that can be told here.
    pub fn same(&self, one: &str, other: &str) -> bool {
        let same = match self.kind {
            Kind::Bool => values::boolean(one).is_ok_and(|on| values::boolean(other) == Ok(on)),
            Kind::Duration => values::duration(one).is_ok_and(|time| values::duration(other) == Ok(time)),
            _ => false,
        };
        same || one.trim() == other.trim()
    }
}

/// Every row, grouped by owner.
pub fn all() -> impl Iterator<Item = &'static Row> {
    own::ROWS
        .iter()
        .chain(registrator::ROWS)
        .chain(consul::ROWS)
        .chain(consul::LATER)
        .chain(fabio::ROWS)
        .chain(registry::ROWS)
}

/// The rows `command` takes.
pub fn of(command: Command) -> impl Iterator<Item = &'static Row> {
    all().filter(move |row| row.serves(command))
}

/// The row of a flag.
pub fn by_flag(command: Command, name: &str) -> Option<&'static Row> {
    of(command).find(|row| row.flag(command) == name)
}

/// The row of a key in a configuration file: itself, or the section around it.
pub fn by_key(command: Command, key: &str) -> Option<&'static Row> {
    let spelled = |row: &Row, key: &str| row.flag(command) == key || row.keys.contains(&key);
    if let Some(row) = of(command).find(|row| spelled(row, key)) {
        return Some(row);
    }
    let mut outer = key;
    while let Some((section, _)) = outer.rsplit_once('.') {
        if let Some(row) = of(command).find(|row| row.kind == Kind::Tree && spelled(row, section)) {
            return Some(row);
        }
        outer = section;
    }
    None
}

/// The row of a key whose letters are the same but for their case: fabio's pages write some in two ways.
pub fn by_folded_key(command: Command, key: &str) -> Option<&'static Row> {
    let same = |spelling: &str| spelling.eq_ignore_ascii_case(key);
    of(command).find(|row| same(row.flag(command)) || row.keys.iter().any(|key| same(key)))
}

/// Whether options of fabio's begin so, with a dot behind it; in any case, and but for one letter of a longer word.
pub fn has_section(command: Command, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let slip = |section: &str| section.len() > 3 && strsim::damerau_levenshtein(section, &name) == 1;
    let sections = of(command).filter(|row| row.owner == Owner::Fabio);
    sections
        .filter_map(|row| row.flag(command).split_once('.'))
        .any(|(section, _)| section == name || slip(section))
}

/// The option somebody probably meant by a variable.
pub fn nearest_variable(command: Command, name: &str) -> Option<&'static str> {
    // Its underscores may be dots: compare as if they were, so that only what follows the section counts.
    let spelled: Vec<(String, &'static str)> = of(command)
        .map(|row| (row.flag(command).replace('_', "."), row.flag(command)))
        .collect();
    let candidates = spelled
        .iter()
        .map(|(spelling, answer)| (spelling.as_str(), *answer));
    let near: Option<String> = nearest(&name.replace('_', "."), candidates).map(str::to_owned);
    near.and_then(|near| by_flag(command, &near))
        .map(|row| row.flag(command))
}

/// The row of an environment variable without its prefix: dots are underscores, case is free.
pub fn by_variable(command: Command, name: &str) -> Option<&'static Row> {
    let same = |spelling: &str| spelling.replace('.', "_").eq_ignore_ascii_case(name);
    of(command).find(|row| same(row.flag(command)) || row.keys.iter().any(|key| same(key)))
}

/// Which other command knows a flag, for those who mix them up.
pub fn elsewhere(command: Command, name: &str) -> Option<(Command, &'static Row)> {
    [Command::Agent, Command::Lb, Command::Registrator]
        .into_iter()
        .filter(|other| *other != command)
        .find_map(|other| by_flag(other, name).map(|row| (other, row)))
}

/// The flag somebody probably meant.
pub fn nearest_flag(command: Command, name: &str) -> Option<&'static str> {
    let candidates = of(command).flat_map(|row| {
        let flag = row.flag(command);
        std::iter::once((flag, flag)).chain(row.keys.iter().map(move |key| (*key, flag)))
    });
    nearest(name, candidates)
}

/// The configuration key somebody probably meant.
pub fn nearest_key(command: Command, key: &str) -> Option<&'static str> {
    let candidates = of(command).flat_map(|row| {
        std::iter::once(row.flag(command))
            .chain(row.keys.iter().copied())
            .map(|key| (key, key))
    });
    nearest(key, candidates)
}

/// The `(spelling, answer)` whose spelling is close enough to be a slip: a part left out in front
/// (`ip` for `registrator.ip`), or about one wrong letter in three; in the same section only what follows it counts.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let mut ranked = BTreeMap::new();
    for (spelling, answer) in candidates {
        let lower = spelling.to_lowercase();
        let (theirs, ours) = match (lower.rsplit_once('.'), name.rsplit_once('.')) {
            (Some((section, theirs)), Some((same, ours))) if section == same => (theirs, ours),
            _ => (lower.as_str(), name.as_str()),
        };
        let distance = match lower.strip_suffix(&name) {
            Some(front) if front.ends_with('.') && !name.is_empty() => 1,
            _ => strsim::damerau_levenshtein(theirs, ours),
        };
        if distance <= 1.max(ours.chars().count() / 3) {
            ranked.entry(distance).or_insert(answer);
        }
    }
    ranked.into_values().next()
}
