//! The tests of what benchmarks compute; one without cargo's harness cannot hold tests of its own.

#![allow(dead_code, reason = "the benchmark uses the rest")]

mod account;
mod reading;
#[path = "counted/valgrind.rs"]
mod valgrind;
mod verdict;

use account::{Reading, Time, parent, resident_kib, time};
use reading::{Tally, curl, h2load, wrk};
use valgrind::{counted, each};
use verdict::{Spread, number, ratio};

#[test]
fn the_parent_is_found_behind_a_name_with_brackets_and_blanks() {
    assert_eq!(parent("17 (tokio) (x 9) y) S 4 17 17 0"), Some(4));
    assert_eq!(parent("17 (cut"), None);
}

#[test]
fn time_and_memory_are_read_as_the_kernel_writes_them() {
    let (on_core, waited) = (2_514_013, 77);
    assert_eq!(time("2514013 77 1\n"), Some(Time { on_core, waited }));
    assert_eq!(time("2514013"), None);
    assert_eq!(
        resident_kib("Name:\tx\nVmRSS:\t   13312 kB\nThreads:\t1\n"),
        Some(13_312)
    );
}

#[test]
fn a_thread_that_ended_does_not_make_the_rest_cheaper() {
    let time = |on_core, waited| Time { on_core, waited };
    let before = Reading([(1, time(1_000_000_000, 5)), (2, time(9_000_000_000, 5))].into());
    let after = Reading([(1, time(3_500_000_000, 500_000_005)), (3, time(500_000_000, 0))].into());
    assert_eq!(
        (after.seconds_since(&before), after.waited_since(&before)),
        (3.0, 0.5)
    );
}

#[test]
fn this_process_has_spent_time() {
    let now = Reading::of(std::process::id());
    assert!(now.seconds_since(&Reading([].into())) > 0.0);
}

#[test]
fn a_result_is_found_among_what_wrk_says_besides() {
    let said = "Running 1s test\n  99%   1.90ms\nRESULT 54321 0 1000500 1060 4200\n";
    let tally = Tally {
        count: 54_321.0,
        seconds: 1.0005,
        p50: 1.06,
        p99: 4.2,
    };
    assert_eq!(wrk(said), Ok(tally));
}

#[test]
fn one_request_that_failed_fails_the_measurement() {
    assert!(wrk("RESULT 54321 1 1000500 1060 4200").is_err());
    assert!(wrk("RESULT 0 0 1000500 0 0").is_err());
    assert!(wrk("unable to connect").is_err());
}

#[test]
fn times_that_so_many_in_a_hundred_kept_to_are_times_that_were_measured() {
    let tally = Tally::of(200.0, 1.0, (1..=200).rev().map(|time| time * 1000).collect());
    assert_eq!((tally.p50, tally.p99), (100.0, 198.0));
    assert!(Tally::of(0.0, 1.0, vec![]).p99.is_nan());
}

#[test]
fn one_tenth_of_a_second_that_stood_still_does_not_speak_for_the_others() {
    let tenths = vec![vec![2000, 1000], vec![90_000], vec![3000], vec![]];
    let tally = |own: fn(usize) -> bool| Tally::of_tenths(0.4, tenths.clone(), own);
    let all = tally(|_| true);
    assert_eq!((all.count, all.p50, all.p99), (4.0, 2.0, 3.0));
    assert_eq!(tally(|tenth| tenth == 0).p99, 2.0);
    assert_eq!(tally(|_| false).p99, 3.0, "where no other is left");
}

#[test]
fn h2load_counts_and_its_log_has_the_times() {
    let said = "finished in 1.00s\nrequests: 3 total, 3 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout\n";
    let log = "1790000000000000\t200\t1500\n1790000000000001\t200\t2500\n1790000000000002\t200\t900\n";
    let tally = h2load(said, log, 1.0);
    assert_eq!(tally.map(|t| (t.count, t.p50, t.p99)), Ok((3.0, 1.5, 2.5)));
    for broken in [
        said.replace("0 failed", "1 failed"),
        said.replace("0 timeout", "1 timeout"),
        String::new(),
    ] {
        assert!(h2load(&broken, log, 1.0).is_err(), "{broken}");
    }
}

#[test]
fn a_download_that_is_not_whole_fails_the_measurement() {
    assert_eq!(
        curl("2097152 0.5", 2 << 20).map(|t| (t.count, t.seconds)),
        Ok((2.0, 0.5))
    );
    assert!(curl("2097151 0.5", 2 << 20).is_err());
    assert!(curl("", 2 << 20).is_err());
}

#[test]
fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
    let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
    assert_eq!(spread.map(|s| (s.median, s.least, s.most)), Some((2.5, 1.0, 4.0)));
    assert_eq!(Spread::of(vec![]), None);
    assert_eq!(Spread::of(vec![1.0, f64::NAN]), None);
}

#[test]
fn a_ratio_is_taken_within_a_round_so_that_a_slow_minute_slows_both() {
    assert_eq!(ratio(&[2.0, 4.0, 6.0], &[2.0, 4.0, 6.0]), "**1.00** (1.00..1.00)");
}

#[test]
fn a_ratio_that_lies_too_far_apart_is_refused_with_its_ends() {
    assert_eq!(
        ratio(&[1.0, 1.0, 1.6], &[1.0; 3]),
        "no ratio: it went from 1.00 to 1.60"
    );
    assert_eq!(ratio(&[1.0, 1.0, 1.5], &[1.0; 3]), "**1.00** (1.00..1.50)");
}

#[test]
fn many_rounds_tell_more_of_a_ratio_than_the_worst_of_them() {
    let rounds = |count: u32| {
        (1..=count)
            .map(|round| 100.0 + f64::from(round))
            .collect::<Vec<_>>()
    };
    let of = |count: u32| ratio(&rounds(count), &vec![100.0; count as usize]);
    assert_eq!(of(8), "**1.04** (1.01..1.08)");
    assert_eq!(of(9), "**1.05** (1.02..1.08)");
    // The 14th and the 28th: tables of the sign test say the same.
    assert_eq!(of(41), "**1.21** (1.14..1.28)");
}

#[test]
fn what_was_not_measured_has_no_ratio() {
    assert_eq!(ratio(&[0.0], &[0.0]), "no ratio: nothing was measured");
    assert_eq!(ratio(&[], &[]), "no ratio: nothing was measured");
}

#[test]
fn numbers_show_three_digits() {
    let shown = [0.0, 0.523, 4.2, 13.04, 739.4, 54_512.0, 1_234_567.0].map(number);
    assert_eq!(shown, ["0", "0.52", "4.20", "13.0", "739", "54 500", "1 230 000"]);
}

#[test]
fn instructions_of_one_are_those_of_many_without_those_of_the_start() {
    assert_eq!(
        counted("==17== \n==17== I   refs:      35,802,624\n"),
        Some(35_802_624)
    );
    assert_eq!(
        counted("==17== I   refs: 1,000\n==18== I   refs: 20\n"),
        Some(1_020)
    );
    assert_eq!(counted("==17== Killed"), None);
    let refs = |times: u32| Ok(1_000_000 + 50 * u64::from(times));
    assert_eq!(each(100, 1_100, refs), Ok(50.0));
}
