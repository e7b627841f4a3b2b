//! HTTP/1.1: the life of a connection and of each request on it, on one page.
//!
//! hyper parses and writes; what is decided is decided here and in the files below. A request keeps the
//! table it was looked up in, and its target, until its answer has ended.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::http::{HeaderValue, Method, StatusCode, Version, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::arrival::{Arrival, Stream};
use crate::config::Listener;
use crate::table::{Asker, Options, Redirect, Route};
use crate::upstream::{Fault, Lease};
use crate::worker::Worker;

mod attempt;
pub(crate) mod body;
mod error;
mod exchange;
mod framing;
pub(crate) mod headers;
mod host;
mod path;
mod patience;
mod upgrade;

use attempt::Call;
use body::{AnswerBody, RequestBody};
use error::Refusal;
use exchange::Exchange;
use framing::{Framing, Watched};
use headers::Peer;
use path::Path;
use patience::{Patience, Progress, Verdict};
use upgrade::Tunnel;

/// Largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Most header lines of a request.
const MAX_HEADERS: usize = 128;
/// For clients that meet a service without a healthy instance.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A client's connection.
struct Client {
    worker: Rc<Worker>,
    peer: Peer,
    /// Its requests come over TLS.
    tls: bool,
    framing: Framing,
    /// Requests begun.
    begun: Cell<u64>,
    /// Requests whose answer has ended.
    answered: Rc<Cell<u64>>,
    /// The connection after its last request, when that was an upgrade.
    tunnel: RefCell<Option<Tunnel>>,
}

/// What became of a request that was not refused.
enum Outcome {
    Answer(Response<Incoming>, Lease),
    Redirect(StatusCode, HeaderValue),
    Switch(Response<Incoming>, OnUpgrade),
}

/// Serves one connection until either side ends it, it idles too long, or the worker has stopped and its
/// request is answered.
pub(crate) async fn serve(worker: Rc<Worker>, listener: Rc<Listener>, stream: impl Stream, arrival: Arrival) {
    let trusted = worker
        .config()
        .trusted
        .iter()
        .any(|network| network.contains(arrival.peer.ip()));
    let stop = arrival.stop.clone();
    let stream = Watched::new(stream);
    let client = Rc::new(Client {
        peer: Peer::new(arrival.client, arrival.local, trusted),
        tls: arrival.tls.is_some(),
        framing: stream.framing(),
        begun: Cell::new(0),
        answered: Rc::default(),
        tunnel: RefCell::new(None),
        worker,
    });
    let service = service_fn(|request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let connection = builder()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut patience = Patience::new(&listener, Instant::now());
    let mut tick = interval(patience.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            // In this order, so that no answer is written after the stop without saying that it is the last.
            biased;
            () = stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    if error.is_parse() {
                        // hyper has answered it, and nobody else has seen it.
                        client.worker.counters.bad_requests.add(1);
                    }
                    tracing::debug!(peer = %client.peer.addr, %error, "client connection ended");
                }
                break;
            }
            now = tick.tick() => match patience.look(client.progress(), now) {
                Verdict::Fine => {}
                Verdict::Idle => connection.as_mut().graceful_shutdown(),
                Verdict::Late => break,
            }
        }
    }
    let tunnel = client.tunnel.take();
    if let Some(tunnel) = tunnel {
        let _open = client.worker.counters.tunnels.enter();
        tunnel.run().await;
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Not `pipeline_flush`: hyper 1.12 then closes without writing what it holds when bytes that nobody will
    // read are left over, so a client that sent too much never learns why it was refused.
    builder
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        // `Patience` tells slow heads from idle connections, and needs no timer per request.
        .header_read_timeout(None);
    builder
}

