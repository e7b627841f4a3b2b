//! Metrics that are sent: at each interval what came since the last, to every back end of `metrics.target`.
//!
//! All of it is worked out from the counters, aside; requests know nothing of it, and a collector that is slow or
//! gone costs only what it would have been told, which is counted.

mod lines;
mod wire;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::fabio::{Sample, Value};
use super::naming::Naming;
use crate::config::{self, MetricsTarget};
use wire::{Names, Stdout, Tcp, Udp};

/// Longest that one back end may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when we are about to end.
const GOODBYE: Duration = Duration::from_secs(1);
/// What is under way when we are told to end has this long left, so that what came since is told as well.
const HURRY: Duration = Duration::from_millis(500);

/// Sends until `stop`, and then what is left.
pub(crate) async fn run(
    metrics: Arc<Metrics>,
    settings: config::Metrics,
    naming: Naming,
    stop: CancellationToken,
) {
    let ends = ends(&settings);
    if ends.is_empty() {
        return stop.cancelled().await;
    }
    let period = settings.interval.max(Duration::from_millis(10));
    send_all(ends, &metrics, &naming, (period, &stop)).await;
}

/// Each by itself, with its own memory of the last interval: none waits for another one, least of all at the end.
async fn send_all(
    ends: Vec<End>,
    metrics: &Arc<Metrics>,
    naming: &Naming,
    times: (Duration, &CancellationToken),
) {
    let running = ends.into_iter().map(|end| end.run(metrics, naming, times));
    join_all(running).await;
}

fn ends(settings: &config::Metrics) -> Vec<End> {
    let end = |target: &MetricsTarget| {
        let names = |addr: &Option<String>| addr.clone().map(Names::of);
        let wire = match target {
            MetricsTarget::Flat | MetricsTarget::Label => Wire::Stdout(Stdout::default()),
            MetricsTarget::StatsdRaw => Wire::Udp(Udp::to(names(&settings.statsd)?)),
            MetricsTarget::Dogstatsd => Wire::Udp(Udp::to(names(&settings.dogstatsd)?)),
            MetricsTarget::Graphite => Wire::Tcp(Tcp::to(names(&settings.graphite)?)),
            MetricsTarget::Prometheus => return None,
        };
        Some(End::new(*target, wire))
    };
    settings.targets.iter().filter_map(end).collect()
}

/// One back end.
struct End {
    target: MetricsTarget,
    wire: Wire,
    /// The last sending failed, which was said.
    failing: bool,
}

enum Wire {
    Stdout(Stdout),
    Udp(Udp),
    Tcp(Tcp),
}

impl End {
    fn new(target: MetricsTarget, wire: Wire) -> Self {
        Self {
            target,
            wire,
            failing: false,
        }
    }

    /// The last round is one that begins when `stop` is known, so that it tells of everything.
    async fn run(
        mut self,
        metrics: &Arc<Metrics>,
        naming: &Naming,
        (period, stop): (Duration, &CancellationToken),
    ) {
        let patience = period.min(PATIENCE);
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tick.tick().await;
        let mut last = Last::default();
        loop {
            let is_last = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                _ = tick.tick() => false,
            };
            let aside = metrics.clone();
            let sampled = tokio::task::spawn_blocking(move || {
                let news = last.take(aside.samples());
                (last, news)
            });
            let Ok((kept, news)) = sampled.await else {
                metrics.push_failures.add(1);
                return tracing::error!("metrics are no longer sent: working them out panicked");
            };
            last = kept;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut lines = naming.lines(self.target, &news.changes, now.as_secs());
            if self.forgets() {
                lines.extend(naming.lines(self.target, &news.still, now.as_secs()));
            }
            self.send(metrics, lines, (patience, stop)).await;
            if is_last {
                return;
            }
        }
    }

    /// Whether gauges that stand still are to be told again: it goes by the last interval alone, or has missed that.
    /// StatsD keeps what it was told.
    fn forgets(&self) -> bool {
        matches!(self.target, MetricsTarget::Dogstatsd | MetricsTarget::Graphite) || self.failing
    }

    /// Waits for `patience`, and less from when it is `stop`.
    async fn send(
        &mut self,
        metrics: &Metrics,
        lines: Vec<String>,
        (patience, stop): (Duration, &CancellationToken),
    ) {
        let is_last = stop.is_cancelled();
        let patience = if is_last { GOODBYE } else { patience };
        let sending = async {
            match &mut self.wire {
                Wire::Stdout(stdout) => stdout.send(lines).await,
                Wire::Udp(udp) => udp.send(&lines, patience).await,
                Wire::Tcp(tcp) => tcp.send(&lines, patience).await,
            }
        };
        let hurried = async {
            stop.cancelled().await;
            sleep(if is_last { GOODBYE } else { HURRY }).await;
        };
        let sent = tokio::select! {
            sent = sending => sent,
            () = sleep(patience) => Err(ErrorKind::TimedOut.into()),
            () = hurried => Err(ErrorKind::TimedOut.into()),
        };
        match sent {
            Ok(()) => self.failing = false,
            Err(error) => {
                if let Wire::Tcp(tcp) = &mut self.wire {
                    tcp.close();
                }
                metrics.push_failures.add(1);
                // Once, not at every interval.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(target = ?self.target, %error, "metrics of an interval are lost");
                }
            }
        }
    }
}

type Key = (&'static str, Vec<(&'static str, Arc<str>)>);

/// What was there at the last interval.
#[derive(Default)]
struct Last(HashMap<Key, Value>);

/// What an interval brought.
#[derive(Default)]
struct News {
    /// Counters and times as differences.
    changes: Vec<Sample>,
    /// Gauges that are as they were.
    still: Vec<Sample>,
}

impl Last {
    /// What came since. Nothing is said of counters and times that stand still.
    fn take(&mut self, samples: Vec<Sample>) -> News {
        let mut before = std::mem::take(&mut self.0);
        let mut news = News::default();
        for sample in samples {
            let key = (sample.name, sample.labels);
            let then = before.remove(&key);
            let stands_still = then.as_ref() == Some(&sample.value);
            let value = match (&sample.value, then) {
                (Value::Counter(now), Some(Value::Counter(then))) => Value::Counter(now.saturating_sub(then)),
                (Value::Times(now), Some(Value::Times(then))) => Value::Times(now.since(Some(&then))),
                (now, _) => now.clone(),
            };
            let matters = match &value {
                Value::Counter(count) => *count > 0,
                Value::Gauge(_) => true,
                Value::Times(times) => times.count() > 0,
            };
            if matters {
                let told = if stands_still {
                    &mut news.still
                } else {
                    &mut news.changes
                };
                told.push(Sample {
                    name: key.0,
                    labels: key.1.clone(),
                    value,
                });
            }
            self.0.insert(key, sample.value);
        }
        news
    }
}

#[cfg(test)]
mod tests;
