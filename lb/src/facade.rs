//! The balancer as its owner sees it: built whole, then run until told to stop.
//!
//! Building claims every port and starts nothing. Running lets the router make the first table, and only
//! then do the workers listen. Stopping goes the other way: readiness is withdrawn, a pause lets those
//! who watch it look elsewhere, workers finish their requests, then router and admin end.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, View};
use crate::current::{Current, Now};
use crate::metrics::Certificates;
use crate::outlier::Outliers;
use crate::policy::BadPolicy;
use crate::router::Router;
use crate::tls::{Stores, TlsError};
use crate::told::{BeginError, Telling, Untellable};
use crate::worker::loops::Hops;
use crate::worker::{ListenError, Reloader, Shared, Workers};
use crate::{Config, Inputs};

/// A port that was claimed, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// `http`, `tcp` or `ui`.
    pub what: &'static str,
    /// Where, with the port it got.
    pub addr: SocketAddr,
}

/// Why the balancer cannot be had as configured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A listener cannot be had.
    #[error(transparent)]
    Listener(#[from] ListenError),
    /// A certificate source cannot be had.
    #[error("proxy.cs: {0}")]
    Certificates(#[from] TlsError),
    /// The admin port cannot be had.
    #[error("ui.addr: cannot listen on {addr}: {source}")]
    Admin {
        /// The address asked for.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Access log, metrics or traces cannot be had so.
    #[error(transparent)]
    Told(#[from] Untellable),
    /// What is asked of requests cannot be asked.
    #[error(transparent)]
    Policy(#[from] BadPolicy),
    /// Another balancer counts into the same registry.
    #[error("metrics of the balancer: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What ended a running balancer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker could not start or go on.
    #[error("a worker of the balancer: {0}")]
    Worker(io::Error),
    /// The admin server could not start.
    #[error("admin server of the balancer: {0}")]
    Admin(io::Error),
    /// Access log, metrics or traces could not begin.
    #[error(transparent)]
    Told(#[from] BeginError),
    /// It has died of a fault of ours.
    #[error("{0} of the balancer: {1}")]
    Panicked(&'static str, JoinError),
    /// It has ended although nobody had asked it to.
    #[error("{0} of the balancer: ended without a word")]
    Ended(&'static str),
}

/// A balancer whose ports are claimed.
#[derive(Debug)]
pub struct Lb {
    config: Arc<Config>,
    inputs: Inputs,
    registry: Registry,
    telling: Telling,
    workers: Workers,
    admin: Option<Admin>,
    router: Router,
    stores: Stores,
    ready: watch::Sender<bool>,
    /// What holds while it runs.
    now: Now,
}

impl Config {
    /// Claims every port and starts nothing.
    pub fn build(self, inputs: Inputs, registry: &Registry) -> Result<Lb, BuildError> {
        let config = Arc::new(self);
        let telling = Telling::of(&config)?;
        let current = Current::new(config.clone())?;
        let (ready, _) = watch::channel(false);
        let router = Router::new(config.clone(), ready.clone(), registry)?;
        let stores = Stores::build(&config.certs, inputs.kv.as_ref(), router.live())?;
        registry.register(Box::new(Certificates::new(stores.clone())?))?;
        let workers = Workers::claim(current.over_tls(&stores)?, &stores)?;
        let bind = |addr| Admin::bind(addr).map_err(|source| BuildError::Admin { addr, source });
        let admin = config.ui.as_ref().map(|ui| bind(ui.listener.addr)).transpose()?;
        Ok(Lb {
            config,
            inputs,
            registry: registry.clone(),
            telling,
            now: workers.now(),
            workers,
            admin,
            router,
            stores,
            ready,
        })
    }
}

impl Lb {
    /// Every port that was claimed, with its real number where any was asked for.
    #[must_use]
    pub fn bound(&self) -> Vec<Bound> {
        let traffic = self.workers.bound().map(|(addr, proto)| Bound {
            what: proto.as_str(),
            addr,
        });
        let admin = self.admin.as_ref().map(|admin| Bound {
            what: "ui",
            addr: admin.addr(),
        });
        traffic.chain(admin).collect()
    }

    /// True from the first table on, false again as soon as the balancer is told to stop.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Names that routes wish the balancer to be registered under (`register=`), as long as they are in the table.
    #[must_use]
    pub fn names(&self) -> watch::Receiver<Arc<BTreeSet<String>>> {
        self.router.names()
    }

    /// For whoever may have another configuration while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.workers.reloader()
    }

    /// How long a stop may take at most, by what holds when it is asked.
    pub fn stop_time(&self) -> impl Fn() -> Duration + Send + 'static {
        let now = self.now.clone();
        move || {
            let config = &now.borrow().config;
            config.grace + config.shutdown_wait
        }
    }

    /// Serves until `stop`, then drains.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let told = self
            .telling
            .begin(&self.config, &self.registry, self.router.live())?;
        let live = self.router.live();
        let swapped = self.router.swapped();

        // These outlive the traffic: the table stays true while requests finish.
        let outliers = Arc::new(Outliers::new(self.config.outliers));
        let end = CancellationToken::new();
        let mut behind = Behind::default();
        if let Some(admin) = self.admin {
            let view = View {
                kv: self.inputs.kv,
                reload: self.inputs.reload,
                stores: Some(self.stores.clone()),
                outliers: Some(outliers.clone()),
                ..View::at(
                    (self.now.clone(), told.metrics.apart()),
                    live.clone(),
                    self.ready.subscribe(),
                    self.registry.clone(),
                )
            };
            let run = admin.run(view, end.clone());
            behind.spawn("admin server", async { run.await.map_err(RunError::Admin) });
        }
        let run = self.stores.clone().run(end.clone());
        behind.spawn("certificate sources", unfailing(run));
        let run = self
            .router
            .run(self.inputs.instances, self.inputs.overrides, end.clone());
        let run = once_known(self.inputs.known, run, end.clone());
        behind.spawn("router", unfailing(run));

        let shared = Shared {
            policy: self.now.borrow().policy.clone(),
            config: self.config,
            table: live,
            metrics: told.metrics.clone(),
            access_log: told.access_log.clone(),
            traces: told.traces.clone(),
            registry: self.registry,
            stores: self.stores,
            outliers,
            hops: Hops::default(),
            no_route: self.inputs.no_route,
        };
        let halt = CancellationToken::new();
        let news = (self.ready.subscribe(), swapped);
        let traffic = traffic(self.workers, shared, news, halt.clone());
        let stopped = async {
            tokio::select! {
                () = stop.cancelled() => None,
                died = behind.death() => Some(died),
            }
        };
        let ended = drained(traffic, stopped, halt, (self.ready, self.now)).await;
        end.cancel();
        told.finish().await;
        behind.finish().await;
        ended
    }
}

/// Carries traffic until `stopped`, by somebody or by what died, and then until it is over.
async fn drained(
    traffic: impl Future<Output = Result<(), RunError>>,
    stopped: impl Future<Output = Option<RunError>>,
    halt: CancellationToken,
    (ready, now): (watch::Sender<bool>, Now),
) -> Result<(), RunError> {
    tokio::pin!(traffic);
    let died = tokio::select! {
        ended = &mut traffic => return ended.and(Err(RunError::Ended("workers"))),
        died = stopped => died,
    };
    ready.send_replace(false);
    let grace = match died {
        Some(_) => Duration::ZERO,
        None => now.borrow().config.grace,
    };
    let ended = tokio::select! {
        ended = &mut traffic => ended,
        () = tokio::time::sleep(grace) => {
            halt.cancel();
            traffic.await
        }
    };
    // What ended first is what matters.
    died.map_or(ended, Err)
}

/// Time that the tasks behind the traffic have to end.
const LAST: Duration = Duration::from_secs(2);

/// The tasks that serve what carries the traffic. None of them ends by itself unless something is wrong.
#[derive(Default)]
struct Behind {
    tasks: JoinSet<Result<(), RunError>>,
    names: HashMap<task::Id, &'static str>,
}

impl Behind {
    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), RunError>> + Send + 'static,
    ) {
        self.names.insert(self.tasks.spawn(task).id(), name);
    }

    /// Waits until one of them ends; says which.
    async fn death(&mut self) -> RunError {
        let name = |id| self.names.get(&id).copied().unwrap_or_default();
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, Ok(())))) => RunError::Ended(name(id)),
            Some(Ok((_, Err(error)))) => error,
            Some(Err(panic)) => RunError::Panicked(name(panic.id()), panic),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, which they were told to: an ACME source lets its lease go.
    async fn finish(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What takes longer is cut off, as the process is about to end.
        let _ = tokio::time::timeout(LAST, all).await;
    }
}

