//! What is told of the traffic: access log, metrics, traces, changes of the table.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// The access log (`log.access.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// `log.access.format`: `common`, `combined`, `json`, or a pattern of `$fields`.
    pub format: String,
    /// `log.access.target`.
    pub target: LogTarget,
}

impl AccessLog {
    /// To standard output.
    #[must_use]
    pub fn stdout(format: impl Into<String>) -> Self {
        Self {
            format: format.into(),
            target: LogTarget::Stdout,
        }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// `stdout`.
    Stdout,
    /// `file:<path>`: opened again on SIGHUP and SIGUSR1, and by ourselves at the size given.
    File {
        /// The file.
        path: PathBuf,
        /// `log.access.maxsize`: bytes at which it is renamed to `<path>.1` and begun anew; `None`: never.
        max_size: Option<u64>,
        /// `log.access.keep`: renamed files that are kept.
        keep: u32,
    },
    /// `syslog` (the machine's, `/dev/log`), `syslog:udp://host:port` or `syslog:/path`.
    Syslog(String),
}

/// How changes of the table are logged (`log.routes.format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoutesLog {
    /// Lines that came and went.
    #[default]
    Delta,
    /// The whole table.
    All,
    /// The whole table as a tree.
    Detail,
}

/// Metrics that are sent somewhere, beside those that can be scraped (`metrics.*`).
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// `metrics.target`.
    pub targets: Vec<MetricsTarget>,
    /// `metrics.prefix`: a Go template; `default` and `{{clean .Hostname}}.{{clean .Exec}}` are the same.
    pub prefix: String,
    /// `metrics.names`: a Go template of a route's name in flat back ends.
    pub names: String,
    /// `metrics.interval`: time between two sendings.
    pub interval: Duration,
    /// `metrics.graphite.addr`.
    pub graphite: Option<String>,
    /// `metrics.statsd.addr`.
    pub statsd: Option<String>,
    /// `metrics.dogstatsd.addr`.
    pub dogstatsd: Option<String>,
    /// `metrics.prometheus.subsystem`.
    pub subsystem: String,
    /// `metrics.prometheus.path`.
    pub path: String,
    /// `metrics.prometheus.buckets`: upper bounds, seconds, ascending.
    pub buckets: Vec<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            prefix: "{{clean .Hostname}}.{{clean .Exec}}".to_owned(),
            names: "{{clean .Service}}.{{clean .Host}}.{{clean .Path}}.{{clean .TargetURL.Host}}".to_owned(),
            interval: Duration::from_secs(30),
            graphite: None,
            statsd: None,
            dogstatsd: None,
            subsystem: String::new(),
            path: "/metrics".to_owned(),
            buckets: vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
        }
    }
}

/// A way to send metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsTarget {
    /// `stdout`, `flat`: a line an event.
    Flat,
    /// `label`: the same, with labels as tags.
    Label,
    /// `statsd_raw`: UDP.
    StatsdRaw,
    /// `dogstatsd`: UDP, with tags.
    Dogstatsd,
    /// `graphite`: TCP, plain text.
    Graphite,
    /// `prometheus`: under fabio's names, on `proto=prometheus` listeners and the admin port.
    Prometheus,
}

impl MetricsTarget {
    /// We send, rather than being asked.
    #[must_use]
    pub fn is_pushed(self) -> bool {
        self != Self::Prometheus
    }
}

/// Traces (`tracing.*`), with fabio's names of up to 1.6 where they still mean something.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// `tracing.otlp.endpoint`: URL of a collector that takes OTLP over HTTP; `None`: nothing is exported, while trace
    /// headers are passed on all the same.
    pub endpoint: Option<String>,
    /// `tracing.otlp.header`: `Name: value` of each export.
    pub header: Option<(String, Secret)>,
    /// `tracing.ServiceName`.
    pub service: String,
    /// `tracing.SamplerRate`: share of requests without a trace of their own that begin one, 0 to 1. What a client has
    /// decided stays.
    pub rate: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            header: None,
            service: "Fabiolb".to_owned(),
            rate: 0.0,
        }
    }
}
