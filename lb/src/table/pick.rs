//! From a number to a target, by weight. Pure: dice and turns come from the caller.
//!
//! fabio lays weights out on a ring of up to 10000 slots. Here shares are kept as a running sum
//! scaled to 64 bits and the number falls into one of them: as exact, 8 bytes a target, and no
//! ring to build. Turns step through that range by the golden ratio, which spreads the turns of
//! each target as evenly as a ring does, whatever the weights.

use super::route::Choice;

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How targets share a route.
#[derive(Debug)]
pub(super) enum Shares {
    /// Alike; the number of targets.
    Even(usize),
    /// By weight: for each target the end of its part of 0..=`u64::MAX`. A part may be empty.
    Uneven(Box<[u64]>),
}

/// Effective shares for the weights asked for, as fabio has them: fixed weights (> 0) are scaled to
/// 1 where they exceed it, or where nothing else could take the rest; the others share the rest.
pub(super) fn effective(weights: &[f64]) -> Vec<f64> {
    let fixed: f64 = weights.iter().filter(|weight| **weight > 0.0).sum();
    let dynamic = weights.iter().filter(|weight| **weight <= 0.0).count();
    let scale = if fixed > 1.0 || (dynamic == 0 && fixed < 1.0) {
        1.0 / fixed
    } else {
        1.0
    };
    let rest = if dynamic == 0 {
        0.0
    } else {
        (1.0 - fixed).max(0.0) / dynamic as f64
    };
    weights
        .iter()
        .map(|weight| if *weight > 0.0 { weight * scale } else { rest })
        .collect()
}

impl Shares {
    /// `shares` as [`effective`] gives them.
    pub(super) fn new(shares: &[f64]) -> Self {
        if shares.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::Even(shares.len());
        }
        let mut sum = 0.0;
        let mut ends: Box<[u64]> = shares
            .iter()
            .map(|share| {
                sum += share;
                // Saturates at the end of the range.
                (sum * 2_f64.powi(64)) as u64
            })
            .collect();
        // Rounding must not leave a gap behind the last target that has a share.
        if let Some(last) = shares.iter().rposition(|share| *share > 0.0) {
            ends[last..].fill(u64::MAX);
        }
        Self::Uneven(ends)
    }

    /// The target that `choice` falls on, or where it is not usable, one that is.
    pub(super) fn pick(&self, choice: Choice, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let first = match self {
            Self::Even(0) => return None,
            Self::Even(count) => match choice {
                Choice::Random(bits) => scaled(bits, *count as u64) as usize,
                Choice::Turn(turn) => (turn % *count as u64) as usize,
            },
            Self::Uneven(ends) => {
                // The very last point belongs to the last part that is not empty.
                let point = point(choice).min(u64::MAX - 1);
                ends.partition_point(|end| *end <= point)
            }
        };
        if usable(first) {
            Some(first)
        } else {
            self.pick_other(choice, usable)
        }
    }

    /// As if only the usable targets existed. Runs only on a retry or beside an ejected target.
    fn pick_other(&self, choice: Choice, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let size = |index: usize| match self {
            Self::Even(_) => 1,
            Self::Uneven(ends) => ends[index] - index.checked_sub(1).map_or(0, |before| ends[before]),
        };
        let usable: Vec<usize> = (0..self.len()).filter(|index| usable(*index)).collect();
        // The high bits have led here, so they say nothing new: the low ones decide.
        let point = point(choice).rotate_left(32);
        let total: u128 = usable.iter().map(|index| u128::from(size(*index))).sum();
        if total == 0 {
            return usable.get(scaled(point, usable.len() as u64) as usize).copied();
        }
        let mut left = (u128::from(point) * total) >> 64;
        usable.into_iter().find(|index| {
            let size = u128::from(size(*index));
            let here = left < size;
            left = left.saturating_sub(size);
            here
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Even(count) => *count,
            Self::Uneven(ends) => ends.len(),
        }
    }
}

/// Where in 0..=`u64::MAX` a choice falls.
fn point(choice: Choice) -> u64 {
    match choice {
        Choice::Random(bits) => bits,
        Choice::Turn(turn) => turn.wrapping_mul(GOLDEN),
    }
}

/// `bits` scaled to 0..`count`.
fn scaled(bits: u64, count: u64) -> u64 {
    ((u128::from(bits) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests;
