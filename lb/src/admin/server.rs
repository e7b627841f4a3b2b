//! Sockets of the admin server: how many at once, how long each step may take, TLS.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::View;
use super::guard::Door;
use super::paths;
use super::seats::{Seats, Sitting};
use crate::arrival::TlsFacts;
use crate::listen::{self, Trouble};
use crate::worker::bury;

/// Time for the head of a request to arrive, the first as well as each further one, and for a handshake.
const HEAD: Duration = Duration::from_secs(5);
/// A connection goes on no longer, so that clients who read nothing cannot keep all others out.
const LIFE: Duration = Duration::from_secs(300);
/// Largest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// All interfaces are both families, or IPv4 where the machine has no IPv6.
pub(super) fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let all = addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let bound = std::net::TcpListener::bind(addr);
    let listener = match bound {
        Err(error) if all && error.kind() != io::ErrorKind::AddrInUse => {
            std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port()))?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Who is connected.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub addr: SocketAddr,
    /// Nobody from elsewhere can be here.
    pub on_loopback: bool,
    /// `None`: no TLS.
    pub tls: Option<Arc<TlsFacts>>,
}

pub(super) async fn run(
    listener: std::net::TcpListener,
    view: View,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let at = listener.local_addr()?;
    let mut open = Door::of(&view).announce(at, false);
    let (mut changes, view) = (view.now.clone(), Arc::new(view));
    let (mut trouble, seats) = (Trouble::new(view.counters.clone(), at), Seats::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Ok(()) = changes.changed() => open = Door::of(&view).announce(at, open),
            Some(ended) = connections.join_next() => bury(&view.counters, ended),
            (stream, addr) = listen::accept(&listener, &mut trouble) => {
                match seats.take(addr.ip(), Instant::now()) {
                    Some(seat) => {
                        connections.spawn(seated(stream, addr, (Arc::new(seat), view.clone())));
                    }
                    None => {
                        view.counters.doors.over_limit.add(1);
                        tracing::debug!(peer = %addr, "admin connection refused: too many");
                    }
                }
            }
        }
    }
}

async fn seated(stream: TcpStream, addr: SocketAddr, (seat, view): (Arc<Sitting>, Arc<View>)) {
    let leave = seat.leave.clone();
    tokio::select! {
        () = greet(stream, addr, (seat, view)) => {}
        () = leave.cancelled() => tracing::debug!(peer = %addr, "an idle admin connection makes room"),
    }
}

async fn greet(stream: TcpStream, addr: SocketAddr, (seat, view): (Arc<Sitting>, Arc<View>)) {
    let local = stream.local_addr().map(|local| local.ip().to_canonical());
    let mut peer = Peer {
        addr,
        on_loopback: local.is_ok_and(|local| local.is_loopback()),
        tls: None,
    };
    match &view.now().admin {
        None => serve(stream, peer, (seat, view)).await,
        Some(acceptor) => match acceptor.accept(stream, HEAD).await {
            Ok((stream, facts)) => {
                peer.tls = Some(Arc::new(facts));
                serve(stream, peer, (seat, view.clone())).await;
            }
            Err(error) => {
                view.counters.doors.tls_failed.add(1);
                tracing::debug!(peer = %addr, %error, "admin connection refused");
            }
        },
    }
}

async fn serve<S>(stream: S, peer: Peer, (seat, view): (Arc<Sitting>, Arc<View>))
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream = Seated {
        stream,
        seat: seat.clone(),
    };
    let service = service_fn(|request| {
        let (peer, seat, view) = (peer.clone(), seat.clone(), view.clone());
        async move {
            seat.is_asked();
            let answer = paths::answer(&view, (&peer, &seat), request).await;
            seat.has_answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LIFE) => connection.as_mut().graceful_shutdown(),
    }
    // One that takes nothing of its answer shall not keep its place.
    let _ = tokio::time::timeout(HEAD, connection).await;
}

/// A connection that tells its seat when an answer has been written: hyper flushes once nothing is left.
struct Seated<S> {
    stream: S,
    seat: Arc<Sitting>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Seated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seated<S> {
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
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.seat.has_written(Instant::now());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::sync::watch;

    use super::*;
    use crate::router::Live;

    #[tokio::test]
    async fn who_still_reads_an_answer_keeps_the_seat() {
        let (_ready, ready) = watch::channel(true);
        let view = View::new(Arc::default(), Live::default(), ready, Registry::new()).unwrap();
        let peer = Peer {
            addr: "192.0.2.1:80".parse().unwrap(),
            on_loopback: true,
            tls: None,
        };
        let (seats, at) = (Seats::default(), peer.addr.ip());
        let seat = Arc::new(seats.take(at, Instant::now()).unwrap());
        let (mut client, server) = duplex(16);
        tokio::spawn(serve(server, peer, (seat.clone(), Arc::new(view))));
        let mut head = [0; 8];
        client
            .write_all(b"GET /api/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .await
            .unwrap();
        client.read_exact(&mut head).await.unwrap();
        let mut others = Vec::new();
        while !others.iter().any(|other: &Sitting| other.leave.is_cancelled()) {
            others.push(seats.take(at, Instant::now()).unwrap());
        }
        assert!(!seat.leave.is_cancelled());

        let mut rest = Vec::new();
        while !rest.ends_with(env!("CARGO_PKG_VERSION").as_bytes()) {
            rest.push(client.read_u8().await.unwrap());
        }
        others.iter().for_each(Sitting::is_asked);
        while seats.take(at, Instant::now()).is_none() {
            tokio::task::yield_now().await;
        }
        assert!(seat.leave.is_cancelled(), "idle again");
    }
}
