//! The words of a command, one after the other.

use std::borrow::Cow;

/// What is left of a line.
#[derive(Clone, Debug)]
pub(super) struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        Self(line.trim())
    }

    pub(super) fn at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The next word, up to a blank or tab.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let end = self.0.find([' ', '\t']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// The next word, or words in quotes: a service may be called by several.
    pub(super) fn name(&mut self) -> Option<Cow<'a, str>> {
        let name = match self.0.starts_with('"') {
            true => Cow::Owned(self.quoted()?),
            false => Cow::Borrowed(self.word()?),
        };
        (!name.is_empty()).then_some(name)
    }

    /// Whether the next word is this one, which is then taken.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.word() == Some(keyword);
        if found {
            *self = ahead;
        }
        found
    }

    /// The next words in quotes; a quote or backslash in them has a backslash before it.
    pub(super) fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.0.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' if chars.as_str().starts_with(['"', '\\']) => text.extend(chars.next()),
                char => text.push(char),
            }
        }
        let rest = chars.as_str();
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return None;
        }
        self.0 = rest.trim_start();
        Some(text)
    }
}
