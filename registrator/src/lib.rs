//! From containers to registrations: follows a container engine and keeps a registry equal to it.
//!
//! Level-triggered: an event only says "look". One look asks the engine what is, derives what
//! should be registered (`services.rs`, pure), compares with what is (`reconcile.rs`, pure) and
//! writes the difference. A registry is whoever implements [`registry::Registry`]; there may be several,
//! and none waits for another.
//!
//! What is registered stays when a registrator stops: its users rely on that for restarts.

pub mod account;
pub mod config;
mod container;
mod docker;
mod explain;
pub mod metrics;
mod owner;
mod reconcile;
pub mod registry;
mod services;
mod template;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use catalog::Registration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

pub use crate::config::{AtExit, BuildError, Config, Deregister, Home};
pub use crate::container::{Port, Protocol};
pub use crate::docker::endpoint::EngineAddress;
pub use crate::docker::exec::{ExecError, Inside, Outcome};
pub use crate::docker::stream::Connection;
pub use crate::explain::ExplainError;
pub use crate::services::filter::{Filter, FilterError};
pub use crate::template::{Error as TemplateError, Template};

use crate::account::Report;
use crate::docker::Docker;
use crate::docker::endpoint::Endpoint;
use crate::docker::stream::Follower;
use crate::metrics::Metrics;
use crate::reconcile::engine::{Counts, Engine, Hands, patient};
use crate::reconcile::mind::Mind;
use crate::reconcile::notes::Notes;
use crate::reconcile::witness::{Ask, Witness};
use crate::registry::{Registry, Terms};

/// A registrator that is ready to run; made by [`Config::build`].
pub struct Registrator {
    config: Arc<Config>,
    endpoint: Endpoint,
    registries: Vec<Arc<dyn Registry>>,
    metrics: Metrics,
    stopped: watch::Sender<Arc<[Registration]>>,
    status: watch::Sender<Status>,
    docker: watch::Sender<Option<Docker>>,
    homes: watch::Receiver<Home>,
    questions: mpsc::Sender<Ask>,
    asks: mpsc::Receiver<Ask>,
    hands: Hands,
}

/// Asks a registrator what it thinks; a cheap handle.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Ask>);

impl Asker {
    /// All of it; `None` once the registrator has stopped. Waits until it has begun: until a registry has answered.
    pub async fn report(&self) -> Option<Report> {
        let (to, report) = oneshot::channel();
        let patiently = false;
        self.0.send(Ask { patiently, to }).await.ok()?;
        report.await.ok()
    }
}

/// What a registrator is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the container engine can be heard.
    pub engine: Connection,
    /// Containers that run.
    pub containers: usize,
    /// Services that they offer.
    pub services: usize,
}

/// Why a registrator gave up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No registry answered at the start, as often as each was to be tried.
    #[error("no contact with the registry after {attempts} attempts: {last}")]
    Registry {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt said.
        last: registry::Error,
    },
}

impl Registrator {
    pub(crate) fn new(config: Config, endpoint: Endpoint, registries: Vec<Arc<dyn Registry>>) -> Self {
        let (questions, asks) = mpsc::channel(16);
        let hands = match config.dry_run {
            true => Hands::Rehearse,
            false => Hands::Write,
        };
        Self {
            homes: watch::channel(config.home).1,
            questions,
            asks,
            hands,
            config: Arc::new(config),
            endpoint,
            registries,
            metrics: Metrics::new(),
            stopped: watch::Sender::new(Arc::from([])),
            status: watch::Sender::new(Status {
                engine: Connection::Starting,
                containers: 0,
                services: 0,
            }),
            docker: watch::Sender::new(None),
        }
    }

    /// What containers that exist but do not run would offer; port 0, critical. Never registered:
    /// a balancer answers for them that nobody is there, instead of that nobody knows them.
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<Arc<[Registration]>> {
        self.stopped.subscribe()
    }

    /// The container engine it follows, as `DOCKER_HOST` would spell it.
    #[must_use]
    pub fn engine(&self) -> String {
        self.endpoint.to_string()
    }

    /// Runs programs inside containers of that engine.
    #[must_use]
    pub fn inside(&self) -> Inside {
        Inside::new(self.docker.subscribe())
    }

    /// Tells it where others reach this host from now on; whatever that moves is registered anew.
    #[must_use]
    pub fn homes(mut self, homes: watch::Receiver<Home>) -> Self {
        self.homes = homes;
        self
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Asks it what it thinks, while it runs.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker(self.questions.clone())
    }

