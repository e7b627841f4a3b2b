//! Workers: one thread and one single-threaded runtime per core. A worker owns its sockets, its connections,
//! its pool of connections to servers and its counters. Nothing on the path of a request is shared between
//! workers but the table, so no request ever waits for another core.
//!
//! Sockets are claimed when the lb is built and listen once [`Workers::run`] is called, which is after the
//! first table. A worker stops in two steps: it accepts no more, then its connections have
//! `shutdown_wait` to finish. A panic costs the connection it happened in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, Lines};
use crate::arrival::Arrival;
use crate::config::{Config, Listener, Proto};
use crate::metrics::{Counters, Metrics, ServiceCounters};
use crate::policy::{Gate, Policy};
use crate::table::{Choice, Route, Table, Target};
use crate::trace::{Tracer, Traces};
use crate::upstream::{Limits, Upstream};
use crate::{http, listen, tcp};

/// How often a worker hands over log lines and closes idle connections to servers.
const CHORES: Duration = Duration::from_millis(250);

/// A listener's address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("proxy.addr: cannot listen on {addr} ({proto}): {source}", proto = proto.as_str())]
pub struct Unclaimable {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What was to be spoken there.
    pub proto: Proto,
    /// Why not.
    pub source: io::Error,
}

/// Claimed sockets, for workers that do not run yet.
#[derive(Debug)]
pub(crate) struct Workers {
    ports: Vec<Port>,
    count: usize,
}

#[derive(Debug)]
struct Port {
    /// With the address it got.
    listener: Listener,
    /// One for each worker.
    sockets: Vec<Socket>,
}

/// What all workers read.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub config: Arc<Config>,
    pub table: Arc<ArcSwap<Table>>,
    pub metrics: Arc<Metrics>,
    pub access_log: Option<AccessLog>,
    pub traces: Option<Traces>,
    pub policy: Arc<Policy>,
    /// HTML for requests that no route wants; empty: none.
    pub no_route: watch::Receiver<Arc<str>>,
}

impl Workers {
    /// Claims every port for every worker.
    pub(crate) fn claim(config: &Config) -> Result<Self, Unclaimable> {
        let count = config.workers.max(1);
        let port = |listener: &Listener| {
            let (addr, sockets) = listen::claim(listener.addr, count).map_err(|source| Unclaimable {
                addr: listener.addr,
                proto: listener.proto,
                source,
            })?;
            Ok(Port {
                listener: Listener {
                    addr,
                    ..listener.clone()
                },
                sockets,
            })
        };
        let ports = config.listeners.iter().map(port).collect::<Result<_, _>>()?;
        Ok(Self { ports, count })
    }

    /// The addresses that were claimed, in the order of the configuration.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (SocketAddr, Proto)> {
        self.ports
            .iter()
            .map(|port| (port.listener.addr, port.listener.proto))
    }

    /// Serves until `stop`, then until every connection has ended or `shutdown_wait` is over.
    pub(crate) async fn run(mut self, shared: Shared, stop: CancellationToken) -> io::Result<()> {
        let mut ends = Vec::new();
        for number in 0..self.count {
            let take = |port: &mut Port| (port.listener.clone(), port.sockets.pop());
            let ports = self.ports.iter_mut().map(take).collect::<Vec<_>>();
            let (shared, stop) = (shared.clone(), stop.clone());
            let (done, end) = oneshot::channel();
            std::thread::Builder::new()
                .name(format!("lb-worker-{number}"))
                .spawn(move || {
                    // Nobody waits any more only when the whole lb is being dropped.
                    let _ = done.send(thread(number, ports, shared, stop));
                })?;
            ends.push(end);
        }
        let mut outcome = Ok(());
        for end in ends {
            let ended = end
                .await
                .unwrap_or_else(|_| Err(io::Error::other("a worker's thread panicked")));
            if ended.is_err() {
                stop.cancel();
            }
            outcome = outcome.and(ended);
        }
        if let Some(log) = &shared.access_log {
            log.written().await;
        }
        outcome
    }
}

fn thread(
    number: usize,
    ports: Vec<(Listener, Option<Socket>)>,
    shared: Shared,
    stop: CancellationToken,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async move {
        let worker = Rc::new(Worker::new(number, shared, stop.child_token()));
        let mut listeners = JoinSet::new();
        for (listener, socket) in ports {
            let socket = socket.ok_or_else(|| io::Error::other("fewer sockets than workers"))?;
            let tcp = listen::listen(socket)?;
            listeners.spawn_local(worker.clone().accept(Rc::new(listener), tcp));
        }
        let chores = tokio::task::spawn_local(worker.clone().chores());
        while let Some(ended) = listeners.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        chores.abort();
        Ok(())
    })
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    /// From 0; counters that are shared out by worker want it.
    pub number: usize,
    pub counters: Arc<Counters>,
    pub upstream: Rc<Upstream>,
    pub log: Option<Lines>,
    pub tracer: Option<Tracer>,
    pub stop: CancellationToken,
    /// This worker's own copy, so that no core waits for another's reference count.
    config: RefCell<Rc<Config>>,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    services: RefCell<HashMap<Arc<str>, Arc<ServiceCounters>>>,
    gate: RefCell<Rc<Gate>>,
    no_route: watch::Receiver<Arc<str>>,
}

