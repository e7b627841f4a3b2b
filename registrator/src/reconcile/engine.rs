//! The loop: carries out what [`Mind`] asks for and tells it what came of it.
//!
//! Questions and writes run side by side and are answered in any order, so a slow registry or one
//! stuck container holds up nobody else. All state is in this one task.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Registration;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Write;
use super::knowledge::Complaint;
use super::mind::{Action, Mind};
use super::notes::Notes;
use crate::container::{Container, short};
use crate::docker::{self, Docker, Listed};
use crate::metrics::Metrics;
use crate::registry::{self, Registry};

/// A registry that takes longer over one write is treated as absent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many containers run and how many services they offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) containers: usize,
    pub(crate) services: usize,
}

/// The loop and what it works with.
pub(crate) struct Engine {
    pub(crate) mind: Mind,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) metrics: Metrics,
    pub(crate) stopped: watch::Sender<Arc<[Registration]>>,
    pub(crate) counts: watch::Sender<Counts>,
    pub(crate) docker: Option<Docker>,
    pub(crate) lost_ids: BTreeSet<(String, String)>,
}

/// What came of an action.
enum Done {
    Listed(Result<Vec<Listed>, docker::Error>),
    Inspected(Arc<str>, Box<Result<Option<Container>, docker::Error>>),
    Read(Result<Option<Vec<Registration>>, registry::Error>),
    Wrote(Write, Result<(), registry::Error>),
}

impl Engine {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut work: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            for action in self.mind.actions(now) {
                if let Some(job) = self.job(action) {
                    work.push(job);
                }
            }
            self.publish();
            let deadline = self.mind.deadline(now);
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                pending = self.notes.next() => {
                    let now = Instant::now();
                    if let Some(docker) = pending.connected {
                        self.docker = Some(docker);
                        self.mind.connected(now);
                    }
                    self.mind.noted(&pending.touched, now);
                }
                Some(done) = work.next() => {
                    self.settle(done);
                    // Whatever else is ready belongs to the same look.
                    while let Some(Some(done)) = work.next().now_or_never() {
                        self.settle(done);
                    }
                }
                () = alarm => {}
            }
        }
    }

    fn job(&self, action: Action) -> Option<BoxFuture<'static, Done>> {
        let registry = self.registry.clone();
        Some(match action {
            Action::List => {
                self.metrics.passes.inc();
                let docker = self.docker.clone()?;
                async move { Done::Listed(docker.list().await) }.boxed()
            }
            Action::Inspect(id) => {
                let docker = self.docker.clone()?;
                async move {
                    let answer = docker.inspect(&id).await;
                    Done::Inspected(id, Box::new(answer))
                }
                .boxed()
            }
            Action::Read => async move { Done::Read(patient(registry.services()).await) }.boxed(),
            Action::Write(write) => async move {
                let outcome = match &write {
                    Write::Register(wanted) => patient(registry.register(wanted)).await,
                    Write::Refresh(wanted) => patient(registry.refresh(wanted)).await,
                    Write::Deregister(id) => patient(registry.deregister(id)).await,
                };
                Done::Wrote(write, outcome)
            }
            .boxed(),
        })
    }

    fn settle(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Listed(answer) => {
                let failures = self.mind.listed(answer.as_deref().ok(), now);
                if let Err(error) = &answer {
                    self.failed("list");
                    if failures == 1 {
                        warn!(%error, "cannot list containers; registrations stay");
                    }
                }
                // A stream that goes through the same stuck pipe as the listing is silent too.
                let stuck = matches!(answer, Err(docker::Error::Late));
                if self.mind.suspects_stream() || stuck {
                    self.notes.suspect_stream();
                }
            }
            Done::Inspected(id, answer) => {
                let error = answer.as_ref().as_ref().err().map(ToString::to_string);
                let (complaints, failures) = self.mind.inspected(&id, answer.map_err(|_| ()), now);
                if let Some(error) = error {
                    self.failed("inspect");
                    if failures == 1 {
                        warn!(container = short(&id), %error, "cannot inspect a container; trying on");
                    }
                }
                complaints.iter().for_each(|complaint| self.complain(complaint));
            }
            Done::Read(answer) => {
                let error = answer.as_ref().err().map(ToString::to_string);
                let failures = self.mind.read(answer.ok(), now);
                if let Some(error) = error {
                    self.failed("read");
                    if failures == 1 {
                        warn!(%error, "cannot read what is registered; trying on");
                    }
                }
            }
            Done::Wrote(write, outcome) => self.wrote(&write, outcome, now),
        }
    }

    fn wrote(&mut self, write: &Write, outcome: Result<(), registry::Error>, now: Instant) {
        let (operation, counter) = match write {
            Write::Register(_) => ("register", &self.metrics.registered),
            Write::Refresh(_) => ("refresh", &self.metrics.refreshed),
            Write::Deregister(_) => ("deregister", &self.metrics.deregistered),
        };
        let failures = self.mind.wrote(write.id(), outcome.is_ok(), now);
        match (outcome, write) {
            (Ok(()), Write::Register(wanted)) => {
                counter.inc();
                let service = &wanted.service;
                info!(id = %service.id, name = %service.name, address = %service.address, port = service.port, "registered");
            }
            (Ok(()), Write::Refresh(wanted)) => {
                counter.inc();
                let says = wanted
                    .checks
                    .first()
                    .map(|check| check.output.as_str())
                    .unwrap_or_default();
                info!(id = %wanted.service.id, %says, "state passed on");
            }
            (Ok(()), Write::Deregister(id)) => {
                counter.inc();
                info!(%id, "deregistered");
            }
            (Err(error), _) => {
                self.failed(operation);
                if failures == 1 {
                    warn!(id = %write.id(), operation, %error, "registry write failed; trying on");
                } else {
                    debug!(id = %write.id(), operation, %error, failures, "registry write failed again");
                }
            }
        }
    }

    /// Lets others see what has changed, and only that.
    fn publish(&mut self) {
        let losers = self.mind.losers();
        let key = |complaint: &Complaint| (complaint.container.clone(), complaint.fault.reason.clone());
        for loser in losers.iter().filter(|loser| !self.lost_ids.contains(&key(loser))) {
            self.complain(loser);
        }
        self.lost_ids = losers.iter().map(key).collect();
        self.stopped.send_if_modified(|before| {
            let changed = !before.iter().eq(self.mind.stopped());
            if changed {
                *before = self.mind.stopped().cloned().collect();
            }
            changed
        });
        let counts = Counts {
            containers: self.mind.running(),
            services: self.mind.services(),
        };
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.containers.set(gauge(counts.containers));
        self.metrics.services.set(gauge(counts.services));
        self.counts
            .send_if_modified(|before| std::mem::replace(before, counts) != counts);
    }

    fn complain(&self, complaint: &Complaint) {
        self.metrics.bad_metadata.inc();
        let Complaint { container, fault } = complaint;
        warn!(
            container,
            key = fault.key,
            reason = fault.reason,
            "container setting left out"
        );
    }

    fn failed(&self, operation: &str) {
        self.metrics.failures.with_label_values(&[operation]).inc();
    }
}

async fn patient<T>(call: BoxFuture<'_, Result<T, registry::Error>>) -> Result<T, registry::Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(registry::Error::Unreachable(format!(
            "no answer within {} s",
            PATIENCE.as_secs()
        ))),
    }
}
