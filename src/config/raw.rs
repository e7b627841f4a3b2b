//! The configuration as written: for each option the text that won, and where it stood.
//!
//! Sources are laid over each other from weak to strong: files in the order they are named,
//! environment, flags. Nothing is interpreted here; whether a *name* may be used at all is decided
//! here, so a name that does not work is found once, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Origin};
use super::file::{self, Setting};
use super::machine::Machine;
use super::options::{self, Command, Kind, Owner, Row, Status};
use super::settings::Settings;
use super::sockaddr::Interface;

/// What somebody wrote, and where.
#[derive(Clone, Debug)]
pub struct Written {
    /// One text, or the members of a list.
    pub items: Vec<String>,
    /// Where it stood.
    pub origin: Origin,
}

/// A flag as given: its row, its name as typed, its value.
#[derive(Clone, Debug)]
pub struct Given {
    /// The option.
    pub row: &'static Row,
    /// Its value; `true` for a boolean standing alone.
    pub value: String,
}

/// Everything written, by name of option.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Who asks; decides which names are valid.
    pub command: Command,
    /// The environment, for variables that are not options.
    pub env: Environment,
    /// What was written, by option.
    pub settings: Settings,
    /// The addresses of this host.
    pub interfaces: Vec<Interface>,
    /// Options whose value cannot be read, which is among the faults: nothing is concluded from their absence.
    pub broken: BTreeSet<&'static str>,
    /// What is wrong so far.
    pub faults: Vec<Fault>,
    /// What the user should hear though nothing is wrong.
    pub notes: Vec<String>,
}

/// What a process may look at besides its arguments.
pub type Environment = BTreeMap<String, String>;

impl Raw {
    /// Collects what flags, environment and the files named by flags say.
    pub fn gather(command: Command, given: &[Given], env: &Environment, machine: &dyn Machine) -> Self {
        let mut raw = Self {
            command,
            env: env.clone(),
            interfaces: machine.interfaces(),
            settings: Settings::new(command),
            broken: BTreeSet::new(),
            faults: Vec::new(),
            notes: Vec::new(),
        };
        for flag in given {
            raw.take_files(flag, env, machine);
        }
        if command == Command::Lb {
            raw.take_environment(env);
        }
        for flag in given {
            let origin = Origin::Flag(flag.row.flag(command).to_owned());
            raw.admit(
                flag.row,
                Written {
                    items: vec![flag.value.clone()],
                    origin,
                },
            );
        }
        raw.note_strangers();
        raw
    }

    /// Says what variables without fabio's prefix did: they may be meant for somebody else.
    fn note_strangers(&mut self) {
        for (name, written) in self.settings.written() {
            if let Origin::Variable(variable) = &written.origin
                && unprefixed(variable).is_none()
            {
                self.notes.push(format!("{} sets {name}", written.origin));
            }
        }
    }

    /// What was written for an option, if anything.
    pub fn written(&self, name: &str) -> Option<&Written> {
        self.settings.written().get(name)
    }

