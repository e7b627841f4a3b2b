//! Sockets of the listeners: claimed when the lb is built, listening only from the first table on.
//!
//! Every worker gets a socket of its own on every port (`SO_REUSEPORT`), so the kernel spreads connections
//! and no accepted one ever changes its core. That option also lets another process of the same user
//! share a port in silence, so a port is first claimed without it: a taken port is an error, always.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::metrics::Counters;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Silent clients are asked whether they still exist, as fabio does.
const KEEP_ALIVE: Duration = Duration::from_secs(180);
/// Pause after an accept that failed for lack of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// A trouble that lasts is told this often.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Binds `count` sockets to one address; port 0 gives all of them the same free port.
/// `[::]` means every address of both families, or of IPv4 on a machine without IPv6.
/// `ours`: the port is in use by a listener of ours that is about to close, so it being taken means nothing.
pub(crate) fn claim(addr: SocketAddr, count: usize, ours: bool) -> io::Result<(SocketAddr, Vec<Socket>)> {
    match claim_in_family(addr, count, ours) {
        Err(error) if addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && lacks_ipv6(&error) => {
            claim_in_family(
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port()),
                count,
                ours,
            )
        }
        claimed => claimed,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    /// Linux's `EAFNOSUPPORT`, which the standard library has no name for.
    const NO_SUCH_FAMILY: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

fn claim_in_family(addr: SocketAddr, count: usize, ours: bool) -> io::Result<(SocketAddr, Vec<Socket>)> {
    if addr.port() != 0 && !ours {
        // Reuse of the address alone passes over connections that linger, not over anybody's socket.
        let probe = socket(addr)?;
        probe.set_reuse_address(true)?;
        probe.bind(&addr.into())?;
    }
    let first = bind(addr)?;
    let bound = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("not an IP socket"))?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind(bound)?);
    }
    Ok((bound, sockets))
}

/// Sockets without `SO_REUSEADDR` are seen by the probe of another process even before they listen; but
/// connections left over by a program that did not share its port can only be passed over with it.
fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let attempt = |reuse_address: bool| {
        let socket = socket(addr)?;
        socket.set_reuse_port(true)?;
        socket.set_reuse_address(reuse_address)?;
        socket.bind(&addr.into())?;
        Ok(socket)
    };
    attempt(false).or_else(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => attempt(true),
        _ => Err(error),
    })
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // `:9999` means every address, of both families.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Begins to listen: connections queue up from now on.
pub(crate) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)?;
    // From here on the state tells others that the port is taken. Connections inherit this, and those that linger
    // after we have gone are no bar to the next process, or to opening the port again.
    socket.set_reuse_address(true)
}

/// Takes over a socket that listens, on the runtime of the worker that owns it.
pub(crate) fn take(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. Never ends: a connection that died while waiting is skipped, and want of
/// file descriptors is told and waited out, since closing the listener would only make it worse.
pub(crate) async fn accept(listener: &TcpListener, trouble: &mut Trouble) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                prepare(&stream);
                return (stream, addr);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                trouble.met(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Accepting connections fails: counted each time, said now and then.
pub(crate) struct Trouble {
    counters: Arc<Counters>,
    addr: SocketAddr,
    said: Option<Instant>,
}

impl Trouble {
    /// None yet, of the listener at `addr`.
    pub(crate) fn new(counters: Arc<Counters>, addr: SocketAddr) -> Self {
        let said = None;
        Self { counters, addr, said }
    }

    fn met(&mut self, error: &io::Error) {
        self.counters.doors.accept_errors.add(1);
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            self.said = Some(Instant::now());
            tracing::warn!(addr = %self.addr, %error, "accepting connections fails, trying again");
        }
    }
}

/// Connections that wait to be accepted at this moment: closing the listener would reset them. The system is asked
/// itself, since the runtime does not know yet of those that came a moment ago.
pub(crate) fn waiting(listener: &TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let listener = SockRef::from(listener);
    let mut waiting = Vec::new();
    // More than the queue holds have come since.
    for _ in 0..BACKLOG {
        match listener.accept() {
            Ok((socket, addr)) => waiting.extend(taken(socket).ok().zip(addr.as_socket())),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => break,
        }
    }
    waiting
}

fn taken(socket: Socket) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from_std(socket.into())?;
    prepare(&stream);
    Ok(stream)
}

fn prepare(stream: &TcpStream) {
    // Failing means the connection is already gone, which reading it will tell.
    let _ = stream.set_nodelay(true);
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE / 10);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn a_free_port_is_the_same_for_all_sockets() {
        let (addr, sockets) = claim(ANY.parse().unwrap(), 3, false).unwrap();
        assert_ne!(addr.port(), 0);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(addr));
        }
    }

    #[test]
    fn a_port_claimed_by_somebody_else_is_an_error_listening_or_not() {
        let (addr, sockets) = claim(ANY.parse().unwrap(), 2, false).unwrap();
        assert_eq!(
            claim(addr, 2, false).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        for socket in &sockets {
            listen(socket).unwrap();
        }
        assert_eq!(
            claim(addr, 2, false).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(sockets);
        assert!(claim(addr, 2, false).is_ok());

        let foreign = std::net::TcpListener::bind(ANY).unwrap();
        let addr = foreign.local_addr().unwrap();
        assert_eq!(
            claim(addr, 1, false).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }

    #[test]
    fn a_port_on_which_connections_linger_can_be_claimed() {
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        // The side that closes first is left with a connection in TIME_WAIT.
        drop(listener.accept().unwrap());
        drop(listener);
        drop(client);
        let (addr, sockets) = claim(addr, 2, false).unwrap();

        // The same with sockets of our own.
        sockets.iter().for_each(|socket| listen(socket).unwrap());
        let client = std::net::TcpStream::connect(addr).unwrap();
        let accepted = sockets.iter().find_map(|socket| {
            socket.set_nonblocking(true).unwrap();
            socket.accept().ok()
        });
        drop(accepted.expect("one of them has the client"));
        drop(sockets);
        drop(client);
        assert!(claim(addr, 2, false).is_ok());
    }
}
