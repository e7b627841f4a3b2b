//! A line that anybody may leave from where he stands, without a search: each request leaves one and joins it again.
//! Pure.

/// See the module.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// A ring; the first of them is between the last and the first in line.
    places: Vec<Place<T>>,
    /// Of them, those in which nobody stands.
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place<T> {
    who: Option<T>,
    before: usize,
    after: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        let ends = Place {
            who: None,
            before: 0,
            after: 0,
        };
        Self {
            places: vec![ends],
            free: Vec::new(),
        }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - 1 - self.free.len()
    }

    /// Puts somebody at the end; returns where that is.
    pub(super) fn push(&mut self, who: T) -> usize {
        let last = self.places[0].before;
        let place = Place {
            who: Some(who),
            before: last,
            after: 0,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at] = place;
                at
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        self.places[last].after = at;
        self.places[0].before = at;
        at
    }

    /// Takes out whoever stands there.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let place = &mut self.places[at];
        let who = place.who.take()?;
        let (before, after) = (place.before, place.after);
        self.places[before].after = after;
        self.places[after].before = before;
        self.free.push(at);
        Some(who)
    }

    pub(super) fn pop_first(&mut self) -> Option<T> {
        self.remove(self.places[0].after)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_leaves_from_wherever_the_others_keep_their_order(steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>()), 0..200)) {
            let (mut line, mut standing) = (Line::default(), BTreeMap::new());
            for (turn, (step, whom)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => _ = standing.insert(turn, line.push(turn)),
                    2 if !standing.is_empty() => {
                        let turn = *whom.get(&standing.keys().copied().collect::<Vec<_>>());
                        let at = standing.remove(&turn).unwrap();
                        prop_assert_eq!(line.remove(at), Some(turn));
                        prop_assert_eq!(line.remove(at), None);
                    }
                    _ => prop_assert_eq!(line.pop_first(), standing.pop_first().map(|(turn, _)| turn)),
                }
                prop_assert_eq!(line.len(), standing.len());
            }
        }
    }
}
