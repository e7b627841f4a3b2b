//! `lictor agent`: catalog, checks, API, DNS, registrator and balancer in one process.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::home::{self, Said};
use super::{Agent, BuildError, Plan, Shown, registrator_config, registries};
use crate::check::{Checks, Event};
use crate::config;
use crate::config::settings::Settings;
use crate::embed::{Door, Feed, Stopped};
use crate::feed::{self, presence};
use crate::identity::Identity;
use crate::local::Local;
use crate::store::Store;
use crate::sync::Sync;
use crate::task::Task;
use crate::{dns, http, leader, net, reload};

/// From one whole comparison of local table and catalog to the next (Consul's figure for small
/// clusters).
const SYNC_INTERVAL: Duration = Duration::from_secs(60);

/// Results of checks on their way to the local table; a full queue slows the checks down.
const EVENTS: usize = 1024;

/// What the parts share while they are built.
struct Core {
    identity: Arc<Identity>,
    store: Store,
    local: Local,
    metrics: Registry,
}

impl Core {
    /// What the HTTP API answers from.
    fn context(&self) -> Result<http::Context, BuildError> {
        let (store, local) = (self.store.clone(), self.local.clone());
        let context = http::Context::new(store, local, self.identity.clone(), self.metrics.clone());
        context.map_err(|error| BuildError::of("http", &error))
    }
}

/// What concerns the balancer.
struct Routing {
    lb: Option<lb::Config>,
    keys: config::registry::Overrides,
    register: config::registry::Register,
    again: (reload::Source, Settings),
}

impl Agent {
    /// Builds every part that `config` switches on. Everything that listens is bound; nothing runs.
    ///
    /// # Errors
    /// The first part that cannot be built, with the option that asked for it.
    pub async fn build(config: config::Agent, again: reload::Source) -> Result<Self, BuildError> {
        let identity = Arc::new(identity(&config));
        let mut agent = Self::new(title(&identity), config.notes.clone());
        let halt = CancellationToken::new();
        let store = Store::new(halt.clone());
        leader::enlist(&store, &identity)
            .await
            .map_err(|error| BuildError::of("catalog", &error))?;
        let metrics = super::registry(&again.log)?;
        let (events, results) = mpsc::channel(EVENTS);
        let idle = CancellationToken::new();
        let checks = Checks::new(events, idle.clone());
        checks
            .register_metrics(&metrics)
            .map_err(|error| BuildError::of("checks", &error))?;
        let programs = checks.clone();
        let local = Local::new(checks, Sync::new(identity.clone(), store.clone()));
        let core = Core {
            identity,
            store,
            local,
            metrics,
        };

        let listeners = agent.http(&config).await?;
        let mut context = core.context()?;
        let dns = agent.dns(&config, &core).await?;
        let containers = marked(config.registrator, config.node_id);
        let registrator = agent.registrator(containers, config.advertise, &core)?;
        let (mouth, stopped) = faces(registrator.as_ref().map(|(registrator, _)| registrator));
        context.registrator = mouth;
        let routing = Routing {
            lb: config.lb,
            keys: config.overrides,
            register: config.register,
            again: (again, config.settings),
        };
        agent.balancer(routing, &core, stopped)?;

        if let Some((registrator, said)) = registrator {
            programs.run_programs(registrator.inside());
            agent.part(Task::Registrator, move |stop| home::run(registrator, said, stop));
        }
        let Core {
            identity,
            store,
            local,
            ..
        } = core;
        agent.part(Task::Checks, {
            let local = local.clone();
            |stop| take_results(results, local, stop, idle)
        });
        agent.part(Task::Sync, |stop| sync_forever(local, stop));
        agent.part(Task::Leader, |stop| leader::run(store, identity, stop));
        agent.part(Task::Http, |stop| serve_http(listeners, context, stop, halt));
        if let Some(dns) = dns {
            agent.part(Task::Dns, |stop| async {
                dns.run(stop).await;
                Ok::<_, Infallible>(())
            });
        }
        Ok(agent)
    }

    async fn http(&mut self, config: &config::Agent) -> Result<Vec<TcpListener>, BuildError> {
        let mut listeners = Vec::new();
        let addresses = config
            .http_port
            .map(|port| at(&config.client, port))
            .unwrap_or_default();
        for address in addresses {
            let bound = TcpListener::bind(address)
                .await
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = bound.map_err(|error| {
                BuildError::of(
                    "http",
                    &format_args!(
                        "cannot listen on {address}: {error}; asked for by {}",
                        config.http_asked
                    ),
                )
            })?;
            self.bound("http", address);
            listeners.push(listener);
        }
        Ok(listeners)
    }

    async fn dns(&mut self, config: &config::Agent, core: &Core) -> Result<Option<dns::Dns>, BuildError> {
        let Some(port) = config.dns_port else {
            return Ok(None);
        };
        let server = dns::Config {
            addrs: at(&config.client, port),
            domain: core.identity.domain.clone(),
            datacenter: core.identity.datacenter.clone(),
            node: core.identity.node.to_string(),
            only_passing: true,
        };
        let store = core.store.clone();
        let server = server.build(Arc::new(move || store.read())).await;
        let asked = |error| format!("{error}; asked for by {}", config.dns_asked);
        let server = server.map_err(|error| BuildError::of("dns", &asked(error)))?;
        server
            .register_metrics(&core.metrics)
            .map_err(|error| BuildError::of("dns", &error))?;
        for address in server.bound() {
            self.bound("dns", address);
        }
        Ok(Some(server))
    }

