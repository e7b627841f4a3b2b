//! How lines get to their back end, over one socket each. Names are looked up again, so that a collector may move.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::task::{JoinHandle, spawn_blocking};

/// Names of collectors that are told by UDP are looked up this often.
const LOOK_UP: Duration = Duration::from_secs(60);
/// Payload that fits a packet on Ethernet.
const DATAGRAM: usize = 1432;

/// A line each, on standard output.
#[derive(Default)]
pub(super) struct Stdout {
    /// What was given up, and goes on as long as nobody reads.
    stuck: Option<JoinHandle<io::Result<()>>>,
}

impl Stdout {
    /// At most one thread waits for a reader: where that one still does, the lines are lost.
    pub(super) async fn send(&mut self, lines: Vec<String>) -> io::Result<()> {
        if let Some(stuck) = &mut self.stuck {
            // Its lines were given up, and told of, then.
            let _ = stuck.await;
        }
        let writing = self.stuck.insert(spawn_blocking(move || {
            use std::io::Write;
            let mut stdout = io::stdout().lock();
            for line in lines {
                writeln!(stdout, "{line}")?;
            }
            stdout.flush()
        }));
        let written = writing.await;
        self.stuck = None;
        written.map_err(io::Error::other)?
    }
}

/// Datagrams of several lines, from one port.
pub(super) struct Udp {
    addr: String,
    open: Option<Open>,
}

/// A socket that has found its way.
struct Open {
    socket: UdpSocket,
    to: SocketAddr,
    looked_up: Instant,
}

impl Udp {
    pub(super) fn to(addr: String) -> Self {
        Self { addr, open: None }
    }

    /// That nobody took the datagrams of the last interval is an error of this one: it is not known earlier.
    pub(super) async fn send(&mut self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let open = match self.open.take() {
            Some(open) if open.looked_up.elapsed() < LOOK_UP => open,
            open => self.look_up(open).await?,
        };
        let mut refused = Ok(());
        for datagram in datagrams(lines) {
            let mut sent = open.socket.send(datagram.as_bytes()).await;
            if matches!(&sent, Err(error) if error.kind() == ErrorKind::ConnectionRefused) {
                refused = sent.map(drop);
                sent = open.socket.send(datagram.as_bytes()).await;
            }
            sent?;
        }
        self.open = Some(open);
        refused
    }

    /// The same socket for the same address, and for as long as there is no other to be had.
    async fn look_up(&self, open: Option<Open>) -> io::Result<Open> {
        let looked_up = Instant::now();
        let to = match (resolve(&self.addr).await, open) {
            (Ok(to), Some(open)) if open.to != to => to,
            (_, Some(open)) => return Ok(Open { looked_up, ..open }),
            (to, None) => to?,
        };
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        Ok(Open {
            socket,
            to,
            looked_up,
        })
    }
}

/// As many lines in each as fit; a longer line has one to itself.
pub(super) fn datagrams(lines: &[String]) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= DATAGRAM => {
                last.push('\n');
                last.push_str(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    datagrams
}

/// A connection that is kept, and made anew where it was lost.
pub(super) struct Tcp {
    addr: String,
    stream: Option<TcpStream>,
}

impl Tcp {
    pub(super) fn to(addr: String) -> Self {
        Self { addr, stream: None }
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    pub(super) async fn send(&mut self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        // The first write to a connection that the other side has closed succeeds, and is lost.
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => TcpStream::connect(resolve(&self.addr).await?).await?,
        };
        let mut text = lines.join("\n");
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }
}

fn is_open(stream: &TcpStream) -> bool {
    let mut unread = [0; 256];
    matches!(stream.try_read(&mut unread), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

async fn resolve(addr: &str) -> io::Result<SocketAddr> {
    lookup_host(addr)
        .await?
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("{addr} has no address")))
}
