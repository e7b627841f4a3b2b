//! What the registrator counts.
//!
//! To add a metric: a row in [`METRICS`], a field here, one `inc` where it happens.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

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
            failures: IntCounterVec::new(Opts::new(FAILURES, help(FAILURES)), &["operation"]).expect(VALID),
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
        registry.register(Box::new(self.failures.clone()))?;
        registry.register(Box::new(self.containers.clone()))?;
        registry.register(Box::new(self.services.clone()))
    }
}

const VALID: &str = "the names in METRICS are valid";

fn counter(name: &str) -> IntCounter {
    IntCounter::new(name, help(name)).expect(VALID)
}

fn help(name: &str) -> &'static str {
    METRICS
        .iter()
        .find(|(known, ..)| *known == name)
        .map_or("", |(.., help)| help)
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
