//! A server that speaks HTTP/1.1, websocket and gRPC on one port, and steady clients of each.
//!
//! The server stops as a polite one does: it takes no new connections, ends the old ones between two requests, and
//! says goodbye on its websockets. The clients count every answer and every failure; a goodbye is none.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

const GRPC: &str = "application/grpc";
/// Pause of a client between two requests: steady, not hurried.
const PACE: Duration = Duration::from_millis(4);
/// No answer for this long is a failure, not a test that hangs.
const TOO_LONG: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, Infallible>;
type Outcome<T> = Result<T, String>;

// === Server ===

/// See the module.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let stop = CancellationToken::new();
        Self {
            addr,
            running: tokio::spawn(accept(listener, stop.clone())),
            stop,
        }
    }

    /// Returns when every client has been served to the end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("the server does not panic");
    }
}

async fn accept(listener: TcpListener, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("accepting works").0,
            () = stop.cancelled() => break,
        };
        let stop = stop.clone();
        let service = service_fn(move |request| answer(request, stop.clone()));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // A client that breaks off is counted by the client.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn answer(request: Request<Incoming>, stop: CancellationToken) -> Result<Response<Body>, Infallible> {
    if request.headers().contains_key(UPGRADE) {
        return Ok(switch(request, stop));
    }
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == GRPC);
    let Ok(body) = request.into_body().collect().await else {
        let mut refused = Response::new(Full::default().boxed());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refused);
    };
    let body = Full::new(body.to_bytes());
    if !is_grpc {
        return Ok(Response::new(body.boxed()));
    }
    let trailers = HeaderMap::from_iter([(
        "grpc-status".parse().expect("a name"),
        HeaderValue::from_static("0"),
    )]);
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    Ok(answer)
}

/// Echoes messages until the client leaves or the server stops.
fn switch(mut request: Request<Incoming>, stop: CancellationToken) -> Response<Body> {
    let key = request
        .headers()
        .get("sec-websocket-key")
        .map(HeaderValue::as_bytes);
    let accept = derive_accept_key(key.unwrap_or_default());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        loop {
            tokio::select! {
                biased;
                message = socket.next() => match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                        if socket.send(message).await.is_err() { return }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                () = stop.cancelled() => {
                    let _ = socket.close(None).await;
                    // Until the client has said goodbye, too.
                    while let Some(Ok(_)) = socket.next().await {}
                    return;
                }
            }
        }
    });
    let mut answer = Response::new(Full::default().boxed());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept.parse().expect("base64 is a value"));
    answer
}

// === Clients ===

