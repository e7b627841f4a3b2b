//! Connections to servers, of one worker: dialled, reused, given back.
//!
//! This file sends one request one way. Whether another may be tried is decided in `http/attempt.rs`, which is why a
//! failure hands the request back when none of it was sent. Connections of HTTP/1.1 carry one request at a time and
//! wait in `pool.rs` in between; those of HTTP/2 are shared in `streams.rs`. What is common in HTTP/1.1 is read and
//! written in `direct.rs`, and the rest by hyper.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::client::conn::{TrySendError, http2};
use hyper::http::{Uri, Version, header};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::config::{self, Config};
use crate::http::body::{RequestBody, Upload, Uploaded};
use crate::outlier::{Outliers, Watch};
use crate::tls::Stores;

mod answer;
mod dial;
mod direct;
mod fault;
mod pool;
mod streams;
mod way;

pub(crate) use answer::{Answer, Broken, ServerBody};
use direct::Direct;
pub(crate) use direct::Plain;
pub(crate) use fault::{Fault, Unanswered};
use pool::{Hyper, Link, Pool, Shelf};
use streams::{Stream, Streams};
pub(crate) use way::Way;

/// The head of an answer must fit.
const UPSTREAM_BUFFER: usize = 128 * 1024;
/// Most headers of an answer.
const MAX_HEADERS: usize = 256;

/// A connection used this short a time ago is hardly being closed by a server that tires of idle ones.
const YOUNG: Duration = Duration::from_secs(1);

/// Which idle connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// All: should the server just be closing it, the request can be sent again.
    Any,
    /// One that was in use a moment ago, since the request can be sent only once.
    Young,
    /// None: one of them was just found closed, so others will be.
    No,
}

/// Limits of the connections to servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For the connect.
    pub dial: Duration,
    /// From the end of the request to the head of the answer.
    pub header: Option<Duration>,
    /// An unused connection is closed after that long.
    pub idle: Duration,
    /// Unused connections kept per way.
    pub max_idle: usize,
    /// TCP's keep-alive probes are this far apart.
    pub probes: Option<Duration>,
    /// An unused connection of HTTP/2 to a target that left is closed after that long.
    pub grace: Duration,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            dial: config.dial_timeout,
            header: config.response_header_timeout,
            idle: config.idle_conn_timeout,
            max_idle: config.max_idle_per_target,
            probes: config.keep_alive,
            grace: config.grpc_shutdown,
        }
    }
}

/// Limits of one request, where its route has its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub dial: Option<Duration>,
    pub header: Option<Duration>,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub reuse: Reuse,
    pub times: Times,
    /// The head of its answer may come as it is.
    pub plain: bool,
}

/// A connection, or a stream of one, in use. Dropping it closes the connection, or resets the stream.
pub(crate) struct Lease(Held);

enum Held {
    Hyper {
        hyper: Hyper,
        home: Home,
    },
    /// The body has it.
    Direct(Home),
    Stream {
        _stream: Stream,
    },
}

/// Where a connection goes when it is not needed any more.
struct Home {
    shelf: Rc<Shelf>,
    upstream: Rc<Upstream>,
}

impl Lease {
    /// The answer's `body` has been read to its end.
    pub(crate) fn give_back(self, body: &mut ServerBody) {
        let (link, home) = match (self.0, body) {
            (Held::Hyper { hyper, home }, _) => (Link::Hyper(hyper), home),
            (Held::Direct(home), ServerBody::Direct(body)) => match body.connection() {
                Some(direct) => (Link::Direct(direct), home),
                None => return,
            },
            (Held::Direct(_) | Held::Stream { .. }, _) => return,
        };
        home.shelf.put(link, home.upstream.limits.get().max_idle);
    }
}

/// See the module.
pub(crate) struct Upstream {
    pool: Pool,
    streams: Rc<Streams>,
    limits: Cell<Limits>,
    stores: Stores,
    watch: Rc<Watch>,
    http: http1::Builder,
}

/// A request on its way: boxed, since it is handed down a few times.
pub(crate) type Outgoing = Box<Request<RequestBody>>;

type Sent = Result<(Answer, Lease), Box<Unanswered>>;

impl Upstream {
    pub(crate) fn new(limits: Limits, stores: Stores, watch: Rc<Watch>) -> Self {
        let mut http = http1::Builder::new();
        http.max_headers(MAX_HEADERS).max_buf_size(UPSTREAM_BUFFER);
        Self {
            pool: Pool::default(),
            streams: Rc::default(),
            limits: Cell::new(limits),
            stores,
            watch,
            http,
        }
    }

