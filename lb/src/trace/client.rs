//! How spans get to the collector: as other requests of our own, where the exporter asks for some HTTP client.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};

use crate::fetch::{Fetcher, Limits};
use crate::tls::{NoClient, system_client};

/// What an answer of a collector may take.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(10),
    size: 256 * 1024,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Client(Fetcher);

impl Client {
    /// # Errors
    /// When TLS cannot be had at all.
    pub(super) fn new() -> Result<Self, NoClient> {
        Ok(Self(Fetcher::new(&Arc::new(system_client()?))))
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answering<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { Ok(self.0.send(request.map(Full::new), LIMITS).await?) })
    }
}
