//! Buckets fill with the time that they are told.

use proptest::prelude::*;

use super::*;

fn rate(per_second: f64, burst: f64, by_client: bool) -> Rate {
    Rate {
        per_second,
        burst,
        by_client,
    }
}

fn at(millis: u64) -> Now {
    Now(Duration::from_millis(millis))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_bucket_lets_a_burst_through_and_then_its_rate() {
    let (spent, ten) = (Spent::default(), rate(10.0, 3.0, false));
    for _ in 0..3 {
        assert_eq!(spent.take(&ten, ip("10.0.0.1"), at(0)), Ok(()));
    }
    assert_eq!(
        spent.take(&ten, ip("10.0.0.2"), at(0)),
        Err(Duration::from_millis(100))
    );
    assert_eq!(
        spent.take(&ten, ip("10.0.0.2"), at(60)),
        Err(Duration::from_millis(40))
    );
    assert_eq!(spent.take(&ten, ip("10.0.0.2"), at(100)), Ok(()));
    assert!(spent.take(&ten, ip("10.0.0.2"), at(100)).is_err());
    let after_a_pause: Vec<bool> = (0..4)
        .map(|_| spent.take(&ten, ip("10.0.0.1"), at(10_000)).is_ok())
        .collect();
    assert_eq!(after_a_pause, [true, true, true, false]);
}

#[test]
fn a_rate_next_to_nothing_and_a_burst_without_end_are_limits_too() {
    for (slow, burst) in [(1e-300 / 3600.0, 1.0), (f64::MIN_POSITIVE, 1.0), (1e-12, 1.0)] {
        let (spent, slow) = (Spent::default(), rate(slow, burst, false));
        assert_eq!(spent.take(&slow, ip("10.0.0.1"), at(0)), Ok(()));
        for millis in [0, 1, 3_600_000, u64::from(u32::MAX)] {
            assert!(spent.take(&slow, ip("10.0.0.1"), at(millis)).is_err(), "{slow:?}");
        }
    }
    let (spent, endless) = (Spent::default(), rate(1e-6, 1e300, false));
    let taken = (0..10_000).filter(|_| spent.take(&endless, ip("10.0.0.1"), at(0)).is_ok());
    assert_eq!(taken.count(), 4611, "146 years of tokens");
}

#[test]
fn each_client_has_its_own_bucket_and_an_ipv6_network_is_one_client() {
    let (spent, one) = (Spent::default(), rate(1.0, 1.0, true));
    for (client, in_) in [
        ("10.0.0.1", true),
        ("10.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("10.0.0.2", true),
        ("2001:db8::1", true),
        ("2001:db8::2", false),
        ("2001:db8:0:1::1", true),
    ] {
        assert_eq!(spent.take(&one, ip(client), at(0)).is_ok(), in_, "{client}");
    }
}

#[test]
fn clients_are_remembered_up_to_a_bound_and_the_busiest_longest() {
    let (clients, one) = (Clients::default(), rate(0.001, 5.0, true));
    for _ in 0..5 {
        clients.take(ip("10.0.0.1"), &one, at(1)).unwrap();
    }
    for number in 0..200_000_u32 {
        let client = IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number));
        clients.take(client, &one, at(1)).unwrap();
    }
    assert!(clients.len() <= 16 * 4096, "{}", clients.len());
    assert!(
        clients.take(ip("10.0.0.1"), &one, at(1)).is_err(),
        "still knows who took most"
    );
}

#[test]
fn a_slower_limit_counts_at_once_and_does_not_punish_the_past() {
    let spent = Spent::default();
    for _ in 0..1000 {
        spent
            .take(&rate(1000.0, 1000.0, false), ip("::1"), at(0))
            .unwrap();
    }
    let wait = spent.take(&rate(0.01, 1.0, false), ip("::1"), at(0));
    assert!(wait.unwrap_err() <= Duration::from_secs(100));
    let faster = rate(10.0, 1.0, false);
    assert!(spent.take(&faster, ip("::1"), at(1100)).is_ok());
}

#[test]
fn no_more_are_under_way_than_may_be() {
    let spent = Arc::new(Spent::default());
    let first = spent.enter(2).unwrap();
    let _second = spent.enter(2).unwrap();
    assert!(spent.enter(2).is_none());
    drop(first);
    assert!(spent.enter(2).is_some());
    assert!(spent.enter(0).is_none());
}

#[test]
fn many_cores_together_get_no_more_than_one_would() {
    let spent = Arc::new(Spent::default());
    let through: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let take = |_: &i32| spent.take(&rate(1.0, 100.0, false), ip("::1"), at(0)).is_ok();
                    (0..1000).filter(take).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(through, 100);
}

#[test]
fn seconds_to_wait_are_rounded_up() {
    for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
        assert_eq!(retry_after(Duration::from_millis(millis)), seconds);
    }
}

proptest! {
    #[test]
    fn never_more_than_burst_and_rate_in_any_time(
        per_second in 0.001..10_000.0f64,
        burst in 1.0..50.0f64,
        pauses in proptest::collection::vec(0..2000u64, 1..200),
    ) {
        let (spent, rate) = (Spent::default(), rate(per_second, burst, false));
        let (mut now, mut through) = (0, 0u32);
        for pause in pauses {
            now += pause;
            match spent.take(&rate, ip("::1"), at(now)) {
                Ok(()) => through += 1,
                // Who waits as long as told gets in.
                Err(wait) => prop_assert!(step(spent.all.0.load(Relaxed), &rate, Now(Duration::from_millis(now) + wait)).is_ok()),
            }
        }
        prop_assert!(f64::from(through) <= burst + per_second * (now as f64 / 1e3) * 1.001 + 1.0);
    }

    #[test]
    fn odd_limits_are_no_panic(per_second in proptest::num::f64::ANY, burst in proptest::num::f64::ANY, now in 0..u64::MAX) {
        let rate = rate(per_second, burst, false);
        let _ = step(now, &rate, Now(Duration::from_nanos(now / 2)));
    }
}