impl Client {
    fn progress(&self) -> Progress {
        Progress {
            reading: self.framing.reading(),
            begun: self.framing.heads(),
            answered: self.answered.get(),
            half_closed: self.framing.is_half_closed(),
            written: self.framing.written(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let number = self.begun.replace(self.begun.get() + 1);
        let (parts, body) = request.into_parts();
        let mut exchange =
            Exchange::begin(self.worker.clone(), self.peer.addr, &parts, self.answered.clone());
        match self.forward(number, parts, body, &mut exchange).await {
            Ok(Outcome::Answer(answer, lease)) => {
                exchange.answered(answer.status());
                let (mut parts, body) = answer.into_parts();
                exchange.said(&parts.headers);
                headers::drop_hop_by_hop(&mut parts.headers);
                parts.version = Version::HTTP_11;
                Response::from_parts(parts, AnswerBody::relay(body, lease, exchange))
            }
            Ok(Outcome::Redirect(status, location)) => {
                self.worker.counters.redirected(status.as_u16());
                let mut answer = text(
                    status,
                    status.canonical_reason().unwrap_or("Redirect").into(),
                    exchange,
                );
                answer.headers_mut().insert(header::LOCATION, location);
                answer
            }
            Ok(Outcome::Switch(answer, client)) => self.switch(answer, client, exchange),
            Err(refusal) => self.refuse(&refusal, exchange),
        }
    }

    async fn forward(
        &self,
        number: u64,
        mut request: Parts,
        body: Incoming,
        exchange: &mut Exchange,
    ) -> Result<Outcome, Refusal> {
        if self.framing.is_ambiguous(number) {
            return Err(Refusal::Ambiguous);
        }
        if request.method == Method::CONNECT {
            return Err(Refusal::Connect);
        }
        let host = host::canonical(&request)?.into_owned();
        exchange.host(&host);
        let uri = std::mem::take(&mut request.uri);
        let path = Path::clean(uri.path())?;

        let table = self.worker.table();
        let scheme = || headers::scheme(&request.headers, &self.peer);
        let route = table
            .http_where(&host, &path.decoded, self.tls, |route| {
                !leads_back(route, scheme, &host, &path.encoded)
            })
            .ok_or(Refusal::NoRoute)?;
        let asker = Asker {
            worker: self.worker.number,
            client: self.peer.addr.ip(),
            headers: Some(&request.headers),
            random: &rand::random::<u64>,
        };
        let choice = route.choice(&self.worker.config().strategy, &asker);
        let target = self
            .worker
            .pick(route, choice, &[])
            .ok_or(Refusal::Unavailable)?
            .clone();
        if let Some(redirect) = &target.options.redirect {
            let there = attempt::rewritten(&uri, &path.encoded, &target)?;
            return to(redirect, &host, there.path(), uri.query());
        }

        let upgrade = headers::drop_hop_by_hop(&mut request.headers);
        headers::forward(&mut request.headers, &self.peer, &host);
        exchange.headers(&request.headers);
        let client = request
            .extensions
            .remove::<OnUpgrade>()
            .filter(|_| upgrade.is_some());
        if let Some(protocol) = upgrade {
            headers::set_upgrade(&mut request.headers, protocol);
        }
        let path = path.encoded.into_owned();
        let (body, upload) = RequestBody::new(body);
        let call = Call {
            method: request.method,
            uri,
            path,
            headers: request.headers,
            body,
            upload,
        };
        let (answer, lease) = attempt::send(&self.worker, (route, choice, target), call, exchange).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Outcome::Answer(answer, lease));
        }
        // The lease ends here: this connection never goes back to the pool.
        drop(lease);
        let client = client.ok_or(Refusal::Upstream(Fault::Switched))?;
        Ok(Outcome::Switch(answer, client))
    }

    /// Agrees to an upgrade in the server's words; bytes flow once hyper has let go of both connections.
    fn switch(
        &self,
        mut answer: Response<Incoming>,
        client: OnUpgrade,
        mut exchange: Exchange,
    ) -> Response<AnswerBody> {
        exchange.answered(answer.status());
        self.framing.becomes_tunnel();
        let server = hyper::upgrade::on(&mut answer);
        *self.tunnel.borrow_mut() = Some(Tunnel {
            client,
            server,
            exchange,
        });
        let (mut parts, _) = answer.into_parts();
        if let Some(protocol) = headers::drop_hop_by_hop(&mut parts.headers) {
            headers::set_upgrade(&mut parts.headers, protocol);
        }
        parts.version = Version::HTTP_11;
        Response::from_parts(parts, AnswerBody::none())
    }

    fn refuse(&self, refusal: &Refusal, exchange: Exchange) -> Response<AnswerBody> {
        let worker = &self.worker;
        let status = refusal.status(worker.config().no_route_status);
        match refusal {
            Refusal::NoRoute => exchange.unrouted(),
            Refusal::Unavailable => worker.counters.unavailable.add(1),
            Refusal::Upstream(_) | Refusal::Rewrite(_) => {}
            _ => worker.counters.bad_requests.add(1),
        }
        tracing::debug!(peer = %self.peer.addr, %status, why = %refusal, "request refused");
        let mut answer = text(status, refusal.text(), exchange);
        let headers = answer.headers_mut();
        if matches!(refusal, Refusal::Unavailable) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if refusal.ends_connection() {
            headers.insert(header::CONNECTION, CLOSE);
        }
        answer
    }
}

fn text(status: StatusCode, text: Bytes, mut exchange: Exchange) -> Response<AnswerBody> {
    exchange.answered(status);
    let length = text.len();
    // hyper would never ask for a body that HEAD has no use for, which looks like a client that left.
    let text = if exchange.is_head() { Bytes::new() } else { text };
    let mut answer = Response::new(AnswerBody::text(text, exchange));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, PLAIN);
    headers.insert(header::CONTENT_LENGTH, length.into());
    answer
}

fn to(redirect: &Redirect, host: &str, path: &str, query: Option<&str>) -> Result<Outcome, Refusal> {
    let status = StatusCode::from_u16(redirect.code).unwrap_or(StatusCode::FOUND);
    let location = redirect.location(host, path, query);
    let location = HeaderValue::from_str(&location).map_err(|error| Refusal::Rewrite(error.into()))?;
    Ok(Outcome::Redirect(status, location))
}

/// Would following the redirect of this route ask for the same again? A query makes no difference, and what
/// names no host stays on this one.
fn leads_back(route: &Route, scheme: impl Fn() -> HeaderValue, host: &str, path: &str) -> bool {
    let Some(Options {
        redirect: Some(redirect),
        strip,
        prepend,
        ..
    }) = route.targets.first().map(|target| &*target.options)
    else {
        return false;
    };
    let rewritten = path::rewrite(path, strip.as_deref(), prepend.as_deref());
    let location = redirect.location(host, &rewritten, None);
    let there = location.split_once('?').map_or(&*location, |(there, _)| there);
    let there = match there.split_once("://") {
        Some((named, rest)) if named.as_bytes() == scheme().as_bytes() => rest.strip_prefix(host),
        Some(_) => None,
        None => Some(there),
    };
    there == Some(path)
}
