//! How often a registry hears of one service. Pure: time is handed in.
//!
//! Bad news travels at once, since somebody's requests fail meanwhile. Good news of one service comes once a second at
//! most, so that a HEALTHCHECK that flaps does not wake everybody who watches. Words alone, such as an output with a
//! clock in it, come once a minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GOOD_NEWS: Duration = Duration::from_secs(1);
const WORDS: Duration = Duration::from_secs(60);

/// What a registry was last told of each service, and when.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Pace {
    told: BTreeMap<Arc<str>, Told>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Told {
    at: Instant,
    good: Option<Instant>,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A service, or that there is none.
    Service,
    Bad,
    Good,
    Words,
}

impl Pace {
    /// When this may be told; in the past where nothing speaks against it.
    pub(super) fn earliest(&self, key: &Arc<str>, news: News) -> Option<Instant> {
        let told = self.told.get(key)?;
        match news {
            News::Service | News::Bad => None,
            News::Good => Some(told.good? + GOOD_NEWS),
            News::Words => Some(told.at + WORDS),
        }
    }

    pub(super) fn told(&mut self, key: &Arc<str>, news: News, now: Instant) {
        let good = |before: Option<Instant>| if news == News::Good { Some(now) } else { before };
        let told = self.told.get(key);
        let told = Told {
            at: now,
            good: good(told.and_then(|told| told.good)),
        };
        self.told.insert(key.clone(), told);
    }

    /// Forgets what was told too long ago to matter.
    pub(super) fn forget(&mut self, now: Instant) {
        self.told.retain(|_, told| told.at + WORDS > now);
    }
}
