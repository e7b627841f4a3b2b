//! The same counts under fabio's names: what `metrics.target` sends anywhere, and what Prometheus finds below the
//! namespace made of `metrics.prefix`.
//!
//! Series are made of the table of the moment, so those of a target that left are gone with it.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

use super::naming::{Naming, spelled};
use super::scrape::{GRPC_CODES, Totals, histogram, label};
use super::{Kind, Metrics};
use crate::config::{Config, MetricsTarget, Proto};
use crate::histogram::Observed;
use crate::table::options::Scheme;
use crate::table::{Route, Table, Target};

/// Which listeners bring a metric into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// That read requests.
    Http,
    /// That pass on by port.
    Tcp,
    /// That pass on by server name.
    Sni,
    /// That pass bytes on unread.
    Bytes,
    /// That were made for gRPC.
    Grpc,
}

impl Group {
    /// Their protocols, for people.
    #[must_use]
    pub fn listeners(self) -> String {
        let listed = Proto::ALL.iter().filter(|proto| self.has(**proto));
        listed.map(|proto| proto.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn has(self, proto: Proto) -> bool {
        use Proto::{Grpc, Grpcs, Http, Https, HttpsTcpSni, Tcp, TcpDynamic, TcpSni};
        match self {
            Self::Http => matches!(proto, Http | Https | HttpsTcpSni | Grpc | Grpcs),
            Self::Tcp => matches!(proto, Tcp | TcpDynamic),
            Self::Sni => matches!(proto, TcpSni | HttpsTcpSni),
            Self::Bytes => matches!(proto, Tcp | TcpDynamic | TcpSni | HttpsTcpSni),
            Self::Grpc => matches!(proto, Grpc | Grpcs),
        }
    }
}

/// One of fabio's metrics.
#[derive(Clone, Copy, Debug)]
pub struct FabioRow {
    /// fabio's name.
    pub name: &'static str,
    /// What kind of number; histograms are of seconds.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Listeners that bring it into being.
    pub group: Group,
    /// What it counts.
    pub help: &'static str,
}

const ROUTE: &[&str] = &["service", "host", "path", "target"];

/// All of them, in the order of fabio's documentation.
pub const FABIO: &[FabioRow] = &[
    row(
        "requests",
        Kind::Histogram,
        &["service"],
        Group::Http,
        "Requests sent to a service.",
    ),
    row(
        "http.status",
        Kind::Histogram,
        &["code", "service"],
        Group::Http,
        "The same by status.",
    ),
    row(
        "http.redirect.count",
        Kind::Counter,
        &["code"],
        Group::Http,
        "Redirects answered.",
    ),
    row(
        "notfound",
        Kind::Counter,
        &[],
        Group::Http,
        "Requests and connections that no route wants.",
    ),
    row(
        "ws.conn",
        Kind::Gauge,
        &[],
        Group::Http,
        "Open tunnels: WebSockets and other upgrades.",
    ),
    row(
        "route",
        Kind::Histogram,
        ROUTE,
        Group::Http,
        "Requests sent to a target.",
    ),
    row(
        "route.rx",
        Kind::Counter,
        ROUTE,
        Group::Bytes,
        "Bytes from a target to clients.",
    ),
    row(
        "route.tx",
        Kind::Counter,
        ROUTE,
        Group::Bytes,
        "Bytes from clients to a target.",
    ),
    row(
        "tcp.conn",
        Kind::Counter,
        &[],
        Group::Tcp,
        "Connections accepted.",
    ),
    row(
        "tcp.connfail",
        Kind::Counter,
        &[],
        Group::Tcp,
        "Connections for which no target could be reached.",
    ),
    row(
        "tcp.noroute",
        Kind::Counter,
        &[],
        Group::Tcp,
        "Connections without a route.",
    ),
    row(
        "tcp_sni.conn",
        Kind::Counter,
        &[],
        Group::Sni,
        "Connections accepted.",
    ),
    row(
        "tcp_sni.connfail",
        Kind::Counter,
        &[],
        Group::Sni,
        "Connections for which no target could be reached.",
    ),
    row(
        "tcp_sni.noroute",
        Kind::Counter,
        &[],
        Group::Sni,
        "Connections without a route.",
    ),
    row(
        "grpc.conn",
        Kind::Counter,
        &[],
        Group::Grpc,
        "Connections accepted.",
    ),
    row(
        "grpc.noroute",
        Kind::Counter,
        &[],
        Group::Grpc,
        "Calls that no route wants.",
    ),
    row("grpc.requests", Kind::Histogram, &[], Group::Grpc, "Calls."),
    row(
        "grpc.status",
        Kind::Histogram,
        &["code"],
        Group::Grpc,
        "Calls by status, as text.",
    ),
    row(
        "grep.status",
        Kind::Histogram,
        &["code"],
        Group::Grpc,
        "The same under the name that fabio gives it.",
    ),
];

const fn row(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    group: Group,
    help: &'static str,
) -> FabioRow {
    FabioRow {
        name,
        kind,
        labels,
        group,
        help,
    }
}

/// One series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub name: &'static str,
    /// In the order of the row.
    pub labels: Vec<(&'static str, Arc<str>)>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Counter(u64),
    Gauge(u64),
    Times(Observed),
}

impl Metrics {
    /// Every series of the kinds of listeners that there are.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let workers = self.workers().clone();
        let count = |counted: fn(&super::Counters) -> u64| workers.iter().map(|worker| counted(worker)).sum();
        let totals = Totals::of(self, &workers);
        let mut samples = Samples {
            metrics: self,
            all: Vec::new(),
        };
        for (service, times) in &totals.took {
            samples.add("requests", [service.clone()], || Value::Times(times.clone()));
        }
        for ((service, code), times) in &totals.codes {
            let labels = [code.to_string().into(), service.clone()];
            samples.add("http.status", labels, || Value::Times(times.clone()));
        }
        for (code, number) in &totals.redirects {
            samples.add("http.redirect.count", [code.to_string().into()], || {
                Value::Counter(*number)
            });
        }
        let lost = |worker: &super::Counters| {
            worker.not_found.get() + worker.tcp_no_route.get() + worker.tcp_sni_no_route.get()
        };
        samples.counter("notfound", count(lost));
        let open = count(|worker| worker.tunnels.get());
        samples.add("ws.conn", [], || Value::Gauge(open));
        samples.counter("tcp.conn", count(|worker| worker.tcp_accepted.get()));
        samples.counter("tcp.connfail", count(|worker| worker.tcp_connect_failures.get()));
        samples.counter("tcp.noroute", count(|worker| worker.tcp_no_route.get()));
        samples.counter("tcp_sni.conn", count(|worker| worker.tcp_sni_accepted.get()));
        samples.counter(
            "tcp_sni.connfail",
            count(|worker| worker.tcp_sni_connect_failures.get()),
        );
        samples.counter("tcp_sni.noroute", count(|worker| worker.tcp_sni_no_route.get()));
        samples.counter("grpc.conn", count(|worker| worker.grpc.accepted.get()));
        samples.counter("grpc.noroute", count(|worker| worker.grpc.no_route.get()));
        samples.add("grpc.requests", [], || Value::Times(totals.grpc.clone()));
        for (code, times) in &totals.grpc_codes {
            for name in ["grpc.status", "grep.status"] {
                samples.add(name, [GRPC_CODES[*code].into()], || Value::Times(times.clone()));
            }
        }
        samples.routes(&self.table.load());
        samples.all
    }
}

struct Samples<'a> {
    metrics: &'a Metrics,
    all: Vec<Sample>,
}

