//! `lictor lb` and `lictor registrator`: one part of the agent beside somebody else's catalog.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use api::client::{self, Client};
use catalog::Picture;
use prometheus::Registry;
use registrator::registry::consul::Consul;
use tokio::sync::watch;

use super::{Agent, BuildError, registrator_config};
use crate::config;
use crate::config::registry::Backend;
use crate::net;
use crate::task::Task;

impl Agent {
    /// A balancer that learns its routes from a Consul-compatible catalog.
    ///
    /// # Errors
    /// What cannot be built, with the option that asked for it.
    pub fn build_lb(config: config::Lb) -> Result<Self, BuildError> {
        let consul = config.registry.consul;
        if config.registry.backend != Backend::Consul || consul.tls.is_some() {
            let reason = "this version of lictor takes routes from a Consul without TLS only";
            return Err(BuildError::of("registry.backend", &reason));
        }
        let title = format!(
            "Lictor {} balancer: routes from {}",
            env!("CARGO_PKG_VERSION"),
            consul.addr
        );
        let mut agent = Self::new(title, config.notes);
        let client = client::Config {
            token: consul.token.map(|token| token.reveal().to_owned()),
            ..client::Config::new(consul.addr)
        };
        let client = Client::new(&client).map_err(|error| BuildError::of("registry.consul.addr", &error))?;
        let mut lb = config.lb;
        lb.node = net::hostname();
        let (out, instances) = watch::channel(Picture::new());
        agent.add_balancer(lb, instances, &Registry::new())?;
        agent.part(Task::Feed, |stop| async move {
            let watch = api::watch::watch(api::watch::Config::new(client), &out, |_, trouble| {
                if let Some(trouble) = trouble {
                    tracing::warn!(%trouble, "catalog out of reach; the last table goes on serving");
                }
            });
            tokio::select! {
                () = watch => {}
                () = stop.cancelled() => {}
            }
            Ok::<_, Infallible>(())
        });
        Ok(agent)
    }

    /// A registrator that writes to the registry its URI names.
    ///
    /// # Errors
    /// What cannot be built, with the option that asked for it.
    pub fn build_registrator(config: config::Registrator) -> Result<Self, BuildError> {
        let config::Uri::Consul(address) = config.uri;
        let consul = Consul::new(address.as_deref());
        let consul = consul.map_err(|error| BuildError::of("registry uri", &error))?;
        let title = format!(
            "Lictor {} registrator: writing to {}",
            env!("CARGO_PKG_VERSION"),
            consul.address()
        );
        let mut agent = Self::new(title, config.notes);
        if config.registrator.ip.is_none() {
            agent.note_container("-ip");
        }
        let advertise = net::host_address().unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let mut wanted = registrator_config(config.registrator, net::hostname(), advertise);
        wanted.retry_attempts = config
            .retry_attempts
            .map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
        wanted.retry_interval = config.retry_interval;
        let registrator = wanted.build(Arc::new(consul));
        let registrator = registrator.map_err(|error| BuildError::of("registrator", &error))?;
        agent.bound("registrator", format_args!("following {}", registrator.engine()));
        agent.part(Task::Registrator, |stop| registrator.run(stop));
        Ok(agent)
    }
}
