//! Traces: which requests are recorded, as what, and how the servers behind us learn of it.
//!
//! Without a collector (`tracing.otlp.endpoint`) the trace headers of a request pass through untouched. With one,
//! what a client decided about its trace stays; a request without a trace begins one at the sampler's rate. Workers
//! keep what was recorded and hand it over now and then, by a bounded queue; what finds no room is dropped and
//! counted. No request waits for a collector.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use hyper::http::HeaderMap;
use tokio::sync::mpsc;

use crate::access_log::Record;
use crate::table::Route;

mod client;
mod context;
pub(crate) mod export;

use context::Spoken;
pub use export::BadTraces;
pub(crate) use export::Exporter;

/// Requests that a worker keeps before it hands them over.
const BUFFER: usize = 64;
/// Buffers that may wait for the exporter, of all workers together.
const WAITING: usize = 256;

/// Where workers hand over what they recorded.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    rate: f64,
    queue: mpsc::Sender<Vec<Traced>>,
    lost: Arc<Lost>,
}

/// What no collector has seen.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// Spans.
    pub spans: AtomicU64,
    /// Exports that failed.
    pub exports: AtomicU64,
}

impl Traces {
    /// A queue, and its other end.
    pub(crate) fn new(rate: f64) -> (Self, mpsc::Receiver<Vec<Traced>>) {
        let (queue, recorded) = mpsc::channel(WAITING);
        let traces = Self {
            rate,
            queue,
            lost: Arc::default(),
        };
        (traces, recorded)
    }

    pub(crate) fn lost(&self) -> &Arc<Lost> {
        &self.lost
    }

    /// A worker's end.
    pub(crate) fn tracer(&self) -> Tracer {
        Tracer {
            traces: self.clone(),
            buffer: RefCell::default(),
        }
    }
}

/// The trace of one request, while it lasts.
#[derive(Debug)]
pub(crate) struct Active {
    pub trace: u128,
    /// The span that the request was sent in.
    parent: Option<u64>,
    /// Ours, as a server.
    server: u64,
    /// Ours, as a client.
    client: u64,
    spoken: Spoken,
    /// When it was sent to a target for the last time, and how often that was.
    sent: Option<SystemTime>,
    attempts: u32,
    /// Host and path of the route; empty without one.
    route: String,
}

impl Active {
    /// Tells those behind us.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        context::inject(headers, self.spoken, self.trace, self.client, self.server);
    }

    /// Its route is known.
    pub(crate) fn routed(&mut self, route: &Route) {
        self.route = format!("{}{}", route.host, route.path);
    }

    /// It is sent to a target, perhaps not for the first time.
    pub(crate) fn sent(&mut self) {
        self.sent = Some(SystemTime::now());
        self.attempts += 1;
    }
}

/// The trace that a request says it belongs to, whatever becomes of that.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<u128> {
    context::extract(headers).ids.map(|(trace, _)| trace)
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Whole.
    pub record: Record,
    /// The target broke off.
    pub broken: bool,
    /// Status of gRPC.
    pub grpc: Option<u16>,
}

/// One request, over.
#[derive(Debug)]
pub(crate) struct Traced {
    active: Active,
    ending: Ending,
}

/// What one worker recorded.
#[derive(Debug)]
pub(crate) struct Tracer {
    traces: Traces,
    buffer: RefCell<Vec<Traced>>,
}

impl Tracer {
    /// A request came in; `None`: it is not recorded.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Box<Active>> {
        let incoming = context::extract(headers);
        if !incoming.sampled.unwrap_or_else(|| dice(self.traces.rate)) {
            return None;
        }
        Some(Box::new(Active {
            trace: incoming
                .ids
                .map_or_else(|| rand::random::<u128>().max(1), |(trace, _)| trace),
            parent: incoming.ids.map(|(_, span)| span),
            server: rand::random::<u64>().max(1),
            client: rand::random::<u64>().max(1),
            spoken: incoming.spoken,
            sent: None,
            attempts: 0,
            route: String::new(),
        }))
    }

    /// It is over.
    pub(crate) fn end(&self, active: Active, ending: Ending) {
        let full = {
            let mut buffer = self.buffer.borrow_mut();
            buffer.push(Traced { active, ending });
            buffer.len() >= BUFFER
        };
        if full {
            self.flush();
        }
    }

    /// Hands over what was recorded.
    pub(crate) fn flush(&self) {
        let buffer = self.buffer.take();
        if buffer.is_empty() {
            return;
        }
        if let Err(refused) = self.traces.queue.try_send(buffer) {
            let spans: usize = refused.into_inner().iter().map(Traced::spans).sum();
            self.traces.lost.spans.fetch_add(spans as u64, Relaxed);
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// One throw: true in `rate` of all cases.
fn dice(rate: f64) -> bool {
    rate > 0.0 && (rate >= 1.0 || rand::random::<f64>() < rate)
}
