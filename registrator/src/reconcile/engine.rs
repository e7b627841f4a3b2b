//! The loop: carries out what [`Mind`] asks for and tells it what came of it.
//!
//! Questions and writes run side by side and are answered in any order, so a slow registry or one
//! stuck container holds up nobody else. All state is in this one task.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Registration;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::knowledge::Complaint;
use super::mind::{Action, Mind, Which};
use super::notes::Notes;
use super::witness::{Witness, operation};
use super::{Verb, Write};
use crate::config::{AtExit, Home};
use crate::container::{Container, short};
use crate::docker::stream::Connection;
use crate::docker::{self, Docker, Listed};
use crate::metrics::Metrics;
use crate::registry::{self, Registry};

/// A registry that takes longer over one write is treated as absent.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last writes may take before we go.
const FAREWELL: Duration = Duration::from_secs(5);

/// How many containers run and how many services they offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) containers: usize,
    pub(crate) services: usize,
}

/// The loop and what it works with.
pub(crate) struct Engine {
    pub(crate) mind: Mind,
    pub(crate) registries: Vec<Arc<dyn Registry>>,
    pub(crate) notes: Arc<Notes>,
    /// Whether its engine can be heard.
    pub(crate) connection: watch::Receiver<Connection>,
    pub(crate) metrics: Metrics,
    pub(crate) stopped: watch::Sender<Arc<[Registration]>>,
    pub(crate) homes: watch::Receiver<Home>,
    pub(crate) counts: watch::Sender<Counts>,
    pub(crate) docker: Option<Docker>,
    pub(crate) lost_ids: BTreeSet<(String, String)>,
    /// What becomes of entries at the end.
    pub(crate) leaves: AtExit,
    pub(crate) witness: Witness,
    pub(crate) hands: Hands,
}

/// Whether what is decided is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hands {
    /// It is written.
    #[default]
    Write,
    /// It counts as written, and is not. Registries are read once: they would contradict.
    Rehearse,
    /// It is not written, and waits for ever.
    Rest,
}

/// What is under way.
type Work = FuturesUnordered<BoxFuture<'static, Done>>;

/// What came of an action.
enum Done {
    Listed(Result<Vec<Listed>, docker::Error>),
    Inspected(Arc<str>, Box<Result<Option<Container>, docker::Error>>),
    Read(Which, Result<Option<Vec<Registration>>, registry::Error>),
    /// With the container, and when an event of it was heard, if one was.
    Wrote(
        Which,
        Write,
        Result<(), registry::Error>,
        Option<(Arc<str>, Instant)>,
    ),
    Renewed(Which, Result<(), registry::Error>),
    Reported(Which, Arc<str>, Result<(), registry::Error>),
    Faltered(Which),
}

