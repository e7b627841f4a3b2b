//! Whether the source of routes can be reached: counted, and said in the log once per change.
//!
//! To add a metric: a row in [`METRICS`], a field here, one line where it happens.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[
    (
        AGE,
        "gauge",
        &[],
        "Seconds since the source of routes last answered; 0 while it can be reached.",
    ),
    (
        REACHED,
        "gauge",
        &[],
        "1 while the source of routes can be reached, else 0: then the last table goes on serving.",
    ),
    (
        FAILURES,
        "counter",
        &["question"],
        "Questions to the source of routes without a usable answer: agent (who it is, at the start), checks, names, \
         service, overrides, noroute, file, custom.",
    ),
    (
        SKIPPED,
        "counter",
        &[],
        "Entries of the custom source of routes that make no command.",
    ),
    (
        REGISTRATIONS,
        "counter",
        &[],
        "Attempts to register or deregister the balancer that failed.",
    ),
    (
        RELOADS,
        "counter",
        &["outcome"],
        "Configurations that were read again while running: applied, refused.",
    ),
    (SNAPSHOTS, "counter", &[], "Snapshots that could not be written."),
    (
        SPARES,
        "counter",
        &[],
        "Times that routes were those of a snapshot, as the source did not answer.",
    ),
];

const AGE: &str = "lictor_lb_catalog_age_seconds";
const REACHED: &str = "lictor_lb_catalog_reached";
const FAILURES: &str = "lictor_lb_catalog_failures_total";
const SKIPPED: &str = "lictor_lb_custom_skipped_total";
const REGISTRATIONS: &str = "lictor_lb_registration_failures_total";
const RELOADS: &str = "lictor_lb_reloads_total";
const SNAPSHOTS: &str = "lictor_lb_snapshot_failures_total";
const SPARES: &str = "lictor_lb_snapshots_used_total";

const VALID: &str = "the names in METRICS are valid";

/// From one warning about single services to the next.
const QUIET: Duration = Duration::from_secs(60);

/// What a source counts; cheap to clone, clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    reach: Arc<Mutex<Reach>>,
    age: Gauge,
    reached: IntGauge,
    failures: IntCounterVec,
    skipped: IntCounter,
    registrations: IntCounter,
    reloads: IntCounterVec,
    snapshots: IntCounter,
    spares: IntCounter,
}

