//! A client's TCP connection some of whose first bytes were read to learn what it is. They are kept and read again
//! first, so whoever takes the connection over sees it whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Stream;

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Read from the stream and not yet taken.
    seen: BytesMut,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            seen: BytesMut::new(),
        }
    }

    /// The first bytes, as far as they were looked at.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Looks further, at no more than `most` bytes in all. 0: the client's half has ended, or there are as many.
    /// Cancelled, it has lost nothing.
    pub(crate) async fn look(&mut self, most: usize) -> io::Result<usize> {
        let room = most.saturating_sub(self.seen.len());
        if room == 0 {
            return Ok(0);
        }
        self.stream.read_buf(&mut (&mut self.seen).limit(room)).await
    }

    /// Takes away the first bytes that were looked at.
    pub(crate) fn take(&mut self, length: usize) {
        self.seen.advance(length.min(self.seen.len()));
    }

    /// Last words, which are lost where there is no room for them. What the client has sent meanwhile is read first, since
    /// closing on unread bytes would take the words back.
    pub(crate) fn say(&self, words: &[u8]) {
        let mut unread = [0; 4096];
        // Who sends without end hears nothing.
        for _ in 0..16 {
            if !self.stream.try_read(&mut unread).is_ok_and(|length| length > 0) {
                break;
            }
        }
        let _ = self.stream.try_write(words);
    }

    /// The connection, and what was read of it.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.seen)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen[..length]);
        self.seen.advance(length);
        if self.seen.is_empty() {
            // Its memory is not held for as long as the connection lives.
            self.seen = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

impl Stream for Socket {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.seen.is_empty() {
            return self.stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]));
        }
        Poll::Ready(Ok(self.seen.len()))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(&self.stream)
    }
}
