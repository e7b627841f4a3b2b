//! Where requests begin and end on a client's connection, watched byte by byte before hyper parses them.
//!
//! hyper is right to accept what RFC 9112 lets a server accept: a `Content-Length` beside
//! `Transfer-Encoding`, a repeated `Content-Length`, bare line feeds. A proxy is safer refusing them, since it
//! cannot know how the server behind it reads the same bytes (request smuggling), and hyper leaves no
//! trace of them in the request it hands out. So [`Watched`] looks at the bytes on their way in and
//! [`Framing`] remembers which request of the connection was ambiguous; the service answers that one 400.
//!
//! It also knows whether a head is half read, which makes slow heads visible without a timer per request.
//! It never changes, delays or keeps what passes through, and decides nothing that hyper decides. But for one thing: a
//! line of a body's framing that is ambiguous is the end of the stream to hyper, which would take what follows for more
//! of that body. The request fails like any whose body is malformed, and none after it is read.
//!
//! hyper reads nothing while a request is being answered, so that a client may close its half, and so would
//! never learn that it left for good. A look at what comes next, without taking it, tells both.
//!
//! Closing a socket on bytes that nobody read resets the connection, and the client loses the answer that
//! would have told it why. So a connection that ends inside a request is first drained for a moment.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::arrival::{Stream, is_half_closed};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy, sink};
use tokio::time::{Sleep, sleep, timeout};

/// Of a line longer than this only the beginning is kept: more than any header that frames a body can need, and one
/// that is longer is refused, since its end was not seen.
const LINE_KEPT: usize = 1024;
/// [`Shared::ambiguous`] while every request was clear.
const NONE: u64 = u64::MAX;
/// How long the rest of a request that was answered before its end is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);

/// Has the client sent what nobody has read? Closing on that would reset the connection, and take the last words back.
/// The system is asked itself, as the runtime may hear of it later.
pub(crate) fn is_unread(stream: &impl Stream) -> bool {
    let peeked = |tcp| SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
    stream
        .tcp()
        .is_some_and(|tcp| peeked(tcp).is_ok_and(|waiting| waiting > 0))
}

/// Reads and throws away what a client still sends, for a moment.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let _ = timeout(LINGER, copy(stream, &mut sink())).await;
}

/// What the connection's service may ask. Atomics because hyper wants `Send` streams; both sides are
/// always on one thread.
#[derive(Clone, Debug)]
pub(crate) struct Framing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Which request, counted from 0, was the first ambiguous one.
    ambiguous: AtomicU64,
    /// Heads read to their end.
    heads: AtomicU64,
    /// A head has begun and not ended.
    in_head: AtomicBool,
    /// A body has begun and not ended.
    in_body: AtomicBool,
    /// The connection no longer speaks HTTP.
    tunnel: AtomicBool,
    /// The client has closed its half.
    half_closed: AtomicBool,
    /// Bytes written to the client.
    written: AtomicU64,
    /// Some of those wait in front of the socket.
    flushing: AtomicBool,
}

/// What the next bytes of a connection belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing has come of the next request.
    #[default]
    Nothing,
    Head,
    Body,
}

impl Framing {
    /// Is request number `request` (from 0) one that others could read differently?
    pub(crate) fn is_ambiguous(&self, request: u64) -> bool {
        request >= self.0.ambiguous.load(Relaxed)
    }

    /// Where reading stands.
    pub(crate) fn reading(&self) -> Reading {
        match (self.0.in_head.load(Relaxed), self.0.in_body.load(Relaxed)) {
            (true, _) => Reading::Head,
            (false, true) => Reading::Body,
            (false, false) => Reading::Nothing,
        }
    }

    /// Heads read to their end.
    pub(crate) fn heads(&self) -> u64 {
        self.0.heads.load(Relaxed)
    }

    /// Has the client closed its half? Whether it is still there, only writing to it can tell.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.0.half_closed.load(Relaxed)
    }

    /// Bytes written to the client.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }

    /// Do some of those wait in front of the socket? TLS keeps what that does not take.
    pub(crate) fn is_flushing(&self) -> bool {
        self.0.flushing.load(Relaxed)
    }

    /// From here on bytes are none of our business: the connection was upgraded.
    pub(crate) fn becomes_tunnel(&self) {
        self.0.tunnel.store(true, Relaxed);
    }
}

