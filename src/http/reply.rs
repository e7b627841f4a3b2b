//! What is answered: JSON with its headers, or an error as plain text in Consul's words.

use bytes::Bytes;
use catalog::{Index, Refused};
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::local::LocalError;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A successful answer.
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

enum Content {
    Nothing,
    /// Encoded only once it is known whether for a program or a person.
    Json(Box<dyn Encode>),
    Text(String),
    /// Whatever somebody stored; never to be run by a browser.
    Raw(Vec<u8>),
}

/// A value whose type was forgotten.
trait Encode: Send {
    fn encode(&self, pretty: bool) -> serde_json::Result<Vec<u8>>;
}

impl<T: Serialize + Send> Encode for T {
    fn encode(&self, pretty: bool) -> serde_json::Result<Vec<u8>> {
        if pretty {
            api::wire::encode_pretty(self)
        } else {
            api::wire::encode(self)
        }
    }
}

impl Reply {
    fn of(content: Content) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            content,
        }
    }

    /// 200 and nothing else.
    pub fn done() -> Self {
        Self::of(Content::Nothing)
    }

    /// A value as JSON.
    pub fn json(value: impl Serialize + Send + 'static) -> Self {
        Self::of(Content::Json(Box::new(value)))
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Content::Text(text.into()))
    }

    /// Bytes as somebody stored them.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self::of(Content::Raw(bytes))
    }

    /// The same with another status.
    pub fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same with one more header; a value that no header may have is left out.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The same with the headers of an answer that can be waited for.
    pub fn indexed(self, index: Index) -> Self {
        // 0 would mean "answer at once" to whoever asks again.
        self.header("x-consul-index", &index.max(1).to_string())
            .header("x-consul-knownleader", "true")
            .header("x-consul-lastcontact", "0")
    }

    /// The answer as it is sent.
    pub fn into_response(self, pretty: bool) -> Response<Full<Bytes>> {
        let (kind, body) = match self.content {
            Content::Nothing => (None, Vec::new()),
            Content::Text(text) => (Some(TEXT), text.into_bytes()),
            Content::Raw(bytes) => (Some(TEXT), bytes),
            Content::Json(value) => match value.encode(pretty) {
                Ok(json) => (Some(JSON), json),
                Err(error) => return Fault::internal(error.to_string()).into_response(),
            },
        };
        let sniffable = kind == Some(TEXT);
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            // A handler may know better.
            headers.entry(header::CONTENT_TYPE).or_insert(kind);
        }
        if sniffable {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            let sandbox = HeaderValue::from_static("sandbox");
            headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
        }
        headers.insert("x-consul-default-acl-policy", HeaderValue::from_static("allow"));
        response
    }
}

/// A refusal. Its text is the whole body, without a line end: clients match on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    text: String,
    /// A list, since a refusal has few and travels through every `?`.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    /// Any status with a reason.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            headers: Vec::new(),
        }
    }

    /// 400.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404.
    pub fn missing(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 500: also what Consul's servers answer to much that is the client's mistake.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// The same with one more header; a value that no header may have is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same with an index to wait after.
    pub fn indexed(self, index: Index) -> Self {
        self.header(
            HeaderName::from_static("x-consul-index"),
            &index.max(1).to_string(),
        )
        .header(HeaderName::from_static("x-consul-knownleader"), "true")
        .header(HeaderName::from_static("x-consul-lastcontact"), "0")
    }

    /// The answer as it is sent.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.text));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
        response
            .headers_mut()
            .insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        response
    }
}

impl From<api::wire::body::BodyError> for Fault {
    fn from(error: api::wire::body::BodyError) -> Self {
        use api::wire::body::BodyError;
        match &error {
            BodyError::Decode(_) | BodyError::Invalid(_) => Self::bad(error.to_string()),
            BodyError::Refused(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Self::internal(refused.to_string())
    }
}

impl From<LocalError> for Fault {
    fn from(error: LocalError) -> Self {
        Self::internal(error.to_string())
    }
}
