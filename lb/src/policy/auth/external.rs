//! `type=external`: another server says who comes in (fabio PR 1082, also known as forward auth).
//!
//! It is asked with a GET that has the headers of the request, who sent it and for what. 2xx lets the request in, and
//! any other answer is the client's. No answer, or one too long to keep, lets nobody in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::BadScheme;
use crate::config::{AuthKind, AuthScheme};
use crate::http::headers::{self, Sight, drop_lookalikes, is_untouchable};

/// Longest body of an answer that is passed on.
const LARGEST: usize = 256 * 1024;
/// Idle connections to such servers are closed after this long.
const IDLE: Duration = Duration::from_secs(15);
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers of a request that its question has not: there is no body, and the answer shall be whole and about now.
const NOT_ASKED: [HeaderName; 13] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::EXPECT,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// Connections of one worker to all servers that are asked.
pub(crate) type Asking = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A scheme.
#[derive(Debug)]
pub(crate) struct External {
    name: Arc<str>,
    endpoint: Uri,
    set: Box<[HeaderName]>,
    append: Box<[HeaderName]>,
    timeout: Duration,
}

/// What became of a question.
#[derive(Debug)]
pub(crate) enum Word {
    /// The request comes in, with what these headers of the answer say.
    In(HeaderMap),
    /// The client gets this.
    Out(Box<Response<Bytes>>),
    /// There is no word; it is said in the log.
    None,
}

