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
use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::arrival::{Arrival, Stream};
use crate::config::Listener;
use crate::policy::gzip::{self, Wish};
use crate::policy::origin::Origin;
use crate::policy::{Gate, Visit, page, rewrite};
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
use headers::{Hop, Peer};
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
    Answer(Response<Incoming>, Lease, Wish),
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
        // Not the peer: a PROXY header has named somebody else, whose word may count for less.
        .any(|network| network.contains(arrival.client.ip()));
    let gate = worker.gate();
    let stop = arrival.stop.clone();
    let stream = Watched::new(stream);
    let client = Rc::new(Client {
        peer: Peer::new(&arrival, trusted, &gate.policy.stamp),
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
        if self.peer.is_tls {
            exchange.over_tls();
        }
        match self.forward(number, parts, body, &mut exchange).await {
            Ok(Outcome::Answer(answer, lease, wish)) => self.relay(answer, lease, wish, exchange),
            Ok(Outcome::Redirect(status, location)) => self.redirect(status, location, exchange),
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
            .http_where(&host, &path.decoded, self.peer.is_tls, |route| {
                !leads_back(route, scheme, &host, &path.encoded)
            })
            .ok_or(Refusal::NoRoute)?;
        let config = self.worker.config();
        let origin = Origin::of(self.peer.addr.ip(), &config.trusted, &request.headers);
        let asker = Asker {
            worker: self.worker.number,
            client: origin.or(self.peer.addr.ip()),
            headers: Some(&request.headers),
            random: &rand::random::<u64>,
        };
        let choice = route.choice(&config.strategy, &asker);
        let target = self
            .worker
            .pick(route, choice, &[])
            .ok_or(Refusal::Unavailable)?
            .clone();
        // Here the request is known to be wanted, and by whom; nothing of it was changed or sent yet.
        let gate = self.worker.gate();
        let upgrade = self.prepare(&mut request, &gate, origin, &host);
        exchange.headers(&request.headers);
        let wish = Wish::of(&request.method, &request.headers);
        let visit = Visit {
            route,
            options: &target.options,
            origin,
            peer: self.peer.addr.ip(),
            method: &request.method,
            uri: &uri,
            headers: &mut request.headers,
            body: config.edge.body,
        };
        let admitted = gate.admit(visit).await?;
        exchange.holds(admitted.in_flight);
        if let Some(redirect) = &target.options.redirect {
            let there = attempt::rewritten(&uri, &path.encoded, &target)?;
            return to(redirect, &host, there.path(), uri.query());
        }

        let client = request
            .extensions
            .remove::<OnUpgrade>()
            .filter(|_| upgrade.is_some());
        if let Some(protocol) = upgrade {
            headers::set_upgrade(&mut request.headers, protocol);
        }
        let path = path.encoded.into_owned();
        let (body, upload) = RequestBody::new(body, admitted.body);
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
            return Ok(Outcome::Answer(answer, lease, wish));
        }
        // The lease ends here: this connection never goes back to the pool.
        drop(lease);
        let client = client.ok_or(Refusal::Upstream(Fault::Switched))?;
        Ok(Outcome::Switch(answer, client))
    }

    /// Makes the headers those of a request of ours, but for what depends on the target. Returns the protocol that it
    /// asks to upgrade to.
    fn prepare(&self, request: &mut Parts, gate: &Gate, origin: Origin, host: &str) -> Option<HeaderValue> {
        let stamp = &gate.policy.stamp;
        let headers = &mut request.headers;
        let upgrade = headers::drop_hop_by_hop(headers, stamp.names());
        headers::drop_lookalikes(headers, stamp.names());
        let client = origin.or(self.peer.addr.ip());
        let hop = Hop {
            peer: &self.peer,
            version: request.version,
            websocket: headers::is_websocket(upgrade.as_ref()),
            client,
        };
        headers::forward(headers, hop, host);
        stamp.request(headers, client, self.peer.is_tls, uuid::Uuid::new_v4);
        upgrade
    }

    /// A server's answer, as it goes to the client.
    fn relay(
        &self,
        answer: Response<Incoming>,
        lease: Lease,
        wish: Wish,
        mut exchange: Exchange,
    ) -> Response<AnswerBody> {
        exchange.answered(answer.status());
        let (mut parts, body) = answer.into_parts();
        exchange.said(&parts.headers);
        headers::drop_hop_by_hop(&mut parts.headers, &[]);
        parts.version = Version::HTTP_11;
        self.stamp(&mut parts.headers);
        if let Some(options) = exchange.options() {
            rewrite::apply(&mut parts.headers, &options.response_headers);
        }
        let config = self.worker.config();
        let types = config.gzip.types.as_ref();
        let compress =
            types.is_some_and(|types| gzip::prepare(types, wish, parts.status, &mut parts.headers));
        let body = AnswerBody::relay(body, lease, exchange);
        Response::from_parts(parts, if compress { body.compressed() } else { body })
    }

    /// What every answer says, ours and others'.
    fn stamp(&self, headers: &mut HeaderMap) {
        self.worker.gate().policy.stamp.answer(headers, self.peer.is_tls);
    }

    fn redirect(
        &self,
        status: StatusCode,
        location: HeaderValue,
        exchange: Exchange,
    ) -> Response<AnswerBody> {
        self.worker.counters.redirected(status.as_u16());
        let body = if exchange.is_read() {
            page::redirect(status, location.to_str().unwrap_or_default())
        } else {
            String::new()
        };
        let mut answer = text(status, body.into(), exchange);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, page::HTML);
        headers.insert(header::LOCATION, location);
        self.stamp(headers);
        answer
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
        if let Some(protocol) = headers::drop_hop_by_hop(&mut parts.headers, &[]) {
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
            Refusal::Denied(denial) => denial.count(&worker.counters),
            Refusal::Upstream(_) | Refusal::Rewrite(_) => {}
            _ => worker.counters.bad_requests.add(1),
        }
        tracing::debug!(peer = %self.peer.addr, %status, why = %refusal, "request refused");
        let page =
            Some(worker.no_route()).filter(|page| matches!(refusal, Refusal::NoRoute) && !page.is_empty());
        let body = page
            .as_ref()
            .map_or_else(|| refusal.text(), |page| Bytes::from(page.to_string()));
        let mut answer = text(status, body, exchange);
        let headers = answer.headers_mut();
        self.stamp(headers);
        match refusal {
            Refusal::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Refusal::Denied(denial) => denial.head(headers),
            _ if page.is_some() => {
                headers.insert(header::CONTENT_TYPE, page::HTML);
            }
            _ => {}
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
    let options = route.targets.first().map(|target| &*target.options);
    let Some(Options {
        redirect: Some(redirect),
        ..
    }) = options
    else {
        return false;
    };
    let Some(rewritten) = options.and_then(|options| attempt::path_for(path, options).ok()) else {
        return false;
    };
    let location = redirect.location(host, &rewritten, None);
    let there = location.split_once('?').map_or(&*location, |(there, _)| there);
    let there = match there.split_once("://") {
        Some((named, rest)) if named.as_bytes() == scheme().as_bytes() => rest.strip_prefix(host),
        Some(_) => None,
        None => Some(there),
    };
    there == Some(path)
}
