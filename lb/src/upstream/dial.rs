//! A fresh connection to a server: TCP, and TLS on it where the route asks.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Stores;
use crate::upstream::Fault;
use crate::upstream::way::{Tls, Way};
use crate::worker::loops;

/// Most that is read of an answer at once. hyper reads one piece ahead of the client for each answer, so this is what
/// one costs whose client does not read.
const PIECE: usize = 32 * 1024;

/// Bytes to and from a server, in the clear for us.
#[derive(Debug)]
pub(crate) struct Connected {
    bytes: Bytes,
    /// Told when the server has said its first word.
    heard: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Bytes {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// A socket that others may look at while the connection has it.
#[derive(Debug)]
struct Wire(Arc<TcpStream>);

impl Connected {
    fn of(bytes: Bytes) -> Self {
        Self { bytes, heard: None }
    }

    /// Its socket, for whoever wants to look at it.
    pub(super) fn socket(&self) -> Weak<TcpStream> {
        Arc::downgrade(match &self.bytes {
            Bytes::Plain(wire) => &wire.0,
            Bytes::Tls(stream) => &stream.get_ref().0.0,
        })
    }

    /// Ready when the server has said its first word, or hung up.
    pub(crate) fn first_word(&mut self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.heard = Some(tell);
        told
    }
}

/// Opens one within `limit`, all handshakes included. `probes`: how far TCP's keep-alive probes are apart.
pub(crate) async fn open(
    way: &Way,
    stores: &Stores,
    limit: Duration,
    probes: Option<Duration>,
) -> Result<Connected, Fault> {
    let opening = async {
        let stream = connect(&way.authority, probes, |to| Ok(loops::socket(to)?)).await?;
        let stream = Wire(Arc::new(stream));
        match &way.tls {
            None => Ok(Connected::of(Bytes::Plain(stream))),
            Some(tls) => {
                let stream = secured(stream, tls, way.h2, stores).await?;
                Ok(Connected::of(Bytes::Tls(Box::new(stream))))
            }
        }
    };
    timeout(limit, opening).await.unwrap_or(Err(Fault::DialTimeout))
}

/// TCP alone, to the first address that takes it, from the `socket` for it.
pub(crate) async fn connect(
    authority: &str,
    probes: Option<Duration>,
    socket: impl Fn(SocketAddr) -> Result<TcpSocket, Fault>,
) -> Result<TcpStream, Fault> {
    let nowhere = || io::Error::new(io::ErrorKind::InvalidInput, "its name has no address");
    let mut connected = Err(nowhere().into());
    for address in lookup_host(authority).await? {
        connected = match socket(address) {
            Ok(socket) => socket.connect(address).await.map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        if connected.is_ok() {
            break;
        }
    }
    let stream = connected?;
    stream.set_nodelay(true)?;
    if let Some(probes) = probes {
        let keep_alive = socket2::TcpKeepalive::new()
            .with_time(probes)
            .with_interval(probes);
        SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok(stream)
}

async fn secured(stream: Wire, tls: &Tls, h2: bool, stores: &Stores) -> Result<TlsStream<Wire>, Fault> {
    let name = tls.server_name()?;
    let fault = |why: &dyn std::fmt::Display| Fault::Tls(why.to_string().into());
    let config = stores
        .client_config(&tls.options, h2)
        .await
        .map_err(|error| fault(&error))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| fault(&error))?;
    if h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(fault(&"the server does not offer HTTP/2"));
    }
    Ok(stream)
}

/// Reads no more than a [`PIECE`]; TLS gives out no more than a record anyway.
fn poll_piece(stream: &TcpStream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read_buf(&mut buf.limit(PIECE)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read.map(drop)),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_piece(&self.0, cx, buf)
    }
}

impl Wire {
    fn poll_wrote(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => return Poll::Ready(wrote),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_wrote(cx, |socket| socket.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_wrote(cx, |socket| socket.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match SockRef::from(&*self.0).shutdown(Shutdown::Write) {
            // The other side was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}

impl AsyncRead for Connected {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match &mut this.bytes {
            Bytes::Plain(stream) => poll_piece(&stream.0, cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if polled.is_ready()
            && let Some(heard) = this.heard.take()
        {
            // Whoever asked may have lost interest.
            let _ = heard.send(());
        }
        polled
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Bytes::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
