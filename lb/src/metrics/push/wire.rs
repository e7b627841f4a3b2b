//! How lines get to their back end. Addresses are looked up at each interval, so that a collector may move.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

/// Payload that fits a packet on Ethernet.
const DATAGRAM: usize = 1432;

/// A line each, on standard output.
pub(super) struct Stdout;

impl Stdout {
    pub(super) async fn send(&mut self, lines: Vec<String>) -> io::Result<()> {
        let writing = tokio::task::spawn_blocking(move || {
            use std::io::Write;
            let mut stdout = io::stdout().lock();
            for line in lines {
                writeln!(stdout, "{line}")?;
            }
            stdout.flush()
        });
        writing.await.map_err(io::Error::other)?
    }
}

/// Datagrams of several lines.
pub(super) struct Udp {
    addr: String,
}

impl Udp {
    pub(super) fn to(addr: String) -> Self {
        Self { addr }
    }

    pub(super) async fn send(&mut self, lines: &[String]) -> io::Result<()> {
        let to = resolve(&self.addr).await?;
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        for datagram in datagrams(lines) {
            socket.send_to(datagram.as_bytes(), to).await?;
        }
        Ok(())
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
