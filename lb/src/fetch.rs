//! The few requests of our own: certificates, secrets, authorities, a configuration. Never a client's request.
//!
//! Every one has a time limit and a size limit. A redirect is an answer like any other: what was asked for must not
//! lead to where nobody meant to ask. Errors show a URL without user and query, which may be secrets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;

use crate::config::masked;

/// Connections that nobody uses are closed after this long.
const IDLE: Duration = Duration::from_secs(20);
/// Bytes of a refusal that are shown.
const MAX_HINT: usize = 200;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No URL that could be asked.
    #[error("'{0}' is no URL: it is http://host/path or https://host/path")]
    Url(String),
    /// A header cannot be sent.
    #[error("header '{0}' cannot be sent")]
    Header(String),
    /// Nobody answers, or not with HTTP.
    #[error("{url}: {problem}")]
    Unreachable {
        /// Whom.
        url: Shown,
        /// How it failed.
        problem: String,
    },
    /// It took too long.
    #[error("{url}: no answer within {limit:?}")]
    Late {
        /// Whom.
        url: Shown,
        /// How long was waited.
        limit: Duration,
    },
    /// There is more than anybody needs.
    #[error("{url}: the answer is longer than {limit} bytes")]
    TooLong {
        /// Whom.
        url: Shown,
        /// How much is read.
        limit: usize,
    },
    /// It answers that it will not.
    #[error("{url}: {status}{hint}")]
    Status {
        /// Whom.
        url: Shown,
        /// What it answers.
        status: StatusCode,
        /// Where a redirect leads, or the start of the text.
        hint: String,
    },
}

/// A URL as it may be shown: no user, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    fn of(uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.host().unwrap_or_default();
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        Self(format!("{scheme}://{host}{port}{}", uri.path()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the answer is there whole.
    pub time: Duration,
    /// Bytes of its body.
    pub size: usize,
}

/// Asks over HTTP/1.1, with TLS where the URL says so. A cheap handle; connections are kept for the next request.
#[derive(Clone, Debug)]
pub struct Fetcher(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Fetcher {
    /// With `tls`, whose protocols (ALPN) are left to us.
    #[must_use]
    pub fn new(tls: &Arc<ClientConfig>) -> Self {
        let mut tls = ClientConfig::clone(tls);
        tls.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Self(
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(4)
                .pool_timer(TokioTimer::new())
                .build(connector),
        )
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let url = Shown::of(request.uri());
        authorize(&mut request)?;
        let asking = async {
            let answer = self.0.request(request).await;
            let answer = answer.map_err(|error| FetchError::Unreachable {
                url: url.clone(),
                problem: chain(&error),
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limits.size).collect().await;
            let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => FetchError::TooLong {
                    url: url.clone(),
                    limit: limits.size,
                },
                Err(error) => FetchError::Unreachable {
                    url: url.clone(),
                    problem: error.to_string(),
                },
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let late = FetchError::Late {
            url: url.clone(),
            limit: limits.time,
        };
        tokio::time::timeout(limits.time, asking)
            .await
            .unwrap_or(Err(late))
    }

    /// GET, whatever the status of its answer.
    ///
    /// # Errors
    /// When there is none, or it is too long.
    pub async fn ask(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url_of(url)?;
        request.headers_mut().extend(headers.iter().cloned());
        self.send(request, limits).await
    }

    /// GET of what must be there: any status but 2xx is an error.
    pub(crate) async fn get(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        refuse_unless_ok(url, self.ask(url, headers, limits).await?)
    }
}

/// An answer of 2xx, or what it says instead.
pub(crate) fn refuse_unless_ok(url: &str, answer: Response<Bytes>) -> Result<Response<Bytes>, FetchError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let location = answer.headers().get(hyper::header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok()?.parse().ok());
    let hint = if let Some(uri) = location {
        format!(
            ", leads to {}, which would have to be asked for itself",
            Shown::of(&uri)
        )
    } else {
        let start = &answer.body()[..answer.body().len().min(MAX_HINT)];
        let text = String::from_utf8_lossy(start).trim().escape_debug().to_string();
        if text.is_empty() {
            text
        } else {
            format!(": {text}")
        }
    };
    Err(FetchError::Status {
        url: Shown::of(&url_of(url)?),
        status: answer.status(),
        hint,
    })
}

/// A URL that can be asked.
pub(crate) fn url_of(text: &str) -> Result<Uri, FetchError> {
    let bad = || FetchError::Url(masked(text));
    let uri: Uri = text.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(bad()),
    }
}

/// `Name: value` of a configuration.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), FetchError> {
    let bad = || FetchError::Header(name.to_owned());
    let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok((name.parse().map_err(|_| bad())?, value))
}

/// `user:password@` of a URL becomes a header, as with curl and Go.
fn authorize(request: &mut Request<Full<Bytes>>) -> Result<(), FetchError> {
    let Some((user, host)) = request
        .uri()
        .authority()
        .and_then(|all| all.as_str().rsplit_once('@'))
    else {
        return Ok(());
    };
    let bare = host.parse().map_err(|_| FetchError::Url(host.to_owned()))?;
    let plain: Vec<u8> = percent_decode_str(user).collect();
    let (_, value) = header("authorization", &format!("Basic {}", STANDARD.encode(plain)))?;
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(bare);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| FetchError::Url(String::new()))?;
    request.headers_mut().entry(AUTHORIZATION).or_insert(value);
    Ok(())
}

/// An error with its causes: the outermost of hyper's says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_shows_neither_user_nor_query() {
        for text in [
            "ftp://host/x?token=s3cret",
            "http://?token=s3cret",
            "http:///x y?token=s3cret",
            "ftp://ann:s3cret@host/x",
            "ftp://s3cret@s3cret@host/x?s3cret",
            "http://ann:s3cret?s3cret@ho st/",
            "ftp://host/?to=ann@b.com&token=s3cret",
        ] {
            let error = url_of(text).unwrap_err().to_string();
            assert!(
                !error.contains("s3cret") && !error.contains("ann"),
                "{text}: {error}"
            );
            assert!(
                error.contains("it is http://host/path or https://host/path"),
                "{error}"
            );
        }
    }
}
