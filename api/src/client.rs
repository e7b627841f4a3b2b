//! One HTTP client for Consul's API: address, token, datacenter.
//!
//! Owns its connections, which are kept for the next request. Says errors in the words that
//! users of Consul know. Must not retry: whether a failed request may be repeated only its caller
//! knows; `blocking` does it for questions.

mod verbs;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use catalog::duration;
use catalog::{Answer, Index};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::connect::{self, Connector};
use crate::tls::{Tls, TlsError};

/// An answer larger than this is not a catalog but a mistake.
const MAX_ANSWER: usize = 256 << 20;
/// As much as is kept of the words of a server that refuses something.
const LONGEST_REFUSAL: usize = 2048;
/// How long a server holds a question that names no wait of its own.
const SERVER_WAIT: Duration = Duration::from_secs(300);
const RIGHT_ADDRESS: &str =
    "write it as host:port, http://host:port, https://host:port or unix:///path/to.sock";
/// What stays as it is inside one segment of a path or a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a client needs to know to reach its Consul.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port`, or the same with `http://` or `https://` in front; `unix://` and the path of a socket.
    pub address: String,
    /// Sent with every request.
    pub token: Option<String>,
    /// User and password for whoever stands before the server, sent with every request.
    pub login: Option<(String, String)>,
    /// Asked about, where it is not the agent's own.
    pub datacenter: Option<String>,
    /// Asked about and written to, where the server knows namespaces (Consul Enterprise).
    pub namespace: Option<String>,
    /// Only used with `https://`; `None`: as by default.
    pub tls: Option<Box<Tls>>,
    /// For connecting, and for an answer beyond the time it may be held.
    pub timeout: Duration,
}

impl Config {
    /// A client of the agent at `address`, without token, with 10 s of patience.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            login: None,
            datacenter: None,
            namespace: None,
            tls: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("consul address {address:?}: {reason}")]
    Address {
        /// As given.
        address: String,
        /// What would be right.
        reason: &'static str,
    },
    /// Its certificates cannot be used.
    #[error("consul address {address:?}: {source}")]
    Tls {
        /// As given.
        address: String,
        /// What is wrong.
        source: TlsError,
    },
    /// No connection, or it broke.
    #[error("{method} {url}: {source}")]
    Transport {
        /// Of the request.
        method: Method,
        /// Of the request, without parameters: they may hold secrets.
        url: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{method} {url}: no answer within {}", duration::format(*after))]
    Timeout {
        /// Of the request.
        method: Method,
        /// Of the request.
        url: String,
        /// The time it had.
        after: Duration,
    },
    /// The server refused; the words are those of Consul's own client.
    #[error("Unexpected response code: {} ({text})", code.as_u16())]
    Status {
        /// As answered.
        code: StatusCode,
        /// Its reason.
        text: String,
    },
    /// An answer that is not what this route answers.
    #[error("{url}: cannot read the answer: {source}")]
    Decode {
        /// Of the request.
        url: String,
        /// Where it went wrong.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the server said that the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { code, .. } if *code == StatusCode::NOT_FOUND)
    }
}

/// What the answer of this client is.
pub type Result<T> = std::result::Result<T, ClientError>;

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// From the leader, without asking its followers.
    #[default]
    Default,
    /// From any server.
    Stale,
    /// From a leader that has made sure it is one.
    Consistent,
}

/// How a question is asked: waiting, freshness, filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Hold the answer until its index is greater; 0 answers at once.
    pub index: Index,
    /// For how long to hold it; the server's default is five minutes.
    pub wait: Option<Duration>,
    /// How fresh it has to be.
    pub consistency: Consistency,
    /// Only with every one of these tags.
    pub tags: Vec<String>,
    /// Only what passes every check.
    pub passing: bool,
}

