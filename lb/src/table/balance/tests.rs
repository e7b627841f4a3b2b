//! Strategies on targets without a table around them.

use super::*;
use crate::config::Config;
use crate::table::UnderWay;
use crate::table::asker::hash;
use crate::table::part::Part;
use crate::table::pick::effective;
use crate::table::stats::{Layout, TargetStats};

/// Targets of these weights, and how they share.
fn route(weights: &[f64]) -> (Vec<Arc<Target>>, Shares) {
    counted_by(&Layout::of(&Config::default()), weights)
}

fn counted_by(layout: &Layout, weights: &[f64]) -> (Vec<Arc<Target>>, Shares) {
    let shares = effective(weights);
    let target = |(number, share): (usize, &f64)| {
        let addr = format!("10.0.0.{number}:80");
        Arc::new(Target {
            part: Arc::new(Part::of_command("web", addr.as_str().into())),
            options: Arc::default(),
            weight: 0.0,
            share: *share,
            to: None,
            stats: TargetStats::new(layout),
            probed: None,
            seed: hash(addr.as_bytes()),
            addr: addr.into(),
        })
    };
    (
        shares.iter().enumerate().map(target).collect(),
        Shares::new(&shares),
    )
}

/// How often each of these targets is chosen.
fn counts(weights: &[f64], choice: impl Fn(u64) -> Choice, usable: impl Fn(usize) -> bool) -> Vec<u64> {
    let (targets, shares) = route(weights);
    let mut counts = vec![0; weights.len()];
    for number in 0..10_000 {
        let at = select(&targets, &shares, choice(number), &usable).unwrap();
        assert!(usable(at));
        counts[at] += 1;
    }
    counts
}

fn key(number: u64) -> Choice {
    Choice::Same(hash(&number.to_le_bytes()))
}

fn about(counts: &[u64], shares: &[u64]) {
    for (count, share) in counts.iter().zip(shares) {
        assert!(count.abs_diff(*share) < 300, "{counts:?} for {shares:?}");
    }
}

#[test]
fn clients_that_stick_are_spread_by_weight() {
    about(&counts(&[0.0; 4], key, |_| true), &[2500; 4]);
    about(&counts(&[0.1, 0.0, 0.0], key, |_| true), &[1000, 4500, 4500]);
    about(&counts(&[1.0, 0.0], key, |_| true), &[10_000, 0]);
    about(&counts(&[1.0, 0.0, 0.0], key, |at| at != 0), &[0, 5000, 5000]);
}

#[test]
fn who_leaves_moves_only_its_own_clients() {
    for weights in [&[0.0; 5][..], &[0.1, 0.2, 0.0, 0.0, 0.05]] {
        let (targets, shares) = route(weights);
        for number in 0..2000 {
            let all = select(&targets, &shares, key(number), |_| true).unwrap();
            let left = select(&targets, &shares, key(number), |at| at != 2).unwrap();
            assert!(left == all || all == 2, "{number}: {all} went to {left}");
        }
    }
}

#[test]
fn a_client_finds_its_target_in_every_order_of_targets() {
    let (targets, shares) = route(&[0.0; 5]);
    let turned: Vec<_> = targets.iter().rev().cloned().collect();
    for number in 0..200 {
        let here = select(&targets, &shares, key(number), |_| true).unwrap();
        let there = select(&turned, &shares, key(number), |_| true).unwrap();
        assert_eq!(targets[here].addr, turned[there].addr);
    }
}

#[test]
fn the_less_loaded_of_two_gets_the_request() {
    let bits = |number: u64| Choice::LeastOfTwo(mix(number));
    about(&counts(&[0.0; 4], bits, |_| true), &[2500; 4]);
    about(&counts(&[1.0, 0.0], bits, |_| true), &[10_000, 0]);
    let (targets, shares) = route(&[0.0; 3]);
    let _busy = UnderWay::at(targets[1].clone(), 0);
    for number in 0..1000 {
        // With three, a busy one is always met by an idle one.
        assert_ne!(select(&targets, &shares, bits(number), |_| true), Some(1));
        assert_eq!(select(&targets, &shares, bits(number), |at| at == 1), Some(1));
        assert_eq!(select(&targets, &shares, bits(number), |_| false), None);
    }
}

#[test]
fn the_least_loaded_for_its_weight_gets_the_request() {
    let bits = |number: u64| Choice::Least(mix(number));
    about(&counts(&[0.0; 4], bits, |_| true), &[2500; 4]);
    let (targets, shares) = route(&[0.8, 0.2]);
    let mut open = Vec::new();
    for number in 0..1000 {
        let at = select(&targets, &shares, bits(number), |_| true).unwrap();
        open.push(UnderWay::at(targets[at].clone(), 0));
    }
    let under_way: Vec<u64> = targets.iter().map(|target| target.stats.under_way()).collect();
    assert!(under_way[0].abs_diff(800) < 5, "{under_way:?}");
}

#[test]
fn a_standby_is_chosen_by_load_only_when_nothing_else_can_be() {
    let (targets, shares) = route(&[1.0, 0.0]);
    let _busy = UnderWay::at(targets[0].clone(), 0);
    for choice in [Choice::LeastOfTwo(7), Choice::Least(7), key(7)] {
        assert_eq!(select(&targets, &shares, choice, |_| true), Some(0));
        assert_eq!(select(&targets, &shares, choice, |at| at == 1), Some(1));
    }
}

#[test]
fn what_is_under_way_is_counted_over_all_workers() {
    let layout = Layout { workers: 2 };
    let (targets, _) = counted_by(&layout, &[1.0]);
    let first = UnderWay::at(targets[0].clone(), 0);
    let second = UnderWay::at(targets[0].clone(), 1);
    let under_way = || targets[0].stats.under_way();
    assert_eq!(under_way(), 2);
    drop(first);
    assert_eq!(under_way(), 1);
    drop(second);
    assert_eq!(under_way(), 0);
}
