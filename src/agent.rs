//! The only assembly: builds every part from the configuration, binds every port, starts nothing;
//! then runs the parts and stops them in order.
//!
//! `lictor agent`, `lictor lb` and `lictor registrator` are the same [`Agent`] with more or fewer
//! parts, so there is one start, one stop and one set of metrics. The parts of each are chosen in
//! the files below this one.

mod alone;
mod containers;
mod home;
mod registries;
mod whole;

pub use self::containers::explain;

use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::config::settings::Settings;
use crate::feed;
use crate::feed::presence::{self, Presence};
use crate::net;
use crate::process;
use crate::reload::{self, Reload};
use crate::task::{self, Died, Task, Tasks};
use crate::telemetry::Log;

/// How long stopping may take beyond what the balancer needs to drain.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Everything built, nothing started.
pub struct Agent {
    title: String,
    /// What listens, and where: one line each.
    bound: Vec<(String, String)>,
    notes: Vec<String>,
    parts: Vec<Part>,
    /// How long the balancer may take to drain.
    drain: Box<dyn Fn() -> Duration + Send>,
}

/// What the balancer is made of.
struct Plan {
    config: lb::Config,
    inputs: lb::Inputs,
    /// Reads its configuration again.
    again: (reload::Source, Settings),
    counted: feed::metrics::Metrics,
}

/// How and where the balancer shows itself.
struct Shown {
    register: config::registry::Register,
    registry: presence::Registry,
    /// An address others reach this host at.
    host: IpAddr,
    metrics: feed::metrics::Metrics,
}

/// What is scraped, with the process's own figures in it.
fn registry(log: &Log) -> Result<Registry, BuildError> {
    let registry = Registry::new();
    log.register(&registry)
        .map_err(|error| BuildError::of("metrics of the log", &error))?;
    process::register(&registry).map_err(|error| BuildError::of("metrics of the process", &error))?;
    Ok(registry)
}

/// Starts one task.
type Part = Box<dyn FnOnce(&mut Tasks) + Send>;

/// A part that cannot be built. Nothing runs; starting again helps once the cause is gone.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct BuildError {
    /// Which part.
    part: &'static str,
    /// What it says, with the option that asked for it.
    reason: String,
}

impl BuildError {
    fn of(part: &'static str, reason: &dyn Display) -> Self {
        Self {
            part,
            reason: reason.to_string(),
        }
    }
}

impl Agent {
    fn new(title: String, notes: Vec<String>) -> Self {
        Self {
            title,
            bound: Vec::new(),
            notes,
            parts: Vec::new(),
            drain: Box::new(|| Duration::ZERO),
        }
    }

    fn bound(&mut self, what: impl Into<String>, at: impl Display) {
        self.bound.push((what.into(), at.to_string()));
    }

