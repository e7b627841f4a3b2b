//! Which certificates are ordered when: from the hosts in the table, what is there, and what failed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Pause after the first order of a host failed: the other kind of challenge may do.
const OTHER_KIND: i64 = 10;
/// After the second; doubled with each, up to a day.
const FIRST_PAUSE: i64 = 5 * 60;
const LONGEST_PAUSE: i64 = 24 * 3600;

/// When a certificate is valid, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// Orders that failed one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// How many.
    pub(super) count: u32,
    /// When there may be another, seconds since 1970.
    pub(super) next: i64,
}

impl Failed {
    /// One more, now.
    pub(super) fn again(before: Option<Self>, now: i64) -> Self {
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        let pause = match count {
            1 => OTHER_KIND,
            _ => FIRST_PAUSE
                .saturating_mul(1 << (count - 2).min(20))
                .min(LONGEST_PAUSE),
        };
        Self {
            count,
            next: now + pause,
        }
    }
}

/// Hosts to order for now: those without a certificate first, then those whose end is nearest.
pub(super) fn due(
    wanted: &BTreeSet<String>,
    held: &BTreeMap<String, Life>,
    failed: &BTreeMap<String, Failed>,
    now: i64,
) -> Vec<String> {
    let may = |host: &&String| failed.get(*host).is_none_or(|failed| failed.next <= now);
    let is_due = |host: &&String| held.get(*host).is_none_or(|life| renew_at(host, *life) <= now);
    let mut due: Vec<&String> = wanted.iter().filter(is_due).filter(may).collect();
    due.sort_by_key(|host| held.get(*host).map(|life| life.not_after));
    due.into_iter().cloned().collect()
}

/// Two thirds of its life, less up to a twentieth by host, so that what was ordered together is not renewed together.
fn renew_at(host: &str, life: Life) -> i64 {
    let length = (life.not_after - life.not_before).max(1);
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let spread = u64::try_from(length / 20).unwrap_or(0) + 1;
    let early = i64::try_from(hasher.finish() % spread).unwrap_or(0);
    life.not_before + length / 3 * 2 - early
}

/// Whether an authority can be asked for this host at all: a full name with a dot, no pattern, no address.
pub(super) fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253
        && host.contains('.')
        && host.split('.').all(label)
        && !host.ends_with(|last: char| last.is_ascii_digit())
}

/// The hosts to have certificates for: of those in the table the ones that `hosts` lets through (all, where no entry of
/// it begins with a dot), and what `hosts` names itself.
pub(super) fn wanted<'a>(table: impl Iterator<Item = &'a str>, hosts: &[String]) -> BTreeSet<String> {
    let (ends, named): (Vec<_>, Vec<_>) = hosts.iter().partition(|host| host.starts_with('.'));
    let lets = |host: &str| ends.is_empty() || ends.iter().any(|end| host.ends_with(end.as_str()));
    // A host of the table may have a port.
    let table = table.map(|host| host.split_once(':').map_or(host, |(name, _)| name));
    let table = table.filter(|host| lets(host)).map(str::to_owned);
    let named = named.into_iter().map(|host| crate::tls::pair::canonical(host));
    table.chain(named).filter(|host| is_name(host)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn life(from: i64) -> Life {
        Life {
            not_before: from,
            not_after: from + 90 * DAY,
        }
    }

    #[test]
    fn what_is_missing_comes_first_then_what_ends_first_and_failures_wait() {
        let wanted = BTreeSet::from(["a.org", "b.org", "c.org", "d.org", "e.org"].map(str::to_owned));
        let held = [("b.org", -80), ("c.org", -70), ("d.org", -50), ("e.org", -89)];
        let held = held.map(|(host, day)| (host.to_owned(), life(day * DAY)));
        let waiting = Failed { count: 3, next: 1 };
        let failed = BTreeMap::from([("b.org".to_owned(), waiting), ("x.org".to_owned(), waiting)]);
        assert_eq!(
            due(&wanted, &held.clone().into(), &failed, 0),
            ["a.org", "e.org", "c.org"]
        );
        assert_eq!(
            due(&wanted, &held.into(), &failed, 1),
            ["a.org", "e.org", "b.org", "c.org"]
        );
    }

    #[test]
    fn renewal_is_at_two_thirds_of_its_life_and_not_at_the_same_time_for_all() {
        let at: BTreeSet<i64> = (0..100)
            .map(|n| renew_at(&format!("h{n}.org"), life(0)))
            .collect();
        assert!(
            at.iter()
                .all(|at| (60 * DAY - 90 * DAY / 20..=60 * DAY).contains(at))
        );
        assert!(at.len() > 90);
    }

    #[test]
    fn the_second_try_comes_soon_and_the_others_ever_later() {
        let mut failed = None;
        let pauses: Vec<i64> = (0..12)
            .map(|_| {
                let next = Failed::again(failed, 0);
                failed = Some(next);
                next.next
            })
            .collect();
        assert_eq!(pauses[..5], [10, 300, 600, 1200, 2400]);
        assert_eq!(pauses[11], DAY);
        assert_eq!(
            Failed::again(
                Some(Failed {
                    count: u32::MAX,
                    next: 0
                }),
                0
            )
            .next,
            DAY
        );
    }

    #[test]
    fn hosts_are_names_of_the_table_that_are_let_through_and_named_ones() {
        let table = [
            "a.org",
            "b.net:8443",
            "*.c.org",
            "localhost",
            "10.0.0.1",
            "[::1]",
            "d_e.org",
            "",
            "x.a.org",
        ];
        let hosts = |hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            wanted(table.into_iter(), &hosts).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(hosts(&[]), ["a.org", "b.net", "x.a.org"]);
        assert_eq!(hosts(&[".a.org", "Named.example."]), ["named.example", "x.a.org"]);
    }
}
