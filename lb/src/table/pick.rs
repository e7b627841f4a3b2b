//! From a number to a target, by weight. Pure: dice and turns come from the caller.
//!
//! fabio lays weights out on a ring of up to 10000 slots. Here shares are kept as a running sum
//! scaled to 64 bits and the number falls into one of them: as exact, 8 bytes a target, and no
//! ring to build. Turns step through that range by the golden ratio, which spreads the turns of
//! each target as evenly as a ring does, whatever the weights.

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What selects one of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    /// Uniformly random bits.
    Random(u64),
    /// The how-manieth.
    Turn(u64),
}

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

    /// The target that `point` falls on, or where it is not usable, one that is.
    pub(super) fn pick(&self, point: Point, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let first = match self {
            Self::Even(0) => return None,
            Self::Even(count) => match point {
                Point::Random(bits) => scaled(bits, *count as u64) as usize,
                Point::Turn(turn) => (turn % *count as u64) as usize,
            },
            Self::Uneven(ends) => {
                // The very last point belongs to the last part that is not empty.
                let point = point.spread().min(u64::MAX - 1);
                ends.partition_point(|end| *end <= point)
            }
        };
        if usable(first) {
            Some(first)
        } else {
            self.pick_other(point, usable)
        }
    }

    /// As if only the usable targets existed. Runs only on a retry or beside an ejected target.
    fn pick_other(&self, point: Point, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let left = || (0..self.len()).filter(|index| usable(*index));
        // The high bits have led here, so they say nothing new: the low ones decide.
        let point = point.spread().rotate_left(32);
        let total: u128 = left().map(|index| u128::from(self.size(index))).sum();
        if total == 0 {
            return left().nth(scaled(point, left().count() as u64) as usize);
        }
        let mut before = (u128::from(point) * total) >> 64;
        left().find(|index| {
            let size = u128::from(self.size(*index));
            let here = before < size;
            before = before.saturating_sub(size);
            here
        })
    }

    /// The part of one target; only its proportion to those of the others means something.
    pub(super) fn size(&self, index: usize) -> u64 {
        match self {
            Self::Even(_) => 1,
            Self::Uneven(ends) => ends[index] - index.checked_sub(1).map_or(0, |before| ends[before]),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Even(count) => *count,
            Self::Uneven(ends) => ends.len(),
        }
    }
}

impl Point {
    /// Where in 0..=`u64::MAX` it falls.
    fn spread(self) -> u64 {
        match self {
            Self::Random(bits) => bits,
            Self::Turn(turn) => turn.wrapping_mul(GOLDEN),
        }
    }
}

/// `bits` scaled to 0..`count`.
fn scaled(bits: u64, count: u64) -> u64 {
    ((u128::from(bits) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests;
