//! Stories told second by second, and properties of all of them.

use proptest::prelude::*;

use super::*;

const POLICY: config::Outliers = config::Outliers {
    failures: 3,
    time: Duration::from_secs(1),
    max_time: Duration::from_secs(6),
    max_share: 0.5,
    slow_start: Duration::from_secs(10),
};

/// Workers that watch four targets.
struct Story {
    start: Instant,
    shared: Arc<Outliers>,
    workers: Vec<Watch>,
    targets: Vec<Arc<str>>,
}

impl Story {
    fn with(policy: config::Outliers) -> Self {
        let shared = Arc::new(Outliers::new(policy));
        Self {
            start: Instant::now(),
            workers: (0..2).map(|_| Watch::new(shared.clone())).collect(),
            shared,
            targets: ["a", "b", "c", "d"].map(Arc::from).to_vec(),
        }
    }

    fn at(&self, second: f64) -> Instant {
        self.start + Duration::from_secs_f64(second)
    }

    fn fail(&self, worker: usize, target: usize, times: usize, second: f64) {
        for _ in 0..times {
            let all = self.targets.iter().map(|target| &**target);
            self.workers[worker].failed(&self.targets[target], all, self.at(second));
        }
    }

    /// Part of the requests that each target gets.
    fn shares(&self, second: f64) -> Vec<f64> {
        let share = |target: &Arc<str>| {
            let admitted =
                (0..1000_u64).filter(|number| self.workers[1].admits(target, *number, self.at(second)));
            admitted.count() as f64 / 1000.0
        };
        self.targets.iter().map(share).collect()
    }

    fn ejected(&self, second: f64) -> Vec<bool> {
        self.shares(second).iter().map(|share| *share == 0.0).collect()
    }
}

#[test]
fn enough_failures_in_a_row_eject_for_all_workers_and_fewer_do_not() {
    let story = Story::with(POLICY);
    story.fail(0, 0, 2, 0.0);
    story.workers[0].succeeded("a");
    story.fail(0, 0, 2, 0.0);
    story.fail(1, 0, 2, 0.0);
    assert_eq!(
        story.ejected(0.0),
        [false; 4],
        "each worker counts for itself, in a row"
    );
    story.fail(0, 0, 1, 0.0);
    assert_eq!(story.ejected(0.0), [true, false, false, false]);
    assert_eq!(story.ejected(0.99), [true, false, false, false]);
    assert_eq!(story.ejected(1.0), [false; 4]);
    assert_eq!(story.workers[0].take_ejections(), 1);
    assert_eq!(story.workers[0].take_ejections(), 0);
}

#[test]
fn a_target_comes_back_slowly_and_the_same_clients_first() {
    let story = Story::with(POLICY);
    story.fail(0, 0, 3, 0.0);
    for (second, share) in [(1.0, 0.1), (3.5, 0.25), (6.0, 0.5), (10.0, 0.9), (11.0, 1.0)] {
        let got = story.shares(second)[0];
        assert!((got - share).abs() < 0.06, "at {second}: {got}");
    }
    let admitted = |second| {
        let worker = &story.workers[1];
        let numbers = (0..1000).filter(|number| worker.admits("a", *number, story.at(second)));
        numbers.collect::<Vec<u64>>()
    };
    let (early, late) = (admitted(3.0), admitted(8.0));
    assert!(early.iter().all(|number| late.contains(number)));
}

#[test]
fn ejections_in_a_row_double_up_to_the_longest_and_start_anew_after_good_conduct() {
    let story = Story::with(POLICY);
    let mut second = 0.0;
    for length in [1.0, 2.0, 4.0, 6.0, 6.0] {
        story.fail(0, 0, 3, second);
        assert!(story.ejected(second + length - 0.01)[0], "{length}");
        assert!(!story.ejected(second + length)[0], "{length}");
        second += length;
    }
    second += 10.0;
    story.fail(0, 0, 3, second);
    assert!(!story.ejected(second + 1.0)[0]);
}

#[test]
fn no_more_than_the_share_is_ejected_and_never_the_last() {
    let story = Story::with(POLICY);
    (0..4).for_each(|target| story.fail(0, target, 3, 0.0));
    assert_eq!(story.ejected(0.0), [true, true, false, false]);
    let story = Story::with(config::Outliers {
        max_share: 1.0,
        ..POLICY
    });
    (0..4).for_each(|target| story.fail(0, target, 3, 0.0));
    assert_eq!(story.ejected(0.0), [true, true, true, false]);
    let alone = story.targets[3].clone();
    for _ in 0..9 {
        story.workers[0].failed(&alone, std::iter::once("d"), story.at(2.0));
    }
    assert!(!story.ejected(2.0)[3]);
}

#[test]
fn who_takes_no_connections_is_passed_over_at_once_whatever_the_share() {
    let story = Story::with(POLICY);
    for target in &story.targets {
        story.workers[0].absent(target);
    }
    assert_eq!(story.shared.ejected(Instant::now()), 4);
    let seen = story.shared.seen(Instant::now());
    assert!(
        seen.iter()
            .all(|seen| seen.cause == Cause::Absent && seen.standing == Standing::Ejected)
    );
    assert_eq!(seen.len(), 4);
}

#[test]
fn zero_failures_switch_it_off() {
    let story = Story::with(config::Outliers {
        failures: 0,
        ..POLICY
    });
    story.fail(0, 0, 100, 0.0);
    story.workers[0].absent(&story.targets[1]);
    assert_eq!(story.shared.seen(story.start), []);
}

#[test]
fn what_left_the_table_is_forgotten_and_a_changed_policy_holds_at_once() {
    let story = Story::with(POLICY);
    story.fail(0, 0, 3, 0.0);
    story.fail(0, 1, 3, 0.0);
    story
        .shared
        .tend(&POLICY, |address| address != "a", story.at(0.0));
    assert_eq!(story.ejected(0.0), [false, true, false, false]);
    let patient = config::Outliers {
        failures: 5,
        ..POLICY
    };
    story.shared.tend(&patient, |_| true, story.at(0.0));
    story.fail(1, 2, 3, 0.0);
    assert_eq!(story.ejected(0.0), [false, true, false, false]);
    story.fail(1, 2, 2, 0.0);
    assert_eq!(story.ejected(0.0), [false, true, true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn at_least_one_target_always_goes_on_and_every_ejection_ends(
        events in prop::collection::vec((0_usize..2, 0_usize..4, 0.0..3.0_f64), 1..50),
        max_share in 0.0..1.5_f64,
    ) {
        let story = Story::with(config::Outliers { max_share, ..POLICY });
        let mut second = 0.0;
        for (worker, target, pause) in events {
            second += pause;
            story.fail(worker, target, 3, second);
            let ejected = story.ejected(second).iter().filter(|ejected| **ejected).count();
            prop_assert!(ejected < 4);
            prop_assert!(ejected as f64 <= 4.0 * max_share);
        }
        prop_assert_eq!(story.ejected(second + 6.0), [false; 4]);
        prop_assert_eq!(story.shares(second + 16.0), [1.0; 4]);
    }
}
