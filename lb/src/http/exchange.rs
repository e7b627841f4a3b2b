//! One request from its head to the last byte of its answer, for metrics and the access log: begun when the
//! head is read, over when the answer's body ended or was dropped. Whatever happens in between, an exchange
//! is counted exactly once, because that is done when it is dropped.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::Request;
use hyper::http::request::Parts;
use hyper::http::{HeaderMap, Method, StatusCode, Uri};

use crate::access_log::{Record, UNREAD, Upstreamed};
use crate::http::body::{Upload, Uploaded};
use crate::http::tally::{Share, Tally};
use crate::http::{attempt, grpc};
use crate::meter::Meter;
use crate::policy::limit::InFlight;
use crate::policy::page;
use crate::table::{Options, Route, Served, Target, UnderWay};
use crate::trace::{Active, Ending, trace_of};
use crate::worker::Worker;
use crate::worker::crowd::Busy;

/// Status in log and metrics of a client that left before its answer was complete.
const CLIENT_GONE: u16 = 499;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    ClientGone,
    /// In the middle of its answer.
    ServerGone,
}

/// See the module.
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    started: Instant,
    head: bool,
    read: bool,
    status: u16,
    bytes: u64,
    end: End,
    /// The route of that, when the end of the answer says whether it serves.
    judging: Option<Arc<Route>>,
    /// At the target that it was sent to last.
    under_way: Option<UnderWay>,
    upload: Option<Upload>,
    /// A gRPC call, and how it ended, once that was said.
    call: Option<Option<u16>>,
    /// Of the tunnel it became.
    tunnel: Option<Meter>,
    /// Its place among those under way on its route.
    in_flight: Option<InFlight>,
    tally: Rc<Tally>,
    /// Keeps its connection from being given up.
    busy: Option<Rc<Busy>>,
    /// The log line in the making, when there is a log or a trace.
    record: Option<Box<Record>>,
    /// When it is recorded.
    trace: Option<Box<Active>>,
}

