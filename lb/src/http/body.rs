//! Bodies on their way through: counted, never collected.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::http::exchange::{End, Exchange, Waiting};
use crate::policy::gzip::Encoder;
use crate::upstream::Lease;

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
    },
}

/// Why a client's body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("{0}")]
    Client(#[from] hyper::Error),
    #[error("request body is too large")]
    TooLarge,
}

/// What has become of a client's body, told to the one who waits for the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Rc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    state: Cell<Uploaded>,
    bytes: Cell<u64>,
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
}

impl Upload {
    pub(crate) fn state(&self) -> Uploaded {
        self.0.state.get()
    }

    /// Taken from the client so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    fn set(&self, state: Uploaded) {
        self.0.state.set(state);
    }
}

impl RequestBody {
    /// `most`: bytes that it may have; what is beyond them is not sent on.
    pub(crate) fn new(inner: Incoming, most: Option<u64>) -> (Self, Upload) {
        let upload = Upload::default();
        if inner.is_end_stream() {
            upload.set(Uploaded::Done);
            return (Self::Empty, upload);
        }
        (
            Self::Streaming {
                inner,
                upload: upload.clone(),
                most,
            },
            upload,
        )
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
        let Self::Streaming { inner, upload, most } = self.get_mut() else {
            return Poll::Ready(None);
        };
        if upload.state() == Uploaded::No {
            upload.set(Uploaded::Begun);
        }
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
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

/// A body on its way to the client. When it ends, or is dropped, the exchange is over.
pub(crate) struct AnswerBody {
    source: Source,
    /// It goes out compressed.
    encoder: Option<Encoder>,
    bytes: u64,
    /// The server broke off.
    broken: bool,
    /// The last piece was given out, and nobody has asked for the next.
    waiting: Option<Waiting>,
    /// Told how it went, exactly once.
    exchange: Option<Exchange>,
}

enum Source {
    /// Ours, short. `None` once sent.
    Text(Option<Bytes>),
    /// A server's, and its connection to give back at the end.
    Server(Incoming, Option<Lease>),
}

impl Source {
    /// What is left of a server's answer that was read to its end.
    fn ended(lease: &mut Option<Lease>) -> Self {
        if let Some(lease) = lease.take() {
            lease.give_back();
        }
        Self::Text(None)
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (inner, lease) = match self {
            Self::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Server(inner, lease) => (inner, lease),
        };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        match &frame {
            // The end of a chunked body shows only now, and nothing follows trailers, so hyper does
            // not ask again.
            None => *self = Self::ended(lease),
            Some(Ok(frame)) if frame.is_trailers() => *self = Self::ended(lease),
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => *lease = None,
        }
        Poll::Ready(frame)
    }

    fn give_back_at_end(&mut self) {
        if let Self::Server(inner, lease) = self
            && inner.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Server(inner, _) => inner.is_end_stream(),
        }
    }
}

impl AnswerBody {
    pub(crate) fn text(text: Bytes, exchange: Exchange) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        Self::new(Source::Text(text), Some(exchange))
    }

    /// Before a tunnel: its exchange goes on.
    pub(crate) fn none() -> Self {
        Self::new(Source::Text(None), None)
    }

    pub(crate) fn relay(inner: Incoming, lease: Lease, exchange: Exchange) -> Self {
        let mut source = Source::Server(inner, Some(lease));
        source.give_back_at_end();
        Self::new(source, Some(exchange))
    }

    /// The same, compressed.
    pub(crate) fn compressed(mut self) -> Self {
        self.encoder = Some(Encoder::new());
        self
    }

    fn new(source: Source, exchange: Option<Exchange>) -> Self {
        Self {
            source,
            encoder: None,
            bytes: 0,
            broken: false,
            waiting: None,
            exchange,
        }
    }

    fn finish(&mut self) {
        // A client of HTTP/1.1 has all of a body whose length it knows, even if trailers would follow.
        let is_whole = self.is_end_stream() || self.size_hint().exact() == Some(0);
        let end = match (self.broken, is_whole) {
            (true, _) => End::ServerGone,
            (false, true) => End::Complete,
            (false, false) => End::ClientGone,
        };
        if let Some(exchange) = self.exchange.take() {
            exchange.finish(self.bytes, end);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.waiting = None;
        let source = &mut this.source;
        let frame = match &mut this.encoder {
            None => ready!(source.poll(cx)),
            Some(encoder) => ready!(encoder.poll(cx, |cx| source.poll(cx))),
        };
        this.broken |= matches!(frame, Some(Err(_)));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.bytes += data.len() as u64;
                this.waiting = this.exchange.as_ref().map(Exchange::waits);
            }
            if let (Some(trailers), Some(exchange)) = (frame.trailers_ref(), &mut this.exchange) {
                exchange.said(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.encoder {
            None => self.source.is_ended(),
            Some(encoder) => encoder.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            _ if self.encoder.is_some() => SizeHint::default(),
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Server(inner, _) => inner.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.finish();
    }
}
