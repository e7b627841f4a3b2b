//! What the registrator counts.
//!
//! To add a metric: a row in [`METRICS`], a field here, one `inc` where it happens.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Seconds: an event is answered within milliseconds, or after as long as a registry was away.
const LAGS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[
    (
        EVENTS,
        "counter",
        &[],
        "Events received from the container engine that made us look.",
    ),
    (
        PASSES,
        "counter",
        &[],
        "Looks at every container: at start, after a reconnect, and on the slow pass.",
    ),
    (
        REGISTERED,
        "counter",
        &[],
        "Registrations written to the registry.",
    ),
    (
        REFRESHED,
        "counter",
        &[],
        "Changes of container state passed on to the registry.",
    ),
    (
        DEREGISTERED,
        "counter",
        &[],
        "Registrations removed from the registry.",
    ),
    (
        FAILURES,
        "counter",
        &["operation"],
        "Operations that failed and are tried again, by operation.",
    ),
    (
        WRITES,
        "counter",
        &["registry", "operation"],
        "Writes that a registry obeyed; in a dry run those that it was spared.",
    ),
    (
        REGISTRY_FAILURES,
        "counter",
        &["registry", "operation"],
        "Operations that a registry did not obey, or gave no answer to.",
    ),
    (
        LAG,
        "histogram",
        &["registry"],
        "Seconds from an event of the container engine to the end of each write that it brought about.",
    ),
    (
        WAITING,
        "gauge",
        &["registry"],
        "Entries that differ from what is wanted: writes under way and to come.",
    ),
    (
        LAST_SUCCESS,
        "gauge",
        &["registry"],
        "Unix time of the last operation that a registry obeyed.",
    ),
    (
        RELISTS,
        "counter",
        &["reason"],
        "Looks at every container by reason: connected, resync, vanished (many at once), entries (of containers \
         unknown), failed (the look before).",
    ),
    (
        RECONNECTS,
        "counter",
        &[],
        "Connections to the container engine that were lost.",
    ),
    (
        BAD_METADATA,
        "counter",
        &[],
        "Container settings that were not understood and left out.",
    ),
    (CONTAINERS, "gauge", &[], "Running containers."),
    (SERVICES, "gauge", &[], "Services that running containers offer."),
];

const EVENTS: &str = "lictor_registrator_events_total";
const PASSES: &str = "lictor_registrator_passes_total";
const REGISTERED: &str = "lictor_registrator_registered_total";
const REFRESHED: &str = "lictor_registrator_refreshed_total";
const DEREGISTERED: &str = "lictor_registrator_deregistered_total";
const FAILURES: &str = "lictor_registrator_failures_total";
const WRITES: &str = "lictor_registrator_writes_total";
const REGISTRY_FAILURES: &str = "lictor_registrator_registry_failures_total";
const LAG: &str = "lictor_registrator_write_lag_seconds";
const WAITING: &str = "lictor_registrator_waiting_writes";
const LAST_SUCCESS: &str = "lictor_registrator_last_success_seconds";
const RELISTS: &str = "lictor_registrator_relists_total";
const RECONNECTS: &str = "lictor_registrator_reconnects_total";
const BAD_METADATA: &str = "lictor_registrator_bad_metadata_total";
const CONTAINERS: &str = "lictor_registrator_containers";
const SERVICES: &str = "lictor_registrator_services";