/// Clients of every kind, until stopped.
pub(crate) struct Load {
    stop: CancellationToken,
    /// One for a client of each kind.
    tallies: Vec<Arc<Tally>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

/// What one client of each kind has seen.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) http: AtomicUsize,
    pub(crate) websocket: AtomicUsize,
    pub(crate) grpc: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    fn failed(&self, kind: &str, why: impl std::fmt::Display) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(format!("{kind}: {why}"));
    }

    fn counts(&self) -> [usize; 3] {
        [&self.http, &self.websocket, &self.grpc].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Load {
    /// `each` clients of each kind, all through `proxy` with this Host.
    pub(crate) fn start(proxy: SocketAddr, host: &str, each: usize) -> Self {
        let stop = CancellationToken::new();
        let tallies: Vec<Arc<Tally>> = (0..each).map(|_| Arc::default()).collect();
        let mut clients = Vec::new();
        for tally in &tallies {
            clients.push(tokio::spawn(http_client(
                proxy,
                host.to_owned(),
                tally.clone(),
                stop.clone(),
            )));
            clients.push(tokio::spawn(websocket_client(
                proxy,
                host.to_owned(),
                tally.clone(),
                stop.clone(),
            )));
            clients.push(tokio::spawn(grpc_client(
                proxy,
                host.to_owned(),
                tally.clone(),
                stop.clone(),
            )));
        }
        Self {
            stop,
            tallies,
            clients,
        }
    }

    /// Waits until every client has had so many more answers: what it was asking for before has long arrived.
    pub(crate) async fn flow(&self, answers: usize) {
        let counts = || self.tallies.iter().flat_map(|tally| tally.counts());
        let goals: Vec<usize> = counts().map(|count| count + answers).collect();
        let flowing = async {
            while counts().zip(&goals).any(|(count, goal)| count < *goal) {
                tokio::time::sleep(PACE).await;
            }
        };
        if tokio::time::timeout(TOO_LONG, flowing).await.is_err() {
            panic!("traffic has dried up; failures so far: {:#?}", self.failures());
        }
    }

    fn failures(&self) -> Vec<String> {
        let of = |tally: &Arc<Tally>| {
            let failures = tally.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.clone()
        };
        self.tallies.iter().flat_map(of).collect()
    }

    /// Answers of the client that has the fewest, and every failure.
    pub(crate) async fn stop(mut self) -> (usize, Vec<String>) {
        self.stop.cancel();
        for client in self.clients.drain(..) {
            client.await.expect("clients do not panic");
        }
        let least = self.tallies.iter().flat_map(|tally| tally.counts()).min();
        (least.unwrap_or(0), self.failures())
    }
}

/// One request after the other on kept connections: GET and, with a body, POST.
async fn http_client(proxy: SocketAddr, host: String, tally: Arc<Tally>, stop: CancellationToken) {
    let mut sender: Option<http1::SendRequest<Full<Bytes>>> = None;
    let mut turn = 0_u32;
    while !stop.is_cancelled() {
        turn += 1;
        let body = if turn.is_multiple_of(2) {
            format!("body {turn}")
        } else {
            String::new()
        };
        let request = async {
            let mut ready = open_http1(proxy, sender.take()).await?;
            let method = if body.is_empty() {
                Method::GET
            } else {
                Method::POST
            };
            let request = Request::builder().method(method).uri("/echo").header(HOST, &host);
            let request = request.body(Full::from(body.clone())).map_err(text)?;
            let answer = ready.send_request(request).await.map_err(text)?;
            let status = answer.status();
            let echoed = answer.into_body().collect().await.map_err(text)?.to_bytes();
            if status != 200 || echoed != body {
                return Err(format!("{status} {echoed:?} to {body:?}"));
            }
            Ok(ready)
        };
        match within(request).await {
            Ok(ready) => {
                sender = Some(ready);
                tally.http.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => tally.failed("http", why),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The connection there is, where it is still good; else a new one.
async fn open_http1(
    proxy: SocketAddr,
    kept: Option<http1::SendRequest<Full<Bytes>>>,
) -> Outcome<http1::SendRequest<Full<Bytes>>> {
    if let Some(mut kept) = kept
        && kept.ready().await.is_ok()
    {
        return Ok(kept);
    }
    let stream = TcpStream::connect(proxy).await.map_err(text)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A message and its echo at a time; a new socket after each goodbye.
async fn websocket_client(proxy: SocketAddr, host: String, tally: Arc<Tally>, stop: CancellationToken) {
    let mut turn = 0_u32;
    while !stop.is_cancelled() {
        let connected = within(async {
            let stream = TcpStream::connect(proxy).await.map_err(text)?;
            let url = format!("ws://{host}/ws");
            tokio_tungstenite::client_async(url, stream).await.map_err(text)
        });
        let mut socket = match connected.await {
            Ok((socket, _)) => socket,
            Err(why) => {
                tally.failed("websocket handshake", why);
                tokio::time::sleep(PACE).await;
                continue;
            }
        };
        loop {
            if stop.is_cancelled() {
                let _ = socket.close(None).await;
                return;
            }
            turn += 1;
            let sent = Message::text(format!("message {turn}"));
            let echo = within(async {
                socket.send(sent.clone()).await.map_err(text)?;
                socket.next().await.ok_or("it ended")?.map_err(text)
            });
            match echo.await {
                Ok(message) if message == sent => _ = tally.websocket.fetch_add(1, Ordering::Relaxed),
                // Said in order, between two messages: whoever listens knows that this one was not taken.
                Ok(Message::Close(_)) => break,
                Ok(other) => tally.failed("websocket", format!("{other:?} to {sent:?}")),
                Err(why) => {
                    tally.failed("websocket", why);
                    break;
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Unary calls on one HTTP/2 connection without TLS.
async fn grpc_client(proxy: SocketAddr, host: String, tally: Arc<Tally>, stop: CancellationToken) {
    let mut sender: Option<http2::SendRequest<Full<Bytes>>> = None;
    while !stop.is_cancelled() {
        let call = async {
            let mut ready = open_http2(proxy, sender.take()).await?;
            grpc_echo(&mut ready, &host, b"ping").await?;
            Ok(ready)
        };
        match within(call).await {
            Ok(ready) => {
                sender = Some(ready);
                tally.grpc.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => tally.failed("grpc", why),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The connection there is, where it is still good; else a new one.
async fn open_http2(
    proxy: SocketAddr,
    kept: Option<http2::SendRequest<Full<Bytes>>>,
) -> Outcome<http2::SendRequest<Full<Bytes>>> {
    if let Some(mut kept) = kept
        && kept.ready().await.is_ok()
    {
        return Ok(kept);
    }
    let stream = TcpStream::connect(proxy).await.map_err(text)?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(text)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn grpc_echo(sender: &mut http2::SendRequest<Full<Bytes>>, host: &str, message: &[u8]) -> Outcome<()> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).map_err(text)?);
    framed.put_slice(message);
    let framed = framed.freeze();
    let request = Request::post(format!("http://{host}/echo.Echo/Say")).header(CONTENT_TYPE, GRPC);
    let request = request
        .header("te", "trailers")
        .body(Full::new(framed.clone()))
        .map_err(text)?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(text)?;
    let status = body
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"))
        .cloned();
    let status = status.or_else(|| head.headers.get("grpc-status").cloned());
    if status.is_none_or(|status| status != "0") || body.to_bytes() != framed {
        return Err(format!("{} {:?}", head.status, head.headers));
    }
    Ok(())
}

async fn within<T>(what: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(TOO_LONG, what).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("nothing for {TOO_LONG:?}")),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
