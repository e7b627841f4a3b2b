//! What can be wrong with a command line, an environment or a configuration file, in words that
//! name the place, the value and what would be right. Faults are collected, never thrown: a user
//! fixes all of them at once.

use std::fmt::{self, Display, Formatter};

use lb::config::BadValue;

use super::options::{Command, Kind, Owner};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, without its dash.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A key of a configuration file.
    File {
        /// The file.
        path: String,
        /// The key, sections joined by dots.
        key: String,
    },
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "-{name}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File { path, key } => write!(f, "{path}: {key}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A command line that cannot be read; the text says all.
    Syntax(String),
    /// A name that no row has.
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// An option of another command.
    Elsewhere {
        /// Where it stands.
        origin: Origin,
        /// Whose it is.
        theirs: Command,
        /// Whose it is not.
        ours: Command,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// An option the original has and we never will.
    Refused {
        /// Where it stands.
        origin: Origin,
        /// Why, and what does it instead.
        why: &'static str,
    },
    /// An option the original has and this version has not.
    NotYet {
        /// Where it stands.
        origin: Origin,
        /// The original.
        owner: Owner,
    },
    /// A value outside what the option allows.
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// What was given.
        value: String,
        /// What is wrong with it, and what would be right.
        why: String,
        /// What the option takes; Go has words of its own for booleans.
        kind: Kind,
    },
    /// A value that the part it is meant for refuses, in its own words.
    Meant {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it, naming it; and what would be right.
        bad: BadValue,
    },
    /// A file that cannot be read or understood.
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Options that are right alone and wrong together; the text says all.
    Conflict(String),
}

impl Fault {
    /// Whether Go's flag parser would have stopped at it; some of the originals tell that from
    /// settings that make no sense by exit code.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Syntax(_) => true,
            Self::Unknown { origin, .. } | Self::Elsewhere { origin, .. } => {
                matches!(origin, Origin::Flag(_))
            }
            Self::Invalid {
                origin: Origin::Flag(_),
                value,
                kind,
                ..
            } => !kind.admits(value),
            Self::Invalid { .. }
            | Self::Meant { .. }
            | Self::Refused { .. }
            | Self::NotYet { .. }
            | Self::File { .. }
            | Self::Conflict(_) => false,
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) | Self::Conflict(text) => f.write_str(text),
            Self::Unknown { origin, hint } => {
                match origin {
                    Origin::Flag(name) => write!(f, "flag provided but not defined: -{name}")?,
                    Origin::Variable(name) => write!(f, "unknown environment variable {name}")?,
                    Origin::File { path, key } => write!(f, "{path}: invalid config key {key}")?,
                }
                suggest(f, hint.as_deref())
            }
            Self::Elsewhere {
                origin,
                theirs,
                ours,
                hint,
            } => {
                let (theirs, ours) = (theirs.name(), ours.name());
                write!(
                    f,
                    "{origin} is an option of lictor {theirs}, not of lictor {ours}"
                )?;
                suggest(f, hint.as_deref())
            }
            Self::NotYet { origin, owner } => {
                write!(
                    f,
                    "{origin} is known to {} but not supported by this version of lictor",
                    owner.name()
                )
            }
            Self::Invalid {
                origin,
                value,
                why,
                kind,
            } => {
                let boolean = if *kind == Kind::Bool { "boolean " } else { "" };
                if let Origin::File { path, .. } = origin {
                    write!(f, "{path}: ")?;
                }
                write!(f, "invalid {boolean}value {value:?} for ")?;
                match origin {
                    Origin::Flag(name) => write!(f, "flag -{name}"),
                    Origin::Variable(name) => write!(f, "environment variable {name}"),
                    Origin::File { key, .. } => f.write_str(key),
                }?;
                write!(f, ": {why}")
            }
            Self::Meant { origin, bad } => {
                let BadValue { problem, right } = bad;
                match origin {
                    Origin::Flag(name) => write!(f, "{problem} (flag -{name}): {right}"),
                    origin => write!(f, "{problem} ({origin}): {right}"),
                }
            }
            Self::Refused { origin, why } => write!(f, "{origin} is refused: {why}"),
            Self::File { path, why } => write!(f, "{path}: {why}"),
        }
    }
}

fn suggest(f: &mut Formatter<'_>, hint: Option<&str>) -> fmt::Result {
    hint.map_or(Ok(()), |hint| write!(f, "; did you mean {hint}?"))
}
