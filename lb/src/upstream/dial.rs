//! A fresh connection to a server: TCP, and TLS on it where the route asks.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Stores;
use crate::upstream::Fault;
use crate::upstream::way::{Tls, Way};
use crate::worker::loops;

/// Most that is read of an answer at once. hyper reads one piece ahead of the client for each answer, so this is what
/// one costs whose client does not read.
const PIECE: usize = 32 * 1024;

/// How long an address is waited for alone (RFC 8305, 5); less, where there is less time.
const HEAD_START: Duration = Duration::from_millis(250);

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

    /// In the clear.
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::of(Bytes::Plain(Wire(Arc::new(stream))))
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
        let stream = plain(way, limit, probes).await?;
        match &way.tls {
            None => Ok(Connected::plain(stream)),
            Some(tls) => {
                let stream = secured(Wire(Arc::new(stream)), tls, way.h2, stores).await?;
                Ok(Connected::of(Bytes::Tls(Box::new(stream))))
            }
        }
    };
    timeout(limit, opening).await.unwrap_or(Err(Fault::DialTimeout))
}

/// TCP alone, as far as loops allow. Whoever calls sees to the `limit`.
pub(super) async fn plain(way: &Way, limit: Duration, probes: Option<Duration>) -> Result<TcpStream, Fault> {
    let socket = |to| Ok((loops::socket(to)?, ()));
    let (stream, ()) = connect(&way.authority, limit, probes, socket).await?;
    Ok(stream)
}

/// TCP alone, to the first address that takes it, from the `socket` for it and with what comes with that. Whoever calls
/// sees to the `limit`.
pub(crate) async fn connect<W>(
    authority: &str,
    limit: Duration,
    probes: Option<Duration>,
    socket: impl Fn(SocketAddr) -> Result<(TcpSocket, W), Fault>,
) -> Result<(TcpStream, W), Fault> {
    let addresses = lookup_host(authority).await?.collect();
    let (stream, with) = race(addresses, limit, socket).await?;
    stream.set_nodelay(true)?;
    if let Some(probes) = probes {
        let keep_alive = socket2::TcpKeepalive::new()
            .with_time(probes)
            .with_interval(probes);
        SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok((stream, with))
}

/// Each address is tried when those before it have failed or been silent for a while, so that one that is silent does
/// not use up the time of all.
async fn race<W>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    socket: impl Fn(SocketAddr) -> Result<(TcpSocket, W), Fault>,
) -> Result<(TcpStream, W), Fault> {
    let attempt = async |address| {
        let (socket, with) = socket(address)?;
        Ok::<_, Fault>((socket.connect(address).await?, with))
    };
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let head_start = HEAD_START.min(limit / count.saturating_add(1));
    let mut addresses = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let nowhere = io::Error::new(io::ErrorKind::InvalidInput, "its name has no address");
    let mut failed = Fault::from(nowhere);
    loop {
        if let Some(address) = addresses.next() {
            under_way.push(attempt(address));
        }
        tokio::select! {
            ended = under_way.next() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(fault)) => failed = fault,
                // Each that ended was followed by another one, so there is none left.
                None => return Err(failed),
            },
            () = sleep(head_start), if addresses.len() > 0 => {}
        }
    }
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
///
/// Who gets less than would have fit has emptied the socket: it is not asked again before the system says that there is
/// more, which saves a call for each answer. Only the runtime's own thread hears the system, and it is in here, so that
/// no news is forgotten with the old.
fn poll_piece(stream: &TcpStream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let room = PIECE.min(buf.remaining());
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read_buf(&mut buf.limit(PIECE)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(read) if 0 < read && read < room => {
                let emptied = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = stream.try_io(Interest::READABLE, emptied);
                return Poll::Ready(Ok(()));
            }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LOCAL: &str = "127.0.0.1:0";

    /// A listener that drops whoever comes, as a firewall would, while these live.
    fn silent() -> (SocketAddr, Vec<std::net::TcpStream>, socket2::Socket) {
        let addr: SocketAddr = LOCAL.parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = |_| std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(100)).ok();
        let filled: Vec<_> = (0..16).map_while(connect).collect();
        assert!(filled.len() < 16, "its queue has no end");
        (addr, filled, socket)
    }

    #[tokio::test]
    async fn an_address_that_is_silent_leaves_the_others_time() {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = TcpListener::bind(LOCAL).unwrap().local_addr().unwrap();
        let (silent, _filled, _socket) = silent();
        let limit = Duration::from_secs(10);
        for before in [&[][..], &[silent], &[refusing], &[silent, refusing, silent]] {
            let addresses = before.iter().copied().chain([good, silent]).collect();
            let connected = race(addresses, limit, |to| Ok((loops::socket(to)?, to)));
            let (_, to) = timeout(limit, connected).await.expect("in time").unwrap();
            assert_eq!(to, good, "{before:?}");
        }
        let refused = race(vec![refusing; 3], limit, |to| Ok((loops::socket(to)?, ())));
        assert!(refused.await.unwrap_err().is_refusal());
        let nowhere = race(Vec::new(), limit, |to| Ok((loops::socket(to)?, ())));
        assert!(nowhere.await.is_err());
    }
}
