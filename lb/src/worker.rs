//! Workers: one thread and one single-threaded runtime per core. A worker owns its sockets, its connections,
//! its pool of connections to servers and its counters. Nothing on the path of a request is shared between
//! workers but the table, so no request ever waits for another core.
//!
//! Sockets are claimed when the lb is built and listen once [`Workers::run`] is called, which is after the
//! first table. A worker stops in two steps: it accepts no more, then its connections have
//! `shutdown_wait` to finish. A panic costs the connection it happened in.
//!
//! | file | |
//! | --- | --- |
//! | `worker/ports.rs` | the single owner of what listens: claims, opens, changes, closes |
//! | `worker/crew.rs` | the threads, and the orders they take |
//! | `worker/crowd.rs` | how many clients there may be, and who makes room |
//! | `worker/loops.rs` | targets that are listeners of ours |
//! | `worker/failures.rs` | what is said of targets without an answer |
//! | `worker/scrape.rs` | `proto=prometheus` |
//! | `worker/door.rs` `guests.rs` | one listener on one worker: from an accepted socket to what serves it |

mod crew;
pub(crate) mod crowd;
mod door;
mod failures;
mod guests;
pub(crate) mod loops;
mod ports;
mod scrape;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use prometheus::Registry;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, Lines};
use crate::config::Config;
use crate::current::Current;
use crate::http::budget::Budget;
use crate::metrics::{Counters, Metrics};
use crate::outlier::{Outliers, Watch};
use crate::policy::{Gate, Policy};
use crate::table::{Choice, Route, Served, Table, Target};
use crate::tcp::Spares;
use crate::tls::Stores;
use crate::trace::{Tracer, Traces};
use crate::upstream::{Limits, Upstream};

use crowd::Crowd;
pub(crate) use door::bury;
use failures::Failures;
use guests::Guests;
use loops::{Hops, Loops};
pub(crate) use ports::Workers;
pub use ports::{ListenError, ReloadError, Reloader, Unclaimable};

/// How often a worker hands over log lines and closes idle connections to servers.
const CHORES: Duration = Duration::from_millis(250);
/// How often what is counted of services that are gone is let go.
const LET_GO: Duration = Duration::from_secs(60);

/// What all workers read.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub config: Arc<Config>,
    pub table: Arc<ArcSwap<Table>>,
    pub metrics: Arc<Metrics>,
    pub access_log: Option<AccessLog>,
    pub traces: Option<Traces>,
    /// What `proto=prometheus` shows.
    pub registry: Registry,
    pub stores: Stores,
    pub outliers: Arc<Outliers>,
    pub hops: Hops,
    pub policy: Arc<Policy>,
    /// HTML for requests that no route wants; empty: none.
    pub no_route: watch::Receiver<Arc<str>>,
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    /// From 0; counters that are shared out by worker want it.
    pub number: usize,
    pub counters: Arc<Counters>,
    pub upstream: Rc<Upstream>,
    pub log: Option<Lines>,
    pub tracer: Option<Tracer>,
    /// The whole balancer stops.
    pub stop: CancellationToken,
    /// What TCP connections borrow.
    pub spares: Spares,
    pub stores: Stores,
    crowd: Rc<Crowd>,
    guests: Guests,
    pub loops: Loops,
    /// Told when there is another table.
    pub turned: Notify,
    registry: Registry,
    /// What it has seen of targets.
    pub watch: Rc<Watch>,
    outliers: Arc<Outliers>,
    pub failures: Failures,
    /// For requests that are sent again.
    pub budget: RefCell<Budget>,
    /// This worker's own copy, so that no core waits for another's reference count.
    config: RefCell<Rc<Config>>,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    /// The last of them, and this worker's own copy.
    own_table: RefCell<(Arc<Table>, Rc<Table>)>,
    metrics: Arc<Metrics>,
    gate: RefCell<Rc<Gate>>,
    no_route: watch::Receiver<Arc<str>>,
}

