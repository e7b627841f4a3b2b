//! A foreign Consul as the source of routes: its catalog, and what people wrote into its key-value store.
//!
//! The first contact is waited for as fabio does, so that a wrong address is found at once; from then on nothing that
//! the server does or does not say ends this, and nothing that was known is dropped because it cannot be asked for.

use std::sync::Arc;
use std::time::Duration;

use api::blocking::{Heard, follow};
use api::client::{self, Client, ClientError, Query};
use api::tls::Tls;
use api::watch::{self, Question};
use api::wire::kv::Pair;
use catalog::{Instance, Picture};
use hyper::StatusCode;
use tokio::sync::watch as latest;
use tokio::time::{Instant, timeout, timeout_at};

use super::metrics::Metrics;
use super::snapshot::Snapshot;
use super::{Outs, could_route, tell, texts};
use crate::config::registry;

/// Services read at the same time, whatever `registry.consul.serviceMonitors` says below it: one after the other, a
/// catalog of thousands would take seconds to be known.
const FEWEST_READERS: usize = 8;

/// How long overrides are waited for where `registry.timeout` has no end.
const USUAL_PATIENCE: Duration = Duration::from_secs(10);

/// A foreign Consul.
#[derive(Clone, Debug)]
pub struct Consul {
    client: Client,
    query: Query,
    poll: Option<Duration>,
    readers: usize,
    overrides: registry::Overrides,
    tag_prefix: String,
}

impl Consul {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// Address, token or certificates that cannot be used.
    pub fn new(config: &registry::Consul, tag_prefix: &str) -> Result<Self, ClientError> {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let token = config.token.as_ref().map(|token| token.reveal().to_owned());
        let client = Client::new(&client::Config {
            token,
            namespace: Some(config.namespace.clone()),
            tls: config.tls.as_ref().map(|tls| Box::new(files(tls))),
            ..client::Config::new(format!("{scheme}://{}", config.addr))
        })?;
        let watching = watch::Config::new(client.clone());
        Ok(Self {
            query: Query {
                consistency: match config.consistency {
                    registry::Consistency::Default => client::Consistency::Default,
                    registry::Consistency::Consistent => client::Consistency::Consistent,
                    registry::Consistency::Stale => client::Consistency::Stale,
                },
                ..watching.query
            },
            poll: config.poll,
            readers: config.monitors.max(FEWEST_READERS),
            overrides: config.overrides.clone(),
            tag_prefix: tag_prefix.to_owned(),
            client,
        })
    }

    /// The client, for whoever else talks to this Consul.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name of its datacenter; asks every `retry` for `patience`, for ever where that is zero. `None`: it answers,
    /// but may not tell us.
    ///
    /// # Errors
    /// Why the last question had no answer.
    pub async fn datacenter(
        &self,
        metrics: &Metrics,
        (patience, retry): (Duration, Duration),
    ) -> Result<Option<String>, ClientError> {
        let until = Instant::now() + patience;
        let mut warned = false;
        loop {
            let answer = self.client.agent_self().await;
            if answer.is_err() {
                metrics.agent_failed();
            }
            match answer {
                Ok(agent) => return Ok(Some(agent.config.datacenter)),
                Err(ClientError::Status { code, text }) if code.is_client_error() => {
                    tracing::warn!(%code, text, "Consul does not tell its datacenter; what tags call $DC is dc1");
                    return Ok(None);
                }
                Err(trouble) => {
                    if !patience.is_zero() && Instant::now() >= until {
                        return Err(trouble);
                    }
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!(%trouble, "Consul is not there yet");
                    }
                    tokio::time::sleep(retry).await;
                }
            }
        }
    }

    /// Tells what there is to tell, for ever.
    pub async fn follow(self, outs: &Outs, metrics: &Metrics, opening: Opening<'_>) {
        let heard = latest::Sender::new(Answered::default());
        let mut pictures = outs.instances.subscribe();
        pictures.mark_unchanged();
        let catalog = self.follow_catalog(outs, metrics, &heard);
        let overrides = self.follow_key(&self.overrides.routes, metrics, "overrides", |pairs| {
            if let Ok(pairs) = pairs {
                tell(
                    &outs.overrides,
                    texts::commands(&self.overrides.routes, entries(pairs)),
                );
            }
            heard.send_modify(|heard| heard.overrides.note(pairs));
        });
        let no_route = self.follow_key(&self.overrides.no_route, metrics, "noroute", |pairs| {
            if let Ok(pairs) = pairs {
                tell(
                    &outs.no_route,
                    texts::page(&self.overrides.no_route, entries(pairs)),
                );
            }
            heard.send_modify(|heard| heard.no_route.note(pairs));
        });
        let open = async {
            opening.open(outs, metrics, (&heard, &pictures)).await;
            outs.known
                .send_if_modified(|known| !std::mem::replace(known, true));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = catalog => {}
            () = overrides => {}
            () = no_route => {}
            () = open => {}
        }
    }

    async fn follow_catalog(&self, outs: &Outs, metrics: &Metrics, heard: &latest::Sender<Answered>) {
        let config = watch::Config {
            query: self.query.clone(),
            every: self.poll,
            parallel: self.readers,
            keep: Arc::new({
                let tag_prefix = self.tag_prefix.clone();
                move |instance: &Instance| could_route(instance, &tag_prefix)
            }),
            ..watch::Config::new(self.client.clone())
        };
        let mut pictures = outs.instances.subscribe();
        pictures.mark_unchanged();
        let watching = watch::watch(config, &outs.instances, |question, trouble| {
            let trouble = trouble.map(|error| error as &dyn std::fmt::Display);
            match (question, trouble) {
                (Question::Checks, trouble) => metrics.told("checks", trouble),
                (Question::Names, trouble) => metrics.told("names", trouble),
                (Question::Service, Some(trouble)) => metrics.service_failed(trouble),
                (Question::Service, None) => {}
            }
        });
        let first = async {
            let _ = pictures.changed().await;
            heard.send_modify(|heard| heard.catalog = true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = watching => {}
            () = first => {}
        }
    }

    /// Follows the keys that begin with `path`. `take` gets them, or why they cannot be had.
    async fn follow_key(
        &self,
        path: &str,
        metrics: &Metrics,
        question: &'static str,
        take: impl Fn(Result<&[Pair], &ClientError>),
    ) {
        let client = &self.client;
        let ask = |query: Query| async move { client.kv_list(path, &query).await };
        follow(self.query.clone(), self.poll, ask, |heard| {
            match heard {
                Heard::News(answer) => {
                    metrics.told(question, None);
                    take(Ok(&answer.rows));
                }
                Heard::Same => metrics.told(question, None),
                Heard::Failed(error) => {
                    metrics.told(question, Some(&error));
                    take(Err(&error));
                }
            }
            true
        })
        .await;
    }
}

