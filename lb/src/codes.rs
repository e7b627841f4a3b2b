//! Something for each HTTP status, made when it is first needed, in the order in which they were. Most services know three
//! or four: stepping over those is cheaper than the memory of a place for each hundred of them. One writer; others may
//! read at any time.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

/// hyper lets servers invent codes up to 999; those have no place in a metric.
const CODES: RangeInclusive<u16> = 100..=599;

/// Whether it is a status and not invented.
pub(crate) fn is_status(code: u16) -> bool {
    CODES.contains(&code)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Codes<T>(OnceLock<Box<Code<T>>>);

#[derive(Debug)]
struct Code<T> {
    code: u16,
    of: T,
    next: Codes<T>,
}

impl<T> Default for Codes<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Codes<T> {
    pub(crate) fn of(&self, code: u16, new: impl Fn() -> T) -> &T {
        let fresh = || {
            Box::new(Code {
                code,
                of: new(),
                next: Self::default(),
            })
        };
        // It ends: no code is there twice.
        let mut codes = self;
        loop {
            let known = codes.0.get_or_init(fresh);
            if known.code == code {
                return &known.of;
            }
            codes = &known.next;
        }
    }

    /// Those that were needed.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u16, &T)> {
        let first = self.0.get();
        let codes = std::iter::successors(first, |code| code.next.0.get());
        codes.map(|code| (code.code, &code.of))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_code_has_one_place_whatever_comes_in_between() {
        let codes: Codes<Cell<u64>> = Codes::default();
        for code in [100, 200, 204, 204, 499, 204, 100] {
            let count = codes.of(code, Cell::default);
            count.set(count.get() + 1);
        }
        let seen: Vec<_> = codes.seen().map(|(code, count)| (code, count.get())).collect();
        assert_eq!(seen, [(100, 2), (200, 1), (204, 3), (499, 1)]);
    }

    #[test]
    fn what_servers_invent_is_no_status() {
        let statuses = [0, 99, 100, 599, 600, 999].map(is_status);
        assert_eq!(statuses, [false, false, true, true, false, false]);
    }
}
