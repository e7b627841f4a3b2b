//! A client's body on its way to a server, and how long it may take.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::headers::trailers::Settled;
use crate::pace::Pace;
use crate::table::Options;

/// A client's body on its way to a server.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// There is none, so the request may be sent again.
    Empty,
    /// Can be sent once.
    Streaming {
        inner: Incoming,
        upload: Upload,
        /// Bytes that it may have.
        most: Option<u64>,
        clock: Option<Clock>,
        /// What may not follow it.
        settled: Settled,
    },
}

/// Why a client's body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("{0}")]
    Client(#[from] hyper::Error),
    #[error("request body is too large")]
    TooLarge,
    #[error("request body does not come in time")]
    Late,
}

/// How long a client may take over its body while its server waits for it.
#[derive(Debug)]
pub(crate) struct Clock {
    pace: Option<Pace>,
    /// When all of it must be there.
    until: Option<Instant>,
    /// For the next look, once there was something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(crate) fn new(pace: Option<Pace>, until: Option<Instant>) -> Self {
        Self {
            pace,
            until,
            timer: None,
        }
    }

    /// `waits`: nothing is there of the body, but what is `moved` already.
    fn is_late(&mut self, cx: &mut Context<'_>, waits: bool, moved: u64) -> bool {
        if !waits && self.timer.is_none() {
            return false;
        }
        loop {
            let now = Instant::now();
            let is_slow = |pace: &mut Pace| pace.is_too_slow(waits, moved, now);
            // What is there by now came while its target did not look.
            let is_over = |until: Instant| waits && now >= until;
            if self.pace.as_mut().is_some_and(is_slow) || self.until.is_some_and(is_over) {
                return true;
            }
            let judged = self.pace.as_ref().map(|pace| now + pace.left());
            let Some(next) = judged.into_iter().chain(self.until).min().filter(|_| waits) else {
                return false;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            // It was set when less was known.
            timer.as_mut().reset(next);
        }
    }
}

/// What has become of a client's body, told to the one who waits for the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Rc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    state: Cell<Uploaded>,
    bytes: Cell<u64>,
    /// The answer has begun.
    answered: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Uploaded {
    #[default]
    No,
    /// Some of it may have been taken.
    Begun,
    Done,
    /// The client broke the framing it announced.
    Malformed,
    /// It ended before it was whole; the client may still listen.
    CutShort,
    /// It is longer than the route allows.
    TooLarge,
    /// The client keeps its server waiting.
    Late,
}

impl Upload {
    pub(crate) fn state(&self) -> Uploaded {
        self.0.state.get()
    }

    /// Taken from the client so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// The answer has begun: from here on the two may talk as slowly as they like.
    pub(crate) fn answered(&self) {
        self.0.answered.set(true);
    }

    fn set(&self, state: Uploaded) {
        self.0.state.set(state);
    }
}

impl RequestBody {
    /// `most`: bytes that it may have; what is beyond them is not sent on. `clock`: how long it may take.
    pub(crate) fn new(
        inner: Option<Incoming>,
        most: Option<u64>,
        clock: Option<Clock>,
        settled: impl FnOnce() -> Settled,
    ) -> (Self, Upload) {
        let upload = Upload::default();
        let Some(inner) = inner.filter(|inner| !inner.is_end_stream()) else {
            upload.set(Uploaded::Done);
            return (Self::Empty, upload);
        };
        (
            Self::Streaming {
                inner,
                upload: upload.clone(),
                most,
                clock,
                settled: settled(),
            },
            upload,
        )
    }

    /// It is for a target with these options.
    pub(crate) fn is_for(&mut self, options: &Arc<Options>, headers: &mut HeaderMap) {
        if let Self::Streaming { settled, .. } = self {
            settled.options = options.clone();
            settled.announce(headers);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Self::Streaming {
            inner,
            upload,
            most,
            clock,
            settled,
        } = self.get_mut()
        else {
            return Poll::Ready(None);
        };
        if upload.state() == Uploaded::No {
            upload.set(Uploaded::Begun);
        }
        let polled = Pin::new(&mut *inner).poll_frame(cx);
        if let Some(clock) = clock
            && !upload.0.answered.get()
            && clock.is_late(cx, polled.is_pending(), upload.bytes())
        {
            upload.set(Uploaded::Late);
            return Poll::Ready(Some(Err(BodyFault::Late)));
        }
        let mut frame = ready!(polled);
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            settled.keep(trailers);
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            upload.0.bytes.set(upload.bytes() + data.len() as u64);
            if most.is_some_and(|most| upload.bytes() > most) {
                upload.set(Uploaded::TooLarge);
                return Poll::Ready(Some(Err(BodyFault::TooLarge)));
            }
        }
        match &frame {
            None => upload.set(Uploaded::Done),
            Some(Ok(_)) if inner.is_end_stream() => upload.set(Uploaded::Done),
            Some(Ok(_)) => {}
            Some(Err(error)) if is_malformed(error) => upload.set(Uploaded::Malformed),
            Some(Err(_)) => upload.set(Uploaded::CutShort),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyFault::from)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming { inner, .. } => inner.size_hint(),
        }
    }
}

/// hyper reports bad chunks as I/O errors about the input, and everything else is a connection that ended.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    })
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_there_is_not_late_however_long_its_target_takes() {
        let limit = Duration::from_millis(20);
        let mut clock = Clock::new(None, Some(Instant::now() + limit));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!clock.is_late(&mut cx, true, 0), "it has begun");
        sleep(2 * limit).await;
        assert!(!clock.is_late(&mut cx, false, 10), "its target was slow");
        assert!(clock.is_late(&mut cx, true, 10), "and now the client is");
    }
}