/// A client's stream whose incoming bytes are looked at.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    scanner: Scanner,
    /// The framing of a body is ambiguous: nothing more is to be read.
    broken: bool,
    /// Our half is closed; until when the client's is still read.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S: Stream> Watched<S> {
    /// One on which `heads` have been read and answered in `written` bytes, by whoever served it before.
    pub(crate) fn after(stream: S, heads: u64, written: u64) -> Self {
        let scanner = Scanner::new();
        scanner.shared.heads.store(heads, Relaxed);
        scanner.shared.written.store(written, Relaxed);
        Self {
            stream,
            scanner,
            broken: false,
            lingering: None,
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        Framing(self.scanner.shared.clone())
    }

    fn half_closed(&self) -> &AtomicBool {
        &self.scanner.shared.half_closed
    }

    /// Sees a client that closed its half, or fails where it left. Where something waits to be read, be it another
    /// request or the goodbye of TLS, nothing wakes us for what comes behind it; but we come here with every tick of
    /// the connection's clock.
    fn look_ahead(&self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.half_closed().load(Relaxed)
            && let Poll::Ready(waiting) = self.stream.poll_waiting(cx)?
            && (waiting == 0 || is_half_closed(&self.stream)?)
        {
            self.half_closed().store(true, Relaxed);
        }
        Ok(())
    }

    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &polled {
            self.scanner.shared.written.fetch_add(*written as u64, Relaxed);
        }
        polled
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The request line, or empty lines before it.
    Start,
    Header,
    /// That many bytes of a body with a length.
    Body(u64),
    ChunkSize,
    /// That many bytes of a chunk, its closing CRLF included.
    Chunk(u64),
    Trailer,
    /// Nothing we can read: after an ambiguity, hyper ends the connection.
    Unknown,
}

#[derive(Debug)]
struct Scanner {
    shared: Arc<Shared>,
    expect: Expect,
    /// Beginning of a line that did not end in the bytes read so far.
    partial: Vec<u8>,
    /// Last byte of that line, which may lie beyond what is kept of it.
    last: u8,
    length: Option<u64>,
    chunked: bool,
}

/// Two servers could disagree about this message.
struct Ambiguous;

impl Scanner {
    fn new() -> Self {
        let shared = Shared {
            ambiguous: AtomicU64::new(NONE),
            heads: AtomicU64::new(0),
            in_head: AtomicBool::new(false),
            in_body: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            half_closed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            flushing: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            expect: Expect::Start,
            partial: Vec::new(),
            last: 0,
            length: None,
            chunked: false,
        }
    }

    /// Returns how many of `bytes` are good to be read on, which is fewer than all before a bad line of a body's framing.
    fn read(&mut self, read: &[u8]) -> usize {
        let mut bytes = read;
        if self.shared.tunnel.load(Relaxed) {
            return read.len();
        }
        let mut good = read.len();
        while !bytes.is_empty() {
            match self.expect {
                Expect::Unknown => return good,
                Expect::Body(left) => bytes = self.skip(bytes, left, Expect::Body, Expect::Start),
                Expect::Chunk(left) => bytes = self.skip(bytes, left, Expect::Chunk, Expect::ChunkSize),
                Expect::Start | Expect::Header | Expect::ChunkSize | Expect::Trailer => {
                    let is_body = matches!(self.expect, Expect::ChunkSize | Expect::Trailer);
                    let Some(rest) = self.read_line(bytes) else { break };
                    if is_body && self.expect == Expect::Unknown {
                        good = read.len() - bytes.len();
                    }
                    bytes = rest;
                }
            }
        }
        let begun = !self.partial.is_empty();
        let (in_head, in_body) = match self.expect {
            Expect::Start => (begun, false),
            Expect::Header => (true, false),
            Expect::Unknown => (false, false),
            Expect::Body(_) | Expect::ChunkSize | Expect::Chunk(_) | Expect::Trailer => (false, true),
        };
        self.shared.in_head.store(in_head, Relaxed);
        self.shared.in_body.store(in_body, Relaxed);
        good
    }

