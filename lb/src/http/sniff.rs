//! Which version of HTTP a client without TLS begins to speak: HTTP/2 announces itself by a preface that no
//! request of HTTP/1 can begin with (RFC 9113, 3.4). What was read to find out is read again by whoever serves
//! the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::arrival::Stream;

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most requests come whole in the first read.
const FIRST_READ: usize = 4096;

/// Waits for the first byte. Nothing is kept for a connection that only idles.
pub(crate) async fn begins(stream: &impl Stream) -> io::Result<()> {
    std::future::poll_fn(|cx| stream.poll_waiting(cx)).await.map(drop)
}

/// Reads until what was read tells. True: HTTP/2. A client that ends before that is left to HTTP/1, which knows what
/// to say.
pub(crate) async fn is_h2<S: Stream>(mut stream: S) -> io::Result<(bool, Replayed<S>)> {
    let mut head = Vec::with_capacity(FIRST_READ);
    while PREFACE.starts_with(&head) && stream.read_buf(&mut head).await? > 0 {}
    let is_h2 = head.starts_with(PREFACE);
    Ok((
        is_h2,
        Replayed {
            head,
            read: 0,
            stream,
        },
    ))
}

/// A stream some of which was read already, and is read again.
#[derive(Debug)]
pub(crate) struct Replayed<S> {
    head: Vec<u8>,
    read: usize,
    stream: S,
}

impl<S> Replayed<S> {
    /// One of which nothing was read yet.
    pub(crate) fn none(stream: S) -> Self {
        Self {
            head: Vec::new(),
            read: 0,
            stream,
        }
    }

    /// Nothing of it waits to be read again.
    pub(crate) fn is_drained(&self) -> bool {
        self.head.is_empty()
    }

    /// Once it is drained: `head` is to be read again.
    pub(crate) fn again(self, head: Vec<u8>) -> Self {
        debug_assert!(self.is_drained(), "what was read before would be lost");
        Self {
            head,
            read: 0,
            ..self
        }
    }
}

impl<S: Stream> Stream for Replayed<S> {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.head.len() - self.read {
            0 => self.stream.poll_waiting(cx),
            waiting => Poll::Ready(Ok(waiting)),
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        self.stream.tcp()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let again = &self.head[self.read..];
        let again = &again[..again.len().min(buf.remaining())];
        buf.put_slice(again);
        self.read += again.len();
        if self.read == self.head.len() {
            // Connections live long.
            self.head = Vec::new();
            self.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that come in pieces.
    struct Pieces(Vec<Vec<u8>>);

    impl Stream for Pieces {
        fn poll_waiting(&self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(self.0.last().map_or(0, Vec::len)))
        }

        fn tcp(&self) -> Option<&TcpStream> {
            None
        }
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(piece) = self.0.pop() {
                buf.put_slice(&piece);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_preface_is_known_in_pieces_of_every_size_and_nothing_is_lost() {
        for (sent, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], true),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (b"PROPFIND / HTTP/1.1\r\n\r\n", false),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", false),
            (b"PRI", false),
            (b"", false),
        ] {
            for size in 1..=sent.len().max(1) {
                let pieces = sent.chunks(size).rev().map(<[u8]>::to_vec).collect();
                let (is_it, mut stream) = is_h2(Pieces(pieces)).await.unwrap();
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert_eq!(
                    (is_it, &*read),
                    (expected, sent),
                    "{size} {:?}",
                    String::from_utf8_lossy(sent)
                );
            }
        }
    }
}