impl Query {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if self.index > 0 {
            parameters.push(("index", self.index.to_string()));
            parameters.extend(self.wait.map(wait_parameter));
        }
        match self.consistency {
            Consistency::Default => {}
            Consistency::Stale => parameters.push(("stale", String::new())),
            Consistency::Consistent => parameters.push(("consistent", String::new())),
        }
        parameters.extend(self.tags.iter().map(|tag| ("tag", tag.clone())));
        parameters.extend(self.passing.then(|| ("passing", "1".to_owned())));
        parameters
    }

    /// The time a server may hold the answer, with the jitter that it may add.
    fn held(&self) -> Duration {
        if self.index == 0 {
            return Duration::ZERO;
        }
        with_jitter(self.wait.unwrap_or(SERVER_WAIT))
    }
}

fn wait_parameter(wait: Duration) -> (&'static str, String) {
    ("wait", format!("{}ms", wait.as_millis().max(1)))
}

/// The time that a server takes which was asked to hold its answer so long.
fn with_jitter(wait: Duration) -> Duration {
    wait + wait / 16
}

/// A client of one Consul agent; cheap to clone, clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    /// Where its agent is, for people.
    address: String,
    /// What every path is put behind.
    base: String,
    token: Option<header::HeaderValue>,
    login: Option<header::HeaderValue>,
    /// What every request says beside its own parameters: datacenter and namespace.
    scope: Vec<(&'static str, String)>,
    timeout: Duration,
}

/// A request before it is sent.
struct Call {
    method: Method,
    /// Path with every segment encoded.
    path: String,
    parameters: Vec<(&'static str, String)>,
    body: Bytes,
    /// Time the server may hold it on purpose.
    held: Duration,
}

impl Call {
    fn new(method: Method, path: &str, segments: &[&str]) -> Self {
        let mut path = path.to_owned();
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, UNRESERVED));
        }
        Self {
            method,
            path,
            parameters: Vec::new(),
            body: Bytes::new(),
            held: Duration::ZERO,
        }
    }

    fn get(path: &str, segments: &[&str]) -> Self {
        Self::new(Method::GET, path, segments)
    }

    fn put(path: &str, segments: &[&str]) -> Self {
        Self::new(Method::PUT, path, segments)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    fn asking(mut self, query: &Query) -> Self {
        self.parameters.extend(query.parameters());
        self.held = query.held();
        self
    }

    /// Asks the server to hold its answer so long.
    fn held(mut self, wait: Duration) -> Self {
        self.parameters.push(wait_parameter(wait));
        self.held = with_jitter(wait);
        self
    }

    fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn target(&self, scope: &[(&'static str, String)]) -> String {
        let mut target = self.path.clone();
        for (n, (name, value)) in self.parameters.iter().chain(scope).enumerate() {
            target.push(if n == 0 { '?' } else { '&' });
            target.push_str(name);
            if !value.is_empty() {
                target.push('=');
                target.extend(utf8_percent_encode(value, UNRESERVED));
            }
        }
        target
    }
}

/// An answer with its body read.
struct Reply {
    url: String,
    status: StatusCode,
    headers: header::HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|source| ClientError::Decode {
            url: self.url.clone(),
            source,
        })
    }

    fn text(self) -> Answer<Bytes> {
        Answer {
            index: self.index(),
            rows: self.body,
        }
    }

    fn indexed<T: DeserializeOwned>(&self) -> Result<Answer<T>> {
        Ok(Answer {
            index: self.index(),
            rows: self.json()?,
        })
    }

    /// 0 where the server says none.
    fn index(&self) -> Index {
        let header = self.headers.get("x-consul-index");
        header
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(0)
    }

    /// Anything but success is an error in the server's words.
    fn checked(self) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        // Cut: it goes into logs.
        let said = &self.body[..self.body.len().min(LONGEST_REFUSAL)];
        let text = String::from_utf8_lossy(said).trim().to_owned();
        Err(ClientError::Status {
            code: self.status,
            text,
        })
    }
}

