//! How lines get to their back end, over one socket each. Names are looked up again, so that a collector may move; of
//! several addresses, one that does not answer costs a moment (TCP) or an interval (UDP), not the metrics.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

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
    names: Names,
    open: Option<Open>,
    /// The address that was last tried, where nobody took what was sent there: another one gets its turn.
    refused: Option<SocketAddr>,
}

/// A socket that has found its way.
struct Open {
    socket: UdpSocket,
    to: SocketAddr,
    looked_up: Instant,
}

impl Udp {
    pub(super) fn to(names: Names) -> Self {
        Self {
            names,
            open: None,
            refused: None,
        }
    }

    /// That nobody took the datagrams of the last interval is an error of this one: it is not known earlier.
    pub(super) async fn send(&mut self, lines: &[String], patience: Duration) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let known = |open: &Open| open.looked_up.elapsed() < LOOK_UP;
        if self.refused.is_some() || !self.open.as_ref().is_some_and(known) {
            // Half of the time is left for sending to where it was.
            let found = timeout(patience / 2, self.names.find()).await;
            self.turn_to(found.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())))
                .await?;
        }
        let Some(open) = &self.open else { return Ok(()) };
        let mut refused = Ok(());
        for datagram in datagrams(lines) {
            let mut sent = open.socket.send(datagram.as_bytes()).await;
            if matches!(&sent, Err(error) if error.kind() == ErrorKind::ConnectionRefused) {
                self.refused = Some(open.to);
                refused = sent.map(drop);
                sent = open.socket.send(datagram.as_bytes()).await;
            }
            sent?;
        }
        refused
    }

    /// As if it had been looked up long ago.
    #[cfg(test)]
    pub(super) fn forget_time(&mut self) {
        if let Some(open) = &mut self.open {
            open.looked_up = open.looked_up.checked_sub(LOOK_UP).unwrap();
        }
    }

    /// The same socket for the same address, and for as long as there is no other to be had.
    async fn turn_to(&mut self, found: io::Result<Vec<SocketAddr>>) -> io::Result<()> {
        let looked_up = Instant::now();
        let now = self.open.as_ref().map(|open| open.to);
        let to = found.map(|found| next(&found, self.refused.take(), now));
        match (to, &mut self.open) {
            (Ok(to), Some(open)) if open.to != to => self.open_to(to, looked_up).await,
            (_, Some(open)) => {
                open.looked_up = looked_up;
                Ok(())
            }
            (to, None) => self.open_to(to?, looked_up).await,
        }
    }

    async fn open_to(&mut self, to: SocketAddr, looked_up: Instant) -> io::Result<()> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let opened = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            Ok(socket)
        };
        match opened.await {
            Ok(socket) => {
                self.open = Some(Open {
                    socket,
                    to,
                    looked_up,
                });
                Ok(())
            }
            Err(error) => {
                self.refused = Some(to);
                Err(error)
            }
        }
    }
}

/// The one after the one that refused; else the one of now, where it still is one; else the first.
fn next(found: &[SocketAddr], refused: Option<SocketAddr>, now: Option<SocketAddr>) -> SocketAddr {
    let place = |of: SocketAddr| found.iter().position(|known| *known == of);
    let after = refused.map(|refused| place(refused).map_or(0, |at| (at + 1) % found.len()));
    found[after.or_else(|| place(now?)).unwrap_or(0)]
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
    names: Names,
    stream: Option<TcpStream>,
}

impl Tcp {
    pub(super) fn to(names: Names) -> Self {
        Self { names, stream: None }
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    pub(super) async fn send(&mut self, lines: &[String], patience: Duration) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let until = Instant::now() + patience;
        // The first write to a connection that the other side has closed succeeds, and is lost.
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => connect(&self.names.find().await?, until).await?,
        };
        let mut text = lines.join("\n");
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// To the first that answers. Each gets its share of what time is left, so that one which is silent leaves some to others.
async fn connect(found: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut trouble = io::Error::from(ErrorKind::NotFound);
    for (tried, to) in found.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let still = u32::try_from(found.len() - tried).unwrap_or(u32::MAX);
        match timeout(left / still, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => trouble = error,
            Err(_) => trouble = ErrorKind::TimedOut.into(),
        }
    }
    Err(trouble)
}

fn is_open(stream: &TcpStream) -> bool {
    let mut unread = [0; 256];
    matches!(stream.try_read(&mut unread), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

type Finding = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Who knows the addresses of a collector.
pub(super) struct Names(Box<dyn Fn() -> Finding + Send + Sync>);

impl Names {
    /// The system, for `host:port`.
    pub(super) fn of(addr: String) -> Self {
        Self::by(move || {
            let addr = addr.clone();
            async move { Ok(lookup_host(&addr).await?.collect()) }
        })
    }

    pub(super) fn by<F>(find: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(find())))
    }

    /// One at least.
    async fn find(&self) -> io::Result<Vec<SocketAddr>> {
        let found = (self.0)().await?;
        if found.is_empty() {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                "the collector has no address",
            ));
        }
        Ok(found)
    }
}
