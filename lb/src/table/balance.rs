//! Which target a choice selects among the usable ones of a route: by weight, by load, or the same again. Pure.

use std::sync::Arc;

use super::asker::{Choice, mix};
use super::pick::{Point, Shares};
use super::route::Target;

/// Selects one; `None`: none is usable. A standby (share 0) is selected only when nothing else is usable.
pub(super) fn select(
    targets: &[Arc<Target>],
    shares: &Shares,
    choice: Choice,
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    // Requests under way for its share; a standby counts as full.
    let load = |index: usize| targets[index].stats.under_way() as f64 / targets[index].share;
    match choice {
        Choice::Random(bits) => shares.pick(Point::Random(bits), usable),
        Choice::Turn(turn) => shares.pick(Point::Turn(turn), usable),
        Choice::LeastOfTwo(bits) => {
            let first = shares.pick(Point::Random(bits), &usable)?;
            let second = second(shares, first, bits, &usable);
            Some(
                second
                    .filter(|second| load(*second) < load(first))
                    .unwrap_or(first),
            )
        }
        Choice::Least(bits) => {
            let mut best = shares.pick(Point::Random(bits), &usable)?;
            let mut least = load(best);
            for index in (0..targets.len()).filter(|index| usable(*index)) {
                let load = load(index);
                if load < least {
                    (best, least) = (index, load);
                }
            }
            Some(best)
        }
        Choice::Same(key) => same(targets, shares, key, usable),
    }
}

/// Another than the first, by weight.
fn second(shares: &Shares, first: usize, bits: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let others = shares.len().checked_sub(1).filter(|others| *others > 0)?;
    let bits = mix(bits);
    if let Shares::Even(count) = shares {
        let second = (first + 1 + (bits % others as u64) as usize) % count;
        if usable(second) {
            return Some(second);
        }
    }
    shares.pick(Point::Random(bits), |index| index != first && usable(index))
}

/// Weighted rendezvous: each target draws a number for this key, and the best one has it. Whoever leaves or comes
/// moves only its own keys.
fn same(targets: &[Arc<Target>], shares: &Shares, key: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let draw = |index: usize| mix(key ^ targets[index].seed);
    let usable = (0..targets.len()).filter(|index| usable(*index));
    if let Shares::Even(_) = shares {
        return usable.max_by_key(|index| draw(*index));
    }
    // -ln(u) / weight is the time until the first event of a process of that rate, and the earliest is each one's with
    // the chance of its weight. For equal weights it is the order above. Without weight it never comes, but of all
    // those the greatest draw does.
    let wait = |index: usize| {
        let draw = draw(index);
        let uniform = (draw as f64 + 1.0) / 2_f64.powi(64);
        (
            (-uniform.ln()).max(f64::MIN_POSITIVE) / targets[index].share,
            u64::MAX - draw,
        )
    };
    let least = |left: &(f64, u64), right: &(f64, u64)| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1));
    usable
        .map(|index| (wait(index), index))
        .min_by(|(left, _), (right, _)| least(left, right))
        .map(|(_, index)| index)
}

#[cfg(test)]
mod tests;
