//! The life of a request, on one page, whatever version its client speaks.
//!
//! hyper parses and writes; what is decided is decided here and in the files below. `h1.rs` and `h2.rs` serve
//! connections and hand each request over in the form of HTTP/1.1. A request keeps the table it was looked up in,
//! and its target, until its answer has ended.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol;
use hyper::http::request::Parts;
use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use socket2::SockRef;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::arrival::{Arrival, Stream};
use crate::config::{Config, Edge, IpNet};
use crate::policy::gzip::Wish;
use crate::policy::origin::Origin;
use crate::policy::{Applicant, Gate};
use crate::table::{Asker, Redirect, Route, Table};
use crate::tls::ACME_PATH;
use crate::upstream::{Answer, Fault, Lease, Outgoing, Plain, ServerBody};
use crate::worker::Worker;
use crate::worker::crowd::Busy;

mod attempt;
pub(crate) mod body;
pub(crate) mod budget;
mod error;
mod exchange;
mod frames;
mod framing;
mod grpc;
mod h1;
mod h2;
pub(crate) mod headers;
pub(crate) mod host;
mod leash;
pub(crate) mod lookup;
pub(crate) mod path;
pub(crate) mod patience;
mod reply;
mod sniff;
mod tally;
mod upgrade;

use attempt::Call;
use body::{AnswerBody, Clock, RequestBody};
use error::Refusal;
use exchange::Exchange;
use headers::trailers::Settled;
use headers::{Hop, Peer, Sight, Stamp, hops};
use path::Path;
use patience::{Each, Patience};
use sniff::Replayed;
use tally::Tally;
use upgrade::Tunnel;

/// Largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Most header lines of a request; as many as hyper allows by itself.
const MAX_HEADERS: usize = 100;

/// Bytes of an answer that the system takes beyond those that are on their way. Without a limit it takes megabytes, and
/// lets nothing more in until a third of them is gone: a slow client would look like one that takes nothing.
const UNSENT: u32 = 128 * 1024;

/// Time that a client has at the stop for its first request. It connected in good faith, and unlike one that has been
/// answered before it does not ask again elsewhere when its connection just ends.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// A client's connection, as far as requests care.
struct Client {
    worker: Rc<Worker>,
    arrival: Arrival,
    /// Its address.
    addr: SocketAddr,
    /// What is said of it, and by which configuration.
    peer: RefCell<(Rc<Config>, Rc<Peer>)>,
    tally: Rc<Tally>,
    /// It has asked something, and when it first does.
    asked: Cell<bool>,
    first: Notify,
    /// Limits of a request, where those of the connection do not hold.
    each: Each,
    /// Its connection can write heads of answers as they come from servers.
    plain: Cell<bool>,
}

/// What became of a request that was not refused.
enum Outcome {
    Answer(Answer, Lease, Wish),
    Redirect(StatusCode, HeaderValue),
    /// What an ACME authority looks for.
    Proof(Arc<str>),
    Switch(Response<ServerBody>, OnUpgrade),
}

/// The answer to a request, and what its connection must know of it.
struct Answered {
    response: Response<AnswerBody>,
    /// Its head, where the connection takes plain ones. Else there are none.
    plain: Option<Box<Plain>>,
    /// What the connection, or stream, becomes after it.
    tunnel: Option<Tunnel>,
    /// What follows on a connection of HTTP/1.1 cannot be trusted to be requests.
    is_last: bool,
}

impl Answered {
    fn of(response: Response<AnswerBody>) -> Self {
        Self {
            response,
            plain: None,
            tunnel: None,
            is_last: false,
        }
    }
}

/// Serves one connection until either side ends it, it idles too long, or it shall stop and its requests are
/// answered. What TLS did not agree on, the first bytes tell.
pub(crate) async fn serve(worker: Rc<Worker>, patience: Patience, stream: impl Stream, arrival: Arrival) {
    let config = worker.config();
    if let Some(tcp) = stream.tcp() {
        // Nothing is lost where it cannot be had.
        let _ = SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT);
    }
    let stopped = async {
        arrival.stop.cancelled().await;
        tokio::time::sleep(FIRST_WORD).await;
    };
    let begun = tokio::select! {
        () = stopped => None,
        begun = begin(stream, &arrival, &patience) => begun,
    };
    let Some((is_h2, stream)) = begun else { return };
    let peer = introduce(&arrival, &worker);
    let client = Rc::new(Client {
        addr: peer.addr,
        peer: RefCell::new((worker.config(), Rc::new(peer))),
        tally: Rc::default(),
        asked: Cell::default(),
        first: Notify::new(),
        each: patience.each(is_h2),
        plain: Cell::new(false),
        arrival,
        worker,
    });
    if is_h2 {
        // Boxed, or each connection would be as large as one of HTTP/2.
        Box::pin(h2::serve(client, stream, patience.with_streams(&config.edge))).await;
    } else {
        h1::serve(client, stream, patience).await;
    }
}

