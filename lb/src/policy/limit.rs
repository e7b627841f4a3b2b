//! What all clients together may ask of a route. Pure: time is an argument.
//!
//! A [`Spent`] belongs to its route and goes on over changes of the table. It is shared by all workers, since a limit
//! that each core kept for itself would mean another one on every machine: one atomic for each request of a route
//! that asks for it, and none for others. What a limit is comes with each request, so another one counts at once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::table::options::Rate;

mod clients;

pub(crate) use clients::Clients;

/// Time since some moment in the past, the same for all that is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Now(pub Duration);

impl Now {
    fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What was taken of a route's limits.
#[derive(Debug, Default)]
pub struct Spent {
    all: Bucket,
    clients: OnceLock<Box<Clients>>,
    in_flight: AtomicU32,
}

impl Spent {
    /// Takes one token; refused, how long until there is one.
    pub(crate) fn take(&self, rate: &Rate, client: IpAddr, now: Now) -> Result<(), Duration> {
        if rate.by_client {
            let clients = self.clients.get_or_init(Box::default);
            clients.take(client, rate, now)
        } else {
            self.all.take(rate, now)
        }
    }

    /// One more under way, unless there are `most`.
    pub(crate) fn enter(self: &Arc<Self>, most: u32) -> Option<InFlight> {
        let enter = |inside: u32| (inside < most).then_some(inside + 1);
        self.in_flight.fetch_update(Relaxed, Relaxed, enter).ok()?;
        Some(InFlight(self.clone()))
    }
}

/// A request under way, until dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Spent>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A token bucket in one number: the time at which it would be full again (GCRA, ITU-T I.371).
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl Bucket {
    fn take(&self, rate: &Rate, now: Now) -> Result<(), Duration> {
        let mut full_at = self.0.load(Relaxed);
        loop {
            let next = step(full_at, rate, now)?;
            match self.0.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }
}

/// Longest that is reckoned with, some 146 years: two of it still fit a number, so that nothing can overflow into a free
/// ride.
const LONGEST: u64 = 1 << 62;

/// Nanoseconds for one token. A float becomes the nearest number there is.
fn interval(rate: &Rate) -> u64 {
    ((1e9 / rate.per_second) as u64).clamp(1, LONGEST)
}

/// Takes a token from a bucket that is full at `full_at`: when it is full then, or how long until there is one.
fn step(full_at: u64, rate: &Rate, now: Now) -> Result<u64, Duration> {
    let now = now.nanos();
    let interval = interval(rate);
    let burst = ((rate.burst.max(1.0) * interval as f64) as u64).min(LONGEST);
    // No bucket is emptier than empty, whatever the limit was when it was last taken from.
    let next = full_at
        .clamp(now, now.saturating_add(burst))
        .saturating_add(interval);
    match (next - now).checked_sub(burst) {
        None | Some(0) => Ok(next),
        Some(wait) => Err(Duration::from_nanos(wait)),
    }
}

/// Whole seconds for `Retry-After`, at least one.
pub(crate) fn retry_after(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
}

#[cfg(test)]
mod tests;
