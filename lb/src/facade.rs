//! The balancer as its owner sees it: built whole, then run until told to stop.
//!
//! Building claims every port and starts nothing. Running lets the router make the first table, and only
//! then do the workers listen. Stopping goes the other way: readiness is withdrawn, a pause lets those
//! who watch it look elsewhere, workers finish their requests, then router and admin end.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, View};
use crate::metrics::Certificates;
use crate::outlier::Outliers;
use crate::policy::{BadPolicy, Policy};
use crate::router::Router;
use crate::tls::{Acceptor, Alpn, Stores, TlsError};
use crate::told::{BeginError, Telling, Untellable};
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
    /// The router or the admin server has died of a fault of ours.
    #[error("a task of the balancer: {0}")]
    Task(JoinError),
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
    /// What it shakes hands with, where it speaks TLS.
    admin_tls: Option<Acceptor>,
    router: Router,
    stores: Stores,
    ready: watch::Sender<bool>,
    policy: Arc<Policy>,
}

impl Config {
    /// Claims every port and starts nothing.
    pub fn build(self, inputs: Inputs, registry: &Registry) -> Result<Lb, BuildError> {
        let config = Arc::new(self);
        let telling = Telling::of(&config)?;
        let policy = Arc::new(Policy::new(&config)?);
        let (ready, _) = watch::channel(false);
        let router = Router::new(config.clone(), ready.clone(), registry)?;
        let stores = Stores::build(&config.certs, inputs.kv.as_ref(), router.live())?;
        registry.register(Box::new(Certificates::new(stores.clone())?))?;
        let workers = Workers::claim(&config, &stores)?;
        let admin_tls = config.ui.as_ref().and_then(|ui| ui.listener.tls.as_ref());
        let admin_tls = admin_tls
            .map(|tls| stores.acceptor(tls, Alpn::Http1))
            .transpose()?;
        let bind = |addr| Admin::bind(addr).map_err(|source| BuildError::Admin { addr, source });
        let admin = config.ui.as_ref().map(|ui| bind(ui.listener.addr)).transpose()?;
        Ok(Lb {
            config,
            inputs,
            registry: registry.clone(),
            telling,
            workers,
            admin,
            admin_tls,
            router,
            stores,
            ready,
            policy,
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

    /// Serves until `stop`, then drains.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let live = self.router.live();
        let swapped = self.router.swapped();
        let told = self.telling.begin(&self.config, &self.registry, live.clone())?;

        // These two outlive the traffic: the table stays true while requests finish.
        let outliers = Arc::new(Outliers::new(self.config.outliers));
        let behind = CancellationToken::new();
        let _end = behind.clone().drop_guard();
        let mut tasks = JoinSet::new();
        if let Some(admin) = self.admin {
            let view = View {
                kv: self.inputs.kv,
                reload: self.inputs.reload,
                acceptor: self.admin_tls,
                stores: Some(self.stores.clone()),
                policy: Some(self.policy.clone()),
                outliers: Some(outliers.clone()),
                ..View::new(
                    self.config.clone(),
                    live.clone(),
                    self.ready.subscribe(),
                    self.registry.clone(),
                )
            };
            let run = admin.run(view, behind.clone());
            tasks.spawn(async { run.await.map_err(RunError::Admin) });
        }
        tasks.spawn(unfailing(self.stores.clone().run(behind.clone())));
        let run = self
            .router
            .run(self.inputs.instances, self.inputs.overrides, behind.clone());
        tasks.spawn(unfailing(once_known(self.inputs.known, run, behind.clone())));

        let shared = Shared {
            config: self.config.clone(),
            table: live,
            metrics: told.metrics.clone(),
            access_log: told.access_log.clone(),
            traces: told.traces.clone(),
            registry: self.registry,
            stores: self.stores,
            outliers,
            policy: self.policy,
            no_route: self.inputs.no_route,
        };
        let halt = CancellationToken::new();
        let news = (self.ready.subscribe(), swapped);
        let traffic = traffic(self.workers, shared, news, halt.clone());
        tokio::pin!(traffic);
        tokio::select! {
            ended = &mut traffic => return ended,
            Some(ended) = tasks.join_next() => {
                // Neither ends by itself unless something is wrong.
                ended.map_err(RunError::Task)??;
            }
            () = stop.cancelled() => {}
        }
        self.ready.send_replace(false);
        let ended = tokio::select! {
            ended = &mut traffic => ended,
            () = tokio::time::sleep(self.config.grace) => {
                halt.cancel();
                traffic.await
            }
        };
        told.finish().await;
        ended
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
