//! The balancer shown to people and programs on `ui.addr`, with fabio's paths: the current table, the tags
//! that make no route, health, metrics. Only reads; nothing here can change a route.
//!
//! A page in somebody's browser could have its own name point at us (DNS rebinding) and read the table:
//! on loopback, requests for names that cannot be ours are refused.

mod page;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::router::Live;
use crate::table::Weights;

/// Time for the head of a request to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// Connections served at once; more wait in the kernel.
const MOST: usize = 256;
/// Pause after an accept that failed for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// The bound port of the admin server.
#[derive(Debug)]
pub struct Admin {
    listener: std::net::TcpListener,
    addr: SocketAddr,
}

/// What the admin server shows.
#[derive(Clone, Debug)]
pub struct View {
    /// For our own names.
    pub config: Arc<Config>,
    /// The current table.
    pub live: Live,
    /// Whether traffic is welcome.
    pub ready: watch::Receiver<bool>,
    /// What `/metrics` says.
    pub registry: Registry,
}

impl Admin {
    /// Binds the port; nobody is answered yet.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            addr: listener.local_addr()?,
            listener,
        })
    }

    /// The address that was bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop`; connections end with it.
    pub async fn run(self, view: View, stop: CancellationToken) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let view = Arc::new(view);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < MOST => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, view.clone()));
                    }
                    // Whatever it was, the next connection may be fine; just not at full speed.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }
}

async fn serve(stream: TcpStream, view: Arc<View>) {
    let on_loopback = stream
        .local_addr()
        .is_ok_and(|local| local.ip().to_canonical().is_loopback());
    let service = service_fn(|request| {
        let answer = answer(&view, &request, on_loopback);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off is its own affair.
    let _ = connection.await;
}

/// Names are only looked at on loopback, against pages that make theirs resolve there; elsewhere
/// strangers need no browser to ask, and users come under names of their own.
fn answer(view: &View, request: &Request<Incoming>, on_loopback: bool) -> Answer {
    let host = request.headers().get(HOST).map(HeaderValue::to_str);
    match host {
        _ if !on_loopback => {}
        Some(Ok(host)) if is_ours(&view.config, host) => {}
        // Browsers always say where they think they are.
        None => {}
        Some(_) => {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not a name of this server\n",
            );
        }
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    page_for(view, request.uri().path(), request.uri().query().unwrap_or(""))
}

fn page_for(view: &View, path: &str, query: &str) -> Answer {
    let asks = |word: &str| query.split('&').any(|pair| pair.split('=').next() == Some(word));
    match path {
        "/health" => plain(StatusCode::OK, "OK\n"),
        "/ready" if *view.ready.borrow() => plain(StatusCode::OK, "ready\n"),
        "/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/routes" => typed(HTML, page::routes(&view.live.load(), query)),
        "/api/routes" if asks("raw") => typed(TEXT, view.live.load().text(Weights::Asked)),
        "/api/routes" => json(&view.live.load().rows(), asks("pretty")),
        "/api/skipped" => json(&view.live.load().skipped().collect::<Vec<_>>(), asks("pretty")),
        "/api/version" => plain(StatusCode::OK, env!("CARGO_PKG_VERSION")),
        "/metrics" => metrics(&view.registry),
        "/favicon.ico" => plain(StatusCode::NOT_FOUND, ""),
        _ => {
            let mut answer = plain(StatusCode::SEE_OTHER, "");
            answer
                .headers_mut()
                .insert(LOCATION, HeaderValue::from_static("/routes"));
            answer
        }
    }
}

/// Whether a Host names us: an address, `localhost`, our node or domains, or a name without dots, which
/// no foreign DNS zone can hand out.
fn is_ours(config: &Config, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = |domain: &str| {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        !domain.is_empty()
            && name
                .strip_suffix(&*domain)
                .is_some_and(|left| left.is_empty() || left.ends_with('.'))
    };
    bare.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || below("localhost")
        || below(&config.node)
        || config.domains.iter().any(|domain| below(domain))
}

/// Everything that is counted, in Prometheus' text format.
pub(crate) fn metrics(registry: &Registry) -> Answer {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => typed("text/plain; version=0.0.4", text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn json(rows: &impl serde::Serialize, pretty: bool) -> Answer {
    let text = if pretty {
        serde_json::to_string_pretty(rows)
    } else {
        serde_json::to_string(rows)
    };
    match text {
        Ok(text) => typed(JSON, text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = typed(TEXT, text);
    *answer.status_mut() = status;
    answer
}

fn typed(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Names and tags come from strangers: should an escape ever be missed, nothing of theirs runs.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    );
    answer
}
