//! A sorted list of few, by key: one as a rule. A tree for each would take the room of eleven.

/// See the module.
#[derive(Debug)]
pub(super) struct Roll<K, V>(Vec<(K, V)>);

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Roll<K, V> {
    /// Puts a value in the place of what has the same key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (key, value));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    /// By key, ascending.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_any_order_is_listed_by_key_and_once() {
        let mut roll = Roll::default();
        for key in [3, 1, 2, 1] {
            roll.insert(key, key * 10);
        }
        roll.insert(2, 7);
        roll.remove(&3);
        roll.remove(&4);
        assert_eq!(roll.values().copied().collect::<Vec<_>>(), [10, 7]);
        roll.remove(&1);
        roll.remove(&2);
        assert!(roll.is_empty());
    }
}