/// The router, from when its source is known. A sender that is gone leaves the source unknown for good.
async fn once_known(mut known: watch::Receiver<bool>, run: impl Future<Output = ()>, end: CancellationToken) {
    let source_known = async { known.wait_for(|known| *known).await.is_ok() };
    let go = tokio::select! {
        go = source_known => go,
        () = end.cancelled() => false,
    };
    if go {
        run.await;
    }
    end.cancelled().await;
}

async fn unfailing(task: impl Future<Output = ()>) -> Result<(), RunError> {
    task.await;
    Ok(())
}

/// Time that certificate sources have to be read once, before listeners open.
const CERTIFICATES: Duration = Duration::from_secs(5);

/// The workers, from the first table on.
async fn traffic(
    workers: Workers,
    shared: Shared,
    (mut first_table, swapped): (watch::Receiver<bool>, watch::Receiver<()>),
    halt: CancellationToken,
) -> Result<(), RunError> {
    tokio::select! {
        () = halt.cancelled() => return Ok(()),
        // The sender lives as long as the balancer runs.
        _ = first_table.wait_for(|ready| *ready) => {}
    }
    // A place that does not answer is not waited for: other listeners may do without it.
    tokio::select! {
        () = halt.cancelled() => return Ok(()),
        _ = tokio::time::timeout(CERTIFICATES, shared.stores.settled()) => {}
    }
    workers.run(shared, swapped, halt).await.map_err(RunError::Worker)
}

#[cfg(test)]
mod tests;