    /// Adds the metrics of [`metrics::METRICS`] to `registry`.
    ///
    /// # Errors
    /// They are there already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        self.metrics.register(registry)
    }

    /// Runs until `stop`. An absent engine is waited for; registrations stay when this returns.
    ///
    /// # Errors
    /// The registry could not be reached at the start, as often as configured.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            contact = self.first_contact() => contact?,
        }
        let notes = Arc::new(Notes::default());
        let (connection, connected) = watch::channel(Connection::Starting);
        let (counts, counted) = watch::channel(Counts::default());
        let follower = Follower {
            endpoint: self.endpoint.clone(),
            keeps_answers: !self.config.tags.is_plain(),
            notes: notes.clone(),
            metrics: self.metrics.clone(),
            connection,
            docker: self.docker.clone(),
        };
        // A task of its own: an engine drops events for a reader that is slow for a moment.
        let mut following = AbortOnDropHandle::new(tokio::spawn(follower.run(stop.clone())));
        let reporting = report(self.status.clone(), counted, connected.clone());
        let ended = stop.clone();
        let engine = async move {
            let engine = tokio::select! {
                () = ended.cancelled() => return,
                engine = self.into_loop(&notes, connected, counts) => engine,
            };
            engine.run(ended).await;
        };
        let mut engine = std::pin::pin!(engine);
        let followed = tokio::select! {
            () = &mut engine => following.await,
            () = reporting => following.await,
            followed = &mut following => {
                if followed.is_ok() {
                    // Told to stop; there may be something left to say.
                    engine.await;
                }
                followed
            }
        };
        // Without its ears it would go on deaf: whoever runs us is to know.
        if let Err(error) = followed
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        Ok(())
    }

    /// The loop, ready to run, once it is known whose entries are ours.
    async fn into_loop(
        self,
        notes: &Arc<Notes>,
        connection: watch::Receiver<Connection>,
        counts: watch::Sender<Counts>,
    ) -> Engine {
        let config = owner::settle(self.config, notes).await;
        let abilities: Vec<_> = self
            .registries
            .iter()
            .map(|registry| registry.abilities())
            .collect();
        let names = self.registries.iter().map(|registry| registry.name());
        let terms = Terms {
            owner: config.owner.clone(),
            former_owners: config.former_owners.clone(),
            looks_only: self.hands != Hands::Write,
        };
        self.registries.iter().for_each(|registry| registry.begin(&terms));
        Engine {
            leaves: config.at_exit,
            mind: Mind::new(config, &abilities, Instant::now()),
            witness: Witness::new(names.collect(), self.asks, &self.metrics),
            registries: self.registries,
            notes: notes.clone(),
            connection,
            metrics: self.metrics,
            stopped: self.stopped,
            homes: self.homes,
            counts,
            docker: None,
            lost_ids: BTreeSet::new(),
            hands: self.hands,
        }
    }

    /// Waits for a registry to answer for the first time, within the attempts allowed. One is enough:
    /// the others are tried on like any that is lost later.
    async fn first_contact(&self) -> Result<(), RunError> {
        let allowed = match self.config.retry_attempts {
            -1 => u32::MAX,
            further => match u32::try_from(further) {
                Ok(further) => further.saturating_add(1),
                // As its users know it: any other negative number skips the test.
                Err(_) => return Ok(()),
            },
        };
        let contacts = self
            .registries
            .iter()
            .map(|registry| Box::pin(self.contact(&**registry, allowed)));
        match futures_util::future::select_ok(contacts).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn contact(&self, registry: &dyn Registry, allowed: u32) -> Result<(), RunError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match patient(registry.ping()).await {
                Ok(()) => return Ok(()),
                Err(last) if attempts >= allowed => return Err(RunError::Registry { attempts, last }),
                Err(error) => {
                    self.metrics.failures.with_label_values(&["ping"]).inc();
                    let registry = registry.name();
                    warn!(%registry, %error, attempts, "no contact with the registry yet; trying on");
                    tokio::time::sleep(self.config.retry_interval).await;
                }
            }
        }
    }
}

/// Puts together what is known of the engine and of its containers, at each change.
async fn report(
    status: watch::Sender<Status>,
    mut counted: watch::Receiver<Counts>,
    mut connected: watch::Receiver<Connection>,
) {
    loop {
        let Counts { containers, services } = *counted.borrow_and_update();
        let engine = connected.borrow_and_update().clone();
        let fresh = Status {
            engine,
            containers,
            services,
        };
        status.send_if_modified(|before| std::mem::replace(before, fresh.clone()) != fresh);
        tokio::select! {
            Ok(()) = counted.changed() => {}
            Ok(()) = connected.changed() => {}
            else => return std::future::pending().await,
        }
    }
}
