//! Every metric of the balancer: its name, its labels and what it says; and how the counts become text.
//!
//! To add one: a row in [`METRICS`], a counter in `metrics/counters.rs`, a line in [`Collector::collect`].
//! A test holds rows and lines together. Names are fabio's where fabio has one, with dots as underscores, the
//! unit and `_total` where Prometheus wants them, below `lictor_lb_`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::access_log::AccessLog;
use crate::table::{BUCKETS, Table};

mod counters;
mod doors;

use counters::Observed;
pub(crate) use counters::{Count, Counters, ServiceCounters};
use doors::Ports;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by size.
    Histogram,
}

impl Kind {
    /// Prometheus' word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric as its users know it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Full name.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Row {
    Row {
        name,
        kind,
        labels,
        help,
    }
}

const ROUTE: &[&str] = &["service", "host", "path", "target"];

/// All of them, in alphabetical order.
pub const METRICS: &[Row] = &[
    row(
        "lictor_lb_accept_errors_total",
        Kind::Counter,
        &[],
        "Failures to accept connections: no file descriptors, no memory.",
    ),
    row(
        "lictor_lb_access_log_dropped_total",
        Kind::Counter,
        &[],
        "Access log lines lost because the reader was too slow.",
    ),
    row(
        "lictor_lb_bad_requests_total",
        Kind::Counter,
        &[],
        "Requests refused for what they are: host, path, framing, body, method.",
    ),
    row(
        "lictor_lb_client_gone_total",
        Kind::Counter,
        &[],
        "Requests whose client left before the answer was complete (499).",
    ),
    row(
        "lictor_lb_connections",
        Kind::Gauge,
        &[],
        "Open client connections.",
    ),
    row(
        "lictor_lb_connections_refused_total",
        Kind::Counter,
        &[],
        "Connections closed since their client has as many as proxy.limit.conns.",
    ),
    row(
        "lictor_lb_http_redirect_count_total",
        Kind::Counter,
        &[],
        "Requests answered by a redirect.",
    ),
    row(
        "lictor_lb_http_status_total",
        Kind::Counter,
        &["service", "code"],
        "Requests sent to a service, by status of the answer.",
    ),
    row(
        "lictor_lb_listener_failures_total",
        Kind::Counter,
        &[],
        "Attempts to open a port of a TCP route that failed.",
    ),
    row("lictor_lb_listeners", Kind::Gauge, &[], "Addresses listened on."),
    row(
        "lictor_lb_notfound_total",
        Kind::Counter,
        &[],
        "Requests that no route wants.",
    ),
    row(
        "lictor_lb_panics_total",
        Kind::Counter,
        &[],
        "Connections lost to a fault of the balancer.",
    ),
    row(
        "lictor_lb_proxy_header_distrusted_total",
        Kind::Counter,
        &[],
        "Connections closed for a PROXY header of a peer that is not in proxy.trusted.",
    ),
    row(
        "lictor_lb_proxy_header_errors_total",
        Kind::Counter,
        &[],
        "Connections closed for a PROXY header that is malformed or late.",
    ),
    row(
        "lictor_lb_requests_seconds",
        Kind::Histogram,
        &["service"],
        "Time from the head of a request to the end of its answer.",
    ),
    row(
        "lictor_lb_retries_total",
        Kind::Counter,
        &[],
        "Requests and connections sent to another target after a failure.",
    ),
    row(
        "lictor_lb_route_rx_bytes_total",
        Kind::Counter,
        ROUTE,
        "Bytes from a target to clients.",
    ),
    row(
        "lictor_lb_route_seconds",
        Kind::Histogram,
        ROUTE,
        "As requests_seconds, for each target of each route.",
    ),
    row(
        "lictor_lb_route_tx_bytes_total",
        Kind::Counter,
        ROUTE,
        "Bytes from clients to a target.",
    ),
    row(
        "lictor_lb_routes",
        Kind::Gauge,
        &[],
        "Routes in the table, built-in ones included.",
    ),
    row(
        "lictor_lb_skipped_tags",
        Kind::Gauge,
        &[],
        "Tags that make no route now.",
    ),
    row(
        "lictor_lb_skipped_tags_total",
        Kind::Counter,
        &[],
        "Tags that were found to make no route.",
    ),
    row(
        "lictor_lb_table_swaps_total",
        Kind::Counter,
        &[],
        "Routing tables that took effect.",
    ),
    row(
        "lictor_lb_tcp_conn_total",
        Kind::Counter,
        &[],
        "TCP connections accepted.",
    ),
    row(
        "lictor_lb_tcp_connections",
        Kind::Gauge,
        &[],
        "Open TCP connections.",
    ),
    row(
        "lictor_lb_tcp_connfail_total",
        Kind::Counter,
        &[],
        "TCP connections for which no target could be reached.",
    ),
    row(
        "lictor_lb_tcp_denied_total",
        Kind::Counter,
        &[],
        "TCP connections closed by the rules of their target.",
    ),
    row(
        "lictor_lb_tcp_hello_errors_total",
        Kind::Counter,
        &[],
        "Connections closed for lack of a TLS ClientHello with a server name.",
    ),
    row(
        "lictor_lb_tcp_noroute_total",
        Kind::Counter,
        &[],
        "TCP connections without a route or a healthy target.",
    ),
    row(
        "lictor_lb_tcp_sni_conn_total",
        Kind::Counter,
        &[],
        "Connections passed on by server name.",
    ),
    row(
        "lictor_lb_tcp_sni_connfail_total",
        Kind::Counter,
        &[],
        "Connections by server name for which no target could be reached.",
    ),
    row(
        "lictor_lb_tcp_sni_noroute_total",
        Kind::Counter,
        &[],
        "Connections by server name without a route or a healthy target.",
    ),
    row(
        "lictor_lb_tls_errors_total",
        Kind::Counter,
        &[],
        "Connections closed since their TLS handshake failed.",
    ),
    row(
        "lictor_lb_unavailable_total",
        Kind::Counter,
        &[],
        "Requests for a known route without a healthy target.",
    ),
    row(
        "lictor_lb_upstream_failures_total",
        Kind::Counter,
        &[],
        "Requests and connections that a target did not serve.",
    ),
    row(
        "lictor_lb_upstream_idle_connections",
        Kind::Gauge,
        &[],
        "Connections to targets kept for reuse.",
    ),
    row(
        "lictor_lb_upstream_timeouts_total",
        Kind::Counter,
        &[],
        "Requests that failed because a target took too long.",
    ),
    row(
        "lictor_lb_ws_conn",
        Kind::Gauge,
        &[],
        "Open tunnels: WebSockets and other upgrades.",
    ),
];

