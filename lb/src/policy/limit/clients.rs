//! A bucket for each client address, as many as fit.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Now, interval, step};
use crate::table::options::Rate;

/// Locks, so that workers hardly ever meet at one.
const SHARDS: usize = 16;
/// Clients remembered in each of them. All together take about 4 MiB at most.
const MOST: usize = 4096;

/// Buckets by client. One that is full again is the same as none, so clients that went quiet cost nothing for long.
/// When all places are taken by busy ones, the client that would be full first is forgotten: it gets a full bucket,
/// which errs on its side.
#[derive(Debug)]
pub(crate) struct Clients {
    shards: Box<[Mutex<HashMap<IpAddr, u64>>]>,
    hasher: RandomState,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

/// Who counts as one: an IPv4 address, or the network of 64 bits that an IPv6 host can choose its address from.
fn one(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Clients {
    /// Takes a token of the client's; refused, how long until it has one.
    pub(crate) fn take(&self, client: IpAddr, rate: &Rate, now: Now) -> Result<(), Duration> {
        let client = one(client);
        let mut shard = self.shard(client);
        let full_at = shard.get(&client).copied().unwrap_or(0);
        let next = step(full_at, rate, now)?;
        if shard.len() >= MOST && !shard.contains_key(&client) {
            make_room(&mut shard, now.nanos());
        }
        shard.insert(client, next);
        Ok(())
    }

    /// Gives a token back that should not have been taken.
    pub(crate) fn give_back(&self, client: IpAddr, rate: &Rate) {
        let client = one(client);
        let mut shard = self.shard(client);
        if let Some(full_at) = shard.get_mut(&client) {
            *full_at = full_at.saturating_sub(interval(rate));
        }
    }

    fn shard(&self, client: IpAddr) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u64>> {
        let at = self.hasher.hash_one(client) as usize % self.shards.len();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Forgets whose bucket is full again; should there be none, an eighth of the others, so that a flood of addresses
/// does not make every request walk through all of them.
fn make_room(shard: &mut HashMap<IpAddr, u64>, now: u64) {
    shard.retain(|_, full_at| *full_at > now);
    if shard.len() < MOST {
        return;
    }
    let mut fullness: Vec<u64> = shard.values().copied().collect();
    let (_, bound, _) = fullness.select_nth_unstable(MOST / 8);
    let bound = *bound;
    shard.retain(|_, full_at| *full_at > bound);
}