    fn take_files(&mut self, flag: &Given, env: &Environment, machine: &dyn Machine) {
        let read = match flag.row.name {
            "config-file" => vec![(file::shown(&flag.value), file::read(&flag.value, machine))],
            "config-dir" => match file::in_directory(&flag.value, machine) {
                Ok(paths) => paths
                    .into_iter()
                    .map(|path| (path.clone(), file::read(&path, machine)))
                    .collect(),
                Err(fault) => return self.faults.push(fault),
            },
            "cfg" => {
                let read = file::read_properties(&flag.value, env, machine);
                let read = read.map(|(settings, faults)| {
                    self.faults.extend(faults);
                    settings
                });
                vec![(file::shown(&flag.value), read)]
            }
            _ => return,
        };
        for (path, settings) in read {
            match settings {
                Ok(settings) => settings
                    .into_iter()
                    .for_each(|setting| self.take_setting(&path, setting)),
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    fn take_setting(&mut self, path: &str, setting: Setting) {
        let Setting {
            key,
            items,
            helper,
            broken,
        } = setting;
        let origin = Origin::File {
            path: path.to_owned(),
            key: key.clone(),
        };
        let row = options::by_key(self.command, &key).or_else(|| {
            let row = options::by_folded_key(self.command, &key)?;
            self.notes.push(format!("{origin} is read as {}", row.name));
            Some(row)
        });
        match row {
            // A file that names further files: an order nobody could follow.
            Some(row) if matches!(row.name, "config-file" | "config-dir" | "cfg" | "cfg-check") => {
                self.faults
                    .push(Fault::Conflict(format!("{origin} works as a flag only")));
            }
            Some(row) if broken => _ = self.broken.insert(row.name),
            Some(row) => self.admit(row, Written { items, origin }),
            // It is there for ${…} of another key.
            None if helper => {}
            None => {
                let hint = options::nearest_key(self.command, &key).map(str::to_owned);
                let elsewhere = options::elsewhere(self.command, &key);
                self.faults.push(unknown(
                    self.command,
                    origin,
                    hint,
                    elsewhere.map(|(theirs, _)| theirs),
                ));
            }
        }
    }

    /// fabio's rules: `FABIO_proxy_addr` in any case, or the bare `proxy_addr`; the prefixed one
    /// wins. A bare name that is no option, or one word such as `insecure`, is somebody else's.
    fn take_environment(&mut self, env: &Environment) {
        for (variable, value) in env.iter().filter(|(name, _)| unprefixed(name).is_none()) {
            match options::by_variable(self.command, variable) {
                Some(row) if variable.contains('_') => self.take_bare(row, variable, value),
                _ => {}
            }
        }
        for (variable, value) in env {
            let Some(name) = unprefixed(variable) else {
                continue;
            };
            let origin = Origin::Variable(variable.clone());
            match options::by_variable(self.command, name) {
                Some(row) if row.name == "cfg" => {
                    let note = format!("{origin} is not used: -cfg works as a flag only, in fabio too");
                    self.notes.push(note);
                }
                Some(row) => self.admit(
                    row,
                    Written {
                        items: vec![value.clone()],
                        origin,
                    },
                ),
                None if is_of_a_service(name, value) => {}
                None => self.take_stranger(origin, name),
            }
        }
    }

    /// A variable named like an option, without the prefix: it may be meant for us, or for somebody else. Where fabio goes
    /// on without it, so do we; and options that fabio does not have are nobody's habit.
    fn take_bare(&mut self, row: &'static Row, variable: &str, value: &str) {
        let origin = Origin::Variable(variable.to_owned());
        let why = if row.owner != Owner::Fabio {
            format!(": {} takes FABIO_{}", row.name, variable.to_ascii_uppercase())
        } else if row.status != Status::Supported {
            format!(", though fabio would read {}", row.name)
        } else if fabio_passes_over(row, value) {
            format!(": {value:?} is no value of {}", row.name)
        } else {
            let items = vec![value.to_owned()];
            return self.admit(row, Written { items, origin });
        };
        self.notes.push(format!("{origin} is not used{why}"));
    }

    /// A variable with fabio's prefix that is no option. A slip is a fault. But images say FABIO_VERSION: what begins like
    /// no section of the options is somebody else's.
    fn take_stranger(&mut self, origin: Origin, name: &str) {
        let section = name.split('_').next().unwrap_or_default();
        if options::has_section(self.command, section) {
            let hint = options::nearest_variable(self.command, name);
            let hint = hint.map(|near| format!("FABIO_{}", near.replace('.', "_").to_ascii_uppercase()));
            self.faults.push(Fault::Unknown { origin, hint });
        } else {
            self.notes
                .push(format!("{origin} is not used: there is no such option"));
        }
    }

    fn admit(&mut self, row: &'static Row, written: Written) {
        let says_nothing = written
            .items
            .iter()
            .all(|item| row.is_default(self.command, item));
        match row.status {
            Status::Supported => {
                self.broken.remove(row.name);
                self.settings.put(row.name, written);
            }
            _ if says_nothing && row.kind != Kind::Tree => {}
            Status::Ignored(why) => {
                let name = match &written.origin {
                    Origin::File { path, .. } => format!("{path}: {}", row.name),
                    origin => origin.to_string(),
                };
                let note = format!("{name} has no effect: {why}");
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
            Status::Refused(why) => {
                let fault = Fault::Refused {
                    origin: written.origin,
                    why,
                };
                self.faults.push(fault);
            }
            Status::NotYet => {
                let origin = match written.origin {
                    // One fault for a section, not one for each line in it.
                    Origin::File { path, .. } if row.kind == Kind::Tree => Origin::File {
                        path,
                        key: row.name.to_owned(),
                    },
                    origin => origin,
                };
                let fault = Fault::NotYet {
                    origin,
                    owner: row.owner,
                };
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
            }
        }
    }
}

/// The fault of a name that `command` does not have, though another command may.
pub fn unknown(command: Command, origin: Origin, hint: Option<String>, theirs: Option<Command>) -> Fault {
    match theirs {
        Some(theirs) => Fault::Elsewhere {
            origin,
            theirs,
            ours: command,
            hint,
        },
        None => Fault::Unknown { origin, hint },
    }
}

/// Whether fabio stays with its default: where a text is not of the option's type, and where a word for its own log is none.
fn fabio_passes_over(row: &Row, text: &str) -> bool {
    match row.kind {
        Kind::OneOf(words) if row.name.starts_with("log.") => {
            !words.iter().any(|word| word.eq_ignore_ascii_case(text))
        }
        kind => !kind.admits(text),
    }
}

/// Whether Kubernetes sets such a variable for a service: one named `fabio-ui` makes `FABIO_UI_SERVICE_HOST`,
/// `FABIO_UI_SERVICE_PORT_HTTP`, `FABIO_UI_PORT=tcp://…`, `FABIO_UI_PORT_9998_TCP_ADDR` and more.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let numbered = |front: &[&str]| matches!(front, ["PORT", number, "TCP" | "UDP" | "SCTP"] if number.parse::<u16>().is_ok());
    words.ends_with(&["SERVICE", "HOST"])
        || words.windows(2).any(|pair| pair == ["SERVICE", "PORT"])
        || words.windows(3).any(numbered)
        || (words.ends_with(&["PORT"]) && value.contains("://"))
}

fn unprefixed(variable: &str) -> Option<&str> {
    let (prefix, name) = variable.split_at_checked("FABIO_".len())?;
    prefix.eq_ignore_ascii_case("FABIO_").then_some(name)
}
