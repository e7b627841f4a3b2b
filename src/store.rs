//! The current state: the one way to change it and the one way to read it or wait for it.
//!
//! Owns the only writer. Readers get an `Arc` of the whole state and never hold anything up.
//! Must not decide anything: what a command means is the catalog's business.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::yield_now;

use catalog::{Answer, Applied, Command, Index, Interest, Refused, Reply, State, Topic};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Handle to the state; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    current: watch::Sender<Arc<State>>,
    /// Held from reading the current state to publishing the next.
    writer: Mutex<()>,
    /// Held for the few lines that add, find or drop a seat.
    seats: Mutex<BTreeMap<Interest, Arc<Notify>>>,
    stop: CancellationToken,
}

/// How long a reader is willing to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Wait until the answer's index is greater than this.
    pub after: Index,
    /// Answer with what there is at this moment.
    pub until: Instant,
}

impl Store {
    /// An empty state. When `stop` fires, everyone who waits is answered at once.
    pub fn new(stop: CancellationToken) -> Self {
        let current = watch::Sender::new(Arc::new(State::new()));
        Self {
            inner: Arc::new(Inner {
                current,
                writer: Mutex::default(),
                seats: Mutex::default(),
                stop,
            }),
        }
    }

    /// Changes the truth, and returns once every reader can see it.
    ///
    /// One node in memory commits at once; asynchronous because a cluster will not.
    #[allow(clippy::unused_async, reason = "consensus will wait here")]
    pub async fn propose(&self, command: &Command) -> Result<Reply, Refused> {
        // Traffic goes first where it shares this core: it waits for half a slice otherwise.
        yield_now();
        let applied = self.apply(command);
        self.wake(&applied.touched);
        yield_now();
        applied.reply
    }

    fn apply(&self, command: &Command) -> Applied {
        // Writers queue here and not at the published state, which readers never wait for.
        let _turn = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = State::clone(&self.read());
        let index = next.index() + 1;
        let applied = next.apply(index, command);
        // An index that nothing happened at is not used up, so that idle writes stay silent.
        if !applied.touched.is_empty() || matches!(command, Command::ReapTombstones { .. }) {
            self.inner.current.send_replace(Arc::new(next));
        }
        applied
    }

    /// The state as it is now.
    pub fn read(&self) -> Arc<State> {
        self.inner.current.borrow().clone()
    }

    /// Every state from now on; a slow reader skips to the latest.
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.inner.current.subscribe()
    }

    /// Answers `question`: at once without `wait`, else when its index has passed `wait.after`, at
    /// the deadline, or when the store stops.
    pub async fn wait<T>(
        &self,
        interest: Interest,
        wait: Option<Wait>,
        question: impl Fn(&State) -> Answer<T>,
    ) -> Answer<T> {
        let Some(Wait { after, until }) = wait else {
            return question(&self.read());
        };
        let seat = self.take_seat(interest);
        loop {
            // Interest before read: a write between the two lines below is not missed.
            let mut touched = pin!(seat.notify.notified());
            touched.as_mut().enable();
            let answer = question(&self.read());
            if answer.index > after {
                return answer;
            }
            tokio::select! {
                () = touched => {}
                () = tokio::time::sleep_until(until) => return question(&self.read()),
                () = self.inner.stop.cancelled() => return answer,
            }
        }
    }

    fn take_seat(&self, interest: Interest) -> Seat<'_> {
        let notify = self.seats().entry(interest.clone()).or_default().clone();
        Seat {
            store: self,
            interest,
            notify,
        }
    }

    fn wake(&self, touched: &[Topic]) {
        if touched.is_empty() {
            return;
        }
        let seats = self.seats();
        for topic in touched {
            for interest in topic.interests() {
                seats.get(&interest).inspect(|seat| seat.notify_waiters());
            }
            if matches!(topic, Topic::Key(_) | Topic::Tree(_)) {
                let first_key = Interest::Key("".into());
                let covering = seats
                    .range(first_key..)
                    .filter(|(interest, _)| interest.covers(topic));
                covering.for_each(|(_, seat)| seat.notify_waiters());
            }
        }
    }

    fn seats(&self) -> std::sync::MutexGuard<'_, BTreeMap<Interest, Arc<Notify>>> {
        // The map is whole between any two statements that hold it.
        self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the waiting room. Dropped with its request, so a client that hangs up frees it.
struct Seat<'a> {
    store: &'a Store,
    interest: Interest,
    notify: Arc<Notify>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut seats = self.store.seats();
        // The map's and ours: nobody else waits for this.
        if Arc::strong_count(&self.notify) == 2 {
            seats.remove(&self.interest);
        }
    }
}

#[cfg(test)]
mod tests;
