//! A server's answer, by whichever client it was asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Response, StatusCode};

use super::direct::{DirectBody, Plain};
use crate::policy::gzip;

/// See the module.
#[derive(Debug)]
pub(crate) enum Answer {
    Read(Response<ServerBody>),
    /// Only where whoever asked can do with that.
    Plain(Box<Plain>, ServerBody),
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Read(answer) => answer.status(),
            Self::Plain(plain, _) => plain.status,
        }
    }

    /// Does it tell of events? Those have no end that they must reach.
    pub(crate) fn is_events(&self) -> bool {
        match self {
            Self::Read(answer) => gzip::is_events(answer.headers()),
            Self::Plain(plain, _) => plain.is_events,
        }
    }
}

/// Its body.
#[derive(Debug)]
pub(crate) enum ServerBody {
    Hyper(Incoming),
    Direct(DirectBody),
}

/// Why it broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error("the connection breaks within the answer: {0}")]
    Cut(#[from] io::Error),
    #[error("the answer's framing is bad: {0}")]
    Malformed(&'static str),
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Hyper(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Broken::from))),
            Self::Direct(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Direct(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Direct(body) => body.size_hint(),
        }
    }
}