    fn registrator(
        &mut self,
        config: Option<config::Containers>,
        advertise: Option<IpAddr>,
        core: &Core,
    ) -> Result<Option<(registrator::Registrator, Said)>, BuildError> {
        let Some(config) = config else { return Ok(None) };
        // With `-dev` the node itself is only known on loopback, but its containers are not.
        let told = advertise.filter(|address| !address.is_loopback());
        if told.is_none() && config.ip.is_none() {
            self.note_container("-registrator.ip");
        }
        let said = Said {
            node: told,
            ipv6: config.ipv6,
            ip: config.ip.is_some(),
            // A loopback address that somebody asked for, not one for want of a better.
            otherwise: advertise,
        };
        self.notes.extend(said.note("-registrator.ip"));
        let node = core.identity.node.to_string();
        let own: Arc<dyn registrator::registry::Registry> = Arc::new(Door::new(core.local.clone()));
        let mut written = vec![own];
        let also = config.also.clone();
        let config = registrator_config(config, node, said.home());
        for uri in also {
            let registry = registries::open(&uri, &config)?;
            self.bound("registrator", format_args!("writing also to {}", registry.name()));
            written.push(registry);
        }
        let registrator = config.build(written);
        let registrator = registrator.map_err(|error| BuildError::of("registrator", &error))?;
        registrator
            .register_metrics(&core.metrics)
            .map_err(|error| BuildError::of("registrator", &error))?;
        self.bound("registrator", format_args!("following {}", registrator.engine()));
        Ok(Some((registrator, said)))
    }

    fn balancer(&mut self, config: Routing, core: &Core, stopped: Stopped) -> Result<(), BuildError> {
        let Some(mut balancer) = config.lb else {
            return Ok(());
        };
        balancer.node = core.identity.node.to_string();
        let (feed, inputs) = Feed::new(
            core.store.clone(),
            stopped,
            core.identity.clone(),
            balancer.tag_prefix.clone(),
            config.keys,
        );
        let metrics = feed::metrics::Metrics::new();
        metrics
            .register(&core.metrics)
            .map_err(|error| BuildError::of("balancer", &error))?;
        let plan = Plan {
            config: balancer,
            inputs,
            again: config.again,
            counted: metrics.clone(),
        };
        let shown = Shown {
            register: config.register,
            registry: presence::Registry::Own(core.local.clone()),
            host: core.identity.advertise,
            metrics,
        };
        self.add_balancer(plan, Some(shown), &core.metrics)?;
        self.part(Task::Feed, |stop| feed.run(stop));
        Ok(())
    }
}

/// A node that was given its id marks its containers with it.
fn marked(containers: Option<config::Containers>, node: Option<uuid::Uuid>) -> Option<config::Containers> {
    let mut containers = containers?;
    containers.owner = containers.owner.or_else(|| node.map(|id| id.to_string()));
    Some(containers)
}

/// What it says of itself first.
fn title(identity: &Identity) -> String {
    format!(
        "Lictor {} agent: node '{}', datacenter '{}', one server, everything in memory",
        env!("CARGO_PKG_VERSION"),
        identity.node,
        identity.datacenter
    )
}

fn identity(config: &config::Agent) -> Identity {
    let fallback = || net::default_route().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    Identity {
        node: config.node.clone().unwrap_or_else(net::hostname).into(),
        id: config.node_id.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
        datacenter: config.datacenter.clone(),
        domain: config.domain.clone(),
        advertise: config.advertise.unwrap_or_else(fallback),
        dev: config.dev,
    }
}

fn at(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    addresses
        .iter()
        .map(|address| SocketAddr::new(*address, port))
        .collect()
}

/// What others see of the registrator. Without one nothing is known of containers at rest.
fn faces(registrator: Option<&registrator::Registrator>) -> (Option<http::registrator::Mouth>, Stopped) {
    let nothing = || watch::channel(Arc::from([])).1;
    let stopped = registrator.map_or_else(nothing, registrator::Registrator::stopped);
    (registrator.map(http::registrator::Mouth::of), stopped)
}

/// Serves every listener until `stop`. Whoever waits for a change is answered first, by `halt`, so
/// that the listeners do not wait for them.
async fn serve_http(
    listeners: Vec<TcpListener>,
    context: http::Context,
    stop: CancellationToken,
    halt: CancellationToken,
) -> std::io::Result<()> {
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn(http::run(listener, context.clone(), stop.clone()));
    }
    let failed = tokio::select! {
        () = stop.cancelled() => None,
        Some(ended) = serving.join_next() => Some(ended),
    };
    halt.cancel();
    stop.cancel();
    let rest = serving.join_all().await;
    failed
        .map(|ended| ended.map_err(std::io::Error::other).flatten())
        .into_iter()
        .chain(rest)
        .collect()
}

async fn take_results(
    mut results: mpsc::Receiver<Event>,
    local: Local,
    stop: CancellationToken,
    idle: CancellationToken,
) -> Result<(), Infallible> {
    let _end_checks = idle.drop_guard();
    loop {
        let event = tokio::select! {
            event = results.recv() => event,
            () = stop.cancelled() => None,
        };
        match event {
            Some(Event::Result {
                check,
                status,
                output,
            }) => local.result(&check, status, &output).await,
            Some(Event::Overdue { check }) => local.expire(&check).await,
            None => return Ok(()),
        }
    }
}

async fn sync_forever(local: Local, stop: CancellationToken) -> Result<(), Infallible> {
    let mut turn = tokio::time::interval(SYNC_INTERVAL);
    loop {
        tokio::select! {
            _ = turn.tick() => local.sync_all().await,
            () = stop.cancelled() => return Ok(()),
        }
    }
}
