//! `proto=prometheus`: metrics for a scraper, and the way to them for everybody who asks for something else.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
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
use super::crowd::Busy;
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
            let page = |text| Full::new(Page { text, _busy: busy });
            Ok::<_, Infallible>(answer.await.map(page))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A page is written as it is. What is copied would be gone before its client has it.
        .writev(true)
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

/// What is answered; until the client has taken it, or is gone, it makes no room for others.
struct Page {
    text: Bytes,
    _busy: Busy,
}

impl Buf for Page {
    fn remaining(&self) -> usize {
        self.text.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.text.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.text.advance(count);
    }
}

async fn answer(request: Request<Incoming>, path: String, registry: Registry) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    if request.method() != Method::GET && request.method() != Method::HEAD {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    if request.uri().path() == path {
        match page::text(&registry).await {
            Ok(text) => *answer.body_mut() = text.into(),
            Err(error) => {
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                *answer.body_mut() = error.into();
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