impl Exchange {
    /// `request` is as the client sent it, `tally` its connection's.
    pub(crate) fn begin(worker: Rc<Worker>, remote: SocketAddr, request: &Parts, tally: Rc<Tally>) -> Self {
        let trace = worker
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.begin(&request.headers));
        let wanted = worker.log.is_some() || trace.is_some();
        let record = wanted.then(|| {
            Box::new(Record {
                remote,
                method: request.method.clone(),
                uri: request.uri.clone(),
                version: request.version,
                scheme: "http",
                host: String::new(),
                headers: Vec::new(),
                upstream: None,
                status: 0,
                bytes: 0,
                ended: SystemTime::UNIX_EPOCH,
                took: std::time::Duration::ZERO,
                trace: match &trace {
                    Some(trace) => Some(trace.trace),
                    None => trace_of(&request.headers),
                },
            })
        });
        let mut exchange = Self {
            worker,
            started: Instant::now(),
            head: request.method == Method::HEAD,
            read: page::redirect_has_body(&request.method),
            status: 0,
            bytes: 0,
            end: End::ClientGone,
            judging: None,
            under_way: None,
            upload: None,
            call: grpc::is_call(request.version, &request.headers).then_some(None),
            tunnel: None,
            tally,
            busy: None,
            in_flight: None,
            record,
            trace,
        };
        exchange.headers(&request.headers);
        exchange
    }

    /// Of a request that could not be read.
    pub(crate) fn unread(worker: Rc<Worker>, remote: SocketAddr, tally: Rc<Tally>) -> Self {
        let nothing = Request::builder().method(UNREAD).uri(UNREAD).body(());
        let (nothing, ()) = nothing.expect("a method and a host").into_parts();
        Self::begin(worker, remote, &nothing, tally)
    }

    /// Its connection is not idle until the client has taken what is answered.
    pub(crate) fn occupies(&mut self, busy: Busy) {
        self.busy = Some(Rc::new(busy));
    }

    /// It came over TLS.
    pub(crate) fn over_tls(&mut self) {
        if let Some(record) = &mut self.record {
            record.scheme = "https";
        }
    }

    /// The canonical host, once it is known.
    pub(crate) fn host(&mut self, host: &str) {
        if let Some(record) = &mut self.record {
            host.clone_into(&mut record.host);
        }
    }

    /// A call of gRPC.
    pub(crate) fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// Only the head of its answer is wanted.
    pub(crate) fn is_head(&self) -> bool {
        self.head
    }

    /// Whoever sent it reads what a redirect says (RFC 9110, 15.4).
    pub(crate) fn is_read(&self) -> bool {
        self.read
    }

    /// The headers that the log wants, as they are now.
    pub(crate) fn headers(&mut self, headers: &HeaderMap) {
        if let (Some(record), Some(log)) = (&mut self.record, &self.worker.log) {
            record.headers = log
                .format()
                .headers()
                .iter()
                .map(|name| headers.get(name).cloned())
                .collect();
        }
    }

    /// The options of the target that it was sent to last.
    pub(crate) fn options(&self) -> Option<&Options> {
        self.target().map(|target| &*target.options)
    }

    fn target(&self) -> Option<&Arc<Target>> {
        self.under_way.as_ref().map(UnderWay::target)
    }

    /// It has this place until it is over.
    pub(crate) fn holds(&mut self, place: Option<InFlight>) {
        self.in_flight = place;
    }

    /// It is being sent there; the last one counts.
    pub(crate) fn sent(&mut self, target: &Arc<Target>, uri: &Uri, upload: &Upload) {
        self.under_way = Some(UnderWay::at(target.clone(), self.worker.number));
        self.upload = Some(upload.clone());
        if let Some(trace) = &mut self.trace {
            trace.sent();
        }
        if let Some(record) = &mut self.record {
            record.upstream = Some(Upstreamed {
                service: target.part.service.clone(),
                scheme: if target.options.scheme.is_tls() {
                    "https"
                } else {
                    "http"
                },
                authority: target.addr.clone(),
                uri: uri.clone(),
            });
        }
    }

    /// This is its route.
    pub(crate) fn routed(&mut self, route: &Route) {
        if let Some(trace) = &mut self.trace {
            trace.routed(route);
        }
    }

    /// Its answer has begun well, and its end says whether the target serves.
    pub(crate) fn judges(&mut self, route: &Arc<Route>) {
        self.judging = Some(route.clone());
    }

    /// What its end says of the target.
    fn judge(&mut self) {
        let (Some(route), Some(target)) = (self.judging.take(), self.target()) else {
            return;
        };
        // While its body is on its way, or broke off there, the client may have brought the end about.
        let is_innocent = self
            .upload
            .as_ref()
            .is_none_or(|upload| matches!(upload.state(), Uploaded::No | Uploaded::Done));
        match self.end {
            End::Complete => self.worker.watch.succeeded(&target.addr),
            End::ServerGone if is_innocent => attempt::blame(&self.worker, &route, target),
            End::ServerGone | End::ClientGone => {}
        }
    }

    /// Tells targets which trace it belongs to.
    pub(crate) fn propagate(&self, headers: &mut HeaderMap) {
        if let Some(trace) = &self.trace {
            trace.inject(headers);
        }
    }

    /// What will wait of its answer.
    pub(crate) fn share(&self) -> Share {
        Share::of(self.tally.clone(), self.busy.clone())
    }

    /// Its answer begins.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// No route wants it.
    pub(crate) fn unrouted(&self) {
        let counters = &self.worker.counters;
        counters.not_found.add(1);
        if self.call.is_some() {
            counters.grpc.no_route.add(1);
        }
    }

    /// The head or the trailers of its answer, which may say how a gRPC call ended.
    pub(crate) fn said(&mut self, headers: &HeaderMap) {
        if let Some(status) = &mut self.call
            && let Some(said) = headers.get("grpc-status")
        {
            *status = said.to_str().ok().and_then(|said| said.parse().ok());
        }
    }

    /// It became a tunnel; from here on every end is a good one.
    pub(crate) fn carries(&mut self, meter: Meter) {
        self.tunnel = Some(meter);
        self.end = End::Complete;
    }

    /// Its answer ended after `bytes` of body.
    pub(crate) fn finish(mut self, bytes: u64, end: End) {
        self.bytes = bytes;
        self.end = end;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.judge();
        self.tally.count();
        let counters = &self.worker.counters;
        match self.end {
            End::Complete => {}
            End::ServerGone => counters.upstream_failures.add(1),
            End::ClientGone => {
                counters.client_gone.add(1);
                self.status = CLIENT_GONE;
            }
        }
        let mut uploaded = self.upload.as_ref().map_or(0, Upload::bytes);
        if let Some(tunnel) = &self.tunnel {
            (self.bytes, uploaded) = (tunnel.written(), tunnel.read());
        }
        if let Some(target) = self.target() {
            let served = Served {
                status: Some(self.status),
                took,
                rx: self.bytes,
                tx: uploaded,
            };
            self.worker.count(target, served);
        }
        let grpc = self
            .call
            .map(|said| said.unwrap_or_else(|| grpc_status(self.status)));
        if let Some(status) = grpc {
            counters.grpc_call(status, took);
        }
        let Some(mut record) = self.record.take() else {
            return;
        };
        record.status = self.status;
        record.bytes = self.bytes;
        record.ended = SystemTime::now();
        record.took = took;
        if let Some(log) = &self.worker.log {
            log.write(&record);
        }
        if let (Some(trace), Some(tracer)) = (self.trace.take(), &self.worker.tracer) {
            let ending = Ending {
                record: *record,
                broken: self.end == End::ServerGone,
                grpc,
            };
            tracer.end(*trace, ending);
        }
    }
}

/// What a client makes of an answer without a status of gRPC, by that of HTTP (gRPC's
/// `http-grpc-status-mapping`), and of having left itself.
fn grpc_status(status: u16) -> u16 {
    match status {
        CLIENT_GONE => 1,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
