//! Metrics as lines of text, as each back end reads them. Pure.

use std::fmt::Write as _;

use super::super::fabio::{Sample, Value};
use super::super::naming::Naming;
use super::super::template::clean;
use crate::authority;
use crate::config::MetricsTarget;
use crate::histogram::Observed;

/// Tags that mean something of their own to Datadog; fabio gives them another name, too.
const RESERVED: [&str; 6] = ["host", "device", "source", "service", "env", "version"];
/// Quantiles of a graphite histogram.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

impl Naming {
    /// A line for each number.
    pub(super) fn lines(&self, target: MetricsTarget, samples: &[Sample], now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for sample in samples {
            match target {
                MetricsTarget::Graphite => graphite(&self.flat(sample), &sample.value, now, &mut lines),
                MetricsTarget::Label => {
                    statsd(&self.whole(sample.name), sample, &tags(sample, &[]), &mut lines);
                }
                MetricsTarget::Dogstatsd => {
                    statsd(
                        &self.whole(sample.name),
                        sample,
                        &tags(sample, &RESERVED),
                        &mut lines,
                    );
                }
                _ => statsd(&self.flat(sample), sample, "", &mut lines),
            }
        }
        lines
    }

    /// Labels are part of the name.
    fn flat(&self, sample: &Sample) -> String {
        if let Some(kind) = sample.name.strip_prefix("route") {
            let route = self.route.render(|field| route_field(sample, field));
            return self.whole(&format!("{route}{kind}"));
        }
        let mut name = sample.name.to_owned();
        for (label, value) in &sample.labels {
            let _ = write!(name, ".{label}.{}", clean(value));
        }
        self.whole(&name)
    }

    fn whole(&self, name: &str) -> String {
        let name = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        };
        // Whatever a stranger's tag holds, a line stays one line with its fields.
        name.chars().map(|char| plain(char, ":|@#")).collect()
    }
}

fn route_field(sample: &Sample, field: &str) -> String {
    let label = |wanted: &str| {
        let found = sample.labels.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, value)| &**value)
    };
    let target = label("target");
    let scheme = if sample.name == "route" { "http" } else { "tcp" };
    match field {
        "Service" => label("service").to_owned(),
        "Host" => label("host").to_owned(),
        "Path" => label("path").to_owned(),
        "TargetURL.Scheme" => scheme.to_owned(),
        "TargetURL.Host" => target.to_owned(),
        "TargetURL.Hostname" => authority::name(target).to_owned(),
        "TargetURL.Port" => authority::split(target).1.unwrap_or_default().to_owned(),
        "TargetURL.Path" => String::new(),
        _ => format!("{scheme}://{target}"),
    }
}

/// `|#name:value,…`; nothing without labels.
fn tags(sample: &Sample, reserved: &[&str]) -> String {
    let mut tags = String::new();
    for (label, value) in &sample.labels {
        let before = if tags.is_empty() { "|#" } else { "," };
        let fabio = if reserved.contains(label) { "fabio-" } else { "" };
        let value: String = value.chars().map(|char| plain(char, "|,#")).collect();
        let _ = write!(tags, "{before}{fabio}{label}:{value}");
    }
    tags
}

fn plain(char: char, special: &str) -> char {
    if char.is_control() || char.is_whitespace() || special.contains(char) {
        '_'
    } else {
        char
    }
}

/// A counter as its difference; times as typical ones, each with the rate that says for how many it stands.
fn statsd(name: &str, sample: &Sample, tags: &str, lines: &mut Vec<String>) {
    match &sample.value {
        Value::Counter(count) => lines.push(format!("{name}:{count}|c{tags}")),
        Value::Gauge(count) => lines.push(format!("{name}:{count}|g{tags}")),
        Value::Times(times) => {
            let correction = correction(times);
            for (seconds, count) in times.typical() {
                let millis = millis(seconds * correction);
                let rate = match count {
                    1 => String::new(),
                    count => format!("|@{}", 1.0 / count as f64),
                };
                lines.push(format!("{name}:{millis}|ms{rate}{tags}"));
            }
        }
    }
}

/// Makes the mean of the typical times that of the real ones, where it is only a matter of places within buckets.
fn correction(times: &Observed) -> f64 {
    let typical: f64 = times
        .typical()
        .map(|(seconds, count)| seconds * count as f64)
        .sum();
    let factor = times.seconds() / typical;
    if (0.75..=1.34).contains(&factor) {
        factor
    } else {
        1.0
    }
}

fn graphite(name: &str, value: &Value, now: u64, lines: &mut Vec<String>) {
    match value {
        Value::Counter(count) | Value::Gauge(count) => lines.push(format!("{name} {count} {now}")),
        Value::Times(times) => {
            for (quantile, share) in QUANTILES {
                if let Some(seconds) = times.quantile(share) {
                    lines.push(format!("{name}.{quantile} {} {now}", millis(seconds)));
                }
            }
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}
