//! From written to meant, one option at a time: takes the text that won, or the row's default, and
//! notes a fault instead of failing, so that all of them are found in one go.

use std::collections::BTreeSet;

use lb::config::BadValue;

use super::fault::{Fault, Origin};
use super::options::{self, Kind, Row};
use super::raw::{Raw, Written};
use super::settings::Settings;
use super::sockaddr::Interface;
use super::values::Value;

/// Reads options of one command.
pub struct Reader {
    raw: Raw,
    read: BTreeSet<&'static str>,
}

impl Reader {
    /// Of what was written.
    pub fn new(raw: Raw) -> Self {
        Self {
            raw,
            read: BTreeSet::new(),
        }
    }

    /// The meaning of an option; its default where nobody wrote it or it means nothing.
    pub fn value<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Value<T>) -> T {
        let row = self.row(name);
        let command = self.raw.command;
        if let Some(written) = self.raw.written(name) {
            let text = written.items.join(",");
            match parse(&text) {
                Ok(value) => return value,
                Err(why) => self.raw.faults.push(invalid(row, written, text, why)),
            }
        }
        // A test reads every default, so this cannot meet a user.
        parse(row.default_for(command)).unwrap_or_else(|why| panic!("default of {name}: {why}"))
    }

    /// The meaning of an option of several parts, each of which may be wrong in its own way; `None` where one is.
    pub fn parts<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Vec<BadValue>>,
    ) -> Option<T> {
        let row = self.row(name);
        let command = self.raw.command;
        if self.raw.broken.contains(name) {
            return None;
        }
        let Some(written) = self.raw.written(name) else {
            // A test reads every default, so this cannot meet a user.
            let default = parse(row.default_for(command));
            return Some(default.unwrap_or_else(|why| panic!("default of {name}: {why:?}")));
        };
        match parse(&written.items.join(",")) {
            Ok(value) => Some(value),
            Err(faults) => {
                let origin = written.origin.clone();
                self.raw.faults.extend(faults.into_iter().map(|bad| Fault::Meant {
                    origin: origin.clone(),
                    bad,
                }));
                None
            }
        }
    }

    /// The items of an option that mean something, and whether those are all.
    pub fn items<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> (Vec<T>, Vec<BadValue>),
    ) -> (Vec<T>, bool) {
        let mut items = Vec::new();
        let all = self.parts(name, |text| {
            let bad;
            (items, bad) = parse(text);
            if bad.is_empty() { Ok(()) } else { Err(bad) }
        });
        (items, all.is_some())
    }

    /// The meaning of an option whose parser says itself what is wrong; `None` where something is.
    pub fn meant<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, BadValue>) -> Option<T> {
        self.parts(name, |text| parse(text).map_err(|bad| vec![bad]))
    }

    /// Everything that was written.
    pub fn settings(&self) -> Settings {
        self.raw.settings.clone()
    }

    /// The addresses of this host.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.raw.interfaces.clone()
    }

    /// The text that counts, written or default.
    pub fn text(&self, name: &'static str) -> String {
        self.raw.settings.text(self.row_of(name))
    }

    /// Whether the command has the option.
    pub fn has(&self, name: &str) -> bool {
        options::of(self.raw.command).any(|row| row.name == name)
    }

    /// Whether anybody wrote it.
    pub fn is_written(&self, name: &str) -> bool {
        self.raw.written(name).is_some()
    }

    /// The meaning of an option that has no default; an empty text is as good as none.
    pub fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Value<T>) -> Option<T> {
        self.value(name, |text| {
            if text.trim().is_empty() {
                Ok(None)
            } else {
                parse(text).map(Some)
            }
        })
    }

    /// The flag of an option as this command spells it.
    pub fn flag(&self, name: &'static str) -> String {
        format!("-{}", self.row_of(name).flag(self.raw.command))
    }

    /// Where these options were written, or else their flags: what to change when their values do
    /// not work out.
    pub fn asked(&self, names: &[&'static str]) -> String {
        let origin = |name: &&'static str| match self.raw.written(name) {
            Some(written) => written.origin.to_string(),
            None => Origin::Flag(self.row_of(name).flag(self.raw.command).to_owned()).to_string(),
        };
        names.iter().map(origin).collect::<Vec<_>>().join(", ")
    }

    /// An environment variable that is no option but stands in for one.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.raw.env.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Notes a fault that several options share.
    pub fn fault(&mut self, fault: Fault) {
        self.raw.faults.push(fault);
    }

    /// Notes something the user should hear though nothing is wrong.
    pub fn note(&mut self, note: impl Into<String>) {
        self.raw.notes.push(note.into());
    }

    /// Everything found out besides the values: notes, and what is wrong, in the order it was found.
    pub fn finish(self) -> (Vec<String>, Vec<Fault>) {
        debug_assert!(self.unread().is_empty(), "no one reads {:?}", self.unread());
        (self.raw.notes, self.raw.faults)
    }

    /// Supported options that nobody asked for: promised in a row and then forgotten.
    fn unread(&self) -> Vec<&'static str> {
        let supported = options::of(self.raw.command).filter(|row| row.status == options::Status::Supported);
        // Paths are read when texts are gathered.
        let values = supported.filter(|row| row.kind != Kind::Paths && row.name != "cfg");
        values
            .map(|row| row.name)
            .filter(|name| !self.read.contains(name))
            .collect()
    }

    fn row(&mut self, name: &'static str) -> &'static Row {
        self.read.insert(name);
        self.row_of(name)
    }

    fn row_of(&self, name: &str) -> &'static Row {
        options::of(self.raw.command)
            .find(|row| row.name == name)
            .expect("every option that is read has a row")
    }
}

fn invalid(row: &Row, written: &Written, value: String, why: String) -> Fault {
    Fault::Invalid {
        origin: written.origin.clone(),
        value,
        why,
        kind: row.kind,
    }
}
