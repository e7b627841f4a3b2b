//! Passwords that were right a moment ago, so that a slow hash is computed once a minute and not at each request. Pure.
//!
//! Kept are digests under a key of this process; a password cannot be found from them without that.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::policy::limit::Now;

/// How long a password is known to be right.
const KNOWN: Duration = Duration::from_secs(60);
/// How many are.
const MOST: usize = 4096;

/// User and password, as they are remembered.
pub(crate) type Key = [u8; 32];

/// See the module.
#[derive(Debug)]
pub(crate) struct Known {
    secret: [u8; 32],
    until: RwLock<HashMap<Key, Duration>>,
}

impl Known {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            until: RwLock::default(),
        }
    }

    /// `file` counts the contents of the file: what was right by an earlier one is not known any more.
    pub(crate) fn key(&self, file: u64, user: &[u8], password: &[u8]) -> Key {
        Sha256::new()
            .chain_update(self.secret)
            .chain_update(file.to_le_bytes())
            .chain_update((user.len() as u64).to_le_bytes())
            .chain_update(user)
            .chain_update(password)
            .finalize()
            .into()
    }

    pub(crate) fn is_known(&self, key: &Key, now: Now) -> bool {
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        until.get(key).is_some_and(|until| *until > now.0)
    }

    pub(crate) fn learn(&self, key: Key, now: Now) {
        let mut until = self.until.write().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| *until > now.0);
        }
        // More right passwords than places, all used within a minute: all begin anew.
        if until.len() >= MOST {
            until.clear();
        }
        until.insert(key, now.0 + KNOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now(Duration::from_secs(seconds))
    }

    #[test]
    fn a_password_is_known_for_a_minute_and_for_one_content_of_the_file() {
        let known = Known::new([7; 32]);
        let key = known.key(1, b"anna", b"secret");
        assert!(!known.is_known(&key, at(0)));
        known.learn(key, at(0));
        assert!(known.is_known(&key, at(59)) && !known.is_known(&key, at(60)));
        for other in [
            known.key(2, b"anna", b"secret"),
            known.key(1, b"annas", b"ecret"),
            Known::new([8; 32]).key(1, b"anna", b"secret"),
        ] {
            assert!(!known.is_known(&other, at(0)));
        }
    }

    #[test]
    fn no_more_are_kept_than_may_be() {
        let known = Known::new([7; 32]);
        for number in 0..10_000_u64 {
            known.learn(known.key(number, b"", b""), at(0));
        }
        assert!(known.until.read().unwrap().len() <= MOST);
    }
}
