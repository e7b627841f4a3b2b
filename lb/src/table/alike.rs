//! What thousands of routes say alike is kept once: the options that most of them have in common, addresses, paths.
//!
//! It lives no longer than what is being read. Options are compared with the last few distinct ones only: they have no
//! order and no hash, and who writes thousands of routes writes them by a program.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::options::Options;
use super::route::Destination;

/// Distinct options that are remembered.
const MOST: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alike {
    texts: HashSet<Arc<str>>,
    destinations: HashMap<Box<str>, Arc<Destination>>,
    /// Those met last come first.
    options: VecDeque<Arc<Options>>,
}

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
        if let Some(at) = self.options.iter().position(|known| **known == options) {
            self.options.swap(0, at);
            return self.options[0].clone();
        }
        let options = Arc::new(options);
        self.options.truncate(MOST - 1);
        self.options.push_front(options.clone());
        options
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
        assert_eq!(alike.options.len(), MOST);
        let last = alike.options(options(9.0));
        assert_eq!((alike.options.len(), last.weight), (MOST, 9.0));
        assert!(Arc::ptr_eq(&alike.text("/"), &alike.text("/")));
        assert_eq!(&*alike.text("/a"), "/a");
    }
}
