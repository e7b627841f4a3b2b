//! `registrator explain`: a word where a registry stands otherwise. It can be none: a registry has a scheme.

use crate::cli::Line;
use crate::config::fault::Fault;

const WORD: &str = "explain";

impl Line {
    /// The container to explain, if that is asked for. Flags may stand before the word, the container and the registries,
    /// which are left.
    pub(super) fn explained(&mut self, program: &str) -> Option<String> {
        self.rest.first().filter(|word| *word == WORD)?;
        self.next();
        let named = self.rest.first().filter(|word| !word.contains("://")).cloned();
        if named.is_some() {
            self.next();
        } else {
            let text = format!("missing name or id of a container, for example {program} {WORD} web");
            self.faults.push(Fault::Syntax(text));
        }
        Some(named.unwrap_or_default())
    }

    /// Goes one word on, and over the flags behind it.
    fn next(&mut self) {
        let further = Self::read_with_positional(self.command, &self.rest[1..]);
        self.given.extend(further.given);
        self.faults.extend(further.faults);
        self.help |= further.help;
        self.rest = further.rest;
    }
}
