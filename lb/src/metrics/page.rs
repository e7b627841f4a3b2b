//! What a scraper reads: on listeners of `proto=prometheus`, and on the admin server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Time for the head of a request to arrive, and for an idle connection.
const HEAD: Duration = Duration::from_secs(10);

/// Serves one connection of a `proto=prometheus` listener: the metrics at `path` (`metrics.prometheus.path`), a
/// redirect there from anywhere else. Gathering is done aside, so the caller's other connections do not wait for it.
pub(crate) async fn serve<S>(registry: &Registry, path: &str, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(answer(registry, path, &request).await) });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A scraper that breaks off is its own affair.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(registry: &Registry, path: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return short(StatusCode::METHOD_NOT_ALLOWED, ALLOW, "GET, HEAD");
    }
    if request.uri().path() != path {
        return short(StatusCode::PERMANENT_REDIRECT, LOCATION, path);
    }
    let mut answer = Response::new(Full::default());
    match text(registry).await {
        Ok(text) => *answer.body_mut() = Full::from(text),
        Err(error) => {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            *answer.body_mut() = Full::from(error);
        }
    }
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    answer
}

/// Type of [`text`].
pub(crate) const KIND: &str = "text/plain; version=0.0.4";

/// Everything in the registry, as Prometheus reads it.
pub(crate) async fn text(registry: &Registry) -> Result<String, String> {
    let registry = registry.clone();
    let gathered =
        tokio::task::spawn_blocking(move || TextEncoder::new().encode_to_string(&registry.gather()));
    match gathered.await {
        Ok(text) => text.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn short(status: StatusCode, name: HeaderName, value: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(line: &str) -> String {
        let registry = Registry::new();
        let gauge = prometheus::IntGauge::new("nice_total", "Nice.").unwrap();
        registry.register(Box::new(gauge)).unwrap();
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        serve(&registry, "/metrics", server, CancellationToken::new()).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_scraper_gets_the_metrics_and_is_led_to_them_from_elsewhere() {
        let answer = ask("GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.ends_with("nice_total 0\n"), "{answer}");
        let answer = ask("GET /").await;
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.contains("location: /metrics"), "{answer}");
        assert!(ask("POST /metrics").await.starts_with("HTTP/1.1 405"));
    }
}