    fn part<F, E>(&mut self, task: Task, start: impl FnOnce(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        self.parts.push(Box::new(move |tasks| tasks.spawn(task, start)));
    }

    /// Says where containers are registered when this process is in one with its own network.
    fn note_container(&mut self, option: &str) {
        if let Some(host) = net::gateway_out_of_container() {
            self.notes.push(format!(
                "in a container with a network of its own: ports that containers publish are registered at \
                 {host}; {option} says where others reach this host"
            ));
        }
    }

    /// Adds the balancer, which every kind of agent but a lone registrator may have, and its entries in a catalog, which
    /// go before it does.
    fn add_balancer(
        &mut self,
        plan: Plan,
        shown: Option<Shown>,
        metrics: &Registry,
    ) -> Result<(), BuildError> {
        let Plan {
            config,
            inputs,
            again,
            counted,
        } = plan;
        let admin_over_tls = reload::admin_over_tls(&config);
        let (node, datacenter) = (config.node.clone(), config.datacenter.clone());
        let (ask, requests) = mpsc::channel(1);
        let inputs = lb::Inputs {
            reload: Some(ask),
            ..inputs
        };
        let balancer = config.build(inputs, metrics);
        let balancer = balancer.map_err(|error| BuildError::of("balancer", &error))?;
        self.drain = Box::new(balancer.stop_time());
        let fill_in = move |config: &mut lb::Config| {
            config.node.clone_from(&node);
            config.datacenter.clone_from(&datacenter);
        };
        let reload = Reload::new(again, balancer.reloader(), Box::new(fill_in), requests, counted);
        let reload = reload.map_err(|error| BuildError::of("signals", &error))?;
        let admin_over_tls = reload.admin_over_tls(admin_over_tls);
        self.part(Task::Reload, |stop| reload.run(stop));
        let mut admin = None;
        for lb::Bound { what, addr } in balancer.bound() {
            match what {
                "ui" => {
                    admin = Some(addr);
                    self.bound(what, addr);
                }
                proto => self.bound("proxy", format_args!("{addr} ({proto})")),
            }
        }
        match (shown, admin) {
            (Some(shown), Some(admin)) => {
                let known = presence::Balancer {
                    admin: (admin, admin_over_tls),
                    host: (shown.host, net::hostname()),
                    names: balancer.names(),
                    ready: balancer.ready(),
                };
                let presence = Presence::new(shown.register, known, shown.registry, shown.metrics);
                self.part(Task::Presence, |stop| presence.run(stop));
            }
            // It could not be checked.
            (Some(shown), None) if shown.register.enabled => {
                self.notes
                    .push("the balancer is not registered: it has no admin server (ui.addr)".to_owned());
            }
            _ => {}
        }
        self.part(Task::Balancer, |stop| balancer.run(stop));
        Ok(())
    }

    /// What this is, each bound address once, and what is switched on. For standard error: standard output is for lines
    /// that a user sends there, such as those of the access log.
    pub fn announcement(&self) -> String {
        let mut text = format!("==> {}\n", self.title);
        for (what, at) in &self.bound {
            let _ = writeln!(text, "==> {what}: {at}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "==> note: {note}");
        }
        text
    }

    /// Runs every part until `signal` resolves, then stops them in order.
    ///
    /// # Errors
    /// The task that ended although nobody had asked it to.
    pub async fn run(self, signal: impl Future<Output = &'static str>) -> Result<(), Died> {
        let mut tasks = Tasks::new();
        for part in self.parts {
            part(&mut tasks);
        }
        let outcome = tokio::select! {
            name = signal => {
                tracing::info!(signal = name, "stopping");
                Ok(())
            }
            died = tasks.death() => Err(died),
        };
        tokio::select! {
            () = tasks.stop(STOP_LIMIT + (self.drain)()) => {}
            name = task::stop_signal() => tracing::info!(signal = name, "told to stop again: ending at once"),
        }
        outcome
    }
}

/// The registrator's settings as the registrator means them. `node` starts its ids unless a host
/// name is given; `home` is where ports published on all addresses are reached.
fn registrator_config(
    config: config::Containers,
    node: String,
    home: registrator::Home,
) -> registrator::Config {
    let hostname = config.hostname.unwrap_or(node);
    let machine = config.owner.is_none().then(net::machine_id);
    let owner = config.owner.unwrap_or_else(|| hostname.clone());
    let defaults = registrator::Config::new(hostname.clone(), home, owner);
    registrator::Config {
        ip: config.ip,
        internal: config.internal,
        explicit: config.explicit,
        use_ip_from_label: config.use_ip_from_label,
        tags: config.tags,
        deregister: match config.deregister_on_success_only {
            true => registrator::Deregister::OnSuccess,
            false => registrator::Deregister::Always,
        },
        cleanup: config.cleanup,
        resync: config.resync.unwrap_or(defaults.resync),
        ttl: config.ttl,
        ttl_refresh: config.ttl_refresh,
        engine: config.docker,
        filter: config.filter,
        networks: config.networks,
        compose_names: config.compose_names,
        drain: config.drain,
        grace: config.grace,
        at_exit: config.at_exit,
        machine,
        // What entries of versions before this one are marked with.
        former_owners: vec![hostname],
        ..defaults
    }
}
