//! How much a client's connection has carried, readable at any moment and after any end.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// Counts of one connection; clones are the same counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    read: Cell<u64>,
    written: Cell<u64>,
    /// It is the client's turn to send: all that it sent has been passed on, and it has not closed its half.
    awaited: Cell<bool>,
    /// The client does not take what is there for it.
    stalled: Cell<bool>,
}

impl Meter {
    /// Bytes from the client.
    pub(crate) fn read(&self) -> u64 {
        self.0.read.get()
    }

    /// Bytes to the client.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// Bytes came from the client; 0: it has closed its half.
    pub(crate) fn came(&self, bytes: usize) {
        self.0.read.set(self.read() + bytes as u64);
        self.0.awaited.set(false);
    }

    /// Nothing is there to be read from the client.
    pub(crate) fn awaits(&self) {
        self.0.awaited.set(true);
    }

    /// Bytes went to the client.
    pub(crate) fn went(&self, bytes: usize) {
        self.0.written.set(self.written() + bytes as u64);
        self.0.stalled.set(false);
    }

    /// The client does not take what is there for it.
    pub(crate) fn stalls(&self) {
        self.0.stalled.set(true);
    }

    /// Does it take nothing of what is there for it?
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.stalled.get()
    }

    /// Ends when the client has been awaited for `reads`, or taken nothing of what waits for it for `writes`.
    pub(crate) async fn silence(&self, reads: Option<Duration>, writes: Option<Duration>) {
        let never = Duration::MAX;
        let Some(shortest) = reads.into_iter().chain(writes).min() else {
            return std::future::pending().await;
        };
        let (mut read, mut written) = ((self.read(), Instant::now()), (self.written(), Instant::now()));
        loop {
            sleep((shortest / 4).max(Duration::from_millis(1))).await;
            let now = Instant::now();
            if self.read() != read.0 || !self.0.awaited.get() {
                read = (self.read(), now);
            }
            if self.written() != written.0 || !self.0.stalled.get() {
                written = (self.written(), now);
            }
            if now - read.1 >= reads.unwrap_or(never) || now - written.1 >= writes.unwrap_or(never) {
                return;
            }
        }
    }
}

/// A client's stream that is counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, meter: Meter) -> Self {
        Self { stream, meter }
    }

    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &polled {
            Poll::Pending => self.meter.stalls(),
            Poll::Ready(written) => self.meter.went(*written.as_ref().unwrap_or(&0)),
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match polled {
            Poll::Pending => self.meter.awaits(),
            Poll::Ready(_) => self.meter.came(buf.filled().len() - before),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
