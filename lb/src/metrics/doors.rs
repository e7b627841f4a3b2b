//! What one worker counts of connections before they have a route.

use super::counters::Count;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Accepting failed for want of file descriptors or memory.
    pub accept_errors: Count,
    /// The client has as many connections as it may have.
    pub over_limit: Count,
    /// Idle, and in the place of one that came.
    pub given_up: Count,
    /// A PROXY header of a peer whom we do not believe.
    pub proxy_distrusted: Count,
    /// A PROXY header that is none, or that did not come in time.
    pub proxy_broken: Count,
    /// No ClientHello where one is needed.
    pub hello_refused: Count,
    /// A TLS handshake that failed.
    pub tls_failed: Count,
    /// A TCP client that the rules of the target do not let in.
    pub tcp_denied: Count,
}

/// What is counted of listeners as a whole; written by their only owner.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Sockets that listen, those of all workers on one address as one.
    pub open: Count,
    /// A port of a TCP route that could not be opened.
    pub route_failures: Count,
    /// A listener that came with a reload and could not be opened.
    pub reload_failures: Count,
}