    /// With the same limits and certificates, connections of its own, and nobody to learn from what they meet.
    pub(crate) fn apart(&self) -> Rc<Self> {
        let nobody = Outliers::new(config::Outliers {
            failures: 0,
            ..config::Outliers::default()
        });
        let watch = Rc::new(Watch::new(Arc::new(nobody)));
        Rc::new(Self::new(self.limits.get(), self.stores.clone(), watch))
    }

    /// Takes over other limits, for what begins from now on.
    pub(crate) fn configure(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Sends `request` and waits for the head of the answer.
    pub(crate) async fn send(
        self: &Rc<Self>,
        way: &Way,
        request: Outgoing,
        upload: &Upload,
        manner: Manner,
    ) -> Sent {
        // What is rare is boxed, here and below: a future is as large as the largest that it waits for, and is copied
        // whole into whatever waits for it.
        if way.h2 {
            Box::pin(self.send_stream(way, request, upload, manner.times)).await
        } else {
            self.send_whole(way, request, upload, manner).await
        }
    }

    async fn send_whole(
        self: &Rc<Self>,
        way: &Way,
        request: Outgoing,
        upload: &Upload,
        Manner { reuse, times, plain }: Manner,
    ) -> Sent {
        let direct = way.tls.is_none() && Direct::suits(&request);
        let age = self.limits.get().idle;
        let home = Home {
            shelf: self.pool.shelf(way),
            upstream: self.clone(),
        };
        let idle = match reuse {
            Reuse::Any => home.shelf.take(age, direct),
            Reuse::Young => home.shelf.take_quiet(YOUNG.min(age), direct),
            Reuse::No => None,
        };
        let reused = idle.is_some();
        let link = match idle {
            Some(link) => Ok(link),
            None if direct => Box::pin(self.dial_plain(way, times)).await.map(Link::Direct),
            None => Box::pin(self.open(way, times)).await.map(Link::Hyper),
        };
        let fault = match link {
            Ok(Link::Direct(link)) if direct => {
                return self
                    .send_direct((home, link), request, upload, (reused, times, plain))
                    .await;
            }
            Ok(Link::Hyper(hyper)) => {
                let sending = self.send_hyper((way, home, hyper), request, upload, (reused, times));
                return Box::pin(sending).await;
            }
            Ok(Link::Direct(link)) => {
                let connected = dial::Connected::plain(link.into_stream());
                match Box::pin(self.speak(connected)).await {
                    Ok(hyper) => {
                        let sending = self.send_hyper((way, home, hyper), request, upload, (reused, times));
                        return Box::pin(sending).await;
                    }
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        Err(unsent(fault, request, false))
    }

    async fn send_direct(
        &self,
        (home, link): (Home, Box<Direct>),
        request: Outgoing,
        upload: &Upload,
        (reused, times, plain): (bool, Times, bool),
    ) -> Sent {
        let answered = {
            let answer = pin!(link.send(&request, plain));
            self.in_time(answer, upload, times).await
        };
        let (fault, is_sent) = match answered {
            Some(Ok(answer)) => {
                return Ok((answer, Lease(Held::Direct(home))));
            }
            Some(Err(failed)) => failed,
            None => (Fault::HeaderTimeout, true),
        };
        Err(Box::new(Unanswered {
            fault,
            request: Some(request),
            sent: is_sent,
            reused,
        }))
    }

    async fn send_hyper(
        &self,
        (way, home, mut hyper): (&Way, Home, Hyper),
        request: Outgoing,
        upload: &Upload,
        (reused, times): (bool, Times),
    ) -> Sent {
        let copy = (request.body().is_empty() && way.hands_back()).then(|| without_body(&request));
        let answer = pin!(hyper.sender.try_send_request(*request));
        let answered = self.in_time(answer, upload, times).await;
        outcome(answered, Lease(Held::Hyper { hyper, home }), reused).map_err(|mut failed| {
            failed.request = failed.request.take().or(copy);
            failed
        })
    }

    async fn send_stream(
        self: &Rc<Self>,
        way: &Way,
        request: Outgoing,
        upload: &Upload,
        times: Times,
    ) -> Sent {
        let Some(request) = as_of_http_2(way, *request).map(Box::new) else {
            return Err(Box::new(Unanswered {
                fault: Fault::Host,
                request: None,
                sent: false,
                reused: false,
            }));
        };
        let mut reused = true;
        let stream = loop {
            if let Some(stream) = self.streams.take(way) {
                break stream;
            }
            reused = false;
            let (upstream, to) = (self.clone(), way.clone());
            let dial = async move { upstream.dial_way(&to, times).await };
            let limit = times.dial.unwrap_or(self.limits.get().dial);
            if let Err(fault) = self.streams.opened(way, limit, dial).await {
                return Err(unsent(fault, request, false));
            }
        };
        let mut sender: http2::SendRequest<RequestBody> = stream.sender();
        let answer = pin!(sender.try_send_request(*request));
        let answered = self.in_time(answer, upload, times).await;
        outcome(answered, Lease(Held::Stream { _stream: stream }), reused)
    }

    /// `None` when the server took too long. Time runs only while it is the server we wait for.
    async fn in_time<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        upload: &Upload,
        times: Times,
    ) -> Option<T> {
        let Some(limit) = times.header.or(self.limits.get().header) else {
            return Some(answer.await);
        };
        loop {
            let uploading = matches!(upload.state(), Uploaded::No | Uploaded::Begun);
            match timeout(limit, answer.as_mut()).await {
                Ok(answer) => return Some(answer),
                Err(_) if uploading => {}
                Err(_) => return None,
            }
        }
    }

    async fn open(&self, way: &Way, times: Times) -> Result<Hyper, Fault> {
        self.speak(self.dial_way(way, times).await?).await
    }

    /// Lets hyper have a connection.
    async fn speak(&self, stream: dial::Connected) -> Result<Hyper, Fault> {
        let socket = stream.socket();
        let (sender, connection) = self.http.handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer is told; without anybody it is just an idle connection's end.
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "connection to server ended");
            }
        });
        Ok(Hyper { sender, socket })
    }

    async fn dial_plain(&self, way: &Way, times: Times) -> Result<Box<Direct>, Fault> {
        let limit = times.dial.unwrap_or(self.limits.get().dial);
        let dialled = timeout(limit, dial::plain(way, limit, self.limits.get().probes)).await;
        let dialled = dialled.unwrap_or(Err(Fault::DialTimeout));
        self.learn(&way.authority, dialled)
            .map(|stream| Box::new(Direct::new(stream)))
    }

    async fn dial_way(&self, way: &Way, times: Times) -> Result<dial::Connected, Fault> {
        let limit = times.dial.unwrap_or(self.limits.get().dial);
        let dialled = dial::open(way, &self.stores, limit, self.limits.get().probes).await;
        self.learn(&way.authority, dialled)
    }

    /// A plain connection to `authority`, from the `socket` for its address and with what comes with that; within
    /// `limit`, where its route has one.
    pub(crate) async fn dial<W>(
        &self,
        authority: &Arc<str>,
        limit: Option<Duration>,
        socket: impl Fn(SocketAddr) -> Result<(TcpSocket, W), Fault>,
    ) -> Result<(TcpStream, W), Fault> {
        let limits = self.limits.get();
        let limit = limit.unwrap_or(limits.dial);
        let dialled = dial::connect(authority, limit, limits.probes, socket);
        let dialled = timeout(limit, dialled).await;
        self.learn(authority, dialled.unwrap_or(Err(Fault::DialTimeout)))
    }

    /// Remembers who is not there.
    fn learn<T>(&self, authority: &Arc<str>, dialled: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &dialled
            && fault.is_absence()
        {
            self.watch.absent(authority);
        }
        dialled
    }

    /// Idle connections of HTTP/1.1, and all of HTTP/2, now.
    pub(crate) fn idle(&self) -> usize {
        self.pool.len() + self.streams.len()
    }

    /// Closes what has aged and what leads to no `wanted` authority.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool) {
        self.pool.sweep(&wanted, self.limits.get().idle);
        self.streams
            .sweep(&wanted, self.limits.get().idle, self.limits.get().grace);
    }
}

