//! `lictor registrator`: containers to registries, and what it would make of one of them.

use std::net::SocketAddr;
use std::sync::Arc;

use registrator::registry::Registry;
use tokio::net::TcpListener;

use super::home::{self, Said};
use super::{Agent, BuildError, registrator_config, registries, registry};
use crate::cli::client::Outcome;
use crate::config::{self, Format};
use crate::http::registrator::Alone;
use crate::net;
use crate::task::Task;
use crate::telemetry::Log;

/// Nothing would be registered of the container that is explained.
const NOTHING: u8 = 3;

impl Agent {
    /// A registrator that writes to the registries its URIs name.
    ///
    /// # Errors
    /// What cannot be built, with the option that asked for it.
    pub async fn build_registrator(config: config::Registrator, log: &Log) -> Result<Self, BuildError> {
        let (http, notes, dry) = (config.http, config.notes.clone(), config.dry_run);
        let said = said(&config.registrator);
        let (wanted, written) = parts(config, said)?;
        let names: Vec<String> = written.iter().map(|registry| registry.name()).collect();
        let does = if dry {
            "writing nothing, which would go to"
        } else {
            "writing to"
        };
        let title = format!(
            "Lictor {} registrator: {does} {}",
            env!("CARGO_PKG_VERSION"),
            names.join(" and ")
        );
        let mut agent = Self::new(title, notes);
        if !said.ip {
            agent.note_container("-ip");
        }
        agent.notes.extend(said.note("-ip"));
        let registrator = wanted.build(written);
        let registrator = registrator.map_err(|error| BuildError::of("registrator", &error))?;
        agent.bound("registrator", format_args!("following {}", registrator.engine()));
        let pages = match http {
            Some(address) => Some((agent.pages(address).await?, told(&registrator, log)?)),
            None => None,
        };
        agent.part(Task::Registrator, move |stop| home::run(registrator, said, stop));
        if let Some((listener, alone)) = pages {
            agent.part(Task::Http, |stop| alone.run(listener, stop));
        }
        Ok(agent)
    }

    async fn pages(&mut self, address: SocketAddr) -> Result<TcpListener, BuildError> {
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (at, listener) = bound.map_err(|error| {
            BuildError::of(
                "http",
                &format_args!("cannot listen on {address}: {error}; asked for by -http"),
            )
        })?;
        self.bound("http", at);
        Ok(listener)
    }
}

fn told(registrator: &registrator::Registrator, log: &Log) -> Result<Alone, BuildError> {
    let alone = Alone::new(registrator, net::hostname(), registry(log)?);
    alone.map_err(|error| BuildError::of("metrics of the registrator", &error))
}

fn said(config: &config::Containers) -> Said {
    Said {
        ip: config.ip.is_some(),
        ipv6: config.ipv6,
        ..Said::default()
    }
}

/// What a registrator is made of.
fn parts(
    config: config::Registrator,
    said: Said,
) -> Result<(registrator::Config, Vec<Arc<dyn Registry>>), BuildError> {
    let mut wanted = registrator_config(config.registrator, net::hostname(), said.home());
    wanted.retry_attempts = config
        .retry_attempts
        .map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    wanted.retry_interval = config.retry_interval;
    wanted.dry_run = config.dry_run;
    let written = config.uris.iter().map(|uri| registries::open(uri, &wanted));
    let written = written.collect::<Result<_, _>>()?;
    Ok((wanted, written))
}

/// What a registrator with these settings would make of `container`. Exits with 0 if something of it would be
/// registered, 3 if nothing would, 1 if that cannot be said.
pub async fn explain(config: config::Registrator, container: &str) -> Outcome {
    let format = config.format;
    let said = said(&config.registrator);
    let account = match parts(config, said) {
        Ok((wanted, written)) => wanted
            .explain(written, container)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match account {
        Ok(account) => Outcome {
            out: match format {
                Format::Text => account.to_string(),
                Format::Json => format!("{:#}\n", account.json()),
            }
            .into_bytes(),
            code: if account.is_registered() { 0 } else { NOTHING },
            ..Outcome::default()
        },
        Err(why) => Outcome {
            err: format!("{why}\n"),
            code: 1,
            ..Outcome::default()
        },
    }
}
