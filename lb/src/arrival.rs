//! What arrives at a listener: a stream of bytes, and what is known of who sends them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

mod first;
mod hello;
pub(crate) mod proxy;
mod socket;

pub(crate) use first::{Refused, proxy_header, server_name};
pub(crate) use socket::Socket;

/// A client's bytes, in the clear: TCP, or what was unwrapped from it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Bytes that could be read now, without taking them: 0 at the end of the client's half. Pending, and woken, when
    /// there are none.
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

impl Stream for TcpStream {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_peek(cx, &mut ReadBuf::new(&mut [0]))
    }
}

impl<S: Stream> Stream for tokio_rustls::server::TlsStream<S> {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.get_ref().0.poll_waiting(cx)
    }
}

/// Who is there, and what was agreed on before the first byte of a request.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The client: whom a trusted PROXY header names, else the other end of the socket.
    pub client: SocketAddr,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// `None`: no TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// The listener has been closed, or the whole balancer stops: finish what is under way, begin nothing.
    pub stop: CancellationToken,
}

/// What a TLS handshake said.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFacts {
    /// As on the wire: `0x0304` is 1.3.
    pub version: u16,
    /// As on the wire.
    pub cipher: u16,
    /// The name that the client asked for, lower case.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests ask which name was understood")
    )]
    pub server_name: Option<Box<str>>,
    /// `h2` was agreed on.
    pub h2: bool,
    /// Certificate that the client showed and that was verified, DER.
    pub client_cert: Option<Box<[u8]>>,
}

impl Arrival {
    /// Of a plain connection.
    pub(crate) fn plain(
        stream: &TcpStream,
        peer: SocketAddr,
        listener: SocketAddr,
        stop: CancellationToken,
    ) -> Self {
        Self {
            client: peer,
            peer,
            local: stream.local_addr().unwrap_or(listener),
            tls: None,
            stop,
        }
    }
}