/// The counts of all workers, and of the table's targets.
#[derive(Debug)]
pub(crate) struct Metrics {
    workers: Mutex<Vec<Arc<Counters>>>,
    table: Arc<ArcSwap<Table>>,
    access_log: Option<AccessLog>,
    /// Written by the owner of the listeners.
    pub(crate) ports: Ports,
}

impl Metrics {
    pub(crate) fn new(table: Arc<ArcSwap<Table>>, access_log: Option<AccessLog>) -> Self {
        Self {
            workers: Mutex::default(),
            table,
            access_log,
            ports: Ports::default(),
        }
    }

    /// New counters, for a worker to write.
    pub(crate) fn of_a_worker(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.workers().push(counters.clone());
        counters
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Counters>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the counts to a Prometheus registry.
#[derive(Clone, Debug)]
pub(crate) struct Scrape(pub Arc<Metrics>);

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers = self.0.workers().clone();
        let mut families = Families::default();
        let sum = |count: fn(&Counters) -> &Count| workers.iter().map(|worker| count(worker).get()).sum();
        let open = |inside: fn(&Counters) -> u64| workers.iter().map(|worker| inside(worker)).sum();
        families.number("accept_errors_total", sum(|worker| &worker.doors.accept_errors));
        families.number(
            "access_log_dropped_total",
            self.0.access_log.as_ref().map_or(0, AccessLog::dropped),
        );
        families.number("bad_requests_total", sum(|worker| &worker.bad_requests));
        families.number("client_gone_total", sum(|worker| &worker.client_gone));
        families.number("connections", open(|worker| worker.connections.get()));
        families.number("http_redirect_count_total", sum(|worker| &worker.redirects));
        families.number("notfound_total", sum(|worker| &worker.not_found));
        families.number("panics_total", sum(|worker| &worker.panics));
        families.number("retries_total", sum(|worker| &worker.retries));
        families.number("tcp_conn_total", sum(|worker| &worker.tcp_accepted));
        families.number("tcp_connections", open(|worker| worker.tcp_connections.get()));
        families.number("tcp_connfail_total", sum(|worker| &worker.tcp_connect_failures));
        families.number("tcp_noroute_total", sum(|worker| &worker.tcp_no_route));
        families.number("unavailable_total", sum(|worker| &worker.unavailable));
        families.number("upstream_failures_total", sum(|worker| &worker.upstream_failures));
        families.number("upstream_idle_connections", sum(|worker| &worker.upstream_idle));
        families.number("upstream_timeouts_total", sum(|worker| &worker.upstream_timeouts));
        families.number("ws_conn", open(|worker| worker.tunnels.get()));
        doors(&workers, &mut families);
        families.number("listeners", self.0.ports.open.get());
        families.number("listener_failures_total", self.0.ports.failures.get());
        services(&workers, &mut families);
        routes(&self.0.table.load(), &mut families);
        families.done()
    }
}

