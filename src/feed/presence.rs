//! The balancer as services of a catalog: under its own name, and under every name that routes wish for it
//! (`register=`).
//!
//! An entry is kept alive by a TTL check and checked through `/health`, so that it goes by itself when this process goes
//! without a word. What is missing is registered again, what nobody wishes for any more is deregistered, and everything
//! goes before the balancer starts to drain. Touches no entry but those whose ids it makes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::client::Client;
use catalog::check::{Definition, HttpProbe, Probe};
use catalog::{Registration, ServiceSpec, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::config::registry::Register;
use crate::local::Local;

/// Life of an entry whose balancer says nothing, and how often it says something; fabio's figures.
const TTL: Duration = Duration::from_secs(15);
const REFRESH: Duration = Duration::from_secs(10);
/// Until a critical entry is removed; the least that Consul allows.
const REMOVED_AFTER: Duration = Duration::from_secs(60);
/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time for all entries to go when the process stops.
const LEAVE: Duration = Duration::from_secs(3);

/// Where entries are made.
#[derive(Clone)]
pub enum Registry {
    /// A foreign agent.
    Foreign(Box<Client>),
    /// This one.
    Own(Local),
}

impl Registry {
    /// Ids of all services it vouches for.
    async fn ids(&self) -> Result<BTreeSet<String>, String> {
        match self {
            Self::Foreign(client) => {
                let services = client.agent_services().await.map_err(|error| error.to_string())?;
                Ok(services.into_keys().collect())
            }
            Self::Own(local) => Ok(local.services().keys().map(ToString::to_string).collect()),
        }
    }

    async fn register(&self, registration: Registration) -> Result<(), String> {
        match self {
            Self::Foreign(client) => client
                .register(&registration)
                .await
                .map_err(|error| error.to_string()),
            Self::Own(local) => {
                local.register(registration, true).await;
                Ok(())
            }
        }
    }

    async fn deregister(&self, id: &str) -> Result<(), String> {
        match self {
            Self::Foreign(client) => match client.deregister(id).await {
                Err(error) if !error.is_not_found() => Err(error.to_string()),
                _ => Ok(()),
            },
            Self::Own(local) => {
                local.deregister(id).await;
                Ok(())
            }
        }
    }

    async fn refresh(&self, check: &str) -> Result<(), String> {
        match self {
            Self::Foreign(client) => {
                let told = client
                    .update_check(check, Status::Passing, "the balancer runs")
                    .await;
                told.map_err(|error| error.to_string())
            }
            Self::Own(local) => {
                let told = local.report(check, Status::Passing, "the balancer runs").await;
                told.map_err(|error| error.to_string())
            }
        }
    }
}

/// What every entry says.
#[derive(Clone, Debug)]
struct Card {
    address: SocketAddr,
    hostname: String,
    tags: Vec<String>,
    https: bool,
    interval: Duration,
    timeout: Duration,
    skip_verify: bool,
}

impl Card {
    fn id(&self, name: &str) -> String {
        format!("{name}-{}-{}", self.hostname, self.address.port())
    }

    fn ttl_id(&self, name: &str) -> String {
        format!("{}-ttl", self.id(name))
    }

    fn registration(&self, name: &str) -> Registration {
        let scheme = if self.https { "https" } else { "http" };
        let check = |id: String, name: &str, probe| Definition {
            id: id.into(),
            name: name.to_owned(),
            notes: String::new(),
            initial: None,
            output: String::new(),
            probe,
            success_before_passing: 0,
            failures_before_critical: 0,
            deregister_critical_after: Some(REMOVED_AFTER),
        };
        let health = HttpProbe {
            url: format!("{scheme}://{}/health", self.address),
            method: "GET".to_owned(),
            headers: Default::default(),
            body: String::new(),
            tls_skip_verify: self.skip_verify,
            interval: self.interval,
            timeout: self.timeout,
        };
        Registration {
            service: ServiceSpec {
                id: self.id(name).into(),
                name: name.into(),
                tags: self.tags.clone(),
                address: self.address.ip().to_string(),
                port: self.address.port(),
                ..ServiceSpec::default()
            },
            checks: vec![
                check(
                    self.ttl_id(name),
                    "the balancer says that it runs",
                    Probe::Ttl { ttl: TTL },
                ),
                check(
                    format!("{}-health", self.id(name)),
                    "/health",
                    Probe::Http(health),
                ),
            ],
        }
    }
}

/// Names wished for, from the routing table.
pub type Names = watch::Receiver<Arc<BTreeSet<String>>>;

/// Keeps the balancer registered.
pub struct Presence {
    registry: Registry,
    card: Card,
    /// Its own name, where it is to be registered under that.
    own: Option<String>,
    names: Names,
    https: watch::Receiver<bool>,
    ready: watch::Receiver<bool>,
    metrics: Metrics,
    /// Under these it may be registered: an attempt that failed may have been obeyed.
    known: BTreeSet<String>,
    /// What is registered under these is no longer so.
    outdated: BTreeSet<String>,
    /// Attempts that failed last time; only others are said in the log.
    failing: BTreeSet<String>,
}

/// The balancer as `Presence` has to know it.
pub struct Balancer {
    /// Where its admin server listens, and whether over TLS, which may change.
    pub admin: (SocketAddr, watch::Receiver<bool>),
    /// This host: an address others reach it at, and its name.
    pub host: (IpAddr, String),
    /// Names that routes wish for.
    pub names: Names,
    /// Whether it serves.
    pub ready: watch::Receiver<bool>,
}

impl Presence {
    /// Registers nothing yet.
    pub fn new(config: Register, balancer: Balancer, registry: Registry, metrics: Metrics) -> Self {
        let (admin, https) = balancer.admin;
        let (host, hostname) = balancer.host;
        let bound = Some(admin.ip()).filter(|ip| !ip.is_unspecified());
        let card = Card {
            address: SocketAddr::new(
                config.ip.or(bound).unwrap_or(host).to_canonical(),
                config.port.unwrap_or(admin.port()),
            ),
            hostname,
            tags: config.tags,
            https: *https.borrow(),
            interval: config.interval,
            timeout: config.timeout,
            skip_verify: config.skip_verify,
        };
        Self {
            registry,
            card,
            own: config.enabled.then_some(config.name),
            names: balancer.names,
            https,
            ready: balancer.ready,
            metrics,
            known: BTreeSet::new(),
            outdated: BTreeSet::new(),
            failing: BTreeSet::new(),
        }
    }

    /// Keeps the entries from the first table on until `stop`, then removes them.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let serving = tokio::select! {
            ready = self.ready.wait_for(|ready| *ready) => ready.is_ok(),
            () = stop.cancelled() => false,
        };
        let (mut watch_names, mut watch_scheme) = (true, true);
        while serving && !stop.is_cancelled() {
            let wanted = self.wanted();
            let pause = tokio::select! {
                whole = self.tend(&wanted) => if whole { REFRESH } else { RETRY },
                () = stop.cancelled() => break,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = self.names.changed(), if watch_names => watch_names = changed.is_ok(),
                changed = self.https.changed(), if watch_scheme => watch_scheme = changed.is_ok(),
                () = stop.cancelled() => break,
            }
        }
        let leaving = std::mem::take(&mut self.known);
        let leave = async {
            for name in &leaving {
                self.drop_entry(name).await;
            }
        };
        if tokio::time::timeout(LEAVE, leave).await.is_err() {
            self.metrics
                .registration_failed("", "the catalog did not let the balancer go in time", true);
        }
        Ok(())
    }

    fn wanted(&mut self) -> BTreeSet<String> {
        let https = *self.https.borrow_and_update();
        if std::mem::replace(&mut self.card.https, https) != https {
            self.outdated.clone_from(&self.known);
        }
        let aliases = self.names.borrow_and_update().clone();
        aliases.iter().cloned().chain(self.own.clone()).collect()
    }

    /// Brings the entries in line with what is wanted. Whether all of it worked.
    async fn tend(&mut self, wanted: &BTreeSet<String>) -> bool {
        let there = match self.registry.ids().await {
            Ok(ids) => ids,
            Err(error) => {
                self.failed("", &error);
                return false;
            }
        };
        self.failing.remove("");
        let mut whole = true;
        for name in wanted {
            whole &= self.keep_entry(name, &there).await;
        }
        let unwanted: Vec<_> = self.known.difference(wanted).cloned().collect();
        for name in unwanted {
            let gone = self.drop_entry(&name).await;
            if gone {
                self.known.remove(&name);
            }
            whole &= gone;
        }
        whole
    }

    async fn keep_entry(&mut self, name: &str, there: &BTreeSet<String>) -> bool {
        // What a process before us left under our id says where that one was.
        let ours =
            self.known.contains(name) && !self.outdated.contains(name) && there.contains(&self.card.id(name));
        let mut outcome = Ok(());
        if !ours {
            self.known.insert(name.to_owned());
            outcome = self.registry.register(self.card.registration(name)).await;
            if outcome.is_ok() {
                self.outdated.remove(name);
            }
        }
        if outcome.is_ok() {
            outcome = self.registry.refresh(&self.card.ttl_id(name)).await;
        }
        self.noted(name, outcome)
    }

    async fn drop_entry(&mut self, name: &str) -> bool {
        let outcome = self.registry.deregister(&self.card.id(name)).await;
        self.noted(name, outcome)
    }

    fn noted(&mut self, name: &str, outcome: Result<(), String>) -> bool {
        match outcome {
            Ok(()) => {
                self.failing.remove(name);
                true
            }
            Err(error) => {
                self.failed(name, &error);
                false
            }
        }
    }

    fn failed(&mut self, name: &str, error: &str) {
        let is_news = self.failing.insert(name.to_owned());
        self.metrics.registration_failed(name, error, is_news);
    }
}

#[cfg(test)]
mod tests;
