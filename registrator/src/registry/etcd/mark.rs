//! Whose an entry is, where key and value are fixed by contract. Pure.
//!
//! In v3 the mark is the lease of a key: its number is made of the owner and of what cannot be changed in a lease, its
//! lifetime. So nothing stands beside the keys, and a crash leaves nothing that could contradict them. In v2, which has no
//! leases, marks are keys in a folder that no listing shows.

use std::time::Duration;

/// What an entry without a lifetime is given: a lease must have one. Ten years.
const AS_GOOD_AS_EVER: u64 = 10 * 365 * 24 * 3600;
/// Bits of a lease's number that hold its lifetime in seconds, up to 194 days.
const LIFETIME_BITS: u32 = 24;
/// Set in every number of ours, so that none is 0.
const HIGHEST: u64 = 1 << 62;

/// Whose an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It has no mark: of the original, or of somebody's hand.
    Nobody,
    /// Ours.
    Us {
        /// As who we wrote it.
        owner: String,
        /// Whether we would mark it the same way now.
        settled: bool,
    },
    /// Somebody else's.
    Another(String),
}

/// Of somebody who holds nothing and writes nothing.
pub(super) static NOBODYS: Marks = Marks {
    owners: Vec::new(),
    lifetime: 0,
};

/// Our marks, in one registry.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// The one of now, then those of before, with their bits of lease numbers.
    owners: Vec<(String, u64)>,
    /// 0: no end.
    lifetime: u64,
}

impl Marks {
    /// `place` tells apart what one owner keeps in several places of one cluster.
    pub(super) fn new(owner: &str, former: &[String], place: &str, lifetime: Duration) -> Self {
        let owners = std::iter::once(owner).chain(former.iter().map(String::as_str));
        let numbered = owners.map(|owner| (owner.to_owned(), high_bits(owner, place)));
        Self {
            owners: numbered.collect(),
            lifetime: lifetime.as_secs(),
        }
    }

    /// Who we are now.
    pub(super) fn owner(&self) -> &str {
        &self.owners[0].0
    }

    /// Seconds after which an entry vanishes unless renewed; `None`: never.
    pub(super) fn lifetime(&self) -> Option<u64> {
        Some(self.lifetime).filter(|seconds| *seconds > 0)
    }

    /// The lease of what we write now.
    pub(super) fn lease(&self) -> i64 {
        let seconds = self.lifetime.min((1 << LIFETIME_BITS) - 1);
        number(self.owners[0].1 | seconds)
    }

    /// Seconds to ask for with that lease.
    pub(super) fn seconds(&self) -> u64 {
        self.lifetime().unwrap_or(AS_GOOD_AS_EVER)
    }

    /// Who holds what has this lease; 0: none.
    pub(super) fn of_lease(&self, lease: i64) -> Holder {
        if lease == 0 {
            return Holder::Nobody;
        }
        let high = lease.cast_unsigned() >> LIFETIME_BITS << LIFETIME_BITS;
        match self.owners.iter().find(|(_, bits)| *bits == high) {
            Some((owner, _)) => Holder::Us {
                owner: owner.clone(),
                settled: lease == self.lease(),
            },
            None => Holder::Another(format!("lease {lease:x}")),
        }
    }

    /// Who holds what has the mark of this owner; whether it ends as ours would.
    pub(super) fn of_owner(&self, owner: &str, ends: bool) -> Holder {
        if self.owners.iter().any(|(name, _)| name == owner) {
            return Holder::Us {
                owner: owner.to_owned(),
                settled: owner == self.owner() && ends == (self.lifetime > 0),
            };
        }
        Holder::Another(owner.to_owned())
    }
}

/// FNV-1a: the same in every version of every compiler, as a number kept elsewhere has to be.
fn high_bits(owner: &str, place: &str) -> u64 {
    let bytes = owner.bytes().chain([0]).chain(place.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 2 >> LIFETIME_BITS << LIFETIME_BITS) | HIGHEST
}

fn number(bits: u64) -> i64 {
    i64::try_from(bits).expect("the highest bit is never set")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(owner: &str, former: &[&str], seconds: u64) -> Marks {
        let former: Vec<String> = former.iter().map(|&owner| owner.to_owned()).collect();
        Marks::new(owner, &former, "/services/", Duration::from_secs(seconds))
    }

    fn us(owner: &str, settled: bool) -> Holder {
        Holder::Us {
            owner: owner.to_owned(),
            settled,
        }
    }

    #[test]
    fn a_lease_tells_its_owner_whatever_its_lifetime() {
        let now = marks("t1", &["old"], 30);
        assert_eq!(now.of_lease(now.lease()), us("t1", true));
        assert_eq!(now.of_lease(marks("t1", &[], 0).lease()), us("t1", false));
        assert_eq!(now.of_lease(marks("old", &[], 30).lease()), us("old", false));
        assert!(matches!(
            now.of_lease(marks("t2", &[], 30).lease()),
            Holder::Another(_)
        ));
        assert!(matches!(now.of_lease(7_587_862_094_137), Holder::Another(_)));
        assert_eq!(now.of_lease(0), Holder::Nobody);
        let elsewhere = Marks::new("t1", &[], "/skydns/local/", Duration::from_secs(30));
        assert!(matches!(now.of_lease(elsewhere.lease()), Holder::Another(_)));
    }

    #[test]
    fn numbers_of_leases_are_the_same_for_ever() {
        // They are kept in other people's clusters: other numbers would orphan what is there.
        assert_eq!(marks("t1", &[], 0).lease(), 9_191_793_601_112_178_688);
        assert_eq!(marks("t1", &[], 30).lease(), 9_191_793_601_112_178_718);
    }

    #[test]
    fn a_mark_of_v2_tells_its_owner_and_whether_its_key_ends() {
        let now = marks("t1", &["old"], 30);
        assert_eq!(now.of_owner("t1", true), us("t1", true));
        assert_eq!(now.of_owner("t1", false), us("t1", false));
        assert_eq!(now.of_owner("old", true), us("old", false));
        assert_eq!(now.of_owner("t2", true), Holder::Another("t2".to_owned()));
    }

    proptest! {
        #[test]
        fn every_number_is_one_that_etcd_takes(owner in ".{0,20}", seconds in 0..u64::from(u32::MAX)) {
            let now = marks(&owner, &[], seconds);
            prop_assert!(now.lease() > 0);
            prop_assert_eq!(now.of_lease(now.lease()), us(&owner, true));
        }
    }
}