/// What is said of a client, by the configuration of this moment.
fn introduce(arrival: &Arrival, worker: &Worker) -> Peer {
    let config = worker.config();
    // Not the peer: a PROXY header has named somebody else, whose word may count for less.
    let is_there = |network: &IpNet| network.contains(arrival.client.ip());
    let trusted = config.trusted.iter().any(is_there);
    Peer::new(arrival, trusted, &worker.gate().policy.stamp)
}

/// True: it speaks HTTP/2. `None`: it is gone, or did not say in time.
async fn begin<S: Stream>(stream: S, arrival: &Arrival, patience: &Patience) -> Option<(bool, Replayed<S>)> {
    if let Some(facts) = &arrival.tls {
        return Some((facts.h2, Replayed::none(stream)));
    }
    let (first, rest) = patience.beginning();
    timeout(first, sniff::begins(&stream)).await.ok()?.ok()?;
    timeout(rest, sniff::is_h2(stream)).await.ok()?.ok()
}

/// What a request asks for, in the form that routes and servers agree on.
struct Wanted<'a> {
    /// Canonical; see `host.rs`.
    host: String,
    path: Path<'a>,
}

impl Client {
    /// A request has come; said before anything else runs, since a connection that is asked for nothing may be
    /// given up.
    fn asks(&self) -> Busy {
        if !self.asked.replace(true) {
            self.first.notify_one();
        }
        self.arrival.seat.asks()
    }

    /// Resolves when no further request is wanted: at the stop, or once the first one has come then.
    async fn stopped(&self) {
        self.arrival.stop.cancelled().await;
        if !self.asked.get() {
            // Late or not, that was its time.
            let _ = timeout(FIRST_WORD, self.first.notified()).await;
        }
    }

    /// What is said of it, made anew where the configuration is another one.
    fn peer(&self, config: &Rc<Config>) -> Rc<Peer> {
        let mut known = self.peer.borrow_mut();
        if !Rc::ptr_eq(&known.0, config) {
            *known = (config.clone(), Rc::new(introduce(&self.arrival, &self.worker)));
        }
        known.1.clone()
    }

    /// Answers a request that looks like one of HTTP/1.1, unless it was not even `admitted`. No `body`: it has none.
    async fn answer(
        &self,
        busy: Busy,
        admitted: Result<(), Refusal>,
        mut parts: Box<Parts>,
        body: Option<Incoming>,
    ) -> Answered {
        let mut exchange = Exchange::begin(self.worker.clone(), self.addr, &parts, self.tally.clone());
        exchange.occupies(busy);
        if self.arrival.tls.is_some() {
            exchange.over_tls();
        }
        let version = parts.version;
        let outcome = match admitted {
            Ok(()) => match self.proof(&parts).await {
                Some(text) => Ok(Outcome::Proof(text)),
                None => self.forward(&mut parts, body, &mut exchange).await,
            },
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(Outcome::Answer(answer, lease, wish)) => self.relay(answer, lease, wish, exchange),
            Ok(Outcome::Redirect(status, location)) => {
                Answered::of(self.redirect(status, location, exchange))
            }
            Ok(Outcome::Proof(text)) => Answered::of(self.prove(&text, exchange)),
            Ok(Outcome::Switch(answer, client)) => switch(answer, client, version, exchange),
            Err(refusal) => Answered {
                is_last: refusal.ends_connection(),
                ..Answered::of(self.refuse(&refusal, exchange))
            },
        }
    }

    /// What an ACME authority looks for, if that is what is asked for.
    async fn proof(&self, request: &Parts) -> Option<Arc<str>> {
        let path = request.uri.path();
        if !path.starts_with(ACME_PATH) {
            return None;
        }
        let host = host_of(request).ok()?;
        self.worker.stores.challenges().http(&host, path).await
    }

