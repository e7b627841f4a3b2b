//! When a certificate is ordered anew, and which names are none.

use super::*;
use crate::tls::tests::authority::Authority;

#[test]
fn it_is_ordered_before_its_end_whatever_its_life() {
    const DAY: u64 = 24 * 3600;
    let issued = Authority::new("ca").issue(&["a.org"]).pair("a.org");
    let left = |life: i64, refresh: u64, age: u64| {
        let pair = Pair {
            label: issued.label.clone(),
            key: issued.key.clone(),
            names: issued.names.clone(),
            not_before: 1_000_000,
            not_after: 1_000_000 + life,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + age);
        time_to_renew(&pair, Some(Duration::from_secs(refresh)), now).as_secs()
    };
    assert_eq!(left(90 * 86400, 3, 0), 60 * DAY, "two thirds");
    assert_eq!(
        left(90 * 86400, 40 * DAY, 0),
        50 * DAY,
        "forty days before its end"
    );
    assert_eq!(left(90 * 86400, 3, 59 * DAY), DAY);
    assert_eq!(left(1800, 3, 0), 1200, "shorter than fabio's hour");
    assert_eq!(left(6, 3, 0), 10, "never in a loop");
    assert_eq!(left(1800, 3, 5000), 10, "over already");
}

#[test]
fn names_of_hosts_and_nothing_else_are_ordered() {
    for name in ["a", "a.b", "a-b.c_d.org", "xn--bcher-kva.example"] {
        assert!(is_name(name), "{name}");
    }
    for name in [
        "",
        ".",
        "a..b",
        "*.a.org",
        "a b",
        "a/b",
        "ä.org",
        &"a".repeat(64),
        &"a.".repeat(150),
    ] {
        assert!(!is_name(name), "{name}");
    }
}
