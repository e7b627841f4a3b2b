//! What listings showed of each container, so that only those that show something new are inspected. Pure.
//!
//! A line leaves out much of what an inspection tells, and engines differ in how much. So at times nothing of it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::docker::Listed;

/// Every so many listings all containers are inspected, whatever their lines show.
const THOROUGH: u32 = 10;

/// The listing before.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Lines {
    shown: BTreeMap<Arc<str>, u64>,
    /// Listings since the last one whose containers were all inspected, that included.
    listings: u32,
}

impl Lines {
    /// The next listing is compared with nothing.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes in a listing; says of each line whether it shows something new.
    pub(crate) fn take(&mut self, listed: &[Listed]) -> Vec<bool> {
        let thorough = self.listings == 0;
        self.listings = (self.listings + 1) % THOROUGH;
        let before = std::mem::take(&mut self.shown);
        let known = |line: &Listed| before.get(&line.id) == Some(&line.shows);
        self.shown = listed.iter().map(|line| (line.id.clone(), line.shows)).collect();
        listed.iter().map(|line| thorough || !known(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(shows: &[(&str, u64)]) -> Vec<Listed> {
        let line = |(id, shows): &(&str, u64)| Listed {
            id: Arc::from(*id),
            up: true,
            shows: *shows,
            tells_health: true,
        };
        shows.iter().map(line).collect()
    }

    #[test]
    fn what_is_new_or_changed_counts_and_every_tenth_listing_all_does() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&listing(&[("a", 1), ("b", 1)])), [true, true]);
        assert_eq!(
            lines.take(&listing(&[("a", 1), ("b", 2), ("c", 1)])),
            [false, true, true]
        );
        assert_eq!(lines.take(&listing(&[("c", 1)])), [false]);
        assert_eq!(lines.take(&listing(&[("b", 2), ("c", 1)])), [true, false]);
        for _ in 4..10 {
            assert_eq!(lines.take(&listing(&[("c", 1)])), [false]);
        }
        assert_eq!(lines.take(&listing(&[("c", 1)])), [true]);
        assert_eq!(lines.take(&listing(&[("c", 1)])), [false]);
        lines.forget();
        assert_eq!(lines.take(&listing(&[("c", 1)])), [true]);
    }
}
