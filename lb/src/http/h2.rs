//! A client's connection of HTTP/2: hyper and h2 read and write it, `frames.rs` watches what it costs. Each stream
//! is a task of the connection and ends with it.
//!
//! Before a request goes the way that all requests go it is made to look like one of HTTP/1.1, since the server may
//! read it as such: what would be read in another way there is refused here.

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::http::request::Parts;
use hyper::http::{HeaderName, HeaderValue, Method, Uri, header};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::arrival::Stream;
use crate::http::body::AnswerBody;
use crate::http::error::Refusal;
use crate::http::frames::{Framed, Frames};
use crate::http::leash::Leash;
use crate::http::patience::{Patience, Progress, Verdict};
use crate::http::tally::Taking;
use crate::http::{Client, MAX_HEAD, MAX_HEADERS, grpc, headers};
use crate::worker::bury;
use crate::worker::crowd::Busy;

/// Streams that a client may reset before their requests were looked at.
const RESET_PENDING: usize = 20;
/// Streams that may end by an error of the client's.
const RESET_BY_ERROR: usize = 128;
/// What waits to be sent on a stream whose client does not take it. Answers have less where there are many, see
/// `tally.rs`; tunnels have this.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a body that a client may send before we take them: of a stream, of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// How often a silent client is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

const WEBSOCKET_KEY: HeaderName = header::SEC_WEBSOCKET_KEY;

/// Tasks of one connection. They hold the connection's state, which holds them: whoever serves it ends them.
#[derive(Clone, Default)]
struct Tasks {
    running: Rc<RefCell<JoinSet<()>>>,
    /// For the next: that of a stream, which hyper starts as soon as it has passed the request on.
    leash: Rc<Cell<Option<Leash>>>,
}

/// Ends them when the connection is over, however that came.
struct EndOf(Tasks);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.running.take();
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut running = self.running.borrow_mut();
        match self.leash.take() {
            Some(leash) => running.spawn_local(leash.hold(task)),
            None => running.spawn_local(task),
        };
    }
}

impl Tasks {
    /// Panics of tasks that ended; never ready.
    async fn watch(&self, client: &Client) {
        poll_fn(|cx| {
            while let Poll::Ready(Some(ended)) = self.running.borrow_mut().poll_join_next(cx) {
                bury(&client.worker.counters, ended);
            }
            Poll::<()>::Pending
        })
        .await;
    }
}

/// What the requests of one connection have in common.
struct Connection {
    client: Rc<Client>,
    frames: Frames,
    tasks: Tasks,
    begun: Cell<u64>,
}

/// Serves it until either side ends it, it idles too long, it is a flood, or it shall stop and its requests are
/// answered.
pub(super) async fn serve(client: Rc<Client>, stream: impl Stream, mut patience: Patience) {
    let stream = Framed::new(stream, Instant::now());
    let shared = Rc::new(Connection {
        frames: stream.frames(),
        tasks: Tasks::default(),
        begun: Cell::new(0),
        client: client.clone(),
    });
    let _end = EndOf(shared.tasks.clone());
    let service = service_fn(|request: Request<Incoming>| {
        // Here, and not in the stream's task, which runs only after this connection may have been given up.
        let busy = client.asks();
        let shown = shared.hold(&request);
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(busy, request, shown).await) }
    });
    let connection = builder(shared.tasks.clone(), client.worker.config().edge.streams)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopped = std::pin::pin!(client.stopped());
    let mut tick = interval(patience.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            () = &mut stopped, if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %client.addr, %error, "client connection ended");
                }
                break;
            }
            // What the connection has read is counted by now.
            () = shared.flood() => {
                client.worker.counters.http2_floods.add(1);
                tracing::debug!(peer = %client.addr, "client connection ended: a flood of frames");
                break;
            }
            () = shared.tasks.watch(&client) => {}
            now = tick.tick() => {
                shared.count_refused();
                match patience.look(shared.progress(), now) {
                    Verdict::Fine => {}
                    Verdict::Idle => connection.as_mut().graceful_shutdown(),
                    Verdict::Late => break,
                }
            }
        }
    }
    shared.count_refused();
}

fn builder(tasks: Tasks, streams: u32) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_PENDING)
        .max_local_error_reset_streams(RESET_BY_ERROR)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .auto_date_header(true)
        .enable_connect_protocol();
    builder
}

impl Connection {
    fn progress(&self) -> Progress {
        let tally = &self.client.tally;
        Progress {
            reading: self.frames.reading(),
            begun: self.begun.get(),
            answered: tally.answered(),
            half_closed: false,
            written: self.frames.written(),
            waiting: self.frames.is_blocked(),
            unsent: tally.is_waiting() || self.frames.is_blocked(),
            // Not what is written: that may be no more than answers to PING.
            taken: tally.taken(),
        }
    }

    /// What h2 refuses by itself nobody else sees.
    fn count_refused(&self) {
        self.client
            .worker
            .counters
            .bad_requests
            .add(self.frames.take_refused());
    }