    /// The life of a request: wanted, looked up, prepared, sent.
    async fn forward(
        &self,
        request: &mut Parts,
        body: Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Outcome, Refusal> {
        let host = host_of(request)?;
        exchange.host(&host);
        let sight = Sight::of(&request.headers);
        if sight.hops && hops::are_spent(&request.headers) {
            return Err(Refusal::Loop);
        }
        let uri = std::mem::take(&mut request.uri);
        let path = Path::clean(uri.path())?;
        let mut wanted = Wanted { host, path };
        let table = self.worker.table();
        let config = self.worker.config();
        let peer = self.peer(&config);
        let route = self.lookup(&table, &mut wanted, (&request.headers, &peer))?;
        let origin = Origin::of(self.addr.ip(), &config.trusted, &request.headers);
        exchange.routed(route);
        let choice = route.choice(&config.strategy, &self.asker(origin, &request.headers));
        let target = self.worker.pick(route, choice, &[]).cloned();
        let options = target.as_ref().map_or(&route.guard, |target| &target.options);
        // Here the request is known to be wanted, and by whom; nothing of it was changed or sent yet.
        let is_connect = request.extensions.get::<Protocol>().is_some();
        let gate = self.worker.gate();
        let ours = (&*peer, &gate.policy.stamp);
        let upgrade = prepare((request, sight), ours, origin, &wanted.host);
        exchange.propagate(&mut request.headers);
        exchange.headers(&request.headers);
        let wish = wish(request, &config);
        let applicant = Applicant {
            route,
            options,
            origin,
            peer: self.addr.ip(),
            method: &request.method,
            target: (wanted.path.compared(), uri.query()),
            headers: &mut request.headers,
            body: config.edge.body,
        };
        let admitted = gate.admit(applicant).await?;
        exchange.holds(admitted.in_flight);
        // Only now: who may not come in does not learn how the route is.
        let target = target.ok_or(Refusal::Unavailable)?;
        if let Some(redirect) = &target.options.redirect {
            let there = attempt::rewritten(&uri, &wanted.path.encoded, &target)?;
            return to(redirect, &wanted.host, there.path(), uri.query());
        }

        let settled = || Settled {
            policy: gate.policy.clone(),
            options: target.options.clone(),
        };
        let clock = self.clock(request, body.as_ref(), &config.edge);
        let (body, upload) = RequestBody::new(body, admitted.body, clock, settled);
        let call = Call {
            path: &wanted.path.encoded,
            uri: &uri,
            request: outgoing(request, body),
            is_upgrade: upgrade.is_some(),
            // Of older ones it may be in the request target alone, or nowhere.
            has_host: request.version > Version::HTTP_10,
            upload: upload.clone(),
            plain: self.takes_plain(&config, &gate) && !exchange.is_call(),
        };
        let (answer, lease) = attempt::send(&self.worker, (route, choice, target), call, exchange).await?;
        // Here the server has begun to answer, and the client knows nothing of it yet.
        upload.answered();
        match answer {
            Answer::Read(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                // The lease ends here: this connection never goes back to the pool.
                let client = upgrade.flatten().ok_or(Refusal::Upstream(Fault::Switched))?;
                Ok(Outcome::Switch(answer, client))
            }
            answer if is_connect && answer.status().is_success() => Err(Refusal::Upstream(Fault::Declined)),
            answer => Ok(Outcome::Answer(answer, lease, wish)),
        }
    }

    /// May heads of answers go on as they come? Not where one may have to be changed by what it says.
    fn takes_plain(&self, config: &Config, gate: &Gate) -> bool {
        let is_tls = self.arrival.tls.is_some();
        self.plain.get() && config.gzip.types.is_none() && !gate.policy.stamp.changes_answers(is_tls)
    }

    fn asker<'a>(&self, origin: Origin, headers: &'a HeaderMap) -> Asker<'a> {
        Asker {
            worker: self.worker.number,
            client: origin.or(self.addr.ip()),
            headers: Some(headers),
            random: &rand::random::<u64>,
        }
    }

    /// For its body, where it has one. A call may be silent as long as it likes.
    fn clock(&self, request: &Parts, body: Option<&Incoming>, edge: &Edge) -> Option<Clock> {
        if body.is_none_or(Incoming::is_end_stream) || grpc::is_call(request.version, &request.headers) {
            return None;
        }
        self.each.clock(edge, Instant::now())
    }

    fn lookup<'a>(
        &self,
        table: &'a Table,
        wanted: &mut Wanted<'_>,
        (headers, peer): (&HeaderMap, &Peer),
    ) -> Result<&'a Arc<Route>, Refusal> {
        let scheme = || headers::scheme(headers, peer);
        let Wanted { host, path } = wanted;
        // By what the client asks for, whatever it is read as: that is what it would ask for again.
        let asked = path.encoded.clone();
        let accept = |route: &Route| !lookup::leads_back(route, scheme, host, &asked);
        lookup::find(table, host, path, self.arrival.tls.is_some(), accept).ok_or(Refusal::NoRoute)
    }
}

