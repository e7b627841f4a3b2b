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
use catalog::Instance;
use tokio::sync::watch as latest;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::snapshot::Snapshot;
use super::{Outs, could_route, tell, texts};
use crate::config::registry;

/// Services read at the same time, whatever `registry.consul.serviceMonitors` says below it: one after the other, a
/// catalog of thousands would take seconds to be known.
const FEWEST_READERS: usize = 8;

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

    /// Tells what there is to tell, for ever. `spare` is shown in its place where the catalog has not been read within
    /// `patience`.
    pub async fn follow(
        self,
        outs: &Outs,
        metrics: &Metrics,
        (spare, patience): (Option<&Snapshot>, Duration),
    ) {
        let heard = latest::Sender::new(Answered::default());
        let catalog = self.follow_catalog(outs, metrics, &heard);
        let overrides = self.follow_key(&self.overrides.routes, metrics, "overrides", |pairs| {
            if let Some(pairs) = pairs {
                tell(
                    &outs.overrides,
                    texts::commands(&self.overrides.routes, entries(pairs)),
                );
            }
            heard.send_modify(|heard| note(&mut heard.overrides, pairs.is_some()));
        });
        let no_route = self.follow_key(&self.overrides.no_route, metrics, "noroute", |pairs| {
            if let Some(pairs) = pairs {
                tell(
                    &outs.no_route,
                    texts::page(&self.overrides.no_route, entries(pairs)),
                );
            }
            heard.send_modify(|heard| note(&mut heard.no_route, pairs.is_some()));
        });
        let open = async {
            let mut answered = heard.subscribe();
            let all = async { _ = answered.wait_for(Answered::is_enough).await };
            match spare {
                None => all.await,
                Some(spare) => tokio::select! {
                    () = all => {}
                    () = tokio::time::sleep(patience) => show(spare, outs, metrics, *heard.borrow()),
                },
            }
            let enough = async { _ = heard.subscribe().wait_for(Answered::is_enough).await };
            if !*outs.known.borrow() {
                enough.await;
            }
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

    /// Follows the keys that begin with `path`. `take` gets them, or nothing when they cannot be had.
    async fn follow_key(
        &self,
        path: &str,
        metrics: &Metrics,
        question: &'static str,
        take: impl Fn(Option<&[Pair]>),
    ) {
        let client = &self.client;
        let ask = |query: Query| async move { client.kv_list(path, &query).await };
        follow(self.query.clone(), self.poll, ask, |heard| {
            match heard {
                Heard::News(answer) => {
                    metrics.told(question, None);
                    take(Some(&answer.rows));
                }
                Heard::Same => metrics.told(question, None),
                Heard::Failed(error) => {
                    metrics.told(question, Some(&error));
                    take(None);
                }
            }
            true
        })
        .await;
    }
}

/// What has been heard so far.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    catalog: bool,
    /// `None`: asked and not answered yet; else whether there has been an answer.
    overrides: Option<bool>,
    no_route: Option<bool>,
}

/// An answer once had is not lost again.
fn note(so_far: &mut Option<bool>, answered: bool) {
    *so_far = Some(answered || *so_far == Some(true));
}

impl Answered {
    /// Whether a first table can be made. What people have overridden is part of it; but where the key-value store does
    /// not answer, say because our token may not read it, routes go first.
    fn is_enough(&self) -> bool {
        self.catalog && self.overrides.is_some() && self.no_route.is_some()
    }
}

/// Takes the place of what has not answered.
fn show(spare: &Snapshot, outs: &Outs, metrics: &Metrics, heard: Answered) {
    let Some(restored) = spare.read() else { return };
    metrics.snapshot_used(&"the catalog has not been read yet");
    if !heard.catalog {
        outs.instances.send_replace(restored.instances);
    }
    if heard.overrides != Some(true) {
        outs.overrides.send_replace(restored.overrides);
    }
    if heard.no_route != Some(true) {
        outs.no_route.send_replace(restored.no_route);
    }
    outs.known.send_replace(true);
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
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn each_question_for_the_datacenter_without_an_answer_is_counted() {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move || {
            let times = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                [
                    StatusCode::BAD_GATEWAY,
                    StatusCode::BAD_GATEWAY,
                    StatusCode::FORBIDDEN,
                ][times]
            }
        };
        let app = Router::new().route("/v1/agent/self", get(answer));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, app).await });
        let client = Client::new(&client::Config::new(format!("http://{addr}"))).unwrap();
        let consul = Consul {
            query: Query::default(),
            poll: None,
            readers: 1,
            overrides: registry::Overrides {
                routes: String::new(),
                no_route: String::new(),
            },
            tag_prefix: String::new(),
            client,
        };
        let metrics = Metrics::new();
        let patience = (Duration::from_secs(20), Duration::from_millis(1));
        assert_eq!(consul.datacenter(&metrics, patience).await.unwrap(), None);
        assert_eq!(metrics.counted("catalog_failures_total"), 3);
    }
}
