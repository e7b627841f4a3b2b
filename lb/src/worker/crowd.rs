//! Clients of one worker, and who makes room where there are as many as file descriptors allow.
//!
//! Every client is a descriptor and may need another one for its target; the admin server, certificates and logs need
//! some, too. So a worker has a share of what the process may open. Where that is used up, whoever asks for nothing
//! leaves for whoever comes, and where everybody is being served, newcomers wait in the kernel. Nothing is shared with
//! other workers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

mod line;

use line::Line;

/// Most descriptors that are kept for everything but clients and their targets; a quarter, where there are few.
const KEPT: u64 = 1024;

/// Time in which a newcomer makes room for nobody: what it asks for is on its way, and of many who come at once each
/// would send the one before it away.
const NEW: Duration = Duration::from_millis(100);

/// Who may be on their way out at once, before anybody else comes in for them: until they are gone they have their
/// descriptors, too.
const LEAVING: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: Cell<usize>,
    inside: Cell<usize>,
    /// Those of them who were sent away, and have asked for nothing since.
    leaving: Cell<usize>,
    idle: RefCell<Idle>,
    /// Told when somebody could come in again.
    room: Notify,
}

/// Who asks for nothing. Who has never asked leaves before who has, and of each kind the one that has been idle longest.
#[derive(Debug, Default)]
struct Idle {
    never_asked: Line<Rc<Seat>>,
    asked: Line<Rc<Seat>>,
}

/// Where a seat is among the idle.
#[derive(Clone, Copy, Debug)]
struct Turn {
    asked: bool,
    at: usize,
}

impl Idle {
    fn len(&self) -> usize {
        self.never_asked.len() + self.asked.len()
    }

    fn push(&mut self, asked: bool, seat: Rc<Seat>) -> Turn {
        let line = if asked {
            &mut self.asked
        } else {
            &mut self.never_asked
        };
        let at = line.push(seat);
        Turn { asked, at }
    }

    fn pop_first(&mut self) -> Option<Rc<Seat>> {
        self.never_asked.pop_first().or_else(|| self.asked.pop_first())
    }

    fn remove(&mut self, turn: Turn) {
        if turn.asked {
            self.asked.remove(turn.at);
        } else {
            self.never_asked.remove(turn.at);
        }
    }
}

/// What a connection and its requests know of it.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    crowd: Rc<Crowd>,
    /// While it is among the idle.
    turn: Cell<Option<Turn>>,
    asked: Cell<bool>,
    /// What it has asked for and not yet taken.
    busy: Cell<usize>,
    left: Cell<bool>,
    /// It is counted among those who leave.
    leaving: Cell<bool>,
    /// Finish what is under way, begin nothing.
    pub stop: CancellationToken,
}

/// A client that is inside until dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Seat>);

/// Something is done for a client until dropped.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Seat>);

/// How many clients one worker may have.
pub(super) fn share(config: &Config) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let all = config.edge.total.unwrap_or_else(|| allowed(files));
    (all / config.workers.max(1)).max(1)
}

/// How many clients all workers may have where so many files may be open.
fn allowed(files: u64) -> usize {
    let shared = files - KEPT.min(files / 4);
    usize::try_from(shared / 2).unwrap_or(usize::MAX)
}

impl Crowd {
    /// From now on.
    pub(super) fn set_most(&self, most: usize) {
        self.most.set(most);
        self.room.notify_waiters();
    }

    /// Whoever was sent away and asks for something in that very moment stays, and is in nobody's place.
    fn staying(&self) -> usize {
        self.inside.get() - self.leaving.get()
    }

    fn has_room(&self) -> bool {
        let stay = self.staying().saturating_sub(self.idle.borrow().len());
        stay < self.most.get() && self.leaving.get() < LEAVING
    }

    /// Resolves when somebody may come in, be it in the place of another.
    pub(super) async fn room(&self) {
        loop {
            // Before it is asked, so that nobody who leaves is missed.
            let told = self.room.notified();
            if self.has_room() {
                return;
            }
            told.await;
        }
    }

    /// Has as many leave as one who comes needs. Returns how many do.
    pub(super) fn make_room(&self) -> u64 {
        let mut gone = 0;
        while self.staying() >= self.most.get() {
            let first = self.idle.borrow_mut().pop_first();
            let Some(seat) = first else { break };
            seat.turn.take();
            seat.left.set(true);
            seat.leaving.set(true);
            self.leaving.set(self.leaving.get() + 1);
            seat.stop.cancel();
            gone += 1;
        }
        gone
    }

    /// A client that has come in.
    pub(super) fn enter(self: &Rc<Self>, stop: CancellationToken) -> Place {
        self.inside.set(self.inside.get() + 1);
        Place(Rc::new(Seat {
            crowd: self.clone(),
            stop,
            ..Seat::default()
        }))
    }
}

impl Place {
    pub(super) fn seat(&self) -> Rc<Seat> {
        self.0.clone()
    }

