//! Metrics that are sent: at each interval what came since the last, to every back end of `metrics.target`.
//!
//! All of it is worked out from the counters, aside; requests know nothing of it, and a collector that is slow or
//! gone costs only what it would have been told, which is counted.

mod lines;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Metrics;
use super::fabio::{Sample, Value};
use super::naming::Naming;
use crate::config::{self, MetricsTarget};
use wire::{Stdout, Tcp, Udp};

/// Longest that one back end may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when we are about to end.
const GOODBYE: Duration = Duration::from_secs(1);

/// Sends until `stop`, and then what is left.
pub(crate) async fn run(
    metrics: Arc<Metrics>,
    settings: config::Metrics,
    naming: Naming,
    stop: CancellationToken,
) {
    let mut ends = ends(&settings);
    if ends.is_empty() {
        return stop.cancelled().await;
    }
    let period = settings.interval.max(Duration::from_millis(10));
    let patience = period.min(PATIENCE);
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tick.tick().await;
    let mut last = Last::default();
    loop {
        let patience = tokio::select! {
            _ = tick.tick() => patience,
            () = stop.cancelled() => GOODBYE,
        };
        let aside = metrics.clone();
        let sampled = tokio::task::spawn_blocking(move || {
            let news = last.take(aside.samples());
            (last, news)
        });
        // A panic there is ours; the next interval begins with a new memory.
        let Ok((kept, news)) = sampled.await else {
            metrics.push_failures.add(1);
            return tracing::error!("metrics are no longer sent: working them out panicked");
        };
        last = kept;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sending = ends.iter_mut().map(|end| {
            let mut lines = naming.lines(end.target, &news.changes, now.as_secs());
            if end.forgets() {
                lines.extend(naming.lines(end.target, &news.still, now.as_secs()));
            }
            end.send(&metrics, lines, patience)
        });
        join_all(sending).await;
        if stop.is_cancelled() {
            return;
        }
    }
}

fn ends(settings: &config::Metrics) -> Vec<End> {
    let end = |target: &MetricsTarget| {
        let wire = match target {
            MetricsTarget::Flat | MetricsTarget::Label => Wire::Stdout(Stdout::default()),
            MetricsTarget::StatsdRaw => Wire::Udp(Udp::to(settings.statsd.clone()?)),
            MetricsTarget::Dogstatsd => Wire::Udp(Udp::to(settings.dogstatsd.clone()?)),
            MetricsTarget::Graphite => Wire::Tcp(Tcp::to(settings.graphite.clone()?)),
            MetricsTarget::Prometheus => return None,
        };
        Some(End {
            target: *target,
            wire,
            failing: false,
        })
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
    /// Whether gauges that stand still are to be told again: it goes by the last interval alone, or has missed that.
    /// StatsD keeps what it was told.
    fn forgets(&self) -> bool {
        matches!(self.target, MetricsTarget::Dogstatsd | MetricsTarget::Graphite) || self.failing
    }

    async fn send(&mut self, metrics: &Metrics, lines: Vec<String>, patience: Duration) {
        let sending = async {
            match &mut self.wire {
                Wire::Stdout(stdout) => stdout.send(lines).await,
                Wire::Udp(udp) => udp.send(&lines).await,
                Wire::Tcp(tcp) => tcp.send(&lines).await,
            }
        };
        let sent = timeout(patience, sending)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
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
