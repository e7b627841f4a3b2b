//! Checks that somebody outside reports on, and that turn critical when nobody does in time.

use std::time::Duration;

use tokio::time::Instant;

use super::poll::until;
use super::tally::Grace;
use super::{Heard, Outcome, Task};

impl Task {
    /// Waits for reports for as long as somebody listens; without a time to live it only keeps
    /// count of how long the last report has been critical.
    pub(super) async fn listen(mut self, ttl: Option<Duration>) {
        let mut grace = Grace::new(&self.definition, Instant::now());
        let lifetime = |now: Instant| ttl.and_then(|ttl| now.checked_add(ttl));
        let mut expires = lifetime(Instant::now());
        loop {
            tokio::select! {
                // A report that came in time counts even if we wake late.
                biased;
                heard = self.heard.changed() => {
                    if heard.is_err() { return }
                    let now = Instant::now();
                    expires = lifetime(now);
                    if let Some(status) = self.heard.borrow().status {
                        grace.note(status, now);
                    }
                }
                () = until(expires) => {
                    expires = None;
                    let outcome = expired(&self.heard.borrow());
                    grace.note(outcome.status, Instant::now());
                    self.shared.metrics.ran("ttl", outcome.status);
                    if !self.tell(outcome).await { return }
                }
                () = until(grace.deadline()) => {
                    grace.restart(Instant::now());
                    if !self.tell_overdue().await { return }
                }
            }
        }
    }
}

fn expired(last: &Heard) -> Outcome {
    Outcome::critical(if last.output.is_empty() {
        "TTL expired".to_owned()
    } else {
        format!(
            "TTL expired (last output before timeout follows): {}",
            last.output
        )
    })
}
