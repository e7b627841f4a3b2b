//! What is done when instances fail (`proxy.retry.*`, `proxy.outlier.*`). Not fabio's, which does nothing.

use std::time::Duration;

/// Requests that are sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// `proxy.retry.attempts`: targets that one request may be sent to in all, those that refuse at once not counted.
    pub attempts: u8,
    /// `proxy.retry.budget`: share of a worker's requests that may be retries, 0 to 1, beside ten a second.
    pub budget: f64,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 3,
            budget: 0.2,
        }
    }
}

/// Instances that fail are passed over for a while, and come back slowly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outliers {
    /// `proxy.outlier.failures`: failures in a row that eject; 0 switches it off.
    pub failures: u32,
    /// `proxy.outlier.time`: length of the first ejection; doubled with each one in a row.
    pub time: Duration,
    /// `proxy.outlier.maxtime`: longest ejection.
    pub max_time: Duration,
    /// `proxy.outlier.max`: share of a route's targets that may be ejected at the same time, 0 to 1. At least one
    /// always goes on.
    pub max_share: f64,
    /// `proxy.outlier.slowstart`: time over which a returned instance comes back to its full share.
    pub slow_start: Duration,
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            failures: 5,
            time: Duration::from_secs(1),
            max_time: Duration::from_secs(60),
            max_share: 0.5,
            slow_start: Duration::from_secs(10),
        }
    }
}
