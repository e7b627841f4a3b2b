//! What thousands of routes say alike is kept once: the options that most of them have in common, addresses, paths.
//!
//! Texts live no longer than what is being read. Options are compared with the last few distinct ones only: they have no
//! order and no hash, and who writes thousands of routes writes them by a program.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::options::Options;
use super::part::Part;
use super::route::Destination;

/// Distinct options that are remembered.
const MOST: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alike {
    texts: HashSet<Arc<str>>,
    destinations: HashMap<Box<str>, Arc<Destination>>,
    options: Recent,
}

/// The last distinct options; those met last come first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Arc<Options>>);

impl Alike {
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }

    /// By its URL, which says all about it.
    pub(super) fn destination(&mut self, destination: Destination) -> Arc<Destination> {
        if let Some(known) = self.destinations.get(&destination.url)
            && **known == destination
        {
            return known.clone();
        }
        let url = destination.url.clone();
        let destination = Arc::new(destination);
        self.destinations.insert(url, destination.clone());
        destination
    }

    pub(super) fn options(&mut self, options: Options) -> Arc<Options> {
        self.options.same(Arc::new(options))
    }
}

impl Recent {
    /// Known ones that say the same, or these.
    fn same(&mut self, options: Arc<Options>) -> Arc<Options> {
        if let Some(at) = self.0.iter().position(|known| *known == options) {
            self.0.swap(0, at);
            return self.0[0].clone();
        }
        self.0.truncate(MOST - 1);
        self.0.push_front(options.clone());
        options
    }

    /// With options of others where its tags ask for the same.
    pub(super) fn shared(&mut self, mut part: Part) -> Part {
        // What several hold is what says nothing.
        if let Some(said) = Arc::get_mut(&mut part.said) {
            for definition in &mut said.definitions {
                definition.options = self.same(definition.options.clone());
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_one_and_what_differs_is_not() {
        let mut alike = Alike::default();
        let options = |weight| Options {
            weight,
            ..Options::default()
        };
        let first = alike.options(options(0.0));
        for weight in 1..MOST {
            assert!(!Arc::ptr_eq(&first, &alike.options(options(weight as f64))));
        }
        assert!(Arc::ptr_eq(&first, &alike.options(options(0.0))));
        assert_eq!(alike.options.0.len(), MOST);
        let last = alike.options(options(9.0));
        assert_eq!((alike.options.0.len(), last.weight), (MOST, 9.0));
        assert!(Arc::ptr_eq(&alike.text("/"), &alike.text("/")));
        assert_eq!(&*alike.text("/a"), "/a");
    }
}
