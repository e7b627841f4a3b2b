//! The members of one etcd cluster as one server: HTTP, time limits, and the next member where one does not answer.
//!
//! Owns connections and which member is asked first. Knows neither keys nor what answers mean, but for those that say
//! "ask somebody else". Whatever is sent through here may arrive twice; callers only send what may.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::tls::Tls;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::registry::Error;

/// For a connection to one member.
const CONNECT: Duration = Duration::from_secs(1);
/// For an answer of one member.
const ANSWER: Duration = Duration::from_secs(3);
/// For all members together: a little less than a registrator waits for one write.
const PATIENCE: Duration = Duration::from_secs(9);
/// A larger answer is not a list of services; it would be somebody's whole store.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// Where a cluster is asked.
#[derive(Debug)]
pub(super) struct Endpoints {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// `http://host:port`, at least one.
    members: Vec<String>,
    /// The one that answered last.
    first: AtomicUsize,
}

/// A request to whichever member answers.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    /// Encoded, with its query.
    target: String,
    body: Option<(&'static str, String)>,
    authorization: Option<HeaderValue>,
}

impl Ask {
    pub(super) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            body: None,
            authorization: None,
        }
    }

    /// The gateway of v3 takes nothing but this.
    pub(super) fn json(target: impl Into<String>, body: &serde_json::Value) -> Self {
        let body = Some(("application/json", body.to_string()));
        Self {
            body,
            ..Self::new(Method::POST, target)
        }
    }

    /// As v2 likes to be written to.
    pub(super) fn form(mut self, fields: String) -> Self {
        self.body = Some(("application/x-www-form-urlencoded", fields));
        self
    }

    pub(super) fn authorized(mut self, authorization: Option<HeaderValue>) -> Self {
        self.authorization = authorization;
        self
    }

    fn request(&self, member: &str) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(format!("{member}{}", self.target));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut body = Bytes::new();
        if let Some((kind, text)) = &self.body {
            request = request.header(CONTENT_TYPE, *kind);
            body = text.clone().into();
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }
}

/// What a member said.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Endpoints {
    /// The members at these `host:port`s. Contacts nobody.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub(super) fn new(members: &[String], tls: Option<&Tls>) -> Result<Self, String> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        // In the clear nothing is verified, and reading the system's authorities would be in vain.
        let unused = Tls {
            skip_verify: true,
            ..Tls::default()
        };
        let config = tls
            .unwrap_or(&unused)
            .config()
            .map_err(|error| error.to_string())?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            members: members
                .iter()
                .map(|member| format!("{scheme}://{member}"))
                .collect(),
            first: AtomicUsize::new(0),
        })
    }

    /// Asks one member after the other until one answers.
    ///
    /// # Errors
    /// None did, with what the last one asked had to say.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Reply, Error> {
        let began = Instant::now();
        let mut last = String::new();
        for turn in 0..self.members.len() {
            if began.elapsed() >= PATIENCE {
                break;
            }
            let number = (self.first.load(Ordering::Relaxed) + turn) % self.members.len();
            let member = &self.members[number];
            let limit = ANSWER.min(PATIENCE.saturating_sub(began.elapsed()));
            match tokio::time::timeout(limit, self.ask(member, ask)).await {
                Ok(Ok(reply)) if !passes_on(reply.status) => {
                    self.first.store(number, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(Ok(reply)) => last = format!("{member}: {}", said(&reply.body)),
                Ok(Err(reason)) => last = format!("{member}: {reason}"),
                Err(_) => last = format!("{member}: no answer within {} s", limit.as_secs()),
            }
        }
        Err(Error::Unreachable(last))
    }

    async fn ask(&self, member: &str, ask: &Ask) -> Result<Reply, String> {
        let (head, body) = self.open(member, ask).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Reply {
            status: head.status,
            body,
        })
    }

    async fn open(&self, member: &str, ask: &Ask) -> Result<Response<Incoming>, String> {
        let answer = self.http.request(ask.request(member)?).await;
        answer.map_err(|error| root_cause(&error))
    }

    /// Opens an answer that lasts, at the member that answered last; where it does not, the next call asks the next.
    ///
    /// # Errors
    /// It did not answer.
    pub(super) async fn hold(&self, ask: &Ask) -> Result<Response<Incoming>, Error> {
        let number = self.first.load(Ordering::Relaxed) % self.members.len();
        let member = &self.members[number];
        let answer = tokio::time::timeout(ANSWER, self.open(member, ask)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        answer.map_err(|reason| {
            self.first.store(number + 1, Ordering::Relaxed);
            Error::Unreachable(format!("{member}: {reason}"))
        })
    }

    /// Members in words.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self
            .members
            .iter()
            .filter_map(|member| Some(member.split_once("://")?.1))
            .collect();
        names.join(",")
    }
}

