//! The body of an answer, read by whoever wants it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::chunked::{Bad, Chunked, Next};
use super::{Direct, PIECE};
use crate::upstream::answer::Broken;

/// Where it ends.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are left, at least one.
    Length(u64),
    Chunked(Chunked),
    /// With the connection.
    UntilClose,
    /// Here.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DirectBody {
    /// `None`: given back, or broken.
    connection: Option<Box<Direct>>,
    framing: Framing,
    /// Nothing may follow it on its connection.
    is_last: bool,
}

impl DirectBody {
    pub(super) fn new(connection: Box<Direct>, framing: Framing, is_last: bool) -> Self {
        Self {
            connection: Some(connection),
            framing,
            is_last,
        }
    }

    /// Its connection, once it has been read to its end, if that can be used again.
    pub(in crate::upstream) fn connection(&mut self) -> Option<Box<Direct>> {
        let may = self.is_ended() && !self.is_last;
        let connection = self.connection.take();
        let mut connection = connection.filter(|connection| may && connection.read.is_empty())?;
        connection.shrink();
        Some(connection)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.framing, Framing::Ended)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Ended => SizeHint::with_exact(0),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }

    /// As of a body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = self.poll_next(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.connection = None;
        }
        polled
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        loop {
            let read = &mut connection.read;
            let data = match &mut self.framing {
                Framing::Ended => return Poll::Ready(None),
                Framing::Length(_) | Framing::UntilClose if read.is_empty() => None,
                Framing::UntilClose => Some(read.split().freeze()),
                Framing::Length(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.framing = Framing::Ended;
                    }
                    Some(read.split_to(taken).freeze())
                }
                Framing::Chunked(chunked) => match chunked.next(read) {
                    Ok(Next::Data(data)) => Some(data),
                    Ok(Next::End(trailers)) => {
                        self.framing = Framing::Ended;
                        let trailers = (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)));
                        return Poll::Ready(trailers);
                    }
                    Ok(Next::More) => None,
                    Err(Bad(why)) => return Poll::Ready(Some(Err(Broken::Malformed(why)))),
                },
            };
            if let Some(data) = data {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match ready!(connection.poll_fill(cx, PIECE)) {
                Ok(0) if matches!(self.framing, Framing::UntilClose) => self.framing = Framing::Ended,
                Ok(0) => return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}