impl Samples<'_> {
    fn counter(&mut self, name: &str, count: u64) {
        self.add(name, [], || Value::Counter(count));
    }

    fn add<const N: usize>(&mut self, name: &str, labels: [Arc<str>; N], value: impl FnOnce() -> Value) {
        if let Some(row) = self.metrics.fabio.iter().find(|row| row.name == name) {
            self.all.push(Sample {
                name: row.name,
                labels: row.labels.iter().copied().zip(labels).collect(),
                value: value(),
            });
        }
    }

    fn routes(&mut self, table: &Table) {
        for route in table.routes() {
            for target in route.counted() {
                self.target(route, target);
            }
        }
    }

    fn target(&mut self, route: &Route, target: &Target) {
        let counted = target.stats.snapshot(&self.metrics.bounds);
        let labels = || {
            [
                target.part.service.clone(),
                route.host.clone(),
                route.path.clone(),
                target.addr.clone(),
            ]
        };
        if target.options.scheme == Scheme::Tcp {
            self.add("route.rx", labels(), || Value::Counter(counted.rx));
            self.add("route.tx", labels(), || Value::Counter(counted.tx));
        } else {
            self.add("route", labels(), || Value::Times(counted.times));
        }
    }
}

/// The rows of these listeners.
pub(super) fn rows(config: &Config) -> Vec<&'static FabioRow> {
    let listens = |group: Group| config.listeners.iter().any(|listener| group.has(listener.proto));
    FABIO.iter().filter(|row| listens(row.group)).collect()
}

