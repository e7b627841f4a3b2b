//! What arrives at a listener: a stream of bytes, and what is known of who sends them.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::worker::crowd::Seat;

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

    /// The socket, for what the system has told of it.
    fn tcp(&self) -> Option<&TcpStream>;
}

/// Has the client closed its half, whatever it has sent before that nobody has read yet? An error: it has left.
pub(crate) fn is_half_closed(stream: &impl Stream) -> io::Result<bool> {
    let Some(tcp) = stream.tcp() else { return Ok(false) };
    let told = tcp.ready(Interest::READABLE | Interest::WRITABLE).now_or_never();
    let told = told.transpose()?.unwrap_or(Ready::EMPTY);
    if told.is_read_closed() && told.is_write_closed() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(told.is_read_closed())
}

impl Stream for TcpStream {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_peek(cx, &mut ReadBuf::new(&mut [0]))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl<S: Stream> Stream for tokio_rustls::server::TlsStream<S> {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.get_ref().0.poll_waiting(cx)
    }

    fn tcp(&self) -> Option<&TcpStream> {
        self.get_ref().0.tcp()
    }
}

impl<S: Stream> Stream for Box<S> {
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        (**self).poll_waiting(cx)
    }

    fn tcp(&self) -> Option<&TcpStream> {
        (**self).tcp()
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
    /// The listener has been closed, it makes room for others, or the whole balancer stops: finish what is under way,
    /// begin nothing.
    pub stop: CancellationToken,
    /// Its place among the clients of the worker.
    pub seat: Rc<Seat>,
}

/// What a TLS handshake said.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFacts {
    /// As on the wire: `0x0304` is 1.3.
    pub version: u16,
    /// As on the wire.
    pub cipher: u16,
    /// `h2` was agreed on.
    pub h2: bool,
    /// Certificate that the client showed and that was verified, DER.
    pub client_cert: Option<Box<[u8]>>,
}

impl Arrival {
    /// Of a plain connection.
    pub(crate) fn plain(stream: &TcpStream, peer: SocketAddr, listener: SocketAddr, seat: Rc<Seat>) -> Self {
        Self {
            client: peer,
            peer,
            local: stream.local_addr().unwrap_or(listener),
            tls: None,
            stop: seat.stop.clone(),
            seat,
        }
    }
}