/// Why there is no word.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Client(#[from] hyper_util::client::legacy::Error),
    /// Nobody asked it to, and the client may not have either.
    #[error("it wants to speak another protocol")]
    Switched,
    #[error("its answer breaks off or is longer than {LARGEST} bytes: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl External {
    pub(crate) fn new(scheme: &AuthScheme) -> Result<Self, BadScheme> {
        let bad = |problem: String| BadScheme {
            name: scheme.name.clone(),
            problem,
        };
        let AuthKind::External {
            endpoint,
            set_headers,
            append_headers,
            timeout,
        } = &scheme.kind
        else {
            return Err(bad("it is not external".to_owned()));
        };
        let names = |names: &[String]| {
            names
                .iter()
                .map(|name| match HeaderName::from_bytes(name.as_bytes()) {
                    Ok(name) if is_untouchable(&name) => {
                        Err(bad(format!("header {name} is not for it to set")))
                    }
                    Ok(name) => Ok(name),
                    Err(_) => Err(bad(format!("'{name}' is no name of a header"))),
                })
                .collect::<Result<Box<[HeaderName]>, _>>()
        };
        Ok(Self {
            name: scheme.name.clone(),
            endpoint: endpoint
                .parse()
                .map_err(|error| bad(format!("endpoint {endpoint} is no URL: {error}")))?,
            set: names(set_headers)?,
            append: names(append_headers)?,
            timeout: *timeout,
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }

    /// Asks about a request: its method, its path as routes see it and its query, and its headers as a target would see
    /// them.
    pub(crate) async fn ask(
        &self,
        asking: &Asking,
        method: &Method,
        target: (&str, Option<&str>),
        headers: &HeaderMap,
    ) -> Word {
        let question = self.question(method, target, headers);
        let answer = async {
            let answer = asking.request(question).await?;
            let (mut parts, body) = answer.into_parts();
            let sight = Sight::of(&parts.headers);
            headers::drop_hop_by_hop(&mut parts.headers, sight, &[]);
            if parts.status.is_informational() {
                return Err(Fault::Switched);
            }
            if parts.status.is_success() {
                return Ok(Word::In(parts.headers));
            }
            let body = Limited::new(body, LARGEST).collect().await.map_err(Fault::Body)?;
            parts.headers.remove(header::CONTENT_LENGTH);
            Ok(Word::Out(Box::new(Response::from_parts(parts, body.to_bytes()))))
        };
        let answer = tokio::time::timeout(self.timeout, answer).await;
        match answer.unwrap_or(Err(Fault::Late)) {
            Ok(word) => word,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(auth = %self.name, %error, cause, "authorization server gives no answer: nobody is let in");
                Word::None
            }
        }
    }

    fn question(
        &self,
        method: &Method,
        (path, query): (&str, Option<&str>),
        headers: &HeaderMap,
    ) -> Request<Empty<Bytes>> {
        let mut question = Request::new(Empty::new());
        *question.uri_mut() = self.endpoint.clone();
        let mut asked = headers.clone();
        for name in NOT_ASKED {
            asked.remove(name);
        }
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let target = match query {
            Some(query) => &format!("{path}?{query}"),
            None => path,
        };
        for (name, value) in [(METHOD, text(method.as_str())), (URI, text(target))] {
            match value {
                Some(value) => asked.insert(name, value),
                None => asked.remove(name),
            };
        }
        *question.headers_mut() = asked;
        question
    }

    /// Headers of a request that are its alone to set.
    pub(crate) fn sets(&self) -> &[HeaderName] {
        &self.set
    }

    /// Puts what the server said of a request into it. A header that the server may set is its alone: what the client
    /// says there is dropped even where the server says nothing.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, said: &HeaderMap) {
        for name in &self.set {
            headers.remove(name);
        }
        drop_lookalikes(headers, &self.set);
        for name in self.set.iter().chain(&self.append) {
            for value in said.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Connections for a worker; `trusted` for servers over TLS.
pub(crate) fn asking(trusted: Option<&ClientConfig>) -> Asking {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let nobody = || {
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        builder
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusted.cloned().unwrap_or_else(nobody))
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external() -> External {
        External::new(&AuthScheme {
            name: "sso".into(),
            kind: AuthKind::External {
                endpoint: "http://127.0.0.1:1/check?x=1".into(),
                set_headers: vec!["X-User".into()],
                append_headers: vec!["X-Group".into()],
                timeout: Duration::from_secs(1),
            },
        })
        .unwrap()
    }

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_question_says_what_was_asked_for_and_nothing_of_a_body() {
        let headers = map(&[
            ("host", "a.com"),
            ("cookie", "session=1"),
            ("content-length", "3"),
            ("if-none-match", "\"x\""),
            ("range", "bytes=0-1"),
            ("expect", "100-continue"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "a.com"),
        ]);
        let question = external().question(&Method::POST, ("/a%2Fb", Some("c=d")), &headers);
        assert_eq!(
            (question.method(), question.uri().to_string().as_str()),
            (&Method::GET, "http://127.0.0.1:1/check?x=1")
        );
        let mut lines: Vec<String> = question
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "cookie: session=1",
                "x-forwarded-host: a.com",
                "x-forwarded-method: POST",
                "x-forwarded-uri: /a%2Fb?c=d"
            ]
        );
    }

    #[test]
    fn what_only_the_server_may_say_the_client_cannot() {
        let external = external();
        let mut headers = map(&[("x-user", "root"), ("x-group", "mine")]);
        external.mark(&mut headers, &map(&[("x-group", "theirs"), ("x-other", "1")]));
        assert!(!headers.contains_key("x-user") && !headers.contains_key("x-other"));
        assert_eq!(
            headers.get_all("x-group").iter().collect::<Vec<_>>(),
            ["mine", "theirs"]
        );
        external.mark(&mut headers, &map(&[("x-user", "anna")]));
        assert_eq!(headers["x-user"], "anna");
    }

    #[test]
    fn headers_that_frame_a_message_are_not_for_it_to_set() {
        let mut scheme = AuthScheme {
            name: "sso".into(),
            kind: AuthKind::External {
                endpoint: "http://a".into(),
                set_headers: vec!["Transfer-Encoding".into()],
                append_headers: Vec::new(),
                timeout: Duration::from_secs(1),
            },
        };
        assert!(External::new(&scheme).is_err());
        if let AuthKind::External { set_headers, .. } = &mut scheme.kind {
            *set_headers = vec!["a b".into()];
        }
        assert!(External::new(&scheme).is_err());
    }
}
