//! What can go wrong with a server, and what follows from it for the request and for the server.

use std::io;
use std::sync::Arc;

use crate::upstream::Outgoing;

/// What went wrong with a server. Several requests may wait for one connection, so it can be told to all of them.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("connecting fails: {0}")]
    Dial(#[source] Arc<io::Error>),
    #[error("no connection in time")]
    DialTimeout,
    /// It is the listener that the connection came in by, or another of ours and the connection has come by too often.
    #[error("it is our own listener, so the connection comes back")]
    Loop,
    /// Its certificate is not to be trusted, or it does not speak TLS, or not as the route asks.
    #[error("TLS fails: {0}")]
    Tls(Arc<str>),
    /// The route asks for HTTP/2, and it speaks something else or allows no streams.
    #[error("it does not speak HTTP/2")]
    Tongue,
    #[error("no answer in time")]
    HeaderTimeout,
    /// `timeout` of the route.
    #[error("no answer in the time of the route")]
    TotalTimeout,
    /// The connection broke before an answer, or the answer is not HTTP.
    #[error("no valid answer: {0}")]
    Answer(#[source] Arc<hyper::Error>),
    /// The connection broke before the whole head of an answer.
    #[error("no valid answer: {0}")]
    Broken(#[source] Arc<io::Error>),
    /// The answer is not HTTP.
    #[error("no valid answer: {0}")]
    Malformed(&'static str),
    /// Ours: HTTP/2 cannot name that host.
    #[error("its route asks for a Host that is none")]
    Host,
    #[error("it switched protocols unasked")]
    Switched,
    /// In words that would mean the opposite to the client.
    #[error("it declined an upgrade")]
    Declined,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Dial(Arc::new(error))
    }
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        Self::Answer(Arc::new(error))
    }
}

impl Fault {
    /// It said so at once, which cost next to nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Dial(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Nobody is there now, as far as one attempt can tell. Want of ports or descriptors is our own trouble.
    pub(crate) fn is_absence(&self) -> bool {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
            TimedOut,
        };
        match self {
            Self::DialTimeout => true,
            Self::Dial(error) => matches!(
                error.kind(),
                ConnectionAborted
                    | ConnectionRefused
                    | ConnectionReset
                    | HostUnreachable
                    | NetworkUnreachable
                    | TimedOut
            ),
            _ => false,
        }
    }

    /// We lack what it takes to connect: file descriptors or memory.
    pub(crate) fn is_our_want(&self) -> bool {
        /// Linux's `ENOMEM`, `ENFILE`, `EMFILE` and `ENOBUFS`, which the standard library has few names for.
        const WANTS: [i32; 4] = [12, 23, 24, 105];
        matches!(self, Self::Dial(error) if error.raw_os_error().is_some_and(|code| WANTS.contains(&code)))
    }

    /// It took too long, whatever it was.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::DialTimeout | Self::HeaderTimeout | Self::TotalTimeout)
    }

    /// Another attempt may fare better: no answer had begun, or not as far as its head goes.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Answer(error) => !error.is_parse(),
            Self::Dial(_)
            | Self::DialTimeout
            | Self::Loop
            | Self::Tls(_)
            | Self::Tongue
            | Self::Broken(_) => true,
            Self::HeaderTimeout
            | Self::TotalTimeout
            | Self::Host
            | Self::Malformed(_)
            | Self::Switched
            | Self::Declined => false,
        }
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub fault: Fault,
    /// The whole request, where it is still there.
    pub request: Option<Outgoing>,
    /// Some of it may have left: it may be sent elsewhere only if that cannot do a thing twice.
    pub sent: bool,
    /// It went out on a connection that was there before, which says little about the server.
    pub reused: bool,
}
