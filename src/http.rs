//! The HTTP API: Consul's routes over one listener.
//!
//! A request passes the same stations whatever it asks for: is it sent to a name of ours (asked on loopback only),
//! is the path known, is the method allowed, is the body small enough, are the parameters sound;
//! then its handler parses, asks the store or the local table, and shapes the answer. Owns the
//! listener and its connections. Must not hold state of its own, nor know how anything is decided.

mod agent;
mod catalog;
mod endpoint;
mod guard;
mod health;
mod kv;
mod membership;
pub mod registrator;
mod reply;
mod request;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus::{IntCounter, IntGauge};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::reply::{Fault, Reply};
use self::request::Ask;
use crate::identity::Identity;
use crate::local::Local;
use crate::store::Store;

/// A client has this long to finish the head of its request; who dawdles must not hold a socket.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests under way have this long to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted: no file descriptor comes free any sooner by asking.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: [(&str, &str, &[&str], &str); 2] = [
    (
        "lictor_http_waiting_requests",
        "gauge",
        &[],
        "Requests that wait for a change at this moment.",
    ),
    (
        "lictor_http_failed_accepts_total",
        "counter",
        &[],
        "Connections that could not be accepted, for want of open files as a rule.",
    ),
];

/// What handlers need to know and reach.
#[derive(Clone)]
pub struct Context {
    /// The truth.
    pub store: Store,
    /// What this agent vouches for.
    pub local: Local,
    /// Who this agent is.
    pub identity: Arc<Identity>,
    /// Every metric of this process.
    pub registry: prometheus::Registry,
    /// What the registrator of this agent thinks, where there is one.
    pub registrator: Option<registrator::Mouth>,
    /// Requests that wait for a change at this moment.
    waiting: IntGauge,
    /// Connections that could not be accepted.
    failed_accepts: IntCounter,
}

impl Context {
    /// Everything handlers need; its own metrics are added to `registry`.
    ///
    /// # Errors
    /// When another part of the process has taken the name of a metric.
    pub fn new(
        store: Store,
        local: Local,
        identity: Arc<Identity>,
        registry: prometheus::Registry,
    ) -> prometheus::Result<Self> {
        let [(waiting, .., about_waiting), (failed, .., about_failed)] = METRICS;
        let waiting = IntGauge::new(waiting, about_waiting)?;
        registry.register(Box::new(waiting.clone()))?;
        let failed_accepts = IntCounter::new(failed, about_failed)?;
        registry.register(Box::new(failed_accepts.clone()))?;
        Ok(Self {
            store,
            local,
            identity,
            registry,
            registrator: None,
            waiting,
            failed_accepts,
        })
    }
}

/// Serves `listener` until `stop`, then finishes what is under way. Requests that wait for a change
/// are answered at once when the store stops.
///
/// # Errors
/// None so far: a connection that cannot be accepted costs only itself.
pub async fn run(listener: TcpListener, context: Context, stop: CancellationToken) -> io::Result<()> {
    let failed = context.failed_accepts.clone();
    let context = Arc::new(context);
    let answer = move |peer, on_loopback, request| serve(context.clone(), peer, on_loopback, request);
    listen(listener, &failed, stop, answer).await;
    Ok(())
}

/// Answers what is asked on `listener` until `stop`. `answer` is also told whether somebody asks on loopback.
async fn listen<A, F>(listener: TcpListener, failed: &IntCounter, stop: CancellationToken, answer: A)
where
    A: Fn(SocketAddr, bool, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                failed.inc();
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let answer = answer.clone();
        let on_loopback = stream
            .local_addr()
            .is_ok_and(|local| local.ip().to_canonical().is_loopback());
        let serve = service_fn(move |request| answer(peer, on_loopback, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), serve);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
        });
    }
    drop(listener);
    // Whoever is late by then is cut off, or one slow client would hold up the whole stop.
    let _late = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}

/// The life of a request.
async fn serve(
    context: Arc<Context>,
    peer: SocketAddr,
    on_loopback: bool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let pretty = context.identity.dev || request::is_pretty(uri.query());
    let response = match handle(context, on_loopback, request).await {
        Ok(reply) => reply.into_response(pretty),
        Err(fault) => fault.into_response(),
    };
    // Without its parameters: a token may be among them.
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), %peer, "http request");
    Ok(response)
}

async fn handle(
    context: Arc<Context>,
    on_loopback: bool,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    guard::check(&context, &request, on_loopback)?;
    let path = request::clean_path(request.uri())?;
    let found = endpoint::find(&path)?;
    if request.method() == Method::OPTIONS {
        return Ok(Reply::done().header("allow", &found.allowed()));
    }
    let row = found.row(request.method())?;
    let ask = Ask::read(context, request, &found.rest, row).await?;
    endpoint::run(row, ask).await
}

#[cfg(test)]
mod tests;