/// How the first table comes about.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Takes the place of what has not answered,
    pub spare: Option<&'a Snapshot>,
    /// after so long.
    pub spare_after: Duration,
    /// So long what people have overridden is waited for, where it cannot be read at the moment; zero: the usual time,
    /// since a store of keys that never answers must not keep all routes away.
    pub patience: Duration,
}

/// What has been heard so far.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    catalog: bool,
    overrides: Key,
    no_route: Key,
}

/// What is known of a key. What was heard once is not lost again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// No answer that says anything.
    #[default]
    Waiting,
    /// Our token may not read it.
    Refused,
    Heard,
}

impl Key {
    fn note(&mut self, answer: Result<&[Pair], &ClientError>) {
        let is_refusal = |code: &StatusCode| [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(code);
        let now = match answer {
            Ok(_) => Self::Heard,
            Err(ClientError::Status { code, .. }) if is_refusal(code) => Self::Refused,
            Err(_) => Self::Waiting,
        };
        *self = now.max(*self);
    }
}

impl Answered {
    /// Whether a first table can be made. What people have overridden is part of it, so that nothing goes where they have
    /// forbidden it; but where our token may not read that, routes go first.
    fn is_enough(&self) -> bool {
        self.catalog && self.overrides > Key::Waiting && self.no_route > Key::Waiting
    }
}

impl Opening<'_> {
    /// Returns when there is enough for a first table. `pictures` are unseen since the catalog is followed.
    async fn open(
        self,
        outs: &Outs,
        metrics: &Metrics,
        (heard, pictures): (&latest::Sender<Answered>, &latest::Receiver<Picture>),
    ) {
        let mut answered = heard.subscribe();
        let patience = match self.patience {
            Duration::ZERO => USUAL_PATIENCE,
            patience => patience,
        };
        let until = Instant::now() + patience;
        if let Some(spare) = self.spare {
            let enough = answered.wait_for(Answered::is_enough);
            let in_time = timeout(self.spare_after, enough).await.is_ok();
            if !in_time && self.stand_in(spare, outs, metrics, (heard, pictures)) {
                return;
            }
        }
        // The sender is `heard`, so that none of these can fail.
        let in_time = timeout_at(until, answered.wait_for(Answered::is_enough))
            .await
            .is_ok();
        let _ = answered.wait_for(|heard| heard.catalog).await;
        if !in_time {
            tracing::info!("the first routes are those of the catalog alone: overrides cannot be read");
        }
        let Answered {
            overrides, no_route, ..
        } = *heard.borrow();
        if let Some(spare) = self.spare
            && overrides.min(no_route) < Key::Heard
        {
            self.stand_in(spare, outs, metrics, (heard, pictures));
        }
    }

    /// Puts the snapshot in the place of what has not answered; whether there is one. All of it at one moment: what is
    /// read meanwhile must not be covered by what was.
    fn stand_in(
        self,
        spare: &Snapshot,
        outs: &Outs,
        metrics: &Metrics,
        (heard, pictures): (&latest::Sender<Answered>, &latest::Receiver<Picture>),
    ) -> bool {
        let Some(restored) = spare.read() else {
            return false;
        };
        let heard = *heard.borrow();
        // The picture itself says it: who notes that it is there may not have had its turn yet.
        let is_read = pictures.has_changed().unwrap_or(true);
        metrics.snapshot_used(match is_read {
            true => &"what people have overridden has not been read yet",
            false => &"the catalog has not been read yet",
        });
        if !is_read {
            outs.instances.send_replace(restored.instances);
        }
        if heard.overrides < Key::Heard {
            outs.overrides.send_replace(restored.overrides);
        }
        if heard.no_route < Key::Heard {
            outs.no_route.send_replace(restored.no_route);
        }
        true
    }
}

fn entries(pairs: &[Pair]) -> impl Iterator<Item = (&str, &[u8])> {
    pairs.iter().map(|pair| (&*pair.key, &*pair.value))
}

fn files(config: &registry::Tls) -> Tls {
    let (cert_file, key_file) = config.pair.clone().unzip();
    Tls {
        ca_file: config.ca_file.clone().map(Into::into),
        ca_path: config.ca_path.clone().map(Into::into),
        cert_file: cert_file.map(Into::into),
        key_file: key_file.map(Into::into),
        skip_verify: config.skip_verify,
        ..Tls::default()
    }
}

#[cfg(test)]
mod tests;
