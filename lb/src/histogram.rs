//! Durations by size: buckets whose bounds are chosen once, at start. Pure.
//!
//! The bounds are all that anybody will ask for: those of `metrics.prometheus.buckets`, exactly, and, where a back
//! end wants quantiles or single observations, fine steps in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::config::Metrics;

/// Steps in each power of ten of the fine bounds: neighbours differ by a quarter.
const FINE: i32 = 10;

/// Upper bounds of buckets, seconds, ascending; above the last there is one more bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds(Arc<[f64]>);

impl Bounds {
    /// What these settings need.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Self {
        let mut bounds = metrics.buckets.clone();
        if metrics.targets.iter().any(|target| target.is_pushed()) {
            // From a tenth of a millisecond to a hundred seconds.
            bounds.extend((-4 * FINE..=2 * FINE).map(|step| 10_f64.powf(f64::from(step) / f64::from(FINE))));
        }
        bounds.retain(|bound| bound.is_finite());
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        Self(bounds.into())
    }

    /// The number of the bucket for such a time.
    pub(crate) fn bucket(&self, took: Duration) -> usize {
        let seconds = took.as_secs_f64();
        self.0.partition_point(|bound| *bound < seconds)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&Metrics::default())
    }
}

/// Counts by bucket. One writer; others may read at any time. Its bounds are passed to it: they are the same for all.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The last one is for everything beyond the bounds.
    buckets: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            buckets: (0..=bounds.0.len()).map(|_| AtomicU64::new(0)).collect(),
            nanos: AtomicU64::new(0),
        }
    }

    /// Only its one writer may call it: no locked instruction is spent.
    pub(crate) fn observe(&self, took: Duration, bounds: &Bounds) {
        bump(&self.buckets[bounds.bucket(took)], 1);
        bump(&self.nanos, nanos(took));
    }

    /// Adds what was observed to `sum`, which has the same bounds.
    pub(crate) fn add_to(&self, sum: &mut Observed) {
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        sum.nanos = sum.nanos.wrapping_add(self.nanos.load(Relaxed));
    }
}

/// As times are summed up.
pub(crate) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds to a counter that only the caller writes.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Histograms added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    bounds: Bounds,
    /// Not cumulative.
    buckets: Box<[u64]>,
    nanos: u64,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: bounds.clone(),
            buckets: vec![0; bounds.0.len() + 1].into(),
            nanos: 0,
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// How many took at most each of these bounds, which are among those it was made with. Ascending.
    #[must_use]
    pub fn at_most(&self, bounds: &[f64]) -> Vec<u64> {
        let mut counts = self.bounds.0.iter().zip(&self.buckets).peekable();
        let mut below = 0;
        bounds
            .iter()
            .map(|bound| {
                while let Some((_, count)) = counts.next_if(|(upper, _)| *upper <= bound) {
                    below += count;
                }
                below
            })
            .collect()
    }

    /// What came since `before`, an earlier sum of the same.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let mut since = self.clone();
        if let Some(before) = before {
            for (now, then) in since.buckets.iter_mut().zip(&before.buckets) {
                *now = now.saturating_sub(*then);
            }
            since.nanos = since.nanos.wrapping_sub(before.nanos);
        }
        since
    }

    /// Adds `count` observations of one bucket.
    pub(crate) fn add_bucket(&mut self, bucket: usize, count: u64, nanos: u64) {
        if let Some(sum) = self.buckets.get_mut(bucket) {
            *sum += count;
        }
        self.nanos = self.nanos.wrapping_add(nanos);
    }

    /// Adds another of the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// Seconds that this share of the observations, 0 to 1, did not exceed; `None` without observations. Inside a
    /// bucket they are taken to be spread evenly; beyond the bounds, to be at the last.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.bounds.0.iter().zip(&self.buckets) {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            lower = *upper;
        }
        (self.count() > 0).then_some(lower)
    }

    /// Buckets in which anything was observed: seconds typical of it, and how many.
    pub fn typical(&self) -> impl Iterator<Item = (f64, u64)> {
        let uppers = self.bounds.0.iter().copied();
        let lowers = std::iter::once(0.0).chain(self.bounds.0.iter().copied());
        let uppers = uppers.map(Some).chain([None]);
        lowers
            .zip(uppers)
            .zip(&self.buckets)
            .filter(|(_, count)| **count > 0)
            .map(|((lower, upper), count)| (upper.map_or(lower, |upper| f64::midpoint(lower, upper)), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MetricsTarget;

    fn observed(metrics: &Metrics, millis: &[u64]) -> Observed {
        let bounds = Bounds::of(metrics);
        let histogram = Histogram::new(&bounds);
        for millis in millis {
            histogram.observe(Duration::from_millis(*millis), &bounds);
        }
        let mut sum = Observed::new(&bounds);
        histogram.add_to(&mut sum);
        sum
    }

    fn fine() -> Metrics {
        Metrics {
            targets: vec![MetricsTarget::Graphite],
            buckets: vec![0.005, 0.3, 0.1],
            ..Metrics::default()
        }
    }

    #[test]
    fn configured_bounds_are_exact_however_fine_the_rest_is() {
        let sum = observed(&fine(), &[5, 6, 100, 101, 300, 301, 200_000]);
        assert_eq!(sum.at_most(&[0.005, 0.1, 0.3]), [1, 3, 5]);
        assert_eq!(sum.count(), 7);
        assert!((sum.seconds() - 200.813).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_within_a_quarter() {
        let sum = observed(&fine(), &(1..=1000).collect::<Vec<_>>());
        for (share, right) in [(0.5, 0.5), (0.9, 0.9), (0.95, 0.95), (0.99, 0.99)] {
            let guess = sum.quantile(share).unwrap();
            assert!((guess / right - 1.0).abs() < 0.13, "{share}: {guess}");
        }
        assert_eq!(Observed::new(&Bounds::default()).quantile(0.5), None);
        let beyond = observed(&fine(), &[500_000]);
        assert_eq!(beyond.quantile(0.99), Some(100.0));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let bounds = Bounds::default();
        let histogram = Histogram::new(&bounds);
        histogram.observe(Duration::from_millis(7), &bounds);
        let mut before = Observed::new(&bounds);
        histogram.add_to(&mut before);
        histogram.observe(Duration::from_millis(70), &bounds);
        let mut now = Observed::new(&bounds);
        histogram.add_to(&mut now);
        let since = now.since(Some(&before));
        assert_eq!(since.count(), 1);
        let typical: Vec<_> = since.typical().collect();
        assert!(
            matches!(typical[..], [(seconds, 1)] if (seconds - 0.075).abs() < 1e-9),
            "{typical:?}"
        );
        assert_eq!(now.since(None), now);
    }
}