impl Client {
    /// A client of the agent that `config` names. Connects when first asked.
    ///
    /// # Errors
    /// When the address or token cannot be used.
    pub fn new(config: &Config) -> Result<Self> {
        let refuse = |reason| ClientError::Address {
            address: config.address.clone(),
            reason,
        };
        let (address, base, connector) = way(config)?;
        let token = config.token.as_deref().filter(|token| !token.is_empty());
        let token = token.map(header::HeaderValue::from_str).transpose();
        let mut token = token.map_err(|_| refuse("its token has characters that no header may have"))?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        let named =
            |name, value: &Option<String>| Some((name, value.clone().filter(|value| !value.is_empty())?));
        let scope = [named("dc", &config.datacenter), named("ns", &config.namespace)];
        Ok(Self {
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
            address,
            base,
            token,
            login: config.login.as_ref().map(basic),
            scope: scope.into_iter().flatten().collect(),
            timeout: config.timeout,
        })
    }

    /// Where its agent is: `http://host:port`, or `unix://` and a path.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and takes whatever answer it gets, refusals included.
    async fn send(&self, call: Call) -> Result<Reply> {
        // In errors no query is told: what an operator asks somebody else's server for may hold a secret.
        let path = call.path.split('?').next().unwrap_or_default();
        let url = format!("{}{path}", self.address);
        let patience = self.timeout + call.held;
        let method = call.method.clone();
        let failed = |source| ClientError::Transport {
            method: method.clone(),
            url: url.clone(),
            source,
        };
        let request = self
            .request(&call)
            .body(Full::new(call.body))
            .map_err(|e| failed(e.into()))?;
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| failed(root_cause(&e)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(failed)?;
            Ok(Reply {
                url: url.clone(),
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let answer = tokio::time::timeout(patience, exchange).await;
        answer.unwrap_or(Err(ClientError::Timeout {
            method: method.clone(),
            url: url.clone(),
            after: patience,
        }))
    }

    /// Sends a request that has to succeed.
    async fn ask(&self, call: Call) -> Result<Reply> {
        self.send(call).await?.checked()
    }

    fn request(&self, call: &Call) -> Builder {
        let target = call.target(&self.scope);
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{target}", self.base));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        if let Some(login) = &self.login {
            request = request.header(header::AUTHORIZATION, login);
        }
        request
    }
}

/// Where to, for people; what every path is put behind; and how to get there.
fn way(config: &Config) -> Result<(String, String, Connector)> {
    let refuse = |reason| ClientError::Address {
        address: config.address.clone(),
        reason,
    };
    let unfit = |source| ClientError::Tls {
        address: config.address.clone(),
        source,
    };
    let (scheme, host) = config
        .address
        .split_once("://")
        .unwrap_or(("http", &config.address));
    if scheme == "unix" {
        if !host.starts_with('/') {
            return Err(refuse(
                "the path of a socket is absolute, such as unix:///run/consul.sock",
            ));
        }
        let connector = connect::socket(Path::new(host)).map_err(unfit)?;
        // Nobody looks that host up; a request needs some.
        return Ok((config.address.clone(), "http://localhost".to_owned(), connector));
    }
    let by_default = Tls::default();
    let tls = match scheme {
        "http" => None,
        "https" => Some(config.tls.as_deref().unwrap_or(&by_default)),
        _ => return Err(refuse(RIGHT_ADDRESS)),
    };
    let base = format!("{scheme}://{}", host.trim_end_matches('/'));
    let parsed: hyper::Uri = base.parse().map_err(|_| refuse(RIGHT_ADDRESS))?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err(refuse("the host is missing"));
    }
    let connector = connect::network(tls, config.timeout).map_err(unfit)?;
    Ok((base.clone(), base, connector))
}

fn basic((user, password): &(String, String)) -> header::HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = header::HeaderValue::from_str(&text).expect("base64 is fit for a header");
    value.set_sensitive(true);
    value
}

/// hyper's client says "client error (Connect)"; the reason is further down.
fn root_cause(error: &hyper_util::client::legacy::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().into()
}
