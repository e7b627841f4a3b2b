//! How spans get to the collector: hyper, where the exporter asks for some HTTP client.

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// Longest answer of a collector that is read.
const ANSWER: usize = 256 * 1024;

/// See the module. Time limits are the exporter's.
#[derive(Debug)]
pub(super) struct Hyper(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Hyper {
    /// # Errors
    /// When TLS cannot be had at all, in words.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

/// The system's authorities; where it has none, as in an image FROM scratch, Mozilla's.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let builder = || {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()
    };
    let verifying = builder()?.with_platform_verifier();
    let config = match verifying {
        Ok(config) => config,
        Err(_) => builder()?.with_root_certificates(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        }),
    };
    Ok(config.with_no_client_auth())
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Hyper {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answering<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.0.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        })
    }
}
