//! HTTP/1.1 to one engine: connections that are kept, answers that are bounded. Knows nothing of containers.
//!
//! Every question has a deadline. A question may go over a connection that was used before, and is repeated on a new
//! one if that has died meanwhile; what changes something always goes over a new one, once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Remote};
use super::{Error, PATIENCE};

/// An answer larger than this is not a list of containers but a mistake: labels are in it, and a megabyte of them is much.
const MAX_ANSWER: usize = 256 << 20;
/// Connections kept for the next questions; as many as are asked side by side.
const MAX_IDLE: usize = 16;
/// An event stream may be silent for hours, while something between us forgets its connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// A client of one engine.
pub(super) struct Client {
    address: Address,
    idle: Mutex<Vec<Sender>>,
}

enum Address {
    Socket(PathBuf),
    Network {
        remote: Remote,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    },
}

/// A whole answer, refusals included.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// A client of the engine at `endpoint`, and where that is exactly. Of several sockets it is the first that is there
    /// and may be used: one that refuses is that of an engine about to return.
    pub(super) async fn reach(endpoint: &Endpoint) -> Result<(Self, Endpoint), Error> {
        let address = match endpoint {
            Endpoint::Sockets(paths) => Address::Socket(usable(paths).await?.to_owned()),
            Endpoint::Remote(remote) => Address::of(remote).await?,
        };
        let found = match &address {
            Address::Socket(path) => Endpoint::Sockets(vec![path.clone()]),
            Address::Network { remote, .. } => Endpoint::Remote(remote.clone()),
        };
        let idle = Mutex::default();
        Ok((Self { address, idle }, found))
    }

    /// Asks a question, which may be asked twice.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Error> {
        let exchange = async {
            if let Some(mut sender) = self.kept().await
                && let Ok(response) = sender
                    .send_request(self.request(Method::GET, path, Bytes::new())?)
                    .await
                && let Ok(answer) = self.whole(response, sender).await
            {
                return Ok(answer);
            }
            self.once(Method::GET, path, Bytes::new()).await
        };
        patient(PATIENCE, exchange).await
    }

    /// Has something done, with JSON.
    pub(super) async fn post(&self, path: &str, body: Bytes) -> Result<Answer, Error> {
        patient(PATIENCE, self.once(Method::POST, path, body)).await
    }

    async fn once(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, Error> {
        let mut sender = self.dial().await?;
        let sent = sender.send_request(self.request(method, path, body)?).await;
        let response = sent.map_err(|error| self.broken(&error))?;
        self.whole(response, sender).await
    }

    /// Sends a request whose answer has no end in sight. The head of the answer may be late, too: some engines
    /// send it with the first event.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let mut sender = patient(PATIENCE, self.dial()).await?;
        let sent = sender.send_request(self.request(method, path, body)?).await;
        sent.map_err(|error| self.broken(&error))
    }

    /// A connection that was used before and still stands.
    async fn kept(&self) -> Option<Sender> {
        loop {
            let mut sender = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Reads the answer to its end; then the connection may be used again.
    async fn whole(&self, response: Response<Incoming>, sender: Sender) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => {
                let most = MAX_ANSWER >> 20;
                Error::Unreadable(format!(
                    "{self}: an answer of more than {most} MiB; remove the container whose labels are that long"
                ))
            }
            false => Error::Engine(format!("{self}: {error}")),
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let (host, prefix) = match &self.address {
            // Engines want some name there, and no other than one without meaning.
            Address::Socket(_) => ("docker".to_owned(), ""),
            Address::Network { remote, .. } => (remote.authority(), remote.prefix.as_str()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{prefix}{path}"))
            .header(HOST, host)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body));
        request.map_err(|error| Error::Engine(format!("{path}: {error}")))
    }

    async fn dial(&self) -> Result<Sender, Error> {
        let failed = |error: io::Error| Error::Engine(format!("{self}: {error}"));
        match &self.address {
            Address::Socket(path) => self.speak(UnixStream::connect(path).await.map_err(failed)?).await,
            Address::Network { remote, tls } => {
                let stream = TcpStream::connect((remote.host.as_str(), remote.port)).await;
                let stream = stream.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                let alive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                SockRef::from(&stream).set_tcp_keepalive(&alive).map_err(failed)?;
                match tls {
                    None => self.speak(stream).await,
                    Some((tls, name)) => {
                        self.speak(tls.connect(name.clone(), stream).await.map_err(failed)?)
                            .await
                    }
                }
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Sender, Error> {
        let spoken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = spoken.map_err(|error| self.broken(&error))?;
        // Ends with its sender, or when the engine closes; what went wrong is told to whoever asked.
        tokio::spawn(async move { _ = connection.await });
        Ok(sender)
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        Error::Engine(format!("{self}: {}", root_cause(error)))
    }
}

/// The engine that it asks.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Network { remote, .. } => f.write_str(&remote.authority()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({self})")
    }
}

impl Address {
    async fn of(remote: &Remote) -> Result<Self, Error> {
        let remote = remote.clone();
        let Some(certificates) = remote.tls.clone() else {
            return Ok(Self::Network { remote, tls: None });
        };
        let read = tokio::task::spawn_blocking(move || certificates.files().config()).await;
        let config = match read {
            Ok(config) => config.map_err(|error| Error::Engine(error.to_string()))?,
            Err(panic) => return Err(Error::Engine(panic.to_string())),
        };
        let name = ServerName::try_from(remote.host.clone());
        let name = name.map_err(|error| Error::Engine(format!("{}: {error}", remote.host)))?;
        let tls = Some((TlsConnector::from(Arc::new(config)), name));
        Ok(Self::Network { remote, tls })
    }
}

impl Answer {
    /// Anything but success is an error in the engine's words.
    pub(super) fn checked(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(refusal(self.status, &self.body))
    }
}

/// What an engine says when it refuses: a message in JSON, or plain text of something before it.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let read: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = read.and_then(|value| value["message"].as_str().map(str::to_owned));
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect());
    Error::Refused {
        status: status.as_u16(),
        message: message.trim().to_owned(),
    }
}

