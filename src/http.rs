//! The HTTP API: Consul's routes over one listener.
//!
//! A request passes the same stations whatever it asks for: is the name it was sent to one of ours,
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
mod reply;
mod request;
mod status;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, Request, Response};
use prometheus::IntGauge;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::reply::{Fault, Reply};
use self::request::Ask;
use crate::identity::Identity;
use crate::local::Local;
use crate::store::Store;

/// What handlers need to know and reach.
pub struct Context {
    /// The truth.
    pub store: Store,
    /// What this agent vouches for.
    pub local: Local,
    /// Who this agent is.
    pub identity: Arc<Identity>,
    /// Every metric of this process.
    pub registry: prometheus::Registry,
    /// Names, beside those that are always ours, that requests may be addressed to.
    pub hosts: Vec<String>,
    /// Requests that wait for a change at this moment.
    waiting: IntGauge,
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
        hosts: Vec<String>,
    ) -> prometheus::Result<Self> {
        let waiting = IntGauge::new("lictor_http_waiting_requests", "Requests that wait for a change.")?;
        registry.register(Box::new(waiting.clone()))?;
        Ok(Self {
            store,
            local,
            identity,
            registry,
            hosts,
            waiting,
        })
    }
}

/// Serves `listener` until `stop`, then finishes what is under way. Requests that wait for a change
/// are answered at once when the store stops.
///
/// # Errors
/// When the listener fails for good.
pub async fn run(listener: TcpListener, context: Arc<Context>, stop: CancellationToken) -> io::Result<()> {
    let app = Router::new().fallback(serve).with_state(context);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// The life of a request.
async fn serve(
    State(context): State<Arc<Context>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let pretty = context.identity.dev || request::is_pretty(uri.query());
    let outcome = handle(context, request).await;
    let response = match outcome {
        Ok(reply) => reply.into_response(pretty),
        Err(fault) => fault.into_response(),
    };
    // Without its parameters: a token may be among them.
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), %peer, "http request");
    response
}

async fn handle(context: Arc<Context>, request: Request<Body>) -> Result<Reply, Fault> {
    guard::check(&context, &request)?;
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