    /// Resolves when it is to leave for somebody else. Not where it has asked for something in that very moment.
    pub(super) async fn given_up(&self) {
        let new = self.0.works();
        sleep(NEW).await;
        drop(new);
        self.0.stop.cancelled().await;
        if !self.0.left.get() || self.0.busy.get() > 0 {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let crowd = &self.0.crowd;
        self.0.left.set(true);
        self.0.stirs();
        crowd.inside.set(crowd.inside.get() - 1);
        crowd.room.notify_waiters();
    }
}

impl Seat {
    /// It asks for something.
    pub(crate) fn asks(self: &Rc<Self>) -> Busy {
        self.asked.set(true);
        self.works()
    }

    fn works(self: &Rc<Self>) -> Busy {
        if self.busy.replace(self.busy.get() + 1) == 0 {
            self.stirs();
        }
        Busy(self.clone())
    }

    /// It is no longer idle, nor on its way out.
    fn stirs(&self) {
        let crowd = &self.crowd;
        if let Some(turn) = self.turn.take() {
            crowd.idle.borrow_mut().remove(turn);
        }
        if self.leaving.take() {
            crowd.leaving.set(crowd.leaving.get() - 1);
        }
    }

    fn rests(self: &Rc<Self>) {
        let crowd = &self.crowd;
        let turn = crowd.idle.borrow_mut().push(self.asked.get(), self.clone());
        self.turn.set(Some(turn));
        crowd.room.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let seat = &self.0;
        if seat.busy.replace(seat.busy.get() - 1) == 1 && !seat.left.get() {
            seat.rests();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_part_of_all_descriptors_is_kept_and_each_client_may_need_two_of_the_rest() {
        let all = [200, 1024, 20_000, 1 << 20, u64::MAX].map(allowed);
        let most = usize::try_from((u64::MAX - KEPT) / 2).unwrap();
        assert_eq!(all, [75, 384, 9488, 523_776, most]);
    }

    #[tokio::test]
    async fn who_never_asked_leaves_first_then_who_has_been_idle_longest_and_nobody_who_is_served() {
        let crowd = Rc::new(Crowd::default());
        crowd.set_most(3);
        let enter = || {
            let place = crowd.enter(CancellationToken::new());
            drop(place.0.works());
            place
        };
        let (served, rested, silent) = (enter(), enter(), enter());
        let busy = served.seat().asks();
        drop(rested.seat().asks());
        let leaves = || [&served, &rested, &silent].map(|place| place.0.left.get());
        assert_eq!(crowd.make_room(), 1);
        assert_eq!(leaves(), [false, false, true]);
        let [one, other] = [(); 2].map(|()| crowd.enter(CancellationToken::new()));
        assert_eq!(crowd.make_room(), 1);
        assert_eq!(leaves(), [false, true, true]);
        assert_eq!(crowd.make_room(), 0);
        assert!(crowd.room().now_or_never().is_none());
        silent.given_up().await;
        let late = rested.seat().asks();
        let gone = timeout(2 * NEW, rested.given_up()).await;
        assert!(gone.is_err(), "it has just asked");
        drop((late, busy, one, silent));
        assert!(crowd.room().now_or_never().is_some());
        drop((served, rested, other));
        let left = (crowd.inside.get(), crowd.idle.borrow().len(), crowd.leaving.get());
        assert_eq!(left, (0, 0, 0));
    }

    #[tokio::test]
    async fn clients_that_ask_when_they_shall_leave_let_no_more_in_than_a_few() {
        let crowd = Rc::new(Crowd::default());
        crowd.set_most(8);
        let mut inside: Vec<Place> = Vec::new();
        let mut busy = Vec::new();
        for _ in 0..100 {
            if crowd.room().now_or_never().is_none() {
                break;
            }
            crowd.make_room();
            let asking = inside
                .iter()
                .filter(|place| place.0.left.get() && place.0.busy.get() == 0);
            busy.extend(asking.map(|place| place.seat().asks()).collect::<Vec<_>>());
            let place = crowd.enter(CancellationToken::new());
            drop(place.0.works());
            inside.push(place);
        }
        assert!(inside.len() <= 12, "{}", inside.len());
        drop(busy);
        drop(inside);
        assert!(crowd.room().now_or_never().is_some());
        let left = (crowd.inside.get(), crowd.idle.borrow().len(), crowd.leaving.get());
        assert_eq!(left, (0, 0, 0));
    }

    #[tokio::test]
    async fn newcomers_wait_until_those_who_leave_for_others_are_gone() {
        let crowd = Rc::new(Crowd::default());
        crowd.set_most(100);
        let enter = || {
            let place = crowd.enter(CancellationToken::new());
            drop(place.0.works());
            place
        };
        let mut inside: Vec<Place> = (0..100).map(|_| enter()).collect();
        while crowd.room().now_or_never().is_some() && inside.len() < 200 {
            assert_eq!(crowd.make_room(), 1);
            inside.push(enter());
        }
        assert_eq!(inside.len(), 100 + LEAVING);
        inside.remove(0);
        assert!(crowd.room().now_or_never().is_some());
    }

    #[test]
    fn who_was_never_idle_takes_nobody_else_s_turn() {
        let crowd = Rc::new(Crowd::default());
        let silent = crowd.enter(CancellationToken::new());
        drop(silent.0.works());
        let newcomer = crowd.enter(CancellationToken::new());
        let busy = newcomer.0.works();
        assert_eq!(crowd.idle.borrow().len(), 1);
        drop(newcomer);
        assert_eq!(crowd.idle.borrow().len(), 1);
        drop(busy);
    }
}