    /// Ready when the connection has become one.
    async fn flood(&self) {
        poll_fn(|_| {
            if self.frames.is_flood() {
                self.frames.earn(Instant::now());
            }
            if self.frames.is_flood() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Limits the stream of a request that hyper is about to start. Returns where its answer is to be shown.
    fn hold(&self, request: &Request<Incoming>) -> Option<Rc<OnceCell<Taking>>> {
        if grpc::is_call(request.version(), request.headers()) {
            // A call may take as long as it likes.
            return None;
        }
        let client = &self.client;
        let edge = &client.worker.config().edge;
        let leash = Leash::new(client.each.answer, edge, self.frames.clone());
        let answer = leash.answer();
        self.tasks.leash.set(Some(leash));
        Some(answer)
    }

    async fn answer(
        &self,
        busy: Busy,
        request: Request<Incoming>,
        shown: Option<Rc<OnceCell<Taking>>>,
    ) -> Response<AnswerBody> {
        self.begun.set(self.begun.get() + 1);
        let (mut parts, body) = request.into_parts();
        let admitted = as_of_http_1(&mut parts);
        let answered = self.client.answer(busy, admitted, parts.into(), Some(body)).await;
        if let Some(tunnel) = answered.tunnel {
            let client = self.client.clone();
            self.tasks.execute(async move {
                let _open = client.worker.counters.tunnels.enter();
                tunnel.run().await;
            });
        }
        if let (Some(shown), Some(taking)) = (shown, answered.response.body().taking()) {
            let _ = shown.set(taking);
        }
        answered.response
    }
}

/// Makes a request look like one of HTTP/1.1 (RFC 9113, 8.2 and 8.3). h2 has refused what no version allows: control
/// characters, headers of a connection, a body that is not as long as announced.
fn as_of_http_1(request: &mut Parts) -> Result<(), Refusal> {
    let uri = std::mem::take(&mut request.uri).into_parts();
    request.uri = uri.path_and_query.map(Uri::from).unwrap_or_default();
    let headers = &mut request.headers;
    if let Some(authority) = &uri.authority {
        match headers.get(header::HOST) {
            None => {
                let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Ambiguous)?;
                headers.insert(header::HOST, host);
            }
            Some(host)
                if host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes()) => {}
            Some(_) => return Err(crate::http::host::BadHost::Mismatch.into()),
        }
    }
    // h2 lets equal lengths pass, which a server may not.
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
        || headers.contains_key(header::TRANSFER_ENCODING)
    {
        return Err(Refusal::Ambiguous);
    }
    headers.values_mut().for_each(trim);
    join_cookies(headers);
    if headers.len() > MAX_HEADERS {
        return Err(Refusal::TooManyHeaders);
    }
    let Some(protocol) = request.extensions.get::<Protocol>() else {
        return Ok(());
    };
    // RFC 8441: a WebSocket begins with CONNECT here, and with an upgrade in HTTP/1.1.
    if !protocol.as_str().eq_ignore_ascii_case("websocket") {
        return Err(Refusal::Connect);
    }
    request.method = Method::GET;
    headers::set_upgrade(headers, HeaderValue::from_static("websocket"));
    headers.insert(WEBSOCKET_KEY, websocket_key());
    Ok(())
}

/// Blanks around a value are no part of it to whoever reads it in HTTP/1.1, so they are not to us (RFC 9113, 8.2.1,
/// allows none, and clients send them).
fn trim(value: &mut HeaderValue) {
    let sent = value.as_bytes();
    let trimmed = sent.trim_ascii();
    if trimmed.len() < sent.len() {
        let trimmed = HeaderValue::from_bytes(trimmed);
        *value = trimmed.expect("made of a header value");
    }
}

/// Clients send one cookie each; servers of HTTP/1.1 read one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut hyper::HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in std::iter::once(second).chain(cookies) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined));
        headers.insert(header::COOKIE, joined.expect("made of header values"));
    }
}

/// Sixteen bytes in Base64, which HTTP/1.1 wants and HTTP/2 does without.
fn websocket_key() -> HeaderValue {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random: u128 = rand::random();
    let mut key = [b'='; 24];
    for digit in &mut key[..21] {
        *digit = DIGITS[(random & 63) as usize];
        random >>= 6;
    }
    // Two bits are left, the high ones of the last digit.
    key[21] = DIGITS[((random & 3) << 4) as usize];
    HeaderValue::from_bytes(&key).expect("digits of Base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(hyper::Version::HTTP_2).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_looks_like_one_of_http_1() {
        let mut request = parts(
            "https://a.com/x?y",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        );
        as_of_http_1(&mut request).unwrap();
        assert_eq!(request.uri, "/x?y");
        assert_eq!(request.headers[header::HOST], "a.com");
        assert_eq!(request.headers[header::COOKIE], "a=1; b=2; c=3");
        assert_eq!(request.headers.get_all(header::COOKIE).iter().count(), 1);
    }

    #[test]
    fn what_a_server_of_http_1_would_read_differently_is_refused() {
        for headers in [
            &[("host", "b.com")][..],
            &[("content-length", "1"), ("content-length", "1")],
            &[("transfer-encoding", "chunked")],
        ] {
            let mut request = parts("https://a.com/", headers);
            assert!(as_of_http_1(&mut request).is_err(), "{headers:?}");
        }
        let mut same = parts("https://a.com/", &[("host", "A.com")]);
        assert!(as_of_http_1(&mut same).is_ok());
    }

    #[test]
    fn a_websocket_key_is_sixteen_bytes_in_base64() {
        let key = websocket_key();
        let text = key.to_str().unwrap();
        assert!(text.len() == 24 && text.ends_with("=="), "{text}");
        assert!("AQgw".contains(&text[21..22]), "{text}");
        assert_ne!(websocket_key(), key);
    }
}