/// What happened to connections before they had a route.
fn doors(workers: &[Arc<Counters>], families: &mut Families) {
    let mut number = |name, count: fn(&Counters) -> &Count| {
        families.number(name, workers.iter().map(|worker| count(worker).get()).sum());
    };
    number("connections_refused_total", |worker| &worker.doors.over_limit);
    number("proxy_header_distrusted_total", |worker| {
        &worker.doors.proxy_distrusted
    });
    number("proxy_header_errors_total", |worker| &worker.doors.proxy_broken);
    number("tcp_denied_total", |worker| &worker.doors.tcp_denied);
    number("tcp_hello_errors_total", |worker| &worker.doors.hello_refused);
    number("tcp_sni_conn_total", |worker| &worker.tcp_sni_accepted);
    number("tcp_sni_connfail_total", |worker| {
        &worker.tcp_sni_connect_failures
    });
    number("tcp_sni_noroute_total", |worker| &worker.tcp_sni_no_route);
    number("tls_errors_total", |worker| &worker.doors.tls_failed);
}

fn services(workers: &[Arc<Counters>], families: &mut Families) {
    let mut took: BTreeMap<Arc<str>, Observed> = BTreeMap::new();
    let mut codes: BTreeMap<(Arc<str>, u16), u64> = BTreeMap::new();
    for (service, counters) in workers.iter().flat_map(|worker| worker.services()) {
        for (code, count) in counters.codes() {
            *codes.entry((service.clone(), code)).or_default() += count;
        }
        counters.took.add_to(took.entry(service).or_default());
    }
    for ((service, code), count) in codes {
        families.add(
            "http_status_total",
            &[&service, &code.to_string()],
            Value::Number(count),
        );
    }
    for (service, observed) in took {
        let seconds = std::time::Duration::from_nanos(observed.nanos).as_secs_f64();
        families.add(
            "requests_seconds",
            &[&service],
            Value::Times(&observed.buckets, seconds),
        );
    }
}

fn routes(table: &Table, families: &mut Families) {
    for route in table.routes() {
        for target in &route.targets {
            let counted = target.stats.snapshot();
            let labels = [&*target.service, &*route.host, &*route.path, &*target.addr];
            families.add(
                "route_seconds",
                &labels,
                Value::Times(&counted.buckets, counted.seconds),
            );
            families.add("route_rx_bytes_total", &labels, Value::Number(counted.rx));
            families.add("route_tx_bytes_total", &labels, Value::Number(counted.tx));
        }
    }
}

enum Value<'a> {
    Number(u64),
    /// Observations by bucket, not cumulative, and the sum of seconds.
    Times(&'a [u64], f64),
}

/// Metrics by name, without the prefix.
#[derive(Default)]
struct Families(BTreeMap<&'static str, Vec<Metric>>);

impl Families {
    fn number(&mut self, name: &'static str, count: u64) {
        self.add(name, &[], Value::Number(count));
    }

    fn add(&mut self, name: &'static str, labels: &[&str], value: Value<'_>) {
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
            (_, Value::Times(buckets, seconds)) => metric.set_histogram(histogram(buckets, seconds)),
        }
        self.0.entry(name).or_default().push(metric);
    }

    fn done(self) -> Vec<MetricFamily> {
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
        self.0.into_iter().filter_map(family).collect()
    }
}

fn named(name: &str) -> Option<&'static Row> {
    METRICS
        .iter()
        .find(|row| row.name.strip_prefix("lictor_lb_") == Some(name))
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn histogram(buckets: &[u64], seconds: f64) -> Histogram {
    let mut histogram = Histogram::default();
    let mut below = 0;
    let bounded = BUCKETS.iter().zip(buckets).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    histogram.set_bucket(bounded.collect());
    histogram.set_sample_count(buckets.iter().sum());
    histogram.set_sample_sum(seconds);
    histogram
}

#[cfg(test)]
mod tests;
