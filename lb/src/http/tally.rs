//! What a client's connection knows of its exchanges: how many are over, and how much of their answers waits for the
//! client to take it.
//!
//! hyper and h2 take of an answer what they get and hold it until the client takes it, stream by stream. So that a
//! connection with many streams does not hold a multiple of what one may, all streams share one budget: a body gives
//! nothing more out while that is used up. A stream that holds nothing may always give one piece, since what uses up
//! the budget may be streams that the client has no wish to go on with. A [`Piece`] counts until whoever holds it
//! drops it, be it written or thrown away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use crate::worker::crowd::Busy;

/// Bytes that may wait, of all streams of a connection together.
const BUDGET: u64 = 1024 * 1024;

/// See the module. One for each connection.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: Cell<u64>,
    /// Bytes.
    waiting: Cell<u64>,
    /// Bytes that the client took, in all.
    taken: Cell<u64>,
    /// Answers of which some waits.
    left: Cell<u64>,
    /// Bodies that would give more out, in turn.
    queue: RefCell<Vec<Rc<Held>>>,
}

/// What waits of one answer.
#[derive(Debug)]
struct Held {
    tally: Rc<Tally>,
    bytes: Cell<u64>,
    /// Bytes that the client took, in all.
    taken: Cell<u64>,
    /// Of the body, while it may not go on.
    waker: RefCell<Option<Waker>>,
    /// It is in the queue: woken alone it stays there until the turn of all.
    queued: Cell<bool>,
    /// What waits is no reason to give the connection up.
    _busy: Option<Rc<Busy>>,
}

impl Tally {
    /// Exchanges that are over.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// One more is over.
    pub(crate) fn count(&self) {
        self.answered.set(self.answered.get() + 1);
    }

    /// Does some of an answer wait for the client to take it?
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Bytes that the client took, of all answers.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Half of the budget is free again: all may go on, and what they do not get they queue up for anew. One by one
    /// they would be woken for every few bytes.
    fn wake(&self) {
        for held in self.queue.take() {
            held.queued.set(false);
            held.wake();
        }
    }
}

impl Held {
    fn add(&self, length: u64) {
        let tally = &self.tally;
        if self.bytes.get() == 0 && length > 0 {
            tally.left.set(tally.left.get() + 1);
        }
        self.bytes.set(self.bytes.get() + length);
        tally.waiting.set(tally.waiting.get() + length);
    }

    fn subtract(&self, length: u64) {
        let tally = &self.tally;
        self.bytes.set(self.bytes.get() - length);
        tally.waiting.set(tally.waiting.get() - length);
        if self.bytes.get() == 0 && length > 0 {
            tally.left.set(tally.left.get() - 1);
        }
    }

    fn take(&self, length: usize) {
        let (tally, length) = (&self.tally, length as u64);
        self.taken.set(self.taken.get() + length);
        tally.taken.set(tally.taken.get() + length);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// An answer's part in it.
#[derive(Debug)]
pub(crate) struct Share(Rc<Held>);

impl Share {
    pub(crate) fn of(tally: Rc<Tally>, busy: Option<Rc<Busy>>) -> Self {
        Self(Rc::new(Held {
            tally,
            bytes: Cell::new(0),
            taken: Cell::new(0),
            waker: RefCell::default(),
            queued: Cell::default(),
            _busy: busy,
        }))
    }

    /// Ready when a piece may be given out.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let tally = &self.0.tally;
        if tally.waiting.get() < BUDGET || self.0.bytes.get() == 0 {
            return Poll::Ready(());
        }
        self.0.waker.replace(Some(cx.waker().clone()));
        if !self.0.queued.replace(true) {
            tally.queue.borrow_mut().push(self.0.clone());
        }
        Poll::Pending
    }

    /// What its connection may see of it.
    pub(crate) fn taking(&self) -> Taking {
        Taking(self.0.clone())
    }

    /// Gives `bytes` out.
    pub(crate) fn piece(&self, bytes: Bytes) -> Piece {
        let (held, length) = (&self.0, bytes.len() as u64);
        held.add(length);
        Piece {
            bytes,
            length,
            held: held.clone(),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.waker.take();
        if self.0.queued.get() {
            let mut queue = self.0.tally.queue.borrow_mut();
            queue.retain(|held| !Rc::ptr_eq(held, &self.0));
        }
    }
}

/// How far the client is with an answer.
#[derive(Debug)]
pub(crate) struct Taking(Rc<Held>);

impl Taking {
    /// Does some of it wait for the client to take it?
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.bytes.get() > 0
    }

    /// Bytes that it took.
    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.get()
    }

