//! When a check runs: at once, again after a random part of its interval so that checks started
//! together spread, then every interval. Until its first pass, a check that was born critical is
//! tried again after growing pauses: a server that needs a moment to start must not wait out an interval.

use std::time::Duration;

use catalog::Status;
use catalog::check::Probe;
use rand::RngExt;
use tokio::time::{Instant, sleep_until};

use super::tally::{Grace, Tally};
use super::{Outcome, Task, grpc, h2ping, http, program, tcp, udp};

/// The first pause of a check that waits for its server to start; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Shorter intervals are raised to this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

impl Task {
    /// Runs the probe for as long as somebody listens.
    pub(super) async fn poll(mut self, interval: Duration) {
        let interval = interval.max(SHORTEST_INTERVAL);
        let mut tally = Tally::new(&self.definition);
        let mut grace = Grace::new(&self.definition, Instant::now());
        let mut wait = interval.mul_f64(rand::rng().random());
        let mut next = Instant::now();
        let mut pause = self.awaits_a_start().then_some(FIRST_PAUSE);
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                () = until(grace.deadline()) => {
                    grace.restart(Instant::now());
                    if !self.tell_overdue().await { return }
                    continue;
                }
            }
            let outcome = self.run_once().await;
            pause = pause.filter(|pause| outcome.status == Status::Critical && *pause < interval);
            next = Instant::now() + pause.unwrap_or(wait);
            match &mut pause {
                Some(pause) => *pause *= 2,
                None => wait = interval,
            }
            if let Some(status) = tally.record(outcome.status) {
                grace.note(status, Instant::now());
                if !self.tell(outcome).await {
                    return;
                }
            }
        }
    }

    /// Whether a failure says nothing new. With a threshold, tries in a hurry would use it up.
    fn awaits_a_start(&self) -> bool {
        let born_critical = self
            .definition
            .initial
            .is_none_or(|status| status == Status::Critical);
        born_critical && self.definition.failures_before_critical <= 1
    }

    async fn run_once(&mut self) -> Outcome {
        // The semaphore is never closed; were it, running unbounded beats not running.
        let _place = self.shared.room.acquire().await.ok();
        let outcome = match &self.definition.probe {
            Probe::Http(probe) => http::run(probe, &self.shared.trust).await,
            Probe::Tcp { address, timeout, .. } => tcp::run(address, *timeout).await,
            Probe::Grpc(probe) => grpc::run(probe, &self.shared.trust).await,
            Probe::H2Ping(probe) => h2ping::run(probe, &self.shared.trust).await,
            Probe::Udp { address, timeout, .. } => udp::run(address, *timeout).await,
            Probe::Docker(program) | Probe::Script(program) => {
                program::run(program, self.shared.inside.get(), &mut self.lingering).await
            }
            Probe::Ttl { .. } | Probe::Container => Outcome::critical("nothing to run"),
        };
        let kind = self.definition.probe.kind();
        self.shared.metrics.ran(kind, outcome.status);
        tracing::debug!(check = %self.definition.id, status = %outcome.status, output = %outcome.output, "check ran");
        outcome
    }
}

/// Sleeps until then, or for ever.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
