//! What the runner of checks counts.

use catalog::Status;
use prometheus::{IntCounterVec, Opts, Registry};

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[(
    RUNS,
    "counter",
    &["kind", "status"],
    "Runs of checks by kind (http, grpc, h2ping, tcp, udp, docker, script, ttl) and what they found, before thresholds; of ttl checks, expiries.",
)];

const RUNS: &str = "lictor_check_runs_total";

/// The counters of one runner.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    runs: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let (_, _, labels, help) = METRICS[0];
        let runs = IntCounterVec::new(Opts::new(RUNS, help), labels);
        Self {
            runs: runs.expect("the names in METRICS are valid"),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.runs.clone()))
    }

    pub(super) fn ran(&self, kind: &str, status: Status) {
        self.runs.with_label_values(&[kind, status.as_str()]).inc();
    }
}