/// The first of these sockets that is there and that we may use.
async fn usable(paths: &[PathBuf]) -> Result<&Path, Error> {
    let mut reasons = Vec::new();
    for path in paths {
        let Err(error) = UnixStream::connect(path).await else {
            return Ok(path);
        };
        let reason = format!("unix://{}: {error}", path.display());
        if !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        ) {
            return Err(Error::Engine(reason));
        }
        reasons.push(reason);
    }
    Err(Error::Engine(reasons.join("; ")))
}

async fn patient<T>(limit: Duration, exchange: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let ended = tokio::time::timeout(limit, exchange).await;
    ended.unwrap_or(Err(Error::Late))
}

/// The outer layers only say that a request failed; the innermost says why.
fn root_cause(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn of_several_sockets_the_first_that_is_there_is_the_engines_though_it_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let socket = |name: &str| folder.path().join(name);
        let all = Endpoint::Sockets(vec![socket("missing"), socket("first"), socket("second")]);
        let reached = async || {
            Client::reach(&all)
                .await
                .map(|(_, endpoint)| endpoint.to_string())
        };
        let error = reached().await.unwrap_err().to_string();
        for name in ["missing", "first", "second"] {
            assert!(
                error.contains(&format!("{}: No such file", socket(name).display())),
                "{error}"
            );
        }

        let _second = UnixListener::bind(socket("second")).unwrap();
        assert_eq!(
            reached().await.unwrap(),
            format!("unix://{}", socket("second").display())
        );

        // What is left of an engine that crashed: it will be back, and the other one is not meant.
        drop(UnixListener::bind(socket("first")).unwrap());
        let error = reached().await.unwrap_err().to_string();
        assert!(error.contains("first") && error.contains("refused"), "{error}");
    }
}
