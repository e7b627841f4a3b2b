//! A radix tree over bytes that shares what did not change with its copies: as many steps as the text has bytes,
//! however many texts there are, for a change as for a question. Pure.

use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Radix<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    /// What stands between the parent's text and this one; empty at the root only.
    label: Box<[u8]>,
    value: Option<T>,
    /// By the first byte of their labels.
    children: Vec<Arc<Node<T>>>,
}

impl<T> Default for Radix<T> {
    fn default() -> Self {
        Self {
            root: Node::new(&[], None),
        }
    }
}

impl<T: Clone> Radix<T> {
    /// The value of exactly this text from now on; `None`: it has none any more.
    pub(super) fn set(&mut self, text: &[u8], value: Option<T>) {
        match value {
            Some(value) => self.root.insert(text, value),
            None => self.root.remove(text),
        }
    }
}

impl<T> Radix<T> {
    /// The value of the longest text that this one starts with. `fold`: ASCII letters of it are compared as small ones.
    pub(super) fn longest(&self, text: &[u8], fold: bool) -> Option<&T> {
        let byte = |byte: &u8| if fold { byte.to_ascii_lowercase() } else { *byte };
        let (mut node, mut rest) = (&self.root, text);
        let mut found = node.value.as_ref();
        while let Some(first) = rest.first() {
            let Ok(at) = node.find(byte(first)) else { break };
            let child = &node.children[at];
            let Some((here, below)) = rest.split_at_checked(child.label.len()) else {
                break;
            };
            if !child.label.iter().copied().eq(here.iter().map(byte)) {
                break;
            }
            (node, rest) = (child, below);
            found = node.value.as_ref().or(found);
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.value.is_none() && self.root.children.is_empty()
    }
}

impl<T> Node<T> {
    fn new(label: &[u8], value: Option<T>) -> Self {
        Self {
            label: label.into(),
            value,
            children: Vec::new(),
        }
    }

    fn find(&self, first: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&first, |child| child.label[0])
    }
}

impl<T: Clone> Node<T> {
    fn insert(&mut self, rest: &[u8], value: T) {
        let Some(first) = rest.first() else {
            self.value = Some(value);
            return;
        };
        let at = match self.find(*first) {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(at, Arc::new(Self::new(rest, Some(value))));
                return;
            }
        };
        let child = Arc::make_mut(&mut self.children[at]);
        let common = child
            .label
            .iter()
            .zip(rest)
            .take_while(|(own, new)| own == new)
            .count();
        if common < child.label.len() {
            // It gets a parent for what both have.
            let parent = Self::new(&rest[..common], None);
            let mut lower = std::mem::replace(child, parent);
            lower.label = lower.label[common..].into();
            child.children.push(Arc::new(lower));
        }
        child.insert(&rest[common..], value);
    }

    fn remove(&mut self, rest: &[u8]) {
        let Some(first) = rest.first() else {
            self.value = None;
            return;
        };
        let Ok(at) = self.find(*first) else { return };
        let Some(rest) = rest.strip_prefix(&*self.children[at].label) else {
            return;
        };
        let child = Arc::make_mut(&mut self.children[at]);
        child.remove(rest);
        match (&child.value, child.children.len()) {
            (Some(_), _) | (None, 2..) => {}
            (None, 0) => _ = self.children.remove(at),
            // An only child takes its place.
            (None, 1) => {
                if let Some(lower) = child.children.pop() {
                    let mut lower = Arc::unwrap_or_clone(lower);
                    lower.label = [&*child.label, &*lower.label].concat().into();
                    *child = lower;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// No node is there for nothing.
    fn is_tight(node: &Node<usize>, is_root: bool) -> bool {
        let needed = is_root || node.value.is_some() || node.children.len() > 1;
        let sorted = node
            .children
            .windows(2)
            .all(|pair| pair[0].label[0] < pair[1].label[0]);
        needed
            && sorted
            && node
                .children
                .iter()
                .all(|child| !child.label.is_empty() && is_tight(child, false))
    }

    proptest! {
        #[test]
        fn it_answers_as_a_sorted_map_would_and_copies_stay_as_they_were(
            changes in collection::vec(("[ab/]{0,5}", proptest::bool::weighted(0.7)), 0..40),
            questions in collection::vec("[abAB/]{0,7}", 1..20),
        ) {
            let (mut radix, mut map) = (Radix::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (number, (text, is_new)) in changes.into_iter().enumerate() {
                copies.push((radix.clone(), map.clone()));
                radix.set(text.as_bytes(), is_new.then_some(number));
                match is_new {
                    true => _ = map.insert(text, number),
                    false => _ = map.remove(&text),
                }
                prop_assert!(is_tight(&radix.root, true), "{radix:?}");
            }
            copies.push((radix, map));
            for (radix, map) in copies {
                prop_assert_eq!(radix.is_empty(), map.is_empty());
                for question in &questions {
                    let best = |asked: &str| map.iter().filter(|(text, _)| asked.starts_with(&**text)).max_by_key(|(text, _)| text.len()).map(|(_, value)| *value);
                    prop_assert_eq!(radix.longest(question.as_bytes(), false).copied(), best(question));
                    prop_assert_eq!(radix.longest(question.as_bytes(), true).copied(), best(&question.to_lowercase()));
                }
            }
        }
    }
}