/// Makes the headers those of a request of ours, but for what depends on the target. Of a request that asks for an upgrade
/// returns the client's side of that.
fn prepare(
    (request, sight): (&mut Parts, Sight),
    (peer, stamp): (&Peer, &Stamp),
    origin: Origin,
    host: &str,
) -> Option<Option<OnUpgrade>> {
    let headers = &mut request.headers;
    let upgrade = headers::drop_hop_by_hop(headers, sight, stamp.names());
    // RFC 9110, 7.8: HTTP/1.0 has no upgrades.
    let upgrade = upgrade.filter(|_| request.version > Version::HTTP_10);
    if sight.underscores {
        headers::drop_lookalikes(headers, stamp.names());
    }
    let client = origin.or(peer.addr.ip());
    let hop = Hop {
        peer,
        version: request.version,
        websocket: headers::is_websocket(upgrade.as_ref()),
        client,
        sight,
    };
    headers::forward(headers, hop, host);
    hops::count(headers);
    stamp.request(headers, client, peer, uuid::Uuid::new_v4);
    let client = request.extensions.remove::<OnUpgrade>();
    let protocol = upgrade?;
    headers::set_upgrade(headers, protocol);
    Some(client)
}

/// What it says about compressing its answer, where any are compressed.
fn wish(request: &Parts, config: &Config) -> Wish {
    match config.gzip.types {
        Some(_) => Wish::of(&request.method, &request.headers),
        None => Wish::default(),
    }
}

/// The request as a server gets it, but for what depends on the target.
fn outgoing(request: &mut Parts, body: RequestBody) -> Outgoing {
    let mut outgoing = Box::new(Request::new(body));
    *outgoing.method_mut() = std::mem::take(&mut request.method);
    *outgoing.headers_mut() = std::mem::take(&mut request.headers);
    outgoing
}

/// The canonical host that a request is routed by.
fn host_of(request: &Parts) -> Result<String, Refusal> {
    if request.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let host = host::canonical(request)?;
    // Read even where metadata says otherwise: the server gets it.
    let host = match grpc::destination(request) {
        Some(named) => host::checked(named)?,
        None => host,
    };
    Ok(host.into_owned())
}

/// Agrees to an upgrade in the server's words; bytes flow once hyper has let go of both sides.
fn switch(
    mut answer: Response<ServerBody>,
    client: OnUpgrade,
    version: Version,
    mut exchange: Exchange,
) -> Answered {
    exchange.answered(answer.status());
    let server = hyper::upgrade::on(&mut answer);
    let (mut parts, _) = answer.into_parts();
    let sight = Sight::of(&parts.headers);
    let protocol = headers::drop_hop_by_hop(&mut parts.headers, sight, &[]);
    if version == Version::HTTP_2 {
        // RFC 8441, 5: the stream is agreed to like any other request.
        parts.status = StatusCode::OK;
        parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else if let Some(protocol) = protocol {
        headers::set_upgrade(&mut parts.headers, protocol);
    }
    let response = Response::from_parts(parts, AnswerBody::none());
    Answered {
        tunnel: Some(Tunnel {
            client,
            server,
            exchange,
        }),
        ..Answered::of(response)
    }
}

fn to(redirect: &Redirect, host: &str, path: &str, query: Option<&str>) -> Result<Outcome, Refusal> {
    let status = StatusCode::from_u16(redirect.code).unwrap_or(StatusCode::FOUND);
    let location = redirect.location(host, path, query);
    let location = HeaderValue::from_str(&location).map_err(|error| Refusal::Rewrite(error.into()))?;
    Ok(Outcome::Redirect(status, location))
}
