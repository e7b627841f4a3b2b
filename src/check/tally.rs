//! Results in a row, and time spent critical. Pure: the clock is given.

use std::time::Duration;

use catalog::Status;
use catalog::check::Definition;
use tokio::time::Instant;

/// Shorter times to deregistration are raised to this, as Consul does: a restart must fit in.
const SHORTEST_GRACE: Duration = Duration::from_secs(60);

/// Counts results against thresholds.
#[derive(Clone, Debug)]
pub struct Tally {
    success_before_passing: u32,
    failures_before_critical: u32,
    successes: u32,
    failures: u32,
}

impl Tally {
    /// Nothing counted yet, with a definition's thresholds.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        Self {
            success_before_passing: definition.success_before_passing,
            failures_before_critical: definition.failures_before_critical,
            successes: 0,
            failures: 0,
        }
    }

    /// The status to tell after one more result; `None` while the one told before stays.
    /// A warning counts as a success.
    pub fn record(&mut self, result: Status) -> Option<Status> {
        let (row, other, threshold) = match result {
            Status::Passing | Status::Warning => (
                &mut self.successes,
                &mut self.failures,
                self.success_before_passing,
            ),
            Status::Critical => (
                &mut self.failures,
                &mut self.successes,
                self.failures_before_critical,
            ),
        };
        *other = 0;
        *row = row.saturating_add(1);
        (*row >= threshold).then_some(result)
    }
}

/// How long a check has been critical, against how long it may be.
#[derive(Clone, Debug)]
pub struct Grace {
    allowed: Option<Duration>,
    critical_since: Option<Instant>,
}

impl Grace {
    /// A check that starts `now` with what its definition says.
    #[must_use]
    pub fn new(definition: &Definition, now: Instant) -> Self {
        let allowed = definition.deregister_critical_after;
        let mut grace = Self {
            allowed: allowed.map(|allowed| allowed.max(SHORTEST_GRACE)),
            critical_since: None,
        };
        grace.note(definition.initial.unwrap_or(Status::Critical), now);
        grace
    }

    /// A status was told.
    pub fn note(&mut self, status: Status, now: Instant) {
        self.critical_since = match status {
            Status::Critical => self.critical_since.or(Some(now)),
            Status::Passing | Status::Warning => None,
        };
    }

    /// It was told that time is up: the time counts anew.
    pub fn restart(&mut self, now: Instant) {
        self.critical_since = Some(now);
    }

    /// When time is up; `None` when it is not running.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.critical_since?.checked_add(self.allowed?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Critical, Passing, Warning};
    use catalog::check::Probe;

    fn definition(success: u32, failures: u32) -> Definition {
        Definition {
            id: "c".into(),
            name: String::new(),
            notes: String::new(),
            initial: None,
            output: String::new(),
            probe: Probe::Container,
            success_before_passing: success,
            failures_before_critical: failures,
            deregister_critical_after: Some(Duration::from_secs(1)),
        }
    }

    #[test]
    fn without_thresholds_every_result_counts() {
        for n in [0, 1] {
            let mut tally = Tally::new(&definition(n, n));
            for result in [Passing, Critical, Warning, Critical, Passing] {
                assert_eq!(tally.record(result), Some(result));
            }
        }
    }

    #[test]
    fn only_results_in_a_row_count_and_the_status_before_stays_until_then() {
        let mut tally = Tally::new(&definition(2, 3));
        let told: Vec<_> = [
            Passing, Warning, Critical, Critical, Passing, Critical, Critical, Critical, Passing, Passing,
        ]
        .map(|result| tally.record(result))
        .into();
        let (warns, fails, passes) = (Some(Warning), Some(Critical), Some(Passing));
        assert_eq!(
            told,
            [None, warns, None, None, None, None, None, fails, None, passes]
        );
    }

    #[test]
    fn grace_counts_from_the_first_critical_status_and_is_a_minute_at_least() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut grace = Grace::new(&definition(0, 0), start);
        assert_eq!(grace.deadline(), Some(after(60)));
        grace.note(Critical, after(30));
        assert_eq!(grace.deadline(), Some(after(60)));
        grace.note(Warning, after(40));
        assert_eq!(grace.deadline(), None);
        grace.note(Critical, after(50));
        assert_eq!(grace.deadline(), Some(after(110)));
        grace.restart(after(110));
        assert_eq!(grace.deadline(), Some(after(170)));
    }
}
