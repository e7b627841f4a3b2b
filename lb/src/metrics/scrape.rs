//! Our own metrics, read by whoever asks the registry: counts of all workers added up at that moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::counters::{Count, Counters};
use super::doors::Doors;
use super::{Kind, METRICS, Metrics, Row};
use crate::access_log::AccessLog;
use crate::histogram::{Bounds, Observed};
use crate::table::{INVENTED, Table};

/// Gives the counts to a Prometheus registry.
#[derive(Clone, Debug)]
pub(crate) struct Scrape(pub Arc<Metrics>);

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers = self.0.workers().clone();
        let mut families = Families::new(&self.0.buckets);
        let sum = |count: fn(&Counters) -> &Count| workers.iter().map(|worker| count(worker).get()).sum();
        let open = |inside: fn(&Counters) -> u64| workers.iter().map(|worker| inside(worker)).sum();
        families.number(
            "access_log_dropped_total",
            self.0.access_log.as_ref().map_or(0, AccessLog::dropped),
        );
        let spans = &self.0.spans;
        families.number("span_export_failures_total", spans.exports.load(Relaxed));
        families.number("spans_lost_total", spans.spans.load(Relaxed));
        families.number("metrics_push_failures_total", self.0.push_failures.get());
        families.number("auth_failures_total", sum(|worker| &worker.auth_failures));
        families.number("bad_requests_total", sum(|worker| &worker.bad_requests));
        families.number("client_gone_total", sum(|worker| &worker.client_gone));
        families.number("connections", open(|worker| worker.connections.get()));
        families.number("http2_floods_total", sum(|worker| &worker.http2_floods));
        families.number("loops_total", sum(|worker| &worker.loops));
        families.number("own_targets", sum(|worker| &worker.own_targets));
        families.number("notfound_total", sum(|worker| &worker.not_found));
        families.number("panics_total", sum(|worker| &worker.panics));
        families.number("outlier_ejected", sum(|worker| &worker.ejected));
        families.number("outlier_ejections_total", sum(|worker| &worker.ejections));
        families.number("probe_down", sum(|worker| &worker.probed_down));
        families.number("probe_failures_total", sum(|worker| &worker.probe_failures));
        families.number("retries_refused_total", sum(|worker| &worker.retries_refused));
        families.number("retries_total", sum(|worker| &worker.retries));
        families.number("tcp_conn_total", sum(|worker| &worker.tcp_accepted));
        families.number("tcp_connections", open(|worker| worker.tcp_connections.get()));
        families.number("tcp_connfail_total", sum(|worker| &worker.tcp_connect_failures));
        families.number("tcp_noroute_total", sum(|worker| &worker.tcp_no_route));
        families.number("unavailable_total", sum(|worker| &worker.unavailable));
        families.number("upstream_failures_total", sum(|worker| &worker.upstream_failures));
        families.number("upstream_idle_connections", sum(|worker| &worker.upstream_idle));
        families.number("upstream_timeouts_total", sum(|worker| &worker.upstream_timeouts));
        families.number("tcp_sni_conn_total", sum(|worker| &worker.tcp_sni_accepted));
        families.number(
            "tcp_sni_connfail_total",
            sum(|worker| &worker.tcp_sni_connect_failures),
        );
        families.number("tcp_sni_noroute_total", sum(|worker| &worker.tcp_sni_no_route));
        families.number("ws_conn", open(|worker| worker.tunnels.get()));
        families.number("grpc_conn_total", sum(|worker| &worker.grpc.accepted));
        families.number("grpc_noroute_total", sum(|worker| &worker.grpc.no_route));
        doors(&workers, &mut families);
        families.number("listeners", self.0.ports.open.get());
        let ports = &self.0.ports;
        for (of, failures) in [
            ("reload", &ports.reload_failures),
            ("route", &ports.route_failures),
        ] {
            families.add("listener_failures_total", &[of], Value::Number(failures.get()));
        }
        families.number("signal_failures_total", self.0.signal_failures.get());
        let mut denied: BTreeMap<&str, u64> = BTreeMap::new();
        for worker in &workers {
            for (why, count) in worker.denied.by_name() {
                *denied.entry(why).or_default() += count.get();
            }
        }
        for (why, count) in denied {
            families.add("denied_total", &[why], Value::Number(count));
        }
        let totals = Totals::of(&self.0, &workers);
        families.totals(&totals);
        routes(&self.0.table.load(), &mut families, &self.0.bounds);
        families.done()
    }
}

/// What happened to connections before they had a route.
fn doors(workers: &[Arc<Counters>], families: &mut Families) {
    let mut number = |name, count: fn(&Doors) -> &Count| {
        let counts = workers.iter().map(|worker| count(&worker.doors).get());
        families.number(name, counts.sum());
    };
    number("accept_errors_total", |doors| &doors.accept_errors);
    number("connections_given_up_total", |doors| &doors.given_up);
    number("connections_refused_total", |doors| &doors.over_limit);
    number("proxy_header_distrusted_total", |doors| &doors.proxy_distrusted);
    number("proxy_header_errors_total", |doors| &doors.proxy_broken);
    number("tcp_denied_total", |doors| &doors.tcp_denied);
    number("tcp_hello_errors_total", |doors| &doors.hello_refused);
    number("tls_errors_total", |doors| &doors.tls_failed);
}

