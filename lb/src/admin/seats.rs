//! Who may be connected to the admin server, and who makes room where it is full. Pure.
//!
//! Whoever connects may say nothing for as long as we wait. So no address has more than its share, some seats are for
//! this machine alone, whose probes decide whether we live, and whoever has been idle longest leaves when somebody comes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// Connections at once.
const MOST: usize = 256;
/// Of one address that is not this machine's.
const SHARE: usize = 32;
/// Further ones, for this machine alone.
const KEPT: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they were taken.
    seats: BTreeMap<u64, Seat>,
    next: u64,
}

#[derive(Debug)]
struct Seat {
    address: IpAddr,
    /// Since when nothing is being answered; `None`: something is.
    idle: Option<Instant>,
    leave: CancellationToken,
}

/// A seat that is taken until dropped.
#[derive(Debug)]
pub(super) struct Sitting {
    seats: Seats,
    number: u64,
    /// Somebody else needs it more.
    pub leave: CancellationToken,
    /// There is an answer, of which something may still be unwritten.
    is_answered: AtomicBool,
}

impl Seats {
    /// A seat for somebody at `address`; `None`: all that they could have are taken by whoever is being answered.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Option<Sitting> {
        let address = address.to_canonical();
        let mut taken = self.taken();
        let own = address.is_loopback();
        if !own && taken.count(|seat| seat.address == address) >= SHARE {
            taken.make_room(|seat| seat.address == address)?;
        }
        if taken.seats.len() >= MOST + if own { KEPT } else { 0 } {
            let strangers = taken.make_room(|seat| !seat.address.is_loopback());
            strangers.or_else(|| own.then(|| taken.make_room(|_| true))?)?;
        }
        let (number, leave) = (taken.next, CancellationToken::new());
        taken.next += 1;
        let seat = Seat {
            address,
            idle: Some(now),
            leave: leave.clone(),
        };
        taken.seats.insert(number, seat);
        Some(Sitting {
            seats: self.clone(),
            number,
            leave,
            is_answered: AtomicBool::new(false),
        })
    }

    /// Held for a few lines.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn count(&self, which: impl Fn(&Seat) -> bool) -> usize {
        self.seats.values().filter(|seat| which(seat)).count()
    }

    /// Has one of these leave, the one that has been idle longest.
    fn make_room(&mut self, which: impl Fn(&Seat) -> bool) -> Option<()> {
        let idle = self.seats.iter().filter(|(_, seat)| which(seat));
        let idle = idle.filter_map(|(number, seat)| Some((seat.idle?, *number)));
        let (_, number) = idle.min()?;
        self.seats.remove(&number)?.leave.cancel();
        Some(())
    }
}

impl Sitting {
    /// Something is asked, and its answer begins.
    pub(super) fn is_asked(&self) {
        self.answers(None);
    }

    /// The client owes the rest of what it asks.
    pub(super) fn waits(&self, now: Instant) {
        self.answers(Some(now));
    }

    /// The answer is known. It takes a while to write where it is long or its reader slow.
    pub(super) fn has_answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// All that there was to write has been written.
    pub(super) fn has_written(&self, now: Instant) {
        if self.is_answered.swap(false, Ordering::Relaxed) {
            self.answers(Some(now));
        }
    }

    /// Something is being answered, or no more.
    fn answers(&self, now: Option<Instant>) {
        if let Some(seat) = self.seats.taken().seats.get_mut(&self.number) {
            seat.idle = now;
        }
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: usize) -> IpAddr {
        format!("192.0.2.{}", last % 250 + 1).parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_and_its_newcomers_take_the_seats_of_its_idle_ones() {
        let (seats, start) = (Seats::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let other = seats.take(address(1), at(0)).unwrap();
        let mut inside: Vec<_> = (1..=SHARE as u64)
            .map(|second| seats.take(address(0), at(second)).unwrap())
            .collect();
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        inside.push(seats.take(mapped, at(100)).unwrap());
        let told: Vec<usize> = (0..inside.len())
            .filter(|at| inside[*at].leave.is_cancelled())
            .collect();
        assert_eq!((told, other.leave.is_cancelled()), (vec![0], false));
        // Nobody leaves in the middle of an answer.
        inside.iter().for_each(|sitting| sitting.answers(None));
        assert!(seats.take(address(0), at(101)).is_none());
        assert!(seats.take(address(2), at(101)).is_some());
        inside[5].answers(Some(at(102)));
        assert!(seats.take(address(0), at(103)).is_some());
        assert!(inside[5].leave.is_cancelled());
        drop(inside);
        assert_eq!(seats.taken().seats.len(), 1);
    }

    #[test]
    fn where_all_seats_are_taken_strangers_make_room_and_this_machine_has_some_of_its_own() {
        let (seats, start) = (Seats::default(), Instant::now());
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let probe = seats.take(own, start).unwrap();
        let mut inside: Vec<_> = (0..MOST - 1)
            .map(|number| {
                seats
                    .take(address(number), start + Duration::from_secs(1))
                    .unwrap()
            })
            .collect();
        inside.push(seats.take(address(0), start + Duration::from_secs(2)).unwrap());
        assert!(!probe.leave.is_cancelled() && inside[0].leave.is_cancelled());
        inside.iter().for_each(|sitting| sitting.answers(None));
        assert!(seats.take(address(0), start).is_none());
        let probes: Vec<_> = (0..KEPT).map(|_| seats.take(own, start).unwrap()).collect();
        assert!(!probe.leave.is_cancelled());
        let _last = seats.take(own, start).unwrap();
        assert!(probe.leave.is_cancelled() && !probes[0].leave.is_cancelled());
        // Strangers leave before anybody of this machine, however short a time they have been idle.
        inside[7].answers(Some(start + Duration::from_secs(9)));
        let _another = seats.take(own, start).unwrap();
        assert!(inside[7].leave.is_cancelled() && !probes[0].leave.is_cancelled());
    }
}
