//! How many share a name, for as long as any does.

use std::sync::Arc;

use imbl::HashMap;

/// See the module. A copy shares all with the original.
#[derive(Clone, Debug, Default)]
pub(super) struct Census(HashMap<Arc<str>, usize>);

impl Census {
    /// One more; true when it is the first.
    pub(super) fn enter(&mut self, name: &str) -> bool {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
            return false;
        }
        self.0.insert(name.into(), 1).is_none()
    }

    /// One less; true when it was the last.
    pub(super) fn leave(&mut self, name: &str) -> bool {
        match self.0.get_mut(name) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => self.0.remove(name).is_some(),
        }
    }

    /// All names, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
