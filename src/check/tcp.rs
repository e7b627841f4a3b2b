//! One run of a TCP check: a connection that opens passes.

use std::io;
use std::time::Duration;

use catalog::Status;
use tokio::net::TcpStream;
use tokio::time;

use super::Outcome;

/// Where a definition says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A definition's timeout, or the default where it is zero.
pub(super) fn patience(timeout: Duration) -> Duration {
    if timeout.is_zero() {
        DEFAULT_TIMEOUT
    } else {
        timeout
    }
}

pub(super) async fn run(address: &str, timeout: Duration) -> Outcome {
    match time::timeout(patience(timeout), TcpStream::connect(address)).await {
        Ok(Ok(_)) => Outcome {
            status: Status::Passing,
            output: format!("TCP connect {address}: Success"),
        },
        Ok(Err(error)) => Outcome::critical(format!("dial tcp {address}: {}", brief(&error))),
        Err(_) => Outcome::critical(format!("dial tcp {address}: i/o timeout")),
    }
}

/// Go's words for what users grep for; the system's for the rest.
pub(super) fn brief(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}
