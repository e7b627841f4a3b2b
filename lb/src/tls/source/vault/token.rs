//! What is known of a Vault's token: how long it is good, and what is next for it. Counted, and said in the log once for
//! each thing that goes wrong, as a token that ends takes the certificates behind it along.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::Instant;

/// Longer is no different, and a clock can still count it.
const LONGEST: u64 = 365 * 24 * 3600;

/// A token as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultToken {
    /// Where it comes from: `env:NAME` or `file:/path`.
    pub(crate) from: String,
    /// When it ends, seconds since 1970; `None`: never, or nobody knows.
    pub(crate) end: Option<u64>,
    /// Questions about it without an answer, renewals that failed, and warnings that it will end.
    pub(crate) failures: u64,
}

/// What a Vault says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Seconds from now; `None`: it does not end.
    ttl: Option<u64>,
    renewable: bool,
    /// Seconds that are asked for at each renewal.
    increment: u64,
}

impl Granted {
    /// From an answer of `lookup-self`.
    pub(super) fn at_first(told: &Value) -> Self {
        let data = &told["data"];
        let ttl = data["ttl"].as_u64().unwrap_or(0);
        Self {
            ttl: (ttl > 0 || !data["expire_time"].is_null()).then_some(ttl),
            renewable: data["renewable"].as_bool() == Some(true),
            increment: data["creation_ttl"].as_u64().unwrap_or(ttl),
        }
    }

    /// From an answer of `renew-self`.
    pub(super) fn again(told: &Value, increment: u64) -> Self {
        let ttl = told["auth"]["lease_duration"].as_u64().unwrap_or(0);
        Self {
            ttl: (ttl > 0).then_some(ttl),
            renewable: told["auth"]["renewable"].as_bool() == Some(true),
            increment,
        }
    }
}

/// What is next for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask how long it is good.
    Learn,
    /// Ask for so many more seconds.
    Renew { increment: u64 },
    /// Say that it is about to end.
    Warn,
}

/// How a token is. Its keeper writes, scrapes read.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    end: Option<Instant>,
    failures: u64,
    /// Something about it failed last time, which was said.
    failing: bool,
}

impl Health {
    /// Another token.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        (state.end, state.failing) = (None, false);
    }

    /// The Vault granted this at `now`; what is next, and when.
    pub(super) fn granted(&self, granted: &Granted, now: Instant) -> Option<(Instant, Next)> {
        let mut state = self.state();
        if std::mem::take(&mut state.failing) {
            tracing::info!("the Vault answers about its token again");
        }
        let Some(ttl) = granted.ttl else {
            state.end = None;
            return None;
        };
        let left = Duration::from_secs(ttl.min(LONGEST));
        // Where it may live no longer, a renewal leaves its end where it was, but for what is lost in whole seconds.
        let before = state.end.replace(now + left);
        let gained = before.is_none_or(|before| now + left > before + Duration::from_secs(1));
        if granted.renewable && ttl > 0 && (gained || ttl >= granted.increment) {
            let renew = Next::Renew {
                increment: granted.increment,
            };
            return Some((now + (left / 2).max(Duration::from_secs(1)), renew));
        }
        state.failures += 1;
        tracing::warn!(
            seconds = ttl,
            "the Vault token cannot be renewed any more and will expire"
        );
        Some((now + left / 10 * 9, Next::Warn))
    }

    /// It was asked for something about the token, and failed.
    pub(super) fn failed(&self, error: &dyn std::fmt::Display, so: &str) {
        let mut state = self.state();
        state.failures += 1;
        if !std::mem::replace(&mut state.failing, true) {
            tracing::warn!(%error, "the Vault says nothing of use about its token: {so}");
        }
    }

    /// Little time is left.
    pub(super) fn warn(&self) {
        let mut state = self.state();
        state.failures += 1;
        let seconds = state
            .end
            .map_or(0, |end| end.duration_since(Instant::now()).as_secs());
        tracing::warn!(
            seconds,
            "the Vault token expires soon: certificates behind it stay as they are then"
        );
    }

    pub(super) fn show(&self, from: &str) -> VaultToken {
        let state = self.state();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        VaultToken {
            from: from.to_owned(),
            end: state.end.map(|end| {
                let left = end.saturating_duration_since(Instant::now());
                let gone = Instant::now().saturating_duration_since(end);
                (now + left).saturating_sub(gone).as_secs()
            }),
            failures: state.failures,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Held for a few lines, none of which leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renewed(ttl: u64) -> Granted {
        Granted::again(
            &json!({ "auth": { "lease_duration": ttl, "renewable": true } }),
            3600,
        )
    }

    #[test]
    fn a_token_is_renewed_at_half_of_its_time_until_that_gains_nothing_and_then_it_is_said_that_it_ends() {
        let (health, start) = (Health::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let renew = Next::Renew { increment: 3600 };
        let told = json!({ "data": { "ttl": 3600, "creation_ttl": 3600, "renewable": true, "expire_time": "2030-01-01T00:00:00Z" } });
        let first = health.granted(&Granted::at_first(&told), start);
        assert_eq!(first, Some((at(1800), renew)));
        assert_eq!(health.granted(&renewed(3600), at(1800)), Some((at(3600), renew)));
        // It may live for two hours, so this is the last that is gained.
        assert_eq!(health.granted(&renewed(3000), at(4200)), Some((at(5700), renew)));
        assert_eq!(health.show("x").failures, 0);
        assert_eq!(
            health.granted(&renewed(1500), at(5700)),
            Some((at(7050), Next::Warn))
        );
        assert_eq!(health.show("x").failures, 1);
        health.warn();
        assert_eq!(health.show("x").failures, 2);
        health.forget();
        assert_eq!(health.show("x").end, None);
    }

    #[test]
    fn a_token_that_ends_and_cannot_be_renewed_is_said_to_and_one_that_never_ends_is_left_alone() {
        let (health, now) = (Health::default(), Instant::now());
        let told = json!({ "data": { "ttl": 100, "creation_ttl": 200, "renewable": false, "expire_time": "2030-01-01T00:00:00Z" } });
        let next = health.granted(&Granted::at_first(&told), now);
        assert_eq!(next, Some((now + Duration::from_secs(90), Next::Warn)));
        let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 100;
        let VaultToken { end, failures, .. } = health.show("x");
        assert!(end.is_some_and(|end| ends.abs_diff(end) <= 2), "{end:?}");
        assert_eq!(failures, 1);
        let root =
            json!({ "data": { "ttl": 0, "creation_ttl": 0, "renewable": false, "expire_time": null } });
        assert_eq!(health.granted(&Granted::at_first(&root), now), None);
        assert_eq!(health.show("x").end, None);
        health.failed(&"503", "it is tried again");
        health.failed(&"503", "it is tried again");
        assert_eq!(health.show("x").failures, 3);
    }
}