impl Engine {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut work = Work::new();
        loop {
            let now = Instant::now();
            self.begin(&mut work, now);
            self.publish(now);
            if self.mind.suspects_stream(now) {
                self.notes.suspect_stream();
            }
            let deadline = self.mind.deadline(now);
            tokio::select! {
                () = stop.cancelled() => break,
                pending = self.notes.next() => {
                    let now = Instant::now();
                    if let Some(docker) = pending.connected {
                        self.docker = Some(docker);
                        self.mind.connected(now);
                    }
                    self.witness.heard(pending.touched.keys(), now);
                    self.mind.noted(&pending.touched, now);
                }
                Some(ask) = self.witness.asks.recv() => self.witness.asked(ask),
                Some(done) = work.next() => {
                    self.settle(done);
                    // Whatever else is ready belongs to the same look.
                    while let Some(Some(done)) = work.next().now_or_never() {
                        self.settle(done);
                    }
                }
                Ok(()) = self.homes.changed() => {
                    let complaints = self.mind.moved(*self.homes.borrow_and_update());
                    complaints.iter().for_each(|complaint| self.complain(complaint));
                }
                Ok(()) = self.connection.changed() => {
                    if matches!(*self.connection.borrow_and_update(), Connection::Waiting { .. }) {
                        self.mind.lost(Instant::now());
                    }
                }
                () = alarm(deadline) => {}
            }
        }
        if self.leaves != AtExit::Keep {
            self.leave(work).await;
        }
    }

    fn begin(&mut self, work: &mut Work, now: Instant) {
        let actions = self.mind.actions(now);
        work.extend(actions.into_iter().filter_map(|action| self.job(action, now)));
    }

    /// Writes what is to be left behind; a registry that does not answer in time has to do without.
    async fn leave(mut self, mut work: Work) {
        self.mind.leave();
        let farewell = async {
            loop {
                let now = Instant::now();
                self.begin(&mut work, now);
                if self.mind.has_said_all() {
                    return;
                }
                tokio::select! {
                    Some(done) = work.next() => self.settle(done),
                    () = alarm(self.mind.deadline(now)) => {}
                }
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            self.failed("leave");
            warn!("stopped before every registry heard what becomes of its entries");
        }
    }

    fn job(&mut self, action: Action, now: Instant) -> Option<BoxFuture<'static, Done>> {
        Some(match action {
            Action::List => {
                self.metrics.passes.inc();
                self.metrics
                    .relists
                    .with_label_values(&[self.mind.relist()])
                    .inc();
                self.witness.surveys(now);
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
            Action::Read(which) if self.hands == Hands::Rehearse && self.witness.has_read(which) => {
                ready(Done::Read(which, Ok(None))).boxed()
            }
            Action::Read(which) => {
                let registry = self.registries[which].clone();
                async move { Done::Read(which, patient(registry.services()).await) }.boxed()
            }
            Action::Write(which, write) => {
                let cause = self.cause(which, &write, now);
                match self.hands {
                    Hands::Write => {}
                    Hands::Rehearse => return Some(ready(Done::Wrote(which, write, Ok(()), cause)).boxed()),
                    Hands::Rest => return None,
                }
                let registry = self.registries[which].clone();
                async move {
                    let outcome = match &write.verb {
                        Verb::Register(wanted) => patient(registry.register(wanted)).await,
                        Verb::Refresh(wanted) => patient(registry.refresh(wanted)).await,
                        Verb::Deregister => patient(registry.deregister(&write.key)).await,
                    };
                    Done::Wrote(which, write, outcome, cause)
                }
                .boxed()
            }
            Action::Renew(which, _) if self.hands != Hands::Write => {
                ready(Done::Renewed(which, Ok(()))).boxed()
            }
            Action::Renew(which, held) => {
                let registry = self.registries[which].clone();
                async move { Done::Renewed(which, patient(registry.renew(&held)).await) }.boxed()
            }
            // What is read once has nothing to falter.
            Action::Watch(_) if self.hands != Hands::Write => return None,
            Action::Report(which, check) => self.report(which, check),
            Action::Watch(which) => {
                let registry = self.registries[which].clone();
                async move {
                    registry.faltered().await;
                    Done::Faltered(which)
                }
                .boxed()
            }
        })
    }

    /// The container that a write is about, and when the event was heard that it answers, if it answers any.
    fn cause(&mut self, which: Which, write: &Write, now: Instant) -> Option<(Arc<str>, Instant)> {
        let container: Arc<str> = self.mind.behind(which, write)?.into();
        let since = self.witness.since(&container, now)?;
        Some((container, since))
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
                if matches!(answer, Err(docker::Error::Late)) {
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
            Done::Read(which, answer) => {
                let error = answer.as_ref().err().map(ToString::to_string);
                let (answer, outcome) = match answer {
                    Ok(answer) => (Some(answer), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let failures = self.mind.read(which, answer, now);
                self.witness.read(which, &outcome, failures);
                if let Some(error) = error {
                    self.failed("read");
                    if failures == 1 {
                        let registry = self.registries[which].name();
                        warn!(%registry, %error, "cannot read what is registered; trying on");
                    }
                }
            }
            Done::Wrote(which, write, outcome, cause) => {
                let failures = self.mind.wrote(which, &write.key, (&outcome).into(), now);
                let cause = cause.as_ref().map(|(container, since)| (&**container, *since));
                self.witness
                    .wrote((which, &write), (&outcome, failures), cause, now);
                self.wrote(which, &write, outcome, failures);
            }
            Done::Renewed(which, outcome) => {
                self.witness.renewed(which, &outcome);
                let failures = self.mind.renewed(which, outcome.is_ok(), now);
                if let Err(error) = outcome {
                    self.failed("renew");
                    if failures == 1 {
                        let registry = self.registries[which].name();
                        warn!(%registry, %error, "cannot let entries live on; trying on");
                    }
                }
            }
            Done::Reported(which, check, outcome) => self.reported(which, &check, outcome, now),
            Done::Faltered(which) => {
                debug!(registry = %self.registries[which].name(), "entries may be lost; looking");
                self.mind.faltered(which, now);
            }
        }
    }

    fn wrote(
        &self,
        which: Which,
        Write { key, verb }: &Write,
        outcome: Result<(), registry::Error>,
        failures: u32,
    ) {
        let operation = operation(verb);
        let registry = self.registries[which].name();
        if let Err(error) = outcome {
            self.failed(operation);
            if failures == 1 {
                warn!(%key, %registry, operation, %error, "registry write failed; trying on");
            } else {
                debug!(%key, %registry, operation, %error, failures, "registry write failed again");
            }
            return;
        }
        let said = |done, rehearsed| {
            if self.hands == Hands::Write {
                done
            } else {
                rehearsed
            }
        };
        match verb {
            Verb::Register(wanted) => {
                self.metrics.registered.inc();
                let service = &wanted.registration.service;
                let said = said("registered", "would register");
                info!(id = %service.id, name = %service.name, address = %service.address, port = service.port, tags = ?service.tags, %registry, "{said}");
            }
            Verb::Refresh(wanted) => {
                self.metrics.refreshed.inc();
                let Registration { service, checks } = &*wanted.registration;
                let says = checks
                    .first()
                    .map(|check| check.output.as_str())
                    .unwrap_or_default();
                let said = said("state passed on", "would pass on a state");
                info!(id = %service.id, %says, %registry, "{said}");
            }
            Verb::Deregister => {
                self.metrics.deregistered.inc();
                info!(%key, %registry, "{}", said("deregistered", "would deregister"));
            }
        }
    }

    /// Lets others see what has changed, and only that.
    fn publish(&mut self, now: Instant) {
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
        self.witness.answer(&self.mind, now);
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

    /// Says of a check that its container is fit; but for a rehearsal.
    fn report(&self, which: Which, check: Arc<str>) -> BoxFuture<'static, Done> {
        if self.hands != Hands::Write {
            return ready(Done::Reported(which, check, Ok(()))).boxed();
        }
        let registry = self.registries[which].clone();
        async move {
            let outcome = patient(registry.report(&check)).await;
            Done::Reported(which, check, outcome)
        }
        .boxed()
    }

    fn reported(
        &mut self,
        which: Which,
        check: &Arc<str>,
        outcome: Result<(), registry::Error>,
        now: Instant,
    ) {
        self.mind.reported(which, check, outcome.is_ok(), now);
        if let Err(error) = outcome {
            self.failed("report");
            let registry = self.registries[which].name();
            debug!(%check, %registry, %error, "report on a check failed; trying on");
        }
    }

    fn failed(&self, operation: &str) {
        self.metrics.failures.with_label_values(&[operation]).inc();
    }
}

async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The answer of a registry, within the time that one may take.
pub(crate) async fn patient<T>(
    call: BoxFuture<'_, Result<T, registry::Error>>,
) -> Result<T, registry::Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(registry::Error::Unreachable(format!(
            "no answer within {} s",
            PATIENCE.as_secs()
        ))),
    }
}
