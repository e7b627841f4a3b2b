//! Which certificate a client is shown: the one for the name that it asks for, for its domain, or the first.
//! Built whole, looked up, never changed. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::pair::{Pair, canonical};

/// Longest name that is looked up; DNS knows none longer.
const MAX_NAME: usize = 253;

/// The certificates of a source.
#[derive(Debug, Default)]
pub(crate) struct CertTable {
    /// By label, ascending.
    pairs: Box<[Arc<Pair>]>,
    /// Names and patterns such as `*.example.com` → place in `pairs`.
    names: HashMap<Box<str>, usize>,
}

impl CertTable {
    /// Of these, in whatever order. Of several for one name, the one whose label is last has it.
    pub(crate) fn new(mut pairs: Vec<Arc<Pair>>) -> Self {
        pairs.sort_by(|left, right| left.label.cmp(&right.label));
        let mut names = HashMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            names.extend(pair.names.iter().map(|name| (name.clone(), place)));
        }
        Self {
            pairs: pairs.into(),
            names,
        }
    }

    /// All of them, by label.
    pub(crate) fn pairs(&self) -> &[Arc<Pair>] {
        &self.pairs
    }

    /// The one to show to a client that asks for `name`. Not strict: the only one in any case, else the first where
    /// none is for the name. fabio's rules (its `cert/store.go`).
    pub(crate) fn choose(&self, name: Option<&str>, strict: bool) -> Option<&Arc<Pair>> {
        if let ([only], false) = (&*self.pairs, strict) {
            return Some(only);
        }
        let named = name.and_then(|name| self.named(name));
        if strict {
            named
        } else {
            named.or(self.pairs.first())
        }
    }

    /// The one for `name`, else for the name with its first label replaced by `*`, its first two, and so on.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Pair>> {
        let name = canonical(name);
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        let at = |name: &str| self.names.get(name).map(|&place| &self.pairs[place]);
        if let Some(exact) = at(&name) {
            return Some(exact);
        }
        let mut pattern = String::with_capacity(name.len() + 1);
        let mut stars = String::new();
        let mut rest = &*name;
        loop {
            stars.push('*');
            pattern.clear();
            pattern.push_str(&stars);
            let after = rest.split_once('.').map(|(_, after)| after);
            if let Some(after) = after {
                pattern.push('.');
                pattern.push_str(after);
            }
            if let Some(found) = at(&pattern) {
                return Some(found);
            }
            stars.push('.');
            rest = after?;
        }
    }
}

#[cfg(test)]
mod tests;