impl Worker {
    fn new(number: usize, shared: Shared, stop: CancellationToken) -> Self {
        let config = &shared.config;
        let limits = Limits {
            dial: config.dial_timeout,
            header: config.response_header_timeout,
            idle: config.idle_conn_timeout,
            max_idle: config.max_idle_per_target,
        };
        Self {
            number,
            services: RefCell::default(),
            counters: shared.metrics.of_a_worker(),
            upstream: Rc::new(Upstream::new(limits)),
            log: shared.access_log.map(|log| log.lines()),
            tracer: shared.traces.map(|traces| traces.tracer()),
            stop,
            table: RefCell::new(Cache::new(shared.table)),
            config: RefCell::new(Rc::new((*shared.config).clone())),
            gate: RefCell::new(Rc::new(Gate::new(shared.policy))),
            no_route: shared.no_route,
        }
    }

    /// The configuration of this moment. A request keeps what it began with.
    pub(crate) fn config(&self) -> Rc<Config> {
        self.config.borrow().clone()
    }

    /// What is asked of requests.
    pub(crate) fn gate(&self) -> Rc<Gate> {
        self.gate.borrow().clone()
    }

    /// The page of this moment for requests that no route wants; empty: none.
    pub(crate) fn no_route(&self) -> Arc<str> {
        self.no_route.borrow().clone()
    }

    /// The table of this moment.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.borrow_mut().load().clone()
    }

    /// What this worker counts of a service.
    pub(crate) fn service(&self, name: &Arc<str>) -> Arc<ServiceCounters> {
        let mut services = self.services.borrow_mut();
        match services.get(name) {
            Some(known) => known.clone(),
            None => services
                .entry(name.clone())
                .or_insert(self.counters.of_service(name))
                .clone(),
        }
    }

    /// The next target: not one that was tried, and one that refused lately only when nothing else is left.
    pub(crate) fn pick<'a>(
        &self,
        route: &'a Route,
        choice: Choice,
        tried: &[Arc<Target>],
    ) -> Option<&'a Arc<Target>> {
        let fresh = |target: &Arc<Target>| {
            !self.upstream.is_avoided(&target.addr) && !tried.iter().any(|tried| Arc::ptr_eq(tried, target))
        };
        route
            .pick_where(choice, fresh)
            .or_else(|| route.pick(choice, tried))
    }

    async fn accept(self: Rc<Self>, listener: Rc<Listener>, tcp: tokio::net::TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                (stream, peer) = listen::accept(&tcp) => {
                    connections.spawn_local(self.clone().connection(listener.clone(), stream, peer));
                }
                Some(ended) = connections.join_next() => bury(&self.counters, ended),
                () = self.stop.cancelled() => break,
            }
        }
        drop(tcp);
        let deadline = Instant::now() + self.config().shutdown_wait;
        while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
            bury(&self.counters, ended);
        }
        if !connections.is_empty() {
            let left = connections.len();
            tracing::info!(addr = %listener.addr, left, "connections cut at the end of proxy.shutdownwait");
        }
    }

    async fn connection(self: Rc<Self>, listener: Rc<Listener>, stream: TcpStream, peer: SocketAddr) {
        let counters = self.counters.clone();
        let _open = counters.connections.enter();
        match listener.proto {
            Proto::Http | Proto::Grpc => {
                let arrival = Arrival::plain(&stream, peer, listener.addr, self.stop.clone());
                http::serve(self, listener, stream, arrival).await;
            }
            Proto::Tcp => tcp::serve(&self, &listener, stream).await,
            // The parser refuses them yet.
            _ => {}
        }
    }

    async fn chores(self: Rc<Self>) {
        let mut tick = interval(CHORES);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Some(log) = &self.log {
                log.flush();
            }
            if let Some(tracer) = &self.tracer {
                tracer.flush();
            }
            let table = self.table();
            self.upstream.sweep(|authority| table.leads_to(authority));
            self.counters.upstream_idle.set(self.upstream.idle() as u64);
        }
    }
}

/// A panic costs the connection it happened in, and is said and counted.
pub(crate) fn bury(counters: &Counters, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        counters.panics.add(1);
        tracing::error!(%error, "a connection's task panicked; other connections are not affected");
    }
}

#[cfg(test)]
mod tests;