/// What all workers counted by something.
pub(super) struct Totals {
    pub took: BTreeMap<Arc<str>, Observed>,
    pub codes: BTreeMap<(Arc<str>, u16), Observed>,
    pub redirects: BTreeMap<u16, u64>,
    pub grpc: Observed,
    pub grpc_codes: BTreeMap<usize, Observed>,
}

impl Totals {
    pub(super) fn of(metrics: &Metrics, workers: &[Arc<Counters>]) -> Self {
        let none = || Observed::new(&metrics.bounds);
        let mut totals = Self {
            took: BTreeMap::new(),
            codes: BTreeMap::new(),
            redirects: BTreeMap::new(),
            grpc: none(),
            grpc_codes: BTreeMap::new(),
        };
        for (service, outcomes) in metrics.services.all() {
            let mut took = none();
            for (code, times) in outcomes {
                took.add(&times);
                if code != INVENTED {
                    totals.codes.insert((service.clone(), code), times);
                }
            }
            totals.took.insert(service, took);
        }
        for worker in workers {
            for (code, count) in worker.redirects.seen() {
                *totals.redirects.entry(code).or_default() += count.get();
            }
            worker.grpc.took.add_to(&mut totals.grpc);
            for (code, times) in worker.grpc.statuses() {
                times.add_to(totals.grpc_codes.entry(code).or_insert_with(none));
            }
        }
        totals
    }
}

/// gRPC's own names of its statuses, by number.
pub(super) const GRPC_CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

fn routes(table: &Table, families: &mut Families<'_>, bounds: &Bounds) {
    for route in table.routes() {
        for target in route.counted() {
            let counted = target.stats.snapshot(bounds);
            let labels = [&*target.part.service, &*route.host, &*route.path, &*target.addr];
            families.add("route_seconds", &labels, Value::Times(&counted.times));
            families.add("route_rx_bytes_total", &labels, Value::Number(counted.rx));
            families.add("route_tx_bytes_total", &labels, Value::Number(counted.tx));
        }
    }
}

pub(super) enum Value<'a> {
    Number(u64),
    Times(&'a Observed),
}

/// Metrics by name, without the prefix.
pub(super) struct Families<'a> {
    buckets: &'a [f64],
    named: BTreeMap<&'static str, Vec<Metric>>,
}

impl<'a> Families<'a> {
    pub(super) fn new(buckets: &'a [f64]) -> Self {
        Self {
            buckets,
            named: BTreeMap::new(),
        }
    }

    fn totals(&mut self, totals: &Totals) {
        for (code, count) in &totals.redirects {
            self.add(
                "http_redirect_count_total",
                &[&code.to_string()],
                Value::Number(*count),
            );
        }
        for ((service, code), times) in &totals.codes {
            let labels = [&**service, &code.to_string()];
            self.add("http_status_total", &labels, Value::Number(times.count()));
        }
        for (service, times) in &totals.took {
            self.add("requests_seconds", &[service], Value::Times(times));
        }
        self.add("grpc_requests_seconds", &[], Value::Times(&totals.grpc));
        for (code, times) in &totals.grpc_codes {
            self.add(
                "grpc_status_total",
                &[GRPC_CODES[*code]],
                Value::Number(times.count()),
            );
        }
    }

    fn number(&mut self, name: &'static str, count: u64) {
        self.add(name, &[], Value::Number(count));
    }

    pub(super) fn add(&mut self, name: &'static str, labels: &[&str], value: Value<'_>) {
        let Some(row) = named(name) else { return };
        let mut metric = Metric::from_label(
            row.labels
                .iter()
                .zip(labels)
                .map(|(name, value)| label(name, value))
                .collect(),
        );
        match (row.kind, value) {
            (Kind::Counter, Value::Number(count)) => {
                let mut counter = Counter::default();
                counter.set_value(count as f64);
                metric.set_counter(counter);
            }
            (_, Value::Number(count)) => {
                let mut gauge = Gauge::default();
                gauge.set_value(count as f64);
                metric.set_gauge(gauge);
            }
            (_, Value::Times(times)) => metric.set_histogram(histogram(times, self.buckets)),
        }
        self.named.entry(name).or_default().push(metric);
    }

    pub(super) fn done(self) -> Vec<MetricFamily> {
        let family = |(name, metrics)| {
            let row = named(name)?;
            let mut family = MetricFamily::default();
            family.set_name(row.name.to_owned());
            family.set_help(row.help.to_owned());
            family.set_field_type(match row.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family.set_metric(metrics);
            Some(family)
        };
        self.named.into_iter().filter_map(family).collect()
    }
}

fn named(name: &str) -> Option<&'static Row> {
    METRICS
        .iter()
        .find(|row| row.name.strip_prefix("lictor_lb_") == Some(name))
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

pub(super) fn histogram(times: &Observed, bounds: &[f64]) -> Histogram {
    let mut histogram = Histogram::default();
    let bounded = bounds.iter().zip(times.at_most(bounds)).map(|(bound, below)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    histogram.set_bucket(bounded.collect());
    histogram.set_sample_count(times.count());
    histogram.set_sample_sum(times.seconds());
    histogram
}