/// Whether a member says that another one is to be asked: it has no leader, ends, or is of 0.4 and no leader itself.
fn passes_on(status: StatusCode) -> bool {
    status.is_server_error() || status.is_redirection()
}

/// An answer that is no success, for people.
pub(super) fn said(body: &[u8]) -> String {
    const ENOUGH: usize = 200;
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(ENOUGH).collect()
}

/// hyper's client says "client error (Connect)"; the reason is further down.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives everybody this answer, or none; its address, and how often it was asked.
    async fn member(answer: Option<&'static str>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    while socket.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                        count.fetch_add(1, Ordering::Relaxed);
                        if let Some(status) = answer {
                            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nsaid");
                            let _ = socket.write_all(head.as_bytes()).await;
                        }
                    }
                });
            }
        });
        (address, asked)
    }

    fn endpoints(members: &[&String]) -> Endpoints {
        let members: Vec<String> = members.iter().map(|&member| member.clone()).collect();
        Endpoints::new(&members, None).unwrap()
    }

    fn ask() -> Ask {
        Ask::new(Method::GET, "/version")
    }

    #[tokio::test]
    async fn who_cannot_serve_is_passed_over_and_who_did_is_asked_first() {
        let (leaderless, asked) = member(Some("503 Service Unavailable")).await;
        let (follower, _) = member(Some("307 Temporary Redirect")).await;
        let (good, _) = member(Some("200 OK")).await;
        let endpoints = endpoints(&[&leaderless, &follower, &good]);

        for _ in 0..3 {
            let reply = endpoints.send(&ask()).await.unwrap();
            assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"said"[..]));
        }

        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn where_nobody_serves_the_last_words_are_told() {
        let (leaderless, _) = member(Some("503 Service Unavailable")).await;
        let dead = "127.0.0.1:1".to_owned();
        let told = |error: Error| error.to_string();
        let one = endpoints(&[&dead, &leaderless])
            .send(&ask())
            .await
            .map(drop)
            .map_err(told);
        assert_eq!(
            one,
            Err(format!(
                "the registry cannot be reached: http://{leaderless}: said"
            ))
        );
        let other = endpoints(&[&dead]).send(&ask()).await.map(drop).map_err(told);
        assert!(other.is_err_and(|words| words.contains("refused")));
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let (refuses, _) = member(Some("403 Forbidden")).await;
        let (other, asked) = member(Some("200 OK")).await;

        let reply = endpoints(&[&refuses, &other]).send(&ask()).await.unwrap();

        assert_eq!(
            (reply.status, asked.load(Ordering::Relaxed)),
            (StatusCode::FORBIDDEN, 0)
        );
    }

    #[tokio::test]
    async fn who_accepts_and_says_nothing_costs_its_share_of_time_once() {
        let (silent, _) = member(None).await;
        let (good, _) = member(Some("200 OK")).await;
        let endpoints = endpoints(&[&silent, &good]);
        let began = Instant::now();

        endpoints.send(&ask()).await.unwrap();
        let first = began.elapsed();
        endpoints.send(&ask()).await.unwrap();

        assert!(first >= ANSWER && first < PATIENCE, "{first:?}");
        assert!(began.elapsed() - first < ANSWER);
    }
}
