//! Why a request is refused or fails, and the one place where that becomes a status and a sentence.

use bytes::Bytes;
use hyper::http::StatusCode;

use crate::http::host::BadHost;
use crate::http::path::BadPath;
use crate::policy::Denial;
use crate::upstream::Fault;

/// Why a request is answered by us and not by a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The client's, before anything was sent anywhere.
    #[error("{0}")]
    Host(#[from] BadHost),
    #[error("{0}")]
    Path(#[from] BadPath),
    #[error("request could be read in more than one way")]
    Ambiguous,
    #[error("CONNECT is not supported")]
    Connect,
    #[error("too many header lines")]
    TooManyHeaders,
    /// The client's, while its body was on its way.
    #[error("malformed request body")]
    Body,
    /// The same: it ended before it was whole. Who only closed his sending half still reads this.
    #[error("request body ended early")]
    CutShort,
    /// The same: its server had to wait for it for too long.
    #[error("request body does not come in time")]
    Late,
    /// It has passed too many of us.
    #[error("request goes round in a loop")]
    Loop,
    /// No route wants it.
    #[error("no route")]
    NoRoute,
    /// A route wants it, and nothing behind it may receive traffic now.
    #[error("no healthy instance")]
    Unavailable,
    /// The route's, which asks more of a request than this one has to show.
    #[error("{0}")]
    Denied(#[from] Denial),
    /// A server's.
    #[error("{0}")]
    Upstream(Fault),
    /// Ours: a rewrite made something that is no request.
    #[error("cannot build the request: {0}")]
    Rewrite(hyper::http::Error),
}

impl Refusal {
    /// `no_route` is the operator's choice for requests without a route.
    pub(crate) fn status(&self, no_route: u16) -> StatusCode {
        match self {
            Self::Host(_) | Self::Path(_) | Self::Ambiguous | Self::Body | Self::CutShort => {
                StatusCode::BAD_REQUEST
            }
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoute => StatusCode::from_u16(no_route).unwrap_or(StatusCode::NOT_FOUND),
            Self::Denied(denial) => denial.status(),
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(fault) if fault.is_our_want() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(fault) if fault.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Rewrite(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client reads. Nothing about our inside: addresses of servers stay in the log.
    pub(crate) fn text(&self) -> Bytes {
        match self {
            Self::Upstream(fault) if fault.is_our_want() => {
                Bytes::from_static(b"no room for a connection to upstream\n")
            }
            Self::Upstream(Fault::Dial(_) | Fault::Loop) => {
                Bytes::from_static(b"upstream refused the connection\n")
            }
            Self::Upstream(Fault::DialTimeout) => Bytes::from_static(b"upstream did not accept in time\n"),
            Self::Upstream(Fault::Tls(_)) => Bytes::from_static(b"upstream cannot be trusted\n"),
            Self::Upstream(Fault::HeaderTimeout | Fault::TotalTimeout) => {
                Bytes::from_static(b"upstream did not answer in time\n")
            }
            Self::Upstream(Fault::Declined) => Bytes::from_static(b"upstream declined the upgrade\n"),
            Self::Upstream(
                Fault::Answer(_)
                | Fault::Broken(_)
                | Fault::Malformed(_)
                | Fault::Switched
                | Fault::Host
                | Fault::Tongue,
            ) => Bytes::from_static(b"upstream gave no valid answer\n"),
            Self::Rewrite(_) => Bytes::from_static(b"internal error\n"),
            Self::Denied(denial) => denial.text(),
            refusal => Bytes::from(format!("{refusal}\n")),
        }
    }

    /// The same may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::Upstream(fault) => fault.is_our_want(),
            _ => false,
        }
    }

    /// The rest of the connection cannot be trusted to be requests.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Ambiguous
                | Self::Body
                | Self::Connect
                | Self::CutShort
                | Self::Late
                | Self::Denied(Denial::Body)
                | Self::Host(_)
        )
    }
}
