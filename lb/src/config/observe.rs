//! What is told of the traffic: access log, metrics, traces, changes of the table.

use std::path::PathBuf;
use std::time::Duration;

use super::{BadValue, Secret, words};
use crate::access_log::Format;
use crate::metrics::{NAME_FIELDS, PREFIX_FIELDS, Template};

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

/// `log.access.target`: `stdout`, `file:<path>`, `syslog`, `syslog:udp://host:port` or `syslog:/path`; a file is renamed
/// at `max_size` bytes, and `keep` of those are kept.
pub fn parse_log_target(text: &str, max_size: Option<u64>, keep: u32) -> Result<LogTarget, BadValue> {
    let bad = || {
        BadValue::new(
            format!("invalid access log target {text}"),
            "it is stdout, file:<path>, syslog, syslog:udp://<host>:<port> or syslog:/path",
        )
    };
    match text.split_once(':') {
        None if text == "stdout" => Ok(LogTarget::Stdout),
        None if text == "syslog" => Ok(LogTarget::Syslog(String::new())),
        Some(("file", path)) if !path.is_empty() => Ok(LogTarget::File {
            path: PathBuf::from(path),
            max_size,
            keep,
        }),
        Some(("syslog", place)) if place.starts_with('/') => Ok(LogTarget::Syslog(place.to_owned())),
        Some(("syslog", place)) => match place.strip_prefix("udp://").map(parse_remote) {
            Some(Ok(_)) => Ok(LogTarget::Syslog(place.to_owned())),
            _ => Err(bad()),
        },
        _ => Err(bad()),
    }
}

/// `log.access.format`: `common`, `combined`, `json`, or a pattern of `$fields`.
pub fn parse_log_format(text: &str) -> Result<String, BadValue> {
    match Format::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(bad) => Err(BadValue::new(
            bad.to_string(),
            "it is common, combined, json, or a pattern of $fields",
        )),
    }
}

/// `metrics.prefix`: a Go template.
pub fn parse_prefix(text: &str) -> Result<String, BadValue> {
    Template::parse("metrics.prefix", text, PREFIX_FIELDS).map(|_| text.to_owned())
}

/// `metrics.names`: a Go template.
pub fn parse_names(text: &str) -> Result<String, BadValue> {
    Template::parse("metrics.names", text, NAME_FIELDS).map(|_| text.to_owned())
}

/// `metrics.target`: a comma-separated list.
pub fn parse_metrics_targets(text: &str) -> Result<Vec<MetricsTarget>, Vec<BadValue>> {
    let right = "it is a list of stdout, flat, label, statsd_raw, dogstatsd, graphite, prometheus";
    let mut targets = Vec::new();
    let mut faults = Vec::new();
    for word in words(text) {
        let target = match word {
            "stdout" | "flat" => MetricsTarget::Flat,
            "label" => MetricsTarget::Label,
            "statsd_raw" => MetricsTarget::StatsdRaw,
            "dogstatsd" => MetricsTarget::Dogstatsd,
            "graphite" => MetricsTarget::Graphite,
            "prometheus" => MetricsTarget::Prometheus,
            "statsd" => {
                faults.push(BadValue::new(
                    "statsd support has been removed in favor of statsd_raw",
                    "write statsd_raw",
                ));
                continue;
            }
            "circonus" => {
                faults.push(BadValue::new(
                    "metrics target circonus is refused",
                    "use prometheus, or dogstatsd to an agent that forwards",
                ));
                continue;
            }
            other => {
                faults.push(BadValue::new(format!("invalid metrics target {other}"), right));
                continue;
            }
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if faults.is_empty() {
        Ok(targets)
    } else {
        Err(faults)
    }
}

/// Where to send: `host:port`.
pub fn parse_remote(text: &str) -> Result<String, BadValue> {
    let authority: Option<hyper::http::uri::Authority> = text.parse().ok();
    match authority {
        Some(known) if !known.host().is_empty() && known.port_u16().is_some() && !text.contains('@') => {
            Ok(text.to_owned())
        }
        _ => Err(BadValue::new(
            format!("'{text}' is no address"),
            "it is host:port",
        )),
    }
}

/// `metrics.prometheus.buckets`: upper bounds in seconds, above 0 and ascending.
pub fn parse_buckets(text: &str) -> Result<Vec<f64>, BadValue> {
    let bad =
        |problem: String| BadValue::new(problem, "they are seconds, ascending, for example .005,.1,1,10");
    let number = |word: &str| match word.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(bad(format!("metrics.prometheus.buckets: '{word}' is no time"))),
    };
    let buckets: Vec<f64> = words(text).map(number).collect::<Result<_, _>>()?;
    if buckets.is_empty() || buckets.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(bad(format!(
            "metrics.prometheus.buckets: '{text}' does not ascend"
        )));
    }
    Ok(buckets)
}

/// `tracing.otlp.endpoint`: an HTTP URL.
pub fn parse_collector(text: &str) -> Result<String, BadValue> {
    let uri: Option<hyper::Uri> = text.parse().ok();
    let known =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if known {
        return Ok(text.to_owned());
    }
    Err(BadValue::new(
        format!("'{text}' is no collector"),
        "it is a URL, for example http://localhost:4318/v1/traces",
    ))
}
