//! What the process itself costs, under the names that Prometheus' own clients give it; read from `/proc` when somebody
//! asks. What cannot be read is left out. A few files are read here; the same of the metrics library needs two crates.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use rustix::process::{Resource, getrlimit};

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[
    (
        "process_cpu_seconds_total",
        "counter",
        &[],
        "Time on processors, the kernel's for this process included.",
    ),
    (
        "process_max_fds",
        "gauge",
        &[],
        "File descriptors that may be open.",
    ),
    (
        "process_open_fds",
        "gauge",
        &[],
        "File descriptors that are open.",
    ),
    ("process_resident_memory_bytes", "gauge", &[], "Memory in use."),
    (
        "process_start_time_seconds",
        "gauge",
        &[],
        "When the process started, seconds since 1970.",
    ),
    ("process_threads", "gauge", &[], "Threads."),
    (
        "process_virtual_memory_bytes",
        "gauge",
        &[],
        "Addresses that mean something, most of them without memory behind them.",
    ),
    (
        "process_virtual_memory_max_bytes",
        "gauge",
        &[],
        "Addresses that may mean something.",
    ),
];

/// Gives the figures to a registry.
struct Process {
    descs: Vec<Desc>,
    /// When the machine started, since 1970.
    boot: Option<Duration>,
}

/// Adds the metrics of [`METRICS`].
pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    let desc = |(name, _, _, help): &(&str, _, _, &str)| {
        Desc::new((*name).to_owned(), (*help).to_owned(), Vec::new(), HashMap::new())
    };
    registry.register(Box::new(Process {
        descs: METRICS.iter().map(desc).collect::<Result<_, _>>()?,
        boot: fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot),
    }))
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat");
        let stat = stat.ok().as_deref().and_then(Stat::read);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        // Looking takes one itself.
        let open = fs::read_dir("/proc/self/fd").map(|found| found.count().saturating_sub(1));
        let figures = [
            stat.map(|stat| stat.cpu as f64 / ticks),
            getrlimit(Resource::Nofile).current.map(|most| most as f64),
            open.ok().map(|open| open as f64),
            stat.map(|stat| stat.resident as f64 * page),
            stat.zip(self.boot)
                .map(|(stat, boot)| boot.as_secs_f64() + stat.start as f64 / ticks),
            stat.map(|stat| stat.threads as f64),
            stat.map(|stat| stat.size as f64),
            Some(getrlimit(Resource::As).current.unwrap_or(u64::MAX) as f64),
        ];
        let rows = METRICS.iter().zip(figures);
        rows.filter_map(|(row, figure)| Some(family(row, figure?)))
            .collect()
    }
}

fn family((name, kind, _, help): &(&str, &str, &[&str], &str), figure: f64) -> MetricFamily {
    let (mut family, mut metric) = (MetricFamily::default(), Metric::default());
    family.set_name((*name).to_owned());
    family.set_help((*help).to_owned());
    if *kind == "counter" {
        let mut counter = Counter::default();
        counter.set_value(figure);
        metric.set_counter(counter);
        family.set_field_type(MetricType::COUNTER);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(figure);
        metric.set_gauge(gauge);
        family.set_field_type(MetricType::GAUGE);
    }
    family.set_metric(vec![metric]);
    family
}

/// `/proc/self/stat`, what of it is shown; times in ticks, `start` after that of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    cpu: u64,
    threads: u64,
    start: u64,
    /// Bytes.
    size: u64,
    /// Pages.
    resident: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The name in brackets may hold anything; what follows the last one is numbers, from the third field on.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            start: field(22)?,
            size: field(23)?,
            resident: field(24)?,
        })
    }
}

/// When the machine started, by `/proc/stat`.
fn boot(text: &str) -> Option<Duration> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let text =
            "27811 (a) b) R 1 2 3 4 -1 5 102 0 0 0 70 7 0 0 20 0 3 0 116153 3133440 380 18446744073709551615";
        let stat = Stat {
            cpu: 77,
            threads: 3,
            start: 116_153,
            size: 3_133_440,
            resident: 380,
        };
        assert_eq!(Stat::read(text), Some(stat));
        assert_eq!(Stat::read("27811 (cat) R 1"), None);
        assert_eq!(
            boot("cpu 1 2\nbtime 1700000000\n"),
            Some(Duration::from_secs(1_700_000_000))
        );
    }

    #[test]
    fn this_process_shows_every_figure_and_none_that_cannot_be() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let shown: HashMap<String, f64> = registry
            .gather()
            .iter()
            .map(|family| {
                let metric = &family.get_metric()[0];
                let figure = metric.get_counter().get_value() + metric.get_gauge().get_value();
                (family.name().to_owned(), figure)
            })
            .collect();
        assert!(
            METRICS.iter().all(|(name, ..)| shown.contains_key(*name)),
            "{shown:?}"
        );
        let figure = |name: &str| shown[&format!("process_{name}")];
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let started = figure("start_time_seconds");
        assert!(started > now - 7200.0 && started < now + 2.0, "{started} {now}");
        assert!(figure("open_fds") >= 3.0 && figure("open_fds") <= figure("max_fds"));
        assert!(figure("resident_memory_bytes") > 1e6);
        assert!(figure("virtual_memory_bytes") > figure("resident_memory_bytes"));
        assert!(figure("threads") >= 2.0);
    }
}