/// The request with the address where HTTP/2 has it.
fn as_of_http_2(way: &Way, mut request: Request<RequestBody>) -> Option<Request<RequestBody>> {
    let host = request.headers_mut().remove(header::HOST)?;
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = way.scheme().parse().ok();
    uri.authority = Some(host.as_bytes().try_into().ok()?);
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.version_mut() = Version::HTTP_2;
    Some(request)
}

/// A copy of a request that has no body.
pub(crate) fn without_body(request: &Request<RequestBody>) -> Outgoing {
    let mut copy = Box::new(Request::new(RequestBody::Empty));
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}

fn unsent(fault: Fault, request: Outgoing, reused: bool) -> Box<Unanswered> {
    Box::new(Unanswered {
        fault,
        request: Some(request),
        sent: false,
        reused,
    })
}

fn outcome(
    answered: Option<Result<Response<hyper::body::Incoming>, TrySendError<Request<RequestBody>>>>,
    lease: Lease,
    reused: bool,
) -> Sent {
    match answered {
        Some(Ok(answer)) => Ok((Answer::Read(answer.map(ServerBody::Hyper)), lease)),
        Some(Err(mut error)) => {
            let request = error.take_message().map(Box::new);
            Err(Box::new(Unanswered {
                fault: error.into_error().into(),
                sent: request.is_none(),
                request,
                reused,
            }))
        }
        None => Err(Box::new(Unanswered {
            fault: Fault::HeaderTimeout,
            request: None,
            sent: true,
            reused,
        })),
    }
}
