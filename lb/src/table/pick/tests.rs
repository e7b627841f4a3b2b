//! Weights become shares, shares become targets.

use super::*;

fn counts(weights: &[f64], requests: u64) -> Vec<u64> {
    let shares = Shares::new(&effective(weights));
    let mut counts = vec![0; weights.len()];
    for turn in 0..requests {
        counts[shares.pick(Point::Turn(turn), |_| true).unwrap()] += 1;
    }
    counts
}

fn close(left: &[f64], right: &[f64]) -> bool {
    left.iter()
        .zip(right)
        .all(|(left, right)| (left - right).abs() < 1e-9)
}

#[test]
fn weights_become_shares_as_fabio_has_them() {
    assert!(close(&effective(&[0.0, 0.0, 0.0, -1.0]), &[0.25; 4]));
    assert!(close(&effective(&[0.1, 0.0, 0.0]), &[0.1, 0.45, 0.45]));
    assert!(close(&effective(&[0.2, 0.2]), &[0.5, 0.5]));
    assert!(close(&effective(&[3.0, 1.0, 0.0]), &[0.75, 0.25, 0.0]));
    assert!(close(&effective(&[1.0, 0.0]), &[1.0, 0.0]));
    assert!(effective(&[]).is_empty());
}

#[test]
fn equal_targets_take_strict_turns() {
    assert_eq!(counts(&[0.0; 3], 300), [100, 100, 100]);
}

#[test]
fn turns_and_dice_follow_the_weights() {
    for (at, share) in [(0, 100), (1, 450), (2, 450)] {
        let count = counts(&[0.1, 0.0, 0.0], 1000)[at];
        assert!(count.abs_diff(share) <= 3, "{count} for {share}");
    }
    let shares = Shares::new(&effective(&[0.25, 0.0]));
    let quarter = 1 << 62;
    assert_eq!(shares.pick(Point::Random(0), |_| true), Some(0));
    assert_eq!(shares.pick(Point::Random(quarter - 1), |_| true), Some(0));
    assert_eq!(shares.pick(Point::Random(quarter), |_| true), Some(1));
    assert_eq!(shares.pick(Point::Random(u64::MAX), |_| true), Some(1));
}

#[test]
fn a_small_weight_is_spread_out_instead_of_coming_first() {
    let shares = Shares::new(&effective(&[0.1, 0.0]));
    let turns: Vec<u64> = (0..200)
        .filter(|turn| shares.pick(Point::Turn(*turn), |_| true) == Some(0))
        .collect();
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] >= 5), "{turns:?}");
}

#[test]
fn a_standby_serves_only_when_nothing_else_can() {
    let shares = Shares::new(&effective(&[1.0, 0.0]));
    for turn in 0..1000 {
        assert_eq!(shares.pick(Point::Turn(turn), |_| true), Some(0));
        assert_eq!(shares.pick(Point::Turn(turn), |index| index != 0), Some(1));
    }
    assert_eq!(shares.pick(Point::Random(u64::MAX), |_| true), Some(0));
    assert_eq!(shares.pick(Point::Turn(0), |_| false), None);
    assert_eq!(Shares::new(&[]).pick(Point::Turn(0), |_| true), None);
}

#[test]
fn what_is_left_after_a_failure_still_shares_by_weight() {
    let shares = Shares::new(&effective(&[0.5, 0.4, 0.1]));
    let mut counts = [0_u64; 3];
    for turn in 0..1000 {
        counts[shares.pick(Point::Turn(turn), |index| index != 0).unwrap()] += 1;
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 3 * counts[2] && counts[2] > 150, "{counts:?}");
}