    /// Answers on its connection of which some waits.
    pub(crate) fn left(&self) -> u64 {
        self.0.tally.left.get()
    }
}

/// Bytes of an answer on their way to the client.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    /// At first.
    length: u64,
    held: Rc<Held>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.held.take(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.held.take(length);
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let (held, tally) = (&self.held, &self.held.tally);
        let before = tally.waiting.get();
        held.subtract(self.length);
        if tally.waiting.get() <= BUDGET / 2 && before > BUDGET / 2 {
            tally.wake();
        } else if held.bytes.get() == 0 {
            held.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    struct Body {
        share: Share,
        woken: Arc<Woken>,
    }

    impl Body {
        fn of(tally: &Rc<Tally>) -> Self {
            Self {
                share: Share::of(tally.clone(), None),
                woken: Arc::default(),
            }
        }

        fn has_room(&self) -> bool {
            let waker = Waker::from(self.woken.clone());
            self.share.poll_room(&mut Context::from_waker(&waker)).is_ready()
        }

        fn woken(&self) -> usize {
            self.woken.0.load(SeqCst)
        }

        fn piece(&self, share_of_budget: u64) -> Piece {
            let length = usize::try_from(BUDGET / share_of_budget).unwrap();
            self.share.piece(vec![0; length].into())
        }
    }

    #[test]
    fn bodies_share_a_budget_and_go_on_when_half_of_it_is_free() {
        let tally = Rc::new(Tally::default());
        let (one, other) = (Body::of(&tally), Body::of(&tally));
        assert!(one.has_room() && !tally.is_waiting());
        let mut pieces: Vec<Piece> = (0..3).map(|_| one.piece(4)).collect();
        let others = other.piece(4);
        assert!(tally.is_waiting() && !one.has_room() && !other.has_room());
        pieces.pop();
        assert_eq!((one.woken(), other.woken()), (0, 0));
        pieces.pop();
        assert_eq!((one.woken(), other.woken()), (1, 1));
        assert!(one.has_room() && other.has_room());
        drop((pieces, others));
        assert!(!tally.is_waiting());
    }

    #[test]
    fn a_body_of_which_nothing_waits_may_always_go_on() {
        let tally = Rc::new(Tally::default());
        let (one, other) = (Body::of(&tally), Body::of(&tally));
        let all = one.piece(1);
        assert!(!one.has_room() && other.has_room());
        let more = other.piece(1);
        assert!(!other.has_room());
        drop(more);
        assert_eq!((one.woken(), other.woken()), (0, 1));
        assert!(other.has_room());
        drop(all);
        assert_eq!(one.woken(), 1);
    }

    #[test]
    fn a_body_waits_in_the_queue_once_however_often_it_is_woken_and_not_after_its_end() {
        let tally = Rc::new(Tally::default());
        let (one, other) = (Body::of(&tally), Body::of(&tally));
        let all = other.piece(1);
        for _ in 0..3 {
            let piece = one.piece(1024);
            assert!(!one.has_room());
            // None of it waits any more, while all the budget is used up.
            drop(piece);
            assert!(one.has_room());
            assert!(tally.queue.borrow().len() <= 1);
        }
        assert_eq!(one.woken(), 3);
        drop(one);
        assert!(tally.queue.borrow().is_empty());
        drop(all);
    }

    #[test]
    fn a_body_that_is_gone_leaves_the_queue_and_its_pieces_go_on_counting() {
        let tally = Rc::new(Tally::default());
        let one = Body::of(&tally);
        let mut piece = one.piece(1);
        assert!(!one.has_room());
        assert!(!one.has_room());
        assert_eq!(tally.queue.borrow().len(), 1);
        drop(one);
        assert_eq!(tally.queue.borrow().len(), 0);
        piece.advance(100);
        assert!(tally.is_waiting());
        drop(piece);
        assert!(!tally.is_waiting());
    }
}
