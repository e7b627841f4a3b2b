//! One run of a UDP check: an empty datagram, which passes unless the other side says that nobody is there.
//!
//! Silence passes too, as in Consul: most protocols do not answer what they do not understand.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use catalog::Status;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time;

use super::Outcome;
use super::tcp::{brief, patience};

pub(super) async fn run(address: &str, timeout: Duration) -> Outcome {
    match time::timeout(patience(timeout), ask(address)).await {
        Ok(Ok(())) | Err(_) => Outcome {
            status: Status::Passing,
            output: format!("UDP connect {address}: Success"),
        },
        Ok(Err(error)) => Outcome::critical(format!("dial udp {address}: {}", brief(&error))),
    }
}

async fn ask(address: &str) -> io::Result<()> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such host");
    let to = lookup_host(address).await?.next().ok_or_else(unknown)?;
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(to).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0]).await.map(drop)
}
