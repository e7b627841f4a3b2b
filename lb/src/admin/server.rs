//! Sockets of the admin server: how many at once, how long each step may take, TLS.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::View;
use super::guard::Door;
use super::paths;
use crate::arrival::TlsFacts;

/// Time for the head of a request to arrive, and for a handshake.
const HEAD: Duration = Duration::from_secs(10);
/// Connections served at once; more wait in the kernel.
const MOST: usize = 256;
/// A connection goes on no longer, so that clients who read nothing cannot keep all others out.
const LIFE: Duration = Duration::from_secs(300);
/// Largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Pause after an accept that failed for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

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
    let door = Door::of(&view);
    door.announce(listener.local_addr()?);
    let shown = Arc::new((view, door));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((stream, addr)) => {
                    connections.spawn(greet(stream, addr, shown.clone()));
                }
                // Whatever it was, the next connection may be fine; just not at full speed.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

async fn greet(stream: TcpStream, addr: SocketAddr, shown: Arc<(View, Door)>) {
    let local = stream.local_addr().map(|local| local.ip().to_canonical());
    let mut peer = Peer {
        addr,
        on_loopback: local.is_ok_and(|local| local.is_loopback()),
        tls: None,
    };
    match &shown.0.acceptor {
        None => serve(stream, peer, shown).await,
        Some(acceptor) => match acceptor.clone().accept(stream, HEAD).await {
            Ok((stream, facts)) => {
                peer.tls = Some(Arc::new(facts));
                serve(stream, peer, shown).await;
            }
            Err(error) => tracing::debug!(peer = %addr, %error, "admin connection refused"),
        },
    }
}

async fn serve<S>(stream: S, peer: Peer, shown: Arc<(View, Door)>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request| {
        let (peer, shown) = (peer.clone(), shown.clone());
        async move { Ok::<_, Infallible>(paths::answer(&shown.0, &shown.1, &peer, request).await) }
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
