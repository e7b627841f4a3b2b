//! What a client of HTTP/2 sends, watched frame by frame before h2 parses it, and what it costs.
//!
//! h2 itself bounds what a connection may hold: header lists, CONTINUATION frames, streams that are reset before
//! they are answered. What it does not bound is work: PING, SETTINGS, PRIORITY, empty DATA and resets are answered
//! or obeyed as fast as they come, for ever. So each such frame takes a token from a bucket that time and what we
//! send in answers fill; a connection whose bucket is empty ends.
//!
//! It also knows whether a header block is half read, which makes slow heads visible without a timer per request.
//! What h2 refuses by itself shows only in the frames that say so, on their way out: they are counted here.
//!
//! It never changes, delays or keeps what passes through.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http::framing::Reading;

/// Tokens of a new connection, and most that it can have.
const BURST: f64 = 2000.0;
/// Tokens that each second adds.
const PER_SECOND: f64 = 100.0;
/// Tokens that each frame of an answer adds: the client may confirm it with two WINDOW_UPDATEs, and lose interest.
const PER_FRAME: f64 = 4.0;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the connection's service may ask.
#[derive(Clone, Debug)]
pub(crate) struct Frames(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    in_head: Cell<bool>,
    written: Cell<u64>,
    /// The socket takes nothing of what there is to write.
    blocked: Cell<bool>,
    /// Streams and connections that h2 has ended for what the client sent, and nobody else has seen.
    refused: Cell<u64>,
    tokens: Cell<f64>,
    /// When the bucket was last filled for the time that had gone by.
    filled: Cell<Instant>,
}

impl Frames {
    fn new(now: Instant) -> Self {
        Self(Rc::new(Shared {
            in_head: Cell::new(true),
            written: Cell::new(0),
            blocked: Cell::new(false),
            refused: Cell::new(0),
            tokens: Cell::new(BURST),
            filled: Cell::new(now),
        }))
    }

    /// Where reading stands. A body is its stream's affair.
    pub(crate) fn reading(&self) -> Reading {
        if self.0.in_head.get() {
            Reading::Head
        } else {
            Reading::Nothing
        }
    }

    /// Bytes written to the client.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// Does the socket take nothing of what there is to write?
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.blocked.get()
    }

    /// How often h2 has refused what the client sent, since this was asked last.
    pub(crate) fn take_refused(&self) -> u64 {
        self.0.refused.take()
    }

    /// Fills the bucket for the time since the last time.
    pub(crate) fn earn(&self, now: Instant) {
        let then = self.0.filled.replace(now);
        self.add(now.saturating_duration_since(then).as_secs_f64() * PER_SECOND);
    }

    fn add(&self, tokens: f64) {
        self.0.tokens.set((self.0.tokens.get() + tokens).min(BURST));
    }

    /// Has it asked for more work than it paid for?
    pub(crate) fn is_flood(&self) -> bool {
        self.0.tokens.get() < 0.0
    }
}

/// Finds the heads of frames in what passes by.
#[derive(Debug)]
struct Heads {
    /// Bytes of the current frame, or of the preface, that are still to come.
    left: usize,
    /// Of how many.
    length: usize,
    /// Why a stream or the connection ends, as far as it was read.
    reason: u32,
    /// The head of the next frame, as far as it was read.
    head: [u8; FRAME_HEAD],
    filled: usize,
}

impl Heads {
    /// `skip` bytes come before the first frame.
    fn after(skip: usize) -> Self {
        Self {
            left: skip,
            length: skip,
            reason: 0,
            head: [0; FRAME_HEAD],
            filled: 0,
        }
    }

    /// Tells of each head that ends in `bytes`: kind, flags, length of the payload. Returns how many frames said that
    /// something ends by a fault of the other side.
    fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u8, u8, usize)) -> u64 {
        let mut faults = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                faults += u64::from(self.read_reason(&bytes[..skipped]));
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (FRAME_HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRAME_HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.filled = 0;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.length = self.left;
                tell(kind, flags, self.left);
            }
        }
        faults
    }

    /// Is this the end of a reason that blames the other side?
    fn read_reason(&mut self, payload: &[u8]) -> bool {
        let begin = match self.head[3] {
            RESET => 0,
            GOAWAY => 4,
            _ => return false,
        };
        let mut is_whole = false;
        for (position, byte) in (self.length - self.left..).zip(payload) {
            if (begin..begin + 4).contains(&position) {
                self.reason = self.reason << 8 | u32::from(*byte);
                is_whole |= position == begin + 3;
            }
        }
        // RFC 9113, 7: PROTOCOL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, COMPRESSION, CALM.
        is_whole && matches!(self.reason, 1 | 3..=6 | 9 | 11)
    }

    /// Anything half read keeps us waiting, but for the payload of DATA.
    fn is_half_read(&self) -> bool {
        self.filled > 0 || (self.left > 0 && self.head[3] != DATA)
    }
}

#[derive(Debug)]
struct Scanner {
    frames: Frames,
    incoming: Heads,
    outgoing: Heads,
    /// Whether the frames of a header block have begun and not ended.
    in_block: bool,
}

