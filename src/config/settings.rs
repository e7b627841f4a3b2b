//! What was written for each option of a command. A running process keeps it, so that what it reads again is compared
//! key by key: what differs, and what of that only a restart changes. Values are compared as they are, secrets too, and
//! never shown.

use std::collections::BTreeMap;
use std::fmt;

use super::options::{self, Command, Row};
use super::raw::Written;

/// The option whose address lasts, and whose other parts do not.
const ADMIN: &str = "ui.addr";

/// See the module.
#[derive(Clone)]
pub struct Settings {
    command: Command,
    written: BTreeMap<&'static str, Written>,
    waiting: Vec<&'static str>,
}

impl Settings {
    /// Nobody has written anything.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            written: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    /// The stronger one comes later.
    pub fn put(&mut self, name: &'static str, written: Written) {
        self.written.insert(name, written);
    }

    /// What somebody wrote, by name of option.
    pub fn written(&self) -> &BTreeMap<&'static str, Written> {
        &self.written
    }

    /// The text that counts, written or default.
    pub fn text(&self, row: &Row) -> String {
        let written = self.written.get(row.name);
        written.map_or_else(
            || row.default_for(self.command).to_owned(),
            |written| written.items.join(","),
        )
    }

    /// The options that mean something else here than in `other`.
    pub fn differing(&self, other: &Self) -> Vec<&'static Row> {
        options::of(self.command)
            .filter(|row| !row.same(&self.text(row), &other.text(row)))
            .collect()
    }

    /// What only a restart changes is as it was before, and noted where it is to be another. Of the admin server that is
    /// the address: the rest holds at once, certificate sources that were renamed for one.
    pub fn holding(mut self, before: &Self) -> Self {
        let lasting = self.differing(before).into_iter().filter(|row| row.lasting);
        for row in lasting {
            let here = (row.name == ADMIN).then(|| readdressed(&before.text(row), &self.text(row)));
            if let Some(here) = here.flatten() {
                if let Some(text) = here {
                    self.waiting.push(row.name);
                    let origin = before.written.get(row.name).or(self.written.get(row.name));
                    if let Some(origin) = origin.map(|written| written.origin.clone()) {
                        let items = vec![text];
                        self.written.insert(row.name, Written { items, origin });
                    }
                }
                continue;
            }
            match before.written.get(row.name) {
                Some(written) => self.written.insert(row.name, written.clone()),
                None => self.written.remove(row.name),
            };
            self.waiting.push(row.name);
        }
        self
    }

    /// Options whose new value waits for a restart.
    pub fn waiting(&self) -> &[&'static str] {
        &self.waiting
    }
}

/// The parts of `after` at the address of `before`; `Some(None)`: there they are already. `None`: one of them has no
/// address, as when there is to be no admin server.
fn readdressed(before: &str, after: &str) -> Option<Option<String>> {
    let at = address(before)?;
    let others = after.split(';').filter(|part| as_address(part).is_none());
    let text = std::iter::once(at).chain(others).collect::<Vec<_>>().join(";");
    Some((address(after)? != at).then_some(text))
}

fn address(text: &str) -> Option<&str> {
    text.split(';').find_map(as_address)
}

/// The address that a part of a listener is; a bare one stands first, so that is where it is put again.
fn as_address(part: &str) -> Option<&str> {
    let named = part.trim().strip_prefix("addr=").map(str::trim);
    named.or((!part.trim().is_empty() && !part.contains('=')).then_some(part.trim()))
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}
