//! `proto=prometheus`: metrics for a scraper, and the way to them for everybody who asks for something else.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::Registry;
use tokio::time::interval;

use super::Worker;
use crate::arrival::{Arrival, Stream};
use crate::meter::{Meter, Metered};
use crate::metrics::page;
use crate::pace::Pace;

/// Time for the head of a request where `proxy.limit.header` sets none.
const HEAD: Duration = Duration::from_secs(10);

/// Serves one connection, until its client does not take its answers.
pub(super) async fn serve(worker: &Worker, stream: impl Stream, arrival: &Arrival) {
    let config = worker.config();
    let meter = Meter::default();
    let stream = Metered::new(stream, meter.clone());
    let service = service_fn(|request| {
        let answer = answer(request, config.metrics.path.clone(), worker.registry.clone());
        let busy = arrival.seat.asks();
        async move {
            let answer = answer.await;
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.edge.header_timeout.unwrap_or(HEAD))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut pace = Pace::new(config.edge.stall, config.edge.rate);
    let mut tick = interval((config.edge.stall / 4).max(Duration::from_millis(10)));
    let mut draining = false;
    loop {
        tokio::select! {
            // A client that breaks off is its own affair.
            _ = connection.as_mut() => return,
            () = arrival.stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            now = tick.tick() => {
                if !meter.is_stalled() {
                    pace.rest(meter.written());
                } else if pace.is_too_slow(true, meter.written(), now) {
                    return;
                }
            }
        }
    }
}

async fn answer(request: Request<Incoming>, path: String, registry: Registry) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    if request.method() != Method::GET && request.method() != Method::HEAD {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    if request.uri().path() == path {
        match page::text(&registry).await {
            Ok(text) => *answer.body_mut() = Full::from(text),
            Err(error) => {
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                *answer.body_mut() = Full::from(error);
            }
        }
        let kind = HeaderValue::from_static(page::KIND);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        return answer;
    }
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(there) = HeaderValue::from_str(&path) {
        answer.headers_mut().insert(LOCATION, there);
    }
    answer
}
