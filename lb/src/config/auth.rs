//! Authentication schemes: `proxy.auth`. Routes and the admin server ask for them by name.

use std::sync::Arc;
use std::time::Duration;

/// One scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthScheme {
    /// `name`.
    pub name: Arc<str>,
    /// `type`, and its options.
    pub kind: AuthKind,
}

/// What asks for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// `basic`: user and password in an htpasswd file.
    Basic {
        /// `file`: the htpasswd file.
        file: String,
        /// `realm`: what the client is told; by default the scheme's name.
        realm: String,
        /// `refresh`: time between two looks at the file; `None`: read once.
        refresh: Option<Duration>,
        /// `forward=true`: targets see the Authorization header that let the request in. fabio always sends it on,
        /// which hands every password to every target (fabio #671).
        forward: bool,
    },
    /// `external`: a GET to another server, whose 2xx lets the request in (fabio PR 1082).
    External {
        /// `endpoint`: its URL.
        endpoint: String,
        /// `set-auth-headers`: headers of its answer that replace those of the request.
        set_headers: Vec<String>,
        /// `append-auth-headers`: headers of its answer that are added to those of the request.
        append_headers: Vec<String>,
        /// `timeout`: how long it may take; default 5 s. No answer lets nobody in.
        timeout: Duration,
    },
}
