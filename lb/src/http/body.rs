//! Bodies on their way through: counted, never collected. Answers' are here, requests' in `body/upload.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::http::exchange::{End, Exchange};
use crate::http::headers::trailers;
use crate::http::tally::{Piece, Share, Taking};
use crate::policy::gzip::Encoder;
use crate::upstream::{Broken, Lease, ServerBody};

mod upload;

pub(crate) use upload::{Clock, RequestBody, Upload, Uploaded};

/// A body on its way to the client. When it ends, or is dropped, the exchange is over. Boxed, for all the hands that an
/// answer goes through.
pub(crate) struct AnswerBody(Box<Relayed>);

struct Relayed {
    source: Source,
    /// It goes out compressed.
    encoder: Option<Encoder>,
    bytes: u64,
    /// The server broke off.
    broken: bool,
    /// Why, until that is said.
    why: Option<Broken>,
    /// `None`: there is none of it.
    share: Option<Share>,
    /// Told how it went, exactly once.
    exchange: Option<Exchange>,
}

enum Source {
    /// Ours, short. `None` once sent.
    Text(Option<Bytes>),
    /// A server's, and its connection to give back at the end.
    Server(ServerBody, Option<Lease>),
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let (inner, lease) = match self {
            Self::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Server(inner, lease) => (inner, lease),
        };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        match &frame {
            // The end of a chunked body shows only now, and nothing follows trailers, so hyper does
            // not ask again.
            None => self.ends(),
            Some(Ok(frame)) if frame.is_trailers() => self.ends(),
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => *lease = None,
        }
        Poll::Ready(frame)
    }

    /// It was read to its end.
    fn ends(&mut self) {
        self.give_back();
        *self = Self::Text(None);
    }

    fn give_back_at_end(&mut self) {
        if self.is_ended() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Self::Server(body, lease) = self
            && let Some(lease) = lease.take()
        {
            lease.give_back(body);
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

    pub(crate) fn relay(inner: ServerBody, lease: Lease, exchange: Exchange) -> Self {
        let mut source = Source::Server(inner, Some(lease));
        source.give_back_at_end();
        Self::new(source, Some(exchange))
    }

    /// The same, compressed.
    pub(crate) fn compressed(mut self) -> Self {
        self.0.encoder = Some(Encoder::new());
        self
    }

    fn new(source: Source, exchange: Option<Exchange>) -> Self {
        Self(Box::new(Relayed {
            share: exchange.as_ref().map(Exchange::share),
            source,
            encoder: None,
            bytes: 0,
            broken: false,
            why: None,
            exchange,
        }))
    }

    /// How far the client is with it. `None`: there is none of it.
    pub(crate) fn taking(&self) -> Option<Taking> {
        self.0.share.as_ref().map(Share::taking)
    }

    fn finish(&mut self) {
        // A client of HTTP/1.1 has all of a body whose length it knows, even if trailers would follow.
        let is_whole = self.is_end_stream() || self.size_hint().exact() == Some(0);
        let end = match (self.0.broken, is_whole) {
            (true, _) => End::ServerGone,
            (false, true) => End::Complete,
            (false, false) => End::ClientGone,
        };
        if let Some(exchange) = self.0.exchange.take() {
            exchange.finish(self.0.bytes, end);
        }
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Broken>>> {
        let this = &mut *self.get_mut().0;
        let Some(share) = &this.share else {
            return Poll::Ready(None);
        };
        if let Some(why) = this.why.take() {
            return Poll::Ready(Some(Err(why)));
        }
        ready!(share.poll_room(cx));
        let source = &mut this.source;
        let mut frame = match &mut this.encoder {
            None => ready!(source.poll(cx)),
            Some(encoder) => ready!(encoder.poll(cx, |cx| source.poll(cx))),
        };
        if let Some(Err(why)) = frame {
            // hyper throws away what it holds when it hears of this, be it the head of the answer. Where it has to
            // wait it first sends of that what the socket takes.
            (this.broken, this.why) = (true, Some(why));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(Ok(frame)) = &mut frame {
            if let Some(data) = frame.data_ref() {
                this.bytes += data.len() as u64;
            }
            if let (Some(trailers), Some(exchange)) = (frame.trailers_mut(), &mut this.exchange) {
                trailers::keep_answer(trailers);
                exchange.said(trailers);
            }
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| share.piece(data)))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0.encoder {
            None => self.0.source.is_ended(),
            Some(encoder) => encoder.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.source {
            _ if self.0.encoder.is_some() => SizeHint::default(),
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
