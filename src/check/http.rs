//! One run of an HTTP check: a connection of its own, one request, a status.
//!
//! Redirects are followed within the same scheme, host and port only: a check must not be a way to
//! make the agent call on somebody else. One that leads elsewhere is critical and says where to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use catalog::Status;
use catalog::check::HttpProbe;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::Outcome;
use super::connect::{Fault, reason};
use super::tcp::{brief, patience};
use super::tls::Trust;

/// As much of an answer is read and shown.
const MOST_BODY: usize = 4096;
const MOST_REDIRECTS: usize = 10;

pub(super) async fn run(probe: &HttpProbe, trust: &Trust) -> Outcome {
    let patience = patience(probe.timeout);
    let method = if probe.method.is_empty() {
        "GET"
    } else {
        &probe.method
    };
    match timeout(patience, converse(probe, method, trust)).await {
        Ok(Ok(answer)) => Outcome {
            status: verdict(answer.status),
            output: format!("HTTP {method} {}: {answer}", probe.url),
        },
        Ok(Err(fault)) => {
            Outcome::critical(format!("HTTP {method} {}: {}", probe.url, reason(fault.as_ref())))
        }
        Err(_) => Outcome::critical(format!(
            "HTTP {method} {}: no answer within {patience:?}",
            probe.url
        )),
    }
}

fn verdict(status: StatusCode) -> Status {
    match status {
        status if status.is_success() => Status::Passing,
        StatusCode::TOO_MANY_REQUESTS => Status::Warning,
        _ => Status::Critical,
    }
}

struct Answer {
    status: StatusCode,
    /// Where a redirect led that was not followed.
    elsewhere: Option<String>,
    body: Vec<u8>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The standard words come with a status: `200 OK`.
        write!(f, "{}", self.status)?;
        if let Some(elsewhere) = &self.elsewhere {
            write!(f, " (redirect to {elsewhere:?} not followed)")?;
        }
        write!(f, " Output: {}", String::from_utf8_lossy(&self.body))
    }
}

/// Asks, and follows redirects, until there is an answer to judge.
async fn converse(probe: &HttpProbe, method: &str, trust: &Trust) -> Result<Answer, Fault> {
    let mut method = Method::from_bytes(method.as_bytes())?;
    let mut uri: Uri = probe.url.parse()?;
    let mut body = Bytes::copy_from_slice(probe.body.as_bytes());
    let mut hops = 0;
    loop {
        let request = request(probe, &method, &uri, body.clone())?;
        // The connection lives as long as its handle: until the next hop or the end of this run.
        let (response, _connection) = send(request, &uri, probe.tls_skip_verify, trust).await?;
        let (status, location) = (response.status(), redirect(&response));
        let next = location.as_deref().and_then(|location| follow(&uri, location));
        match next {
            Some(next) if hops < MOST_REDIRECTS => {
                hops += 1;
                uri = next;
                let keeps_method = matches!(
                    status,
                    StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
                );
                if !keeps_method && method != Method::HEAD {
                    method = Method::GET;
                    body = Bytes::new();
                }
            }
            _ => {
                return Ok(Answer {
                    status,
                    elsewhere: location,
                    body: read(response).await?,
                });
            }
        }
    }
}

fn request(
    probe: &HttpProbe,
    method: &Method,
    uri: &Uri,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Fault> {
    let authority = uri.authority().ok_or("the URL has no host")?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse()?;
    *request.headers_mut() = headers(probe, authority)?;
    Ok(request)
}

/// Ours first; those of the probe replace them.
fn headers(probe: &HttpProbe, authority: &Authority) -> Result<HeaderMap, Fault> {
    let text = authority.as_str();
    let (login, host) = text
        .rsplit_once('@')
        .map_or((None, text), |(login, host)| (Some(login), host));
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.parse()?);
    headers.insert(USER_AGENT, HeaderValue::from_static("Consul Health Check"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/plain, text/*, */*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(login) = login {
        let login = percent_encoding::percent_decode_str(login).collect::<Vec<u8>>();
        headers.insert(AUTHORIZATION, format!("Basic {}", BASE64.encode(login)).parse()?);
    }
    for (name, values) in &probe.headers {
        let name: hyper::header::HeaderName = name.parse()?;
        headers.remove(&name);
        for value in values {
            headers.append(&name, value.parse()?);
        }
    }
    Ok(headers)
}

async fn send(
    request: Request<Full<Bytes>>,
    uri: &Uri,
    skip_verify: bool,
    trust: &Trust,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Fault> {
    let host = uri.host().ok_or("the URL has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let (tls, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err("the URL must start with http:// or https://".into()),
    };
    let port = uri.port_u16().unwrap_or(port);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {}", brief(&error)))?;
    stream.set_nodelay(true)?;
    if !tls {
        return exchange(stream, request).await;
    }
    let connector = TlsConnector::from(trust.config(skip_verify).await?);
    let name = ServerName::try_from(host.to_owned())?;
    let stream = connector.connect(name, stream).await?;
    exchange(stream, request).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection of a check ended");
        }
    });
    let connection = AbortOnDropHandle::new(connection);
    Ok((sender.send_request(request).await?, connection))
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, Fault> {
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while body.len() < MOST_BODY
        && let Some(frame) = incoming.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            let room = MOST_BODY - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(body)
}

/// Where an answer sends us.
fn redirect(response: &Response<Incoming>) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The place a redirect leads to, if it is on the same server.
fn follow(from: &Uri, location: &str) -> Option<Uri> {
    let absolute = if location.starts_with("//") {
        format!("{}:{location}", from.scheme_str()?)
    } else if location.contains("://") {
        location.to_owned()
    } else {
        let path = match location.as_bytes().first()? {
            b'/' => location.to_owned(),
            b'?' => format!("{}{location}", from.path()),
            _ => format!("{}/{location}", from.path().rsplit_once('/')?.0),
        };
        format!("{}://{}{path}", from.scheme_str()?, from.authority()?)
    };
    let to: Uri = absolute.parse().ok()?;
    let place = |uri: &Uri| {
        let default = if uri.scheme() == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        let host = uri.host().map(str::to_lowercase);
        (uri.scheme().cloned(), host, uri.port_u16().unwrap_or(default))
    };
    (place(from) == place(&to)).then_some(to)
}