/// The counters of one registrator.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) events: IntCounter,
    pub(crate) passes: IntCounter,
    pub(crate) registered: IntCounter,
    pub(crate) refreshed: IntCounter,
    pub(crate) deregistered: IntCounter,
    pub(crate) failures: IntCounterVec,
    writes: IntCounterVec,
    registry_failures: IntCounterVec,
    lag: HistogramVec,
    waiting: IntGaugeVec,
    last_success: IntGaugeVec,
    pub(crate) relists: IntCounterVec,
    pub(crate) reconnects: IntCounter,
    pub(crate) bad_metadata: IntCounter,
    pub(crate) containers: IntGauge,
    pub(crate) services: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            events: counter(EVENTS),
            passes: counter(PASSES),
            registered: counter(REGISTERED),
            refreshed: counter(REFRESHED),
            deregistered: counter(DEREGISTERED),
            failures: counters(FAILURES),
            writes: counters(WRITES),
            registry_failures: counters(REGISTRY_FAILURES),
            lag: HistogramVec::new(
                HistogramOpts::new(LAG, help(LAG)).buckets(LAGS.to_vec()),
                labels(LAG),
            )
            .expect(VALID),
            waiting: gauges(WAITING),
            last_success: gauges(LAST_SUCCESS),
            relists: counters(RELISTS),
            reconnects: counter(RECONNECTS),
            bad_metadata: counter(BAD_METADATA),
            containers: IntGauge::new(CONTAINERS, help(CONTAINERS)).expect(VALID),
            services: IntGauge::new(SERVICES, help(SERVICES)).expect(VALID),
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        for counter in [
            &self.events,
            &self.passes,
            &self.registered,
            &self.refreshed,
            &self.deregistered,
            &self.reconnects,
            &self.bad_metadata,
        ] {
            registry.register(Box::new(counter.clone()))?;
        }
        for counters in [
            &self.failures,
            &self.writes,
            &self.registry_failures,
            &self.relists,
        ] {
            registry.register(Box::new(counters.clone()))?;
        }
        registry.register(Box::new(self.lag.clone()))?;
        registry.register(Box::new(self.waiting.clone()))?;
        registry.register(Box::new(self.last_success.clone()))?;
        registry.register(Box::new(self.containers.clone()))?;
        registry.register(Box::new(self.services.clone()))
    }

    /// Those of one registry.
    pub(crate) fn of_registry(&self, name: &str) -> OfRegistry {
        OfRegistry {
            name: name.to_owned(),
            writes: self.writes.clone(),
            failures: self.registry_failures.clone(),
            lag: self.lag.with_label_values(&[name]),
            waiting: self.waiting.with_label_values(&[name]),
            last_success: self.last_success.with_label_values(&[name]),
        }
    }
}

/// What is counted of one registry.
pub(crate) struct OfRegistry {
    name: String,
    writes: IntCounterVec,
    failures: IntCounterVec,
    pub(crate) lag: Histogram,
    pub(crate) waiting: IntGauge,
    pub(crate) last_success: IntGauge,
}

impl OfRegistry {
    pub(crate) fn wrote(&self, operation: &str) {
        self.writes.with_label_values(&[&*self.name, operation]).inc();
    }

    pub(crate) fn failed(&self, operation: &str) {
        self.failures.with_label_values(&[&*self.name, operation]).inc();
    }
}

const VALID: &str = "the names in METRICS are valid";

fn counter(name: &str) -> IntCounter {
    IntCounter::new(name, help(name)).expect(VALID)
}

fn counters(name: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help(name)), labels(name)).expect(VALID)
}

fn gauges(name: &str) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help(name)), labels(name)).expect(VALID)
}

fn help(name: &str) -> &'static str {
    row(name).3
}

fn labels(name: &str) -> &'static [&'static str] {
    row(name).2
}

fn row(name: &str) -> (&'static str, &'static str, &'static [&'static str], &'static str) {
    let row = METRICS.iter().find(|(known, ..)| *known == name);
    *row.expect("every metric is a row of METRICS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_a_row_of_the_table_and_the_other_way_round() {
        let registry = Registry::new();
        let metrics = Metrics::new();
        metrics.register(&registry).unwrap();
        metrics.failures.with_label_values(&["inspect"]).inc();
        metrics.relists.with_label_values(&["resync"]).inc();
        let registry_of = metrics.of_registry("consul://a");
        registry_of.wrote("register");
        registry_of.failed("register");
        let mut exported: Vec<_> = registry
            .gather()
            .iter()
            .map(|family| family.name().to_owned())
            .collect();
        exported.sort();
        let mut documented: Vec<_> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        documented.sort();
        assert_eq!(exported, documented);
    }
}