impl Scanner {
    fn new(now: Instant) -> Self {
        Self {
            frames: Frames::new(now),
            incoming: Heads::after(PREFACE),
            outgoing: Heads::after(0),
            in_block: true,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let (frames, in_block) = (&self.frames, &mut self.in_block);
        self.incoming.read(bytes, |kind, flags, length| {
            let useful = match kind {
                DATA => length > 0 || flags & END_STREAM != 0,
                HEADERS => true,
                _ => false,
            };
            if !useful {
                frames.add(-1.0);
            }
            // h2 ends a connection where anything else comes in between.
            *in_block = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
        });
        self.frames
            .0
            .in_head
            .set(self.in_block || self.incoming.is_half_read());
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let written = &self.frames.0.written;
        written.set(written.get() + bytes.len() as u64);
        let frames = &self.frames;
        let faults = self.outgoing.read(bytes, |kind, _, length| {
            if matches!(kind, DATA | HEADERS) && length > 0 {
                frames.add(PER_FRAME);
            }
        });
        let refused = &self.frames.0.refused;
        refused.set(refused.get() + faults);
    }
}

/// A client's stream whose incoming frames are looked at.
#[derive(Debug)]
pub(crate) struct Framed<S> {
    stream: S,
    scanner: Scanner,
}

impl<S> Framed<S> {
    pub(crate) fn new(stream: S, now: Instant) -> Self {
        Self {
            stream,
            scanner: Scanner::new(now),
        }
    }

    pub(crate) fn frames(&self) -> Frames {
        self.scanner.frames.clone()
    }

    fn tried<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.scanner.frames.0.blocked.set(polled.is_pending());
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.scanner.read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        let written = ready!(self.tried(polled))?;
        self.scanner.wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let written = ready!(self.tried(polled))?;
        let mut left = written;
        for buf in bufs {
            let here = left.min(buf.len());
            self.scanner.wrote(&buf[..here]);
            left -= here;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.tried(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + payload, 0);
        frame
    }

    /// Shows `frames` after a preface in pieces of `size` and says where reading stands and whether that is a flood.
    fn shown(frames: &[Vec<u8>], size: usize) -> (Reading, bool) {
        let mut scanner = Scanner::new(Instant::now());
        let all = [vec![0; PREFACE], frames.concat()].concat();
        for piece in all.chunks(size) {
            scanner.read(piece);
        }
        (scanner.frames.reading(), scanner.frames.is_flood())
    }

    #[test]
    fn a_header_block_is_half_read_until_its_last_frame_has_ended() {
        for size in 1..40 {
            assert_eq!(shown(&[], size), (Reading::Head, false), "only a preface");
            let settings = frame(4, 0, 6);
            assert_eq!(
                shown(std::slice::from_ref(&settings), size),
                (Reading::Nothing, false)
            );
            let open = frame(HEADERS, 0, 20);
            assert_eq!(shown(&[settings.clone(), open.clone()], size).0, Reading::Head);
            let end = frame(CONTINUATION, END_HEADERS, 7);
            assert_eq!(shown(&[settings.clone(), open, end], size).0, Reading::Nothing);
            let cut = frame(HEADERS, END_HEADERS, 20)[..15].to_vec();
            assert_eq!(shown(&[settings.clone(), cut], size).0, Reading::Head);
            let body = frame(DATA, 0, 20)[..15].to_vec();
            assert_eq!(shown(&[settings, body], size).0, Reading::Nothing);
        }
    }

    #[test]
    fn frames_that_only_make_work_are_a_flood_and_useful_ones_are_not() {
        for (kind, flags, payload, flood) in [
            (6, 0, 8, true),
            (4, 0, 0, true),
            (3, 0, 4, true),
            (2, 0, 5, true),
            (8, 0, 4, true),
            (CONTINUATION, 0, 1, true),
            (DATA, 0, 0, true),
            (DATA, 0, 1, false),
            (HEADERS, END_HEADERS, 5, false),
        ] {
            let frames = vec![frame(kind, flags, payload); 3000];
            assert_eq!(shown(&frames, 1000).1, flood, "{kind}");
        }
    }

    #[test]
    fn what_h2_refuses_is_counted_and_what_merely_ends_is_not() {
        for (kind, before, reason, refused) in [
            (RESET, 0, 1, 1),
            (RESET, 0, 8, 0),
            (RESET, 0, 0, 0),
            (GOAWAY, 4, 11, 1),
            (GOAWAY, 4, 0, 0),
            (DATA, 0, 1, 0),
        ] {
            let mut ending = frame(kind, 0, 8);
            ending[FRAME_HEAD + before + 3] = reason;
            ending.extend(frame(6, 1, 8));
            for size in 1..40 {
                let mut scanner = Scanner::new(Instant::now());
                ending.chunks(size).for_each(|piece| scanner.wrote(piece));
                assert_eq!(
                    scanner.frames.take_refused(),
                    refused,
                    "{kind} {reason} in {size}"
                );
                assert_eq!(scanner.frames.take_refused(), 0);
            }
        }
    }

    #[test]
    fn time_and_answers_pay_for_frames() {
        let start = Instant::now();
        let mut scanner = Scanner::new(start);
        scanner.read(&[0; PREFACE]);
        let ping = frame(6, 0, 8);
        (0..=2000).for_each(|_| scanner.read(&ping));
        let frames = scanner.frames.clone();
        assert!(frames.is_flood());
        frames.earn(start + Duration::from_secs(1));
        assert!(!frames.is_flood());
        assert_eq!(frames.0.tokens.get(), 99.0);
        scanner.wrote(&frame(6, 1, 8));
        assert_eq!(
            frames.0.tokens.get(),
            99.0,
            "what answers a PING pays for nothing"
        );
        let answer = [frame(HEADERS, END_HEADERS, 20), frame(DATA, END_STREAM, 1)].concat();
        answer.chunks(7).for_each(|piece| scanner.wrote(piece));
        assert_eq!(frames.0.tokens.get(), 107.0);
        frames.earn(start + Duration::from_secs(1000));
        assert_eq!(frames.0.tokens.get(), BURST, "it does not save up for ever");
        assert_eq!(frames.written(), 17 + 29 + 10);
    }
}
