//! What others may see of the loop: counts by registry, what registries last said, and answers to whoever asks.
//!
//! Watches and decides nothing. A report is made when somebody asks, so it costs nothing while nobody does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::lag::Lag;
use super::mind::{Mind, Which};
use super::{Verb, Write};
use crate::account::{Failure, Registrar, Report};
use crate::metrics::{Metrics, OfRegistry};
use crate::registry::Error;

/// A question for a report.
#[derive(Debug)]
pub(crate) struct Ask {
    /// To be answered once all is known, not at once.
    pub(crate) patiently: bool,
    pub(crate) to: oneshot::Sender<Report>,
}

/// See the module.
pub(crate) struct Witness {
    pub(crate) asks: mpsc::Receiver<Ask>,
    open: Vec<Ask>,
    registries: Vec<Seen>,
    lag: Lag,
}

struct Seen {
    name: String,
    counted: OfRegistry,
    /// Whether it has ever said what it holds.
    read: bool,
    /// How it failed to, where it has not.
    unread: Option<Failure>,
    unreachable: Option<String>,
    failures: BTreeMap<Arc<str>, Failure>,
}

impl Seen {
    fn answered<T>(&mut self, operation: &str, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => {
                self.unreachable = None;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                self.counted.last_success.set(seconds);
            }
            Err(error) => {
                self.counted.failed(operation);
                if matches!(error, Error::Unreachable(_)) {
                    self.unreachable = Some(error.to_string());
                }
            }
        }
    }
}

impl Witness {
    pub(crate) fn new(names: Vec<String>, asks: mpsc::Receiver<Ask>, metrics: &Metrics) -> Self {
        let seen = |name: String| Seen {
            counted: metrics.of_registry(&name),
            name,
            read: false,
            unread: None,
            unreachable: None,
            failures: BTreeMap::new(),
        };
        Self {
            asks,
            open: Vec::new(),
            registries: names.into_iter().map(seen).collect(),
            lag: Lag::default(),
        }
    }

    /// Somebody asks.
    pub(crate) fn asked(&mut self, ask: Ask) {
        self.open.push(ask);
    }

    /// Events of these containers were heard.
    pub(crate) fn heard<'a>(&mut self, containers: impl Iterator<Item = &'a Arc<str>>, now: Instant) {
        containers.for_each(|container| self.lag.heard(container, now));
    }

    /// When the event was heard that a write which begins now answers.
    pub(crate) fn since(&mut self, container: &str, now: Instant) -> Option<Instant> {
        self.lag.since(container, now)
    }

    /// All containers are looked at.
    pub(crate) fn surveys(&mut self, now: Instant) {
        self.lag.tidy(now);
    }

    /// A registry said what it holds, or did not, so often in a row.
    pub(crate) fn read<T>(&mut self, which: Which, answer: &Result<T, Error>, times: u32) {
        let seen = &mut self.registries[which];
        seen.read |= answer.is_ok();
        let failed = answer.as_ref().err().filter(|_| !seen.read);
        seen.unread = failed.map(|error| Failure {
            operation: "read",
            error: error.to_string(),
            times,
        });
        seen.answered("read", answer);
        // What cannot be read cannot be kept right, whatever the reason.
        if let Err(error) = answer {
            seen.unreachable = Some(error.to_string());
        }
    }

    /// Whether a registry has ever said what it holds.
    pub(crate) fn has_read(&self, which: Which) -> bool {
        self.registries[which].read
    }

    /// A registry let entries live on, or did not.
    pub(crate) fn renewed(&mut self, which: Which, outcome: &Result<(), Error>) {
        self.registries[which].answered("renew", outcome);
    }

    /// A write ended, after so many failures in a row. `cause`: its container, and when an event of that was heard.
    pub(crate) fn wrote(
        &mut self,
        (which, write): (Which, &Write),
        (outcome, times): (&Result<(), Error>, u32),
        cause: Option<(&str, Instant)>,
        now: Instant,
    ) {
        let seen = &mut self.registries[which];
        let operation = operation(&write.verb);
        seen.answered(operation, outcome);
        match outcome {
            Ok(()) => {
                seen.failures.remove(&write.key);
                seen.counted.wrote(operation);
                if let Some((container, since)) = cause {
                    let lag = now.saturating_duration_since(since);
                    seen.counted.lag.observe(lag.as_secs_f64());
                    self.lag.written(container, now);
                }
            }
            Err(error) => {
                let failure = Failure {
                    operation,
                    error: error.to_string(),
                    times,
                };
                seen.failures.insert(write.key.clone(), failure);
            }
        }
    }

    /// Answers whoever can be answered.
    pub(crate) fn answer(&mut self, mind: &Mind, now: Instant) {
        for (which, seen) in self.registries.iter_mut().enumerate() {
            // What nobody wants and nobody holds has no write that could work one day.
            seen.failures.retain(|key, _| mind.is_concerned(which, key));
            let waiting = i64::try_from(mind.waiting(which)).unwrap_or(i64::MAX);
            seen.counted.waiting.set(waiting);
        }
        let heard = |seen: &Seen| seen.read || seen.unread.is_some();
        let known = mind.has_surveyed() && self.registries.iter().all(heard);
        let (ready, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|ask: &Ask| known || !ask.patiently);
        self.open = open;
        if ready.is_empty() {
            return;
        }
        let report = self.report(mind, now);
        for ask in ready {
            // Whoever asked may have gone.
            let _ = ask.to.send(report.clone());
        }
    }

    fn report(&self, mind: &Mind, now: Instant) -> Report {
        let names: Vec<String> = self.registries.iter().map(|seen| seen.name.clone()).collect();
        let failure = |which: Which, key: &str| {
            let seen: &Seen = &self.registries[which];
            seen.unread.as_ref().or(seen.failures.get(key)).cloned()
        };
        let registrar = |(which, seen): (Which, &Seen)| Registrar {
            name: seen.name.clone(),
            read: seen.read,
            unreachable: seen.unreachable.clone(),
            waiting: mind.waiting(which),
            failures: seen
                .failures
                .iter()
                .map(|(key, failure)| (key.clone(), failure.clone()))
                .collect(),
        };
        Report {
            surveyed: mind.has_surveyed(),
            registries: self.registries.iter().enumerate().map(registrar).collect(),
            containers: mind.accounts(&names, &failure, now),
        }
    }
}

/// What a write is called in logs and metrics.
pub(crate) fn operation(verb: &Verb) -> &'static str {
    match verb {
        Verb::Register(_) => "register",
        Verb::Refresh(_) => "refresh",
        Verb::Deregister => "deregister",
    }
}