    fn is_between_requests(&self) -> bool {
        self.shared.tunnel.load(Relaxed) || (self.expect == Expect::Start && self.partial.is_empty())
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> Expect, done: Expect) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - taken as u64;
        self.expect = if left == 0 { done } else { more(left) };
        &bytes[taken..]
    }

    /// Takes one line and returns what follows it, or keeps the beginning of an unfinished one.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.keep(bytes);
            return None;
        };
        let outcome = if self.partial.is_empty() {
            self.line(&bytes[..end])
        } else {
            self.keep(&bytes[..end]);
            let mut line = std::mem::take(&mut self.partial);
            // The end of an overlong line was not kept, but how it ended was.
            *line.last_mut().expect("a line begun is not empty") = self.last;
            let outcome = self.line(&line);
            line.clear();
            self.partial = line;
            outcome
        };
        if outcome.is_err() {
            self.shared
                .ambiguous
                .store(self.shared.heads.load(Relaxed), Relaxed);
            self.expect = Expect::Unknown;
        }
        Some(&bytes[end + 1..])
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last = *last;
            let room = LINE_KEPT.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let line = line.strip_suffix(b"\r").ok_or(Ambiguous)?;
        match self.expect {
            Expect::Start if line.is_empty() => {}
            Expect::Start => {
                self.length = None;
                self.chunked = false;
                self.expect = Expect::Header;
            }
            Expect::Header if line.is_empty() => self.end_of_head(),
            Expect::Header => self.header(line)?,
            Expect::ChunkSize => {
                let size = chunk_size(line).filter(|_| !is_cut(line)).ok_or(Ambiguous)?;
                self.expect = if size == 0 {
                    Expect::Trailer
                } else {
                    Expect::Chunk(size)
                };
            }
            Expect::Trailer if line.is_empty() => self.expect = Expect::Start,
            Expect::Trailer => {}
            Expect::Body(_) | Expect::Chunk(_) | Expect::Unknown => {}
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        match line[0] {
            b'c' | b'C' | b't' | b'T' => {}
            // A folded line: its header ends where the reader thinks it does.
            b' ' | b'\t' => return Err(Ambiguous),
            _ => return Ok(()),
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Ambiguous);
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let frames = [&b"content-length"[..], b"transfer-encoding"];
        if is_cut(line) && frames.iter().any(|frame| name.eq_ignore_ascii_case(frame)) {
            return Err(Ambiguous);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() || self.chunked {
                return Err(Ambiguous);
            }
            self.length = Some(decimal(value).ok_or(Ambiguous)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn end_of_head(&mut self) {
        self.shared.heads.fetch_add(1, Relaxed);
        self.expect = match (self.chunked, self.length) {
            (true, _) => Expect::ChunkSize,
            (false, Some(length)) if length > 0 => Expect::Body(length),
            (false, _) => Expect::Start,
        };
    }
}

/// Whether the end of a line may not have been seen.
fn is_cut(line: &[u8]) -> bool {
    line.len() + 1 >= LINE_KEPT
}

/// Of 20 digits at most: no length needs more, and servers differ in how many they read.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Bytes until the next size line, 0 for the last chunk.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    match u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
        0 => Some(0),
        size => size.checked_add(2),
    }
}

impl<S: Stream> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let (before, room) = (buf.filled().len(), buf.remaining());
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() && room > 0 {
            self.half_closed().store(true, Relaxed);
        }
        let good = self.scanner.read(read);
        if good == read.len() {
            return Poll::Ready(Ok(()));
        }
        self.broken = true;
        buf.set_filled(before + good);
        if good > 0 {
            Poll::Ready(Ok(()))
        } else {
            // Nothing read is the end of a stream to whoever reads it.
            Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
        }
    }
}

impl<S: Stream> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes here whenever it has done something, with or without anything to flush.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look_ahead(cx)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let flushing = &self.scanner.shared.flushing;
        flushing.store(flushed.is_pending(), Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        // A half that was closed shows in what is read: bytes may wait before its end.
        if this.lingering.is_none() && this.scanner.is_between_requests() && !is_unread(&this.stream) {
            return Poll::Ready(Ok(()));
        }
        let until = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut bytes = [0; 4096];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut this.stream).poll_read(cx, &mut read);
            match polled {
                Poll::Ready(Ok(())) if !read.filled().is_empty() && !until.is_elapsed() => {}
                Poll::Pending => return until.as_mut().poll(cx).map(Ok),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