impl Worker {
    fn new(number: usize, shared: Shared, stop: CancellationToken) -> Self {
        let config = &shared.config;
        let watch = Rc::new(Watch::new(shared.outliers.clone()));
        let upstream = Upstream::new(Limits::of(config), shared.stores.clone(), watch.clone());
        let crowd = Rc::new(Crowd::default());
        crowd.set_most(crowd::share(config));
        let budget = Budget::new(config.retries.budget, Instant::now());
        let table = shared.table.load_full();
        Self {
            number,
            counters: shared.metrics.of_a_worker(),
            metrics: shared.metrics,
            upstream: Rc::new(upstream),
            watch,
            outliers: shared.outliers,
            failures: Failures::default(),
            budget: RefCell::new(budget),
            log: shared.access_log.map(|log| log.lines()),
            tracer: shared.traces.map(|traces| traces.tracer()),
            stop,
            spares: Spares::default(),
            stores: shared.stores,
            crowd,
            guests: Guests::default(),
            loops: Loops::new(shared.hops),
            turned: Notify::new(),
            registry: shared.registry,
            own_table: RefCell::new((table.clone(), Rc::new((*table).clone()))),
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

    /// Takes over another configuration, for what begins from now on.
    fn configure(&self, current: &Current) {
        let config = &current.config;
        self.config.replace(Rc::new((**config).clone()));
        self.upstream.configure(Limits::of(config));
        self.crowd.set_most(crowd::share(config));
        self.budget.borrow_mut().set_share(config.retries.budget);
        self.gate.replace(Rc::new(Gate::new(current.policy.clone())));
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
    pub(crate) fn table(&self) -> Rc<Table> {
        let mut table = self.table.borrow_mut();
        let (current, mut own) = (table.load(), self.own_table.borrow_mut());
        if !Arc::ptr_eq(current, &own.0) {
            *own = (current.clone(), Rc::new((**current).clone()));
        }
        own.1.clone()
    }

    /// What it has seen a target do.
    pub(crate) fn count(&self, target: &Target, served: Served) {
        let bounds = &self.counters.bounds;
        if let Some(shard) = target.stats.count(self.number, served, bounds) {
            self.metrics.services.list(&target.part.service, shard);
        }
    }

    /// The next target: not one that was tried, and one that is passed over only when nothing else is left.
    pub(crate) fn pick<'a>(
        &self,
        route: &'a Route,
        choice: Choice,
        tried: &[Arc<Target>],
    ) -> Option<&'a Arc<Target>> {
        if self.watch.is_quiet() {
            return route.pick(choice, tried);
        }
        let (number, now) = (choice.number(), Instant::now());
        let fresh = |target: &Arc<Target>| {
            !tried.iter().any(|tried| Arc::ptr_eq(tried, target))
                && self.watch.admits(&target.addr, number, now)
        };
        route
            .pick_where(choice, fresh)
            .or_else(|| route.pick(choice, tried))
    }

    async fn chores(self: Rc<Self>) {
        let mut tick = interval(CHORES);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Rc<Table>> = None;
        let mut let_go = Instant::now();
        loop {
            tick.tick().await;
            if let Some(log) = &self.log {
                log.flush();
            }
            if let Some(tracer) = &self.tracer {
                tracer.flush();
            }
            self.failures.tend(Instant::now());
            let table = self.table();
            if !last.as_ref().is_some_and(|last| Rc::ptr_eq(last, &table)) {
                last = Some(table.clone());
                self.turned.notify_waiters();
            }
            let wanted = |authority: &str| table.leads_to(authority);
            self.upstream.sweep(wanted);
            self.tend_outliers(wanted);
            // One speaks for all.
            if self.number == 0
                && let Some(count) = self.loops.look(&table, &self.config())
            {
                self.counters.own_targets.set(count as u64);
            }
            self.counters.upstream_idle.set(self.upstream.idle() as u64);
            // One speaks for all.
            if self.number == 0 && let_go.elapsed() >= LET_GO {
                let_go = Instant::now();
                self.tend_services(&table, let_go);
            }
        }
    }
}

impl Worker {
    fn tend_services(&self, table: &Table, now: Instant) {
        let targets = || table.routes().flat_map(|route| &route.targets);
        let in_table = || targets().map(|target| &*target.part.service).collect();
        self.metrics.services.tend(in_table, now);
    }

    fn tend_outliers(&self, wanted: impl Fn(&str) -> bool) {
        let now = Instant::now();
        self.watch.forget(&wanted);
        self.counters.ejections.add(self.watch.take_ejections());
        self.budget.borrow_mut().turn(now);
        // One speaks for all.
        if self.number == 0 {
            self.outliers.tend(&self.config().outliers, wanted, now);
            self.counters.ejected.set(self.outliers.ejected(now) as u64);
        }
    }
}

#[cfg(test)]
mod tests;
