//! What the DNS server counts.
//!
//! To add a metric: a row in [`METRICS`], a field here, one `inc` where it happens.

use hickory_proto::op::ResponseCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[
    (
        QUERIES,
        "counter",
        &["transport", "result"],
        "DNS queries by transport (udp, tcp) and result: noerror, nxdomain, refused, formerr, notimp, badvers, \
         or dropped where no reply is right.",
    ),
    (
        TRUNCATED,
        "counter",
        &[],
        "DNS replies that did not hold every answer and said so.",
    ),
    (CONNECTIONS, "gauge", &[], "Open DNS connections over TCP."),
    (
        FAULTS,
        "counter",
        &[],
        "DNS sockets that failed to receive, accept or send, and queries that made us stumble.",
    ),
];

const QUERIES: &str = "lictor_dns_queries_total";
const TRUNCATED: &str = "lictor_dns_truncated_total";
const CONNECTIONS: &str = "lictor_dns_tcp_connections";
const FAULTS: &str = "lictor_dns_faults_total";

const VALID: &str = "the names in METRICS are valid";

/// The counters of one DNS server.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) queries: IntCounterVec,
    pub(crate) truncated: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) faults: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let (labels, help) = row(QUERIES);
        Self {
            queries: IntCounterVec::new(Opts::new(QUERIES, help), labels).expect(VALID),
            truncated: IntCounter::new(TRUNCATED, row(TRUNCATED).1).expect(VALID),
            connections: IntGauge::new(CONNECTIONS, row(CONNECTIONS).1).expect(VALID),
            faults: IntCounter::new(FAULTS, row(FAULTS).1).expect(VALID),
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.queries.clone()))?;
        registry.register(Box::new(self.truncated.clone()))?;
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.faults.clone()))
    }
}

/// The label value for a reply's code.
pub(crate) fn result(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "noerror",
        ResponseCode::NXDomain => "nxdomain",
        ResponseCode::Refused => "refused",
        ResponseCode::FormErr => "formerr",
        ResponseCode::NotImp => "notimp",
        ResponseCode::BADVERS => "badvers",
        _ => "other",
    }
}

fn row(name: &str) -> (&'static [&'static str], &'static str) {
    let row = METRICS.iter().find(|(known, ..)| *known == name);
    row.map_or((&[], ""), |(_, _, labels, help)| (labels, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_a_row_of_the_table_and_the_other_way_round() {
        let registry = Registry::new();
        let metrics = Metrics::new();
        metrics.register(&registry).unwrap();
        metrics.queries.with_label_values(&["udp", "noerror"]).inc();
        let families = registry.gather();
        let mut exported: Vec<_> = families
            .iter()
            .map(|family| (family.name(), family.help()))
            .collect();
        exported.sort_unstable();
        let mut documented: Vec<_> = METRICS.iter().map(|(name, _, _, help)| (*name, *help)).collect();
        documented.sort_unstable();
        assert_eq!(exported, documented);
    }
}