/// Gives the counts to a Prometheus registry under fabio's names.
#[derive(Clone, Debug)]
pub(crate) struct FabioScrape {
    metrics: Arc<Metrics>,
    /// What all names begin with.
    namespace: String,
    /// By which the registry tells it from other collectors.
    desc: Desc,
}

impl FabioScrape {
    /// `None`: not asked for.
    ///
    /// # Errors
    /// None that an operator could cause: every prefix can be spelled.
    pub(crate) fn of(
        config: &Config,
        metrics: &Arc<Metrics>,
        naming: &Naming,
    ) -> Result<Option<Self>, prometheus::Error> {
        let wanted = config.metrics.targets.contains(&MetricsTarget::Prometheus);
        if !wanted {
            return Ok(None);
        }
        let namespace = naming.namespace(&config.metrics.subsystem);
        Ok(Some(Self {
            desc: Desc::new(
                whole(&namespace, "requests"),
                "See each of them.".to_owned(),
                Vec::new(),
                HashMap::new(),
            )?,
            namespace,
            metrics: metrics.clone(),
        }))
    }

    fn metric(&self, sample: &Sample) -> Metric {
        let labels = sample.labels.iter();
        let mut metric = Metric::from_label(labels.map(|(name, value)| label(name, value)).collect());
        match &sample.value {
            Value::Counter(count) => {
                let mut counter = Counter::default();
                counter.set_value(*count as f64);
                metric.set_counter(counter);
            }
            Value::Gauge(count) => {
                let mut gauge = Gauge::default();
                gauge.set_value(*count as f64);
                metric.set_gauge(gauge);
            }
            Value::Times(times) => metric.set_histogram(histogram(times, &self.metrics.buckets)),
        }
        metric
    }
}

impl Collector for FabioScrape {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let samples = self.metrics.samples();
        let family = |row: &&FabioRow| {
            let metrics: Vec<_> = samples
                .iter()
                .filter(|sample| sample.name == row.name)
                .map(|sample| self.metric(sample))
                .collect();
            let mut family = MetricFamily::default();
            family.set_name(whole(&self.namespace, row.name));
            family.set_help(row.help.to_owned());
            family.set_field_type(match row.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            let any = !metrics.is_empty();
            family.set_metric(metrics);
            any.then_some(family)
        };
        self.metrics.fabio.iter().filter_map(family).collect()
    }
}

fn whole(namespace: &str, name: &str) -> String {
    let name = format!("{namespace}{}", spelled(name));
    // A name cannot begin with a digit.
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}
