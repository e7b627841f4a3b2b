//! An answer on its way out: its head, and its body as HTTP/1.1 frames it. What is small is gathered, so that most
//! answers are one write.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Buf as _;
use hyper::ext::ReasonPhrase;
use hyper::http::response::Parts;
use hyper::http::{StatusCode, header};
use tokio::io::AsyncWrite;

use crate::http::tally::Piece;
use crate::upstream::Plain;

/// Pieces up to this size are copied.
const SMALL: usize = 2 * 1024;
/// What is gathered goes out when it is more than this.
const GATHERED: usize = 16 * 1024;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    None,
    /// So many bytes are left.
    Length(u64),
    Chunked,
}

/// What a head says already.
#[derive(Clone, Copy)]
struct Said {
    length: bool,
    date: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Out {
    form: Form,
    lead: Vec<u8>,
    /// Of `lead`.
    sent: usize,
    /// Behind that.
    piece: Option<Piece>,
    /// Behind that.
    trail: &'static [u8],
}

impl Out {
    /// Begins with the head of an answer whose body has `exact` bytes, where that is known.
    pub(super) fn of(answer: &Parts, exact: Option<u64>, is_head: bool, is_last: bool) -> Self {
        let is_bare = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let form = match exact {
            _ if is_bare || is_head => Form::None,
            Some(length) => Form::Length(length),
            None => Form::Chunked,
        };
        let mut lead = Vec::with_capacity(512);
        status_line(&mut lead, answer);
        let (mut has_length, mut has_date) = (false, false);
        for (name, value) in &answer.headers {
            match *name {
                header::CONTENT_LENGTH => {
                    // With HEAD it is the length of what there would be.
                    let is_said = is_head || matches!(form, Form::Length(1..));
                    if !is_said || std::mem::replace(&mut has_length, true) {
                        continue;
                    }
                }
                header::TRANSFER_ENCODING => continue,
                header::TRAILER if form == Form::None => continue,
                header::DATE => has_date = true,
                _ => {}
            }
            line(&mut lead, name.as_str().as_bytes(), value.as_bytes());
        }
        let said = Said {
            length: has_length,
            date: has_date,
        };
        Self::begun(lead, form, said, is_last)
    }

    /// The same, of a head that goes on as it came.
    pub(super) fn plain(head: Plain, exact: Option<u64>, is_last: bool) -> Self {
        let form = exact.map_or(Form::Chunked, Form::Length);
        let said = Said {
            length: matches!(form, Form::Length(1..)),
            date: head.is_dated,
        };
        Self::begun(head.lead, form, said, is_last)
    }

    fn begun(mut lead: Vec<u8>, form: Form, said: Said, is_last: bool) -> Self {
        if is_last {
            line(&mut lead, b"connection", b"close");
        }
        match form {
            Form::Length(length) if !said.length => {
                // A vector takes all there is.
                let _ = write!(lead, "content-length: {length}\r\n");
            }
            Form::Chunked => line(&mut lead, b"transfer-encoding", b"chunked"),
            Form::None | Form::Length(_) => {}
        }
        if !said.date {
            date(&mut lead);
        }
        lead.extend_from_slice(b"\r\n");
        Self {
            form,
            lead,
            sent: 0,
            piece: None,
            trail: b"",
        }
    }

    pub(super) fn has_body(&self) -> bool {
        self.form != Form::None
    }

    /// Adds some of the body. Not where it is full.
    pub(super) fn piece(&mut self, mut piece: Piece) {
        debug_assert!(!self.is_full() && self.trail.is_empty(), "it would overtake");
        let length = piece.remaining();
        if length == 0 {
            return;
        }
        if let Form::Length(left) = &mut self.form {
            *left = left.saturating_sub(length as u64);
        } else {
            let _ = write!(self.lead, "{length:X}\r\n");
        }
        let trail: &[u8] = if self.form == Form::Chunked { b"\r\n" } else { b"" };
        if length > SMALL {
            (self.piece, self.trail) = (Some(piece), trail);
        } else {
            self.lead.extend_from_slice(piece.chunk());
            piece.advance(length);
            self.lead.extend_from_slice(trail);
        }
    }

    /// The body has ended. False: too early.
    pub(super) fn ends(&mut self) -> bool {
        match self.form {
            Form::None => true,
            Form::Length(left) => left == 0,
            Form::Chunked if self.piece.is_some() => {
                self.trail = b"\r\n0\r\n\r\n";
                true
            }
            Form::Chunked => {
                self.lead.extend_from_slice(b"0\r\n\r\n");
                true
            }
        }
    }

    /// Must some of it go out before more comes in?
    pub(super) fn is_full(&self) -> bool {
        self.piece.is_some() || self.lead.len() > GATHERED
    }

    /// Writes all there is, and counts that in `written`.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        written: &Cell<u64>,
    ) -> Poll<io::Result<()>> {
        loop {
            let lead = &self.lead[self.sent..];
            let piece = self.piece.as_ref().map_or(&b""[..], |piece| piece.chunk());
            if lead.is_empty() && piece.is_empty() && self.trail.is_empty() {
                return Pin::new(stream).poll_flush(cx);
            }
            let sent = if piece.is_empty() && self.trail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, lead))?
            } else {
                let all = [lead, piece, self.trail].map(IoSlice::new);
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &all))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written.set(written.get() + sent as u64);
            self.advance(sent);
        }
    }

    fn advance(&mut self, mut sent: usize) {
        let lead = sent.min(self.lead.len() - self.sent);
        self.sent += lead;
        sent -= lead;
        if self.sent == self.lead.len() {
            self.lead.clear();
            self.sent = 0;
        }
        if let Some(piece) = &mut self.piece {
            let some = sent.min(piece.remaining());
            piece.advance(some);
            sent -= some;
            if !piece.has_remaining() {
                self.piece = None;
            }
        }
        self.trail = &self.trail[sent..];
    }
}

fn status_line(to: &mut Vec<u8>, answer: &Parts) {
    let said = answer
        .extensions
        .get::<ReasonPhrase>()
        .map(ReasonPhrase::as_bytes);
    if said.is_none() && answer.status == StatusCode::OK {
        return to.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let usual = || answer.status.canonical_reason().unwrap_or("<none>").as_bytes();
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(answer.status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(said.unwrap_or_else(usual));
    to.extend_from_slice(b"\r\n");
}

fn line(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.reserve(name.len() + value.len() + 4);
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

thread_local! {
    /// The second that it was made for, and the line.
    static DATE: RefCell<(Duration, String)> = RefCell::default();
}

/// For servers that do not say (RFC 9110, 6.6.1).
fn date(to: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    DATE.with_borrow_mut(|(made, text)| {
        if *made != second {
            (*made, *text) = (second, httpdate::fmt_http_date(now));
        }
        line(to, b"date", text.as_bytes());
    });
}

#[cfg(test)]
mod tests;