/// The state that decides what is news.
#[derive(Debug, Default)]
struct Reach {
    /// Questions that had no answer when last asked.
    silent: BTreeSet<&'static str>,
    answered: Option<Instant>,
    down_since: Option<Instant>,
    warned_of_service: Option<Instant>,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let counter = |name| IntCounter::new(name, about(name)).expect(VALID);
        let failures = IntCounterVec::new(Opts::new(FAILURES, about(FAILURES)), &["question"]);
        let metrics = Self {
            reach: Arc::default(),
            age: Gauge::new(AGE, about(AGE)).expect(VALID),
            reached: IntGauge::new(REACHED, about(REACHED)).expect(VALID),
            failures: failures.expect(VALID),
            skipped: counter(SKIPPED),
            registrations: counter(REGISTRATIONS),
            reloads: IntCounterVec::new(Opts::new(RELOADS, about(RELOADS)), &["outcome"]).expect(VALID),
            snapshots: counter(SNAPSHOTS),
            spares: counter(SPARES),
        };
        metrics.reached.set(1);
        metrics
    }

    /// Adds the metrics of [`METRICS`].
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.clone()))
    }

    /// One of the standing questions was answered, or was not.
    pub fn told(&self, question: &'static str, trouble: Option<&dyn std::fmt::Display>) {
        self.told_at(question, trouble, Instant::now());
    }

    fn told_at(&self, question: &'static str, trouble: Option<&dyn std::fmt::Display>, now: Instant) {
        let mut reach = self.reach();
        match trouble {
            Some(trouble) => {
                self.failures.with_label_values(&[question]).inc();
                reach.silent.insert(question);
                if reach.down_since.is_none() {
                    reach.down_since = Some(now);
                    self.reached.set(0);
                    tracing::warn!(question, %trouble, "source of routes out of reach; the last table goes on serving");
                }
            }
            None => {
                reach.answered = Some(now);
                reach.silent.remove(question);
                if let Some(since) = reach.down_since.filter(|_| reach.silent.is_empty()) {
                    reach.down_since = None;
                    self.reached.set(1);
                    let after = now.duration_since(since);
                    let after = catalog::duration::format(Duration::from_secs_f64(
                        (after.as_secs_f64() * 1000.0).round() / 1000.0,
                    ));
                    tracing::info!(after, "source of routes in reach again");
                }
            }
        }
    }

    /// A single service could not be read: what is known of it stays. Many may fail at once, so not all are said.
    pub fn service_failed(&self, trouble: &dyn std::fmt::Display) {
        self.failures.with_label_values(&["service"]).inc();
        let now = Instant::now();
        let mut reach = self.reach();
        if reach
            .warned_of_service
            .is_none_or(|last| now.duration_since(last) >= QUIET)
        {
            reach.warned_of_service = Some(now);
            tracing::warn!(%trouble, "cannot read a service; its routes stay as they are");
        }
    }

    /// An entry of the custom source makes no command.
    pub fn skipped(&self, reason: &str) {
        self.skipped.inc();
        tracing::warn!(reason, "an entry of the custom source makes no route command");
    }

    /// The source does not say who it is. It is asked again, or done without.
    pub fn agent_failed(&self) {
        self.failures.with_label_values(&["agent"]).inc();
    }

    /// The balancer could not be registered, or deregistered, under a name. Said where that is news.
    pub fn registration_failed(&self, name: &str, error: &str, is_news: bool) {
        self.registrations.inc();
        if is_news {
            tracing::warn!(name, error, "cannot register or deregister the balancer");
        }
    }

    /// A snapshot could not be written. Said where that is news.
    pub fn snapshot_failed(&self, path: &str, error: &str, is_news: bool) {
        self.snapshots.inc();
        if is_news {
            tracing::warn!(path, error, "cannot write the snapshot of routes");
        }
    }

    /// Routes are those of a snapshot.
    pub fn snapshot_used(&self, trouble: &dyn std::fmt::Display) {
        self.spares.inc();
        tracing::warn!(%trouble, "routes are those of the snapshot");
    }

    /// The configuration was read again.
    pub fn reloaded(&self, outcome: &Result<Vec<String>, String>) {
        match outcome {
            Ok(changed) => {
                self.reloads.with_label_values(&["applied"]).inc();
                tracing::info!(changes = changed.len(), "configuration read again");
                for change in changed {
                    tracing::info!(%change, "configuration");
                }
            }
            Err(why) => {
                self.reloads.with_label_values(&["refused"]).inc();
                let faults = why.lines().count();
                tracing::warn!(
                    faults,
                    "configuration read again and refused; nothing has changed"
                );
                for fault in why.lines() {
                    tracing::warn!(%fault, "configuration");
                }
            }
        }
    }

    /// All of a family added up.
    #[cfg(test)]
    pub fn counted(&self, name: &str) -> u64 {
        let families = self.collect();
        let family = families
            .iter()
            .find(|family| family.name() == format!("lictor_lb_{name}"));
        let metrics = family.map(MetricFamily::get_metric).unwrap_or_default();
        metrics
            .iter()
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        // Held for a few lines, none of which leaves it half changed.
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> [&dyn Collector; 8] {
        [
            &self.age,
            &self.reached,
            &self.failures,
            &self.skipped,
            &self.registrations,
            &self.reloads,
            &self.snapshots,
            &self.spares,
        ]
    }
}

/// A gauge that grows by itself has to be set when it is looked at.
impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let age = {
            let reach = self.reach();
            let since = reach.down_since.map(|down| reach.answered.unwrap_or(down));
            since.map_or(Duration::ZERO, |since| since.elapsed())
        };
        self.age.set(age.as_secs_f64());
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

fn about(name: &str) -> &'static str {
    let row = METRICS.iter().find(|(known, ..)| *known == name);
    row.map_or("", |(_, _, _, help)| help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &Metrics, name: &str) -> f64 {
        let families = metrics.collect();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value()
    }

    #[test]
    fn the_source_is_in_reach_when_every_question_has_an_answer() {
        let metrics = Metrics::new();
        metrics.register(&Registry::new()).unwrap();
        assert_eq!((shown(&metrics, REACHED), shown(&metrics, AGE)), (1.0, 0.0));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        metrics.told_at("checks", None, long_ago);
        metrics.told("checks", Some(&"refused"));
        metrics.told("names", Some(&"refused"));
        assert!(shown(&metrics, REACHED) == 0.0 && shown(&metrics, AGE) >= 100.0);
        metrics.told("names", None);
        assert_eq!(shown(&metrics, REACHED), 0.0);
        metrics.told("checks", None);
        assert_eq!((shown(&metrics, REACHED), shown(&metrics, AGE)), (1.0, 0.0));
        metrics.service_failed(&"500");
        assert_eq!(shown(&metrics, REACHED), 1.0);
    }

    #[test]
    fn every_metric_has_its_row() {
        let metrics = Metrics::new();
        metrics.service_failed(&"500");
        metrics.reloaded(&Ok(Vec::new()));
        let names: BTreeSet<_> = metrics
            .collect()
            .iter()
            .map(|family| family.name().to_owned())
            .collect();
        let rows: BTreeSet<_> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, rows);
    }
}
