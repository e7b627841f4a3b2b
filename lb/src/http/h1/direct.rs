//! HTTP/1.1 of clients as it mostly is: requests without a body, whose heads nobody could read in two ways.
//!
//! The task of the connection reads such a request, has it answered and writes the answer; while it idles it holds
//! no buffer. Whatever is not like that is not judged here: the connection goes to hyper as it is, with what was read and
//! not answered, and stays there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::body::Body as _;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use crate::arrival::{Stream, is_half_closed};
use crate::http::body::AnswerBody;
use crate::http::framing::{Reading, is_unread, linger};
use crate::http::patience::Progress;
use crate::http::sniff::Replayed;
use crate::http::tally::Tally;
use crate::http::{Answered, Client};

mod head;
mod out;

use head::{Asked, Read};
use out::Out;

/// Most of what is read at once, and of a head.
const MOST: usize = 16 * 1024;

thread_local! {
    /// What is read comes here first, and most of it is understood at once. One for all connections of a worker.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MOST].into());
}

/// Where a connection stands, for whoever watches the clock.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Requests read.
    pub begun: Cell<u64>,
    /// Bytes written to the client.
    pub written: Cell<u64>,
    /// Finish what is under way, begin nothing that was not sent already.
    pub ends: Cell<bool>,
    in_head: Cell<bool>,
    half_closed: Cell<bool>,
    /// Some of an answer waits for the socket.
    unsent: Cell<bool>,
}

impl Standing {
    pub(super) fn progress(&self, tally: &Tally) -> Progress {
        let waiting = tally.is_waiting() || self.unsent.get();
        Progress {
            reading: if self.in_head.get() {
                Reading::Head
            } else {
                Reading::Nothing
            },
            begun: self.begun.get(),
            answered: tally.answered(),
            half_closed: self.half_closed.get(),
            written: self.written.get(),
            waiting,
            unsent: waiting,
            taken: self.written.get(),
        }
    }
}

/// What comes next on a connection.
enum Next {
    Request(Asked),
    Uncommon,
    /// Nothing.
    End,
}

/// Serves a connection until it ends, or something comes that is not common: that is what is returned.
pub(super) async fn serve<S: Stream>(
    client: &Client,
    stream: Replayed<S>,
    standing: &Standing,
) -> Option<Replayed<S>> {
    let mut direct = Direct {
        stream,
        read: BytesMut::new(),
        standing,
    };
    loop {
        match direct.next().await.ok()? {
            Next::Request(asked) => {
                if !direct.exchange(client, asked).await? {
                    break;
                }
            }
            Next::Uncommon => return Some(direct.stream.again(direct.read.into())),
            Next::End => break,
        }
    }
    direct.close().await;
    None
}

struct Direct<'a, S> {
    stream: Replayed<S>,
    /// Read and not yet understood.
    read: BytesMut,
    standing: &'a Standing,
}

