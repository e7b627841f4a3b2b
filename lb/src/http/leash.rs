//! How long one stream of HTTP/2 may take over its answer, and how long its client may leave it alone.
//!
//! Time runs while some of the answer waits for the client and the socket takes what it is given, so that it is the
//! client's wish that nothing moves. Where the socket takes nothing the connection is too slow, and no stream is to
//! blame. What a connection must move its streams move together: many on a slow line each have their share of it.
//!
//! The stream's task asks whenever it runs, and once the client may be too slow; one that takes what there is needs no
//! timer.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::config::Edge;
use crate::http::frames::Frames;
use crate::http::tally::Taking;
use crate::pace::Pace;

/// See the module.
pub(crate) struct Leash {
    /// From the head to the last byte that h2 gets of the answer. It takes the place of the pace.
    whole: Option<Duration>,
    pace: Pace,
    frames: Frames,
    /// Once it has begun.
    answer: Rc<OnceCell<Taking>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Leash {
    pub(crate) fn new(whole: Option<Duration>, edge: &Edge, frames: Frames) -> Self {
        Self {
            whole,
            pace: Pace::new(edge.stall, edge.rate),
            frames,
            answer: Rc::default(),
            timer: None,
        }
    }

    /// Where it is told of the answer.
    pub(crate) fn answer(&self) -> Rc<OnceCell<Taking>> {
        self.answer.clone()
    }

    /// Runs a stream's task to its end, or drops it when its client takes too long: what is dropped before its end is
    /// reset.
    pub(crate) async fn hold(mut self, task: impl Future<Output = ()>) {
        // Boxed, since what is moved into a future is in it twice.
        let mut task = Box::pin(task);
        if let Some(whole) = self.whole {
            let _ = timeout(whole, task).await;
            return;
        }
        poll_fn(|cx| {
            self.rest();
            match task.as_mut().poll(cx) {
                Poll::Pending if !self.is_late(cx) => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Only the task gives more out: what was taken before it runs was all there was.
    fn rest(&mut self) {
        if let Some(answer) = self.answer.get()
            && (!answer.is_waiting() || self.frames.is_blocked())
        {
            self.pace.rest(answer.taken());
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(answer) = self.answer.get().filter(|answer| answer.is_waiting()) else {
            return false;
        };
        loop {
            let now = Instant::now();
            if self
                .pace
                .is_too_slow_among(answer.left(), true, answer.taken(), now)
            {
                return true;
            }
            let next = now + self.pace.left();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            // It was set when less was known.
            timer.as_mut().reset(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::http::frames::Framed;
    use crate::http::tally::Share;

    #[tokio::test]
    async fn a_stream_is_to_blame_only_while_the_socket_takes_what_it_is_given() {
        let (ours, mut theirs) = duplex(1);
        let mut stream = Framed::new(ours, Instant::now());
        let edge = Edge {
            stall: Duration::from_millis(50),
            ..Edge::default()
        };
        let leash = Leash::new(None, &edge, stream.frames());
        let share = Share::of(Rc::default(), None);
        leash.answer().set(share.taking()).unwrap();
        let _piece = share.piece(Bytes::from_static(b"waits"));
        let mut held = std::pin::pin!(leash.hold(pending()));
        stream.write_all(b"x").await.unwrap();
        assert!(futures_util::poll!(std::pin::pin!(stream.write_all(b"y"))).is_pending());
        let long = timeout(10 * edge.stall, held.as_mut()).await;
        assert!(long.is_err(), "the socket takes nothing");
        theirs.read_exact(&mut [0]).await.unwrap();
        stream.write_all(b"y").await.unwrap();
        held.await;
    }

    #[tokio::test]
    async fn an_answer_of_which_nothing_waits_may_be_silent_for_long() {
        let stream = Framed::new(duplex(1).0, Instant::now());
        let edge = Edge {
            stall: Duration::from_millis(50),
            ..Edge::default()
        };
        let leash = Leash::new(None, &edge, stream.frames());
        let share = Share::of(Rc::default(), None);
        leash.answer().set(share.taking()).unwrap();
        let mut piece = Some(share.piece(Bytes::from_static(b"event")));
        let mut held = std::pin::pin!(leash.hold(pending()));
        assert!(futures_util::poll!(held.as_mut()).is_pending());
        piece.take();
        let long = timeout(10 * edge.stall, held.as_mut()).await;
        assert!(long.is_err(), "its server is silent");
    }
}