impl<S: Stream> Direct<'_, S> {
    async fn next(&mut self) -> io::Result<Next> {
        // What was sent ahead.
        if !self.read.is_empty() {
            match head::read(&self.read) {
                Read::More => {}
                Read::Uncommon => return Ok(Next::Uncommon),
                Read::Common(asked, length) => {
                    self.read.advance(length);
                    return Ok(Next::Request(asked));
                }
            }
        }
        let read = poll_fn(|cx| self.poll_next(cx)).await;
        self.standing.in_head.set(false);
        read
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        loop {
            let is_first = self.standing.begun.get() == 0;
            // Whoever has begun with a first request connected in good faith, and cannot know of the end.
            if self.standing.ends.get() && (self.read.is_empty() || !is_first) {
                return Poll::Ready(Ok(Next::End));
            }
            self.standing.in_head.set(!self.read.is_empty());
            if self.read.is_empty() {
                // It may have held a large head.
                self.read = BytesMut::new();
            }
            let read = ready!(SCRATCH.with_borrow_mut(|scratch| self.poll_read(cx, scratch)))?;
            match read {
                Read::More => {}
                Read::Uncommon => return Poll::Ready(Ok(Next::Uncommon)),
                Read::Common(asked, _) => return Poll::Ready(Ok(Next::Request(asked))),
            }
        }
    }

    /// Reads and understands what it can, and keeps the rest.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<Read>> {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        if bytes.is_empty() {
            if !self.read.is_empty() {
                // The end within a head.
                return Poll::Ready(Ok(Read::Uncommon));
            }
            self.standing.ends.set(true);
            return Poll::Ready(Ok(Read::More));
        }
        if !self.read.is_empty() {
            self.read.extend_from_slice(bytes);
            let read = head::read(&self.read);
            if let Read::Common(_, length) = &read {
                self.read.advance(*length);
            }
            return Poll::Ready(Ok(read));
        }
        let read = head::read(bytes);
        let taken = match &read {
            Read::Common(_, length) => *length,
            Read::More | Read::Uncommon => 0,
        };
        self.read.extend_from_slice(&bytes[taken..]);
        Poll::Ready(Ok(read))
    }

    /// Answers what is asked. False: nothing may follow it. `None`: the client has left.
    async fn exchange(&mut self, client: &Client, asked: Asked) -> Option<bool> {
        let standing = self.standing;
        let busy = client.asks();
        standing.begun.set(standing.begun.get() + 1);
        let (is_head, mut is_last) = (asked.is_head(), asked.is_last);
        let answered = {
            // On the heap: idle connections have none of it.
            let mut answering = Box::pin(client.answer(busy, Ok(()), asked.parts, None));
            let stream = &self.stream;
            poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if is_gone(stream, cx, standing) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await?
        };
        let Answered {
            response,
            plain,
            is_last: must,
            ..
        } = answered;
        is_last |= must || standing.ends.get();
        let (parts, body) = response.into_parts();
        let exact = body.size_hint().exact();
        let out = match plain {
            Some(plain) => Out::plain(*plain, exact, is_last),
            None => Out::of(&parts, exact, is_head, is_last),
        };
        let is_whole = self.send(out, body).await.ok()?;
        Some(is_whole && !is_last)
    }

    /// Writes an answer. False: it broke off.
    async fn send(&mut self, mut out: Out, body: AnswerBody) -> io::Result<bool> {
        let has_body = out.has_body() && !body.is_end_stream();
        let mut body = has_body.then_some(body);
        let mut is_whole = true;
        while let Some(rest) = &mut body {
            let frame = poll_fn(|cx| match Pin::new(&mut *rest).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                // What there is does not wait for what there is not.
                Poll::Pending => match self.poll_flush(&mut out, cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    _ if is_gone(&self.stream, cx, self.standing) => {
                        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                    }
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                },
            });
            let is_over = match frame.await? {
                Some(Ok(frame)) => {
                    // Nobody asked for trailers.
                    if let Ok(piece) = frame.into_data() {
                        out.piece(piece);
                    }
                    rest.is_end_stream()
                }
                Some(Err(_)) => {
                    is_whole = false;
                    true
                }
                None => true,
            };
            if is_over {
                // Counted before the client can know of it.
                body = None;
            } else if out.is_full() {
                poll_fn(|cx| self.poll_flush(&mut out, cx)).await?;
            }
        }
        is_whole = is_whole && out.ends();
        poll_fn(|cx| self.poll_flush(&mut out, cx)).await?;
        Ok(is_whole)
    }

    fn poll_flush(&mut self, out: &mut Out, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let standing = self.standing;
        let polled = out.poll_flush(&mut self.stream, cx, &standing.written);
        standing.unsent.set(polled.is_pending());
        polled
    }

    async fn close(mut self) {
        if self.stream.shutdown().await.is_ok() && (!self.read.is_empty() || is_unread(&self.stream)) {
            Box::pin(linger(&mut self.stream)).await;
        }
    }
}

/// Has the client left, without whom no answer is wanted? That it has closed its half only shows here, too.
fn is_gone(stream: &impl Stream, cx: &mut Context<'_>, standing: &Standing) -> bool {
    if standing.half_closed.get() {
        return false;
    }
    let half_closed = match stream.poll_waiting(cx) {
        Poll::Pending => return false,
        Poll::Ready(Ok(0)) => true,
        // Something was sent ahead; what comes behind it wakes nobody, but the connection's clock does.
        Poll::Ready(Ok(_)) => match is_half_closed(stream) {
            Ok(half_closed) => half_closed,
            Err(_) => return true,
        },
        Poll::Ready(Err(_)) => return true,
    };
    standing.half_closed.set(half_closed);
    false
}
