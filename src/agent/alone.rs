//! `lictor lb`: the balancer beside somebody else's catalog.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use api::client::Client;

use super::{Agent, BuildError, Plan, Shown};
use crate::config;
use crate::config::registry::{Backend, NoRoute};
use crate::feed::consul::Opening;
use crate::feed::custom::Custom;
use crate::feed::file::{Files, Text};
use crate::feed::metrics::Metrics;
use crate::feed::snapshot::Snapshot;
use crate::feed::{self, Outs, presence};
use crate::net;
use crate::reload;
use crate::task::Task;

impl Agent {
    /// A balancer that learns its routes from a Consul-compatible catalog, from commands in files, or from a server.
    ///
    /// # Errors
    /// What cannot be built, with the option that asked for it; the source of routes where it is not there in time.
    pub async fn build_lb(config: config::Lb, again: reload::Source) -> Result<Self, BuildError> {
        let (registry, mut balancer) = (config.registry, config.lb);
        balancer.node = net::hostname();
        let registered = super::registry(&again.log)?;
        let metrics = Metrics::new();
        metrics
            .register(&registered)
            .map_err(|error| BuildError::of("metrics of the feed", &error))?;
        let (outs, mut inputs) = Outs::new();
        let source = Source::of(&registry, &mut balancer, outs, metrics.clone()).await?;
        let shown = source.consul.map(|client| {
            inputs.kv = Some(feed::kv::door(client.clone()));
            Shown {
                register: registry.consul.register.clone(),
                registry: presence::Registry::Foreign(Box::new(client)),
                host: net::host_address().unwrap_or(IpAddr::from([127, 0, 0, 1])),
                metrics: metrics.clone(),
            }
        });
        let (version, from) = (env!("CARGO_PKG_VERSION"), source.from);
        let mut agent = Self::new(
            format!("Lictor {version} balancer: routes from {from}"),
            config.notes,
        );
        let plan = Plan {
            config: balancer,
            inputs,
            again: (again, config.settings),
            counted: metrics,
        };
        agent.add_balancer(plan, shown, &registered)?;
        agent.part(Task::Feed, |stop| async move {
            tokio::select! {
                () = source.feed => {}
                () = stop.cancelled() => {}
            }
            Ok::<_, Infallible>(())
        });
        Ok(agent)
    }
}

/// How long a catalog that was reached may take to be read before a snapshot takes its place.
const SPARE_AFTER: Duration = Duration::from_secs(3);

/// What feeds the balancer until it is dropped.
type Feed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where routes come from.
struct Source {
    /// In words.
    from: String,
    feed: Feed,
    /// A catalog, where it is one.
    consul: Option<Client>,
}

impl Source {
    async fn of(
        registry: &config::registry::Registry,
        balancer: &mut lb::Config,
        outs: Outs,
        metrics: Metrics,
    ) -> Result<Self, BuildError> {
        let (from, feed) = match registry.backend {
            Backend::Consul => {
                let catalog = Catalog::reach(registry, balancer, &metrics).await?;
                let client = catalog.consul.client().clone();
                return Ok(Self {
                    from: client.address().to_owned(),
                    feed: catalog.follow(outs, metrics),
                    consul: Some(client),
                });
            }
            Backend::Static => {
                let text = Text::Here(registry.fixed.routes.clone());
                let files = Files::new(text, registry.fixed.no_route.clone().into());
                let feed = from_files(files, outs, metrics, registry).await?;
                ("the configuration".to_owned(), feed)
            }
            Backend::File => {
                let path = registry.file.path.clone();
                let text = Text::At(path.clone().into());
                let files = Files::new(text, registry.file.no_route.clone().into());
                (path, from_files(files, outs, metrics, registry).await?)
            }
            Backend::Custom => {
                let custom = Custom::new(&registry.custom);
                let custom = custom.map_err(|error| BuildError::of("registry.custom.host", &error))?;
                if let NoRoute::Html(page) = &registry.custom.no_route {
                    feed::tell(&outs.no_route, page.clone());
                }
                let from = custom.address().to_owned();
                (from, from_custom(custom, outs, metrics, registry))
            }
        };
        Ok(Self {
            from,
            feed,
            consul: None,
        })
    }
}

/// A foreign catalog that was reached, or a snapshot that stands in for it.
struct Catalog {
    consul: feed::consul::Consul,
    snapshot: Option<Snapshot>,
    datacenter: String,
    /// When the snapshot takes its place.
    spare_after: Duration,
    /// `registry.timeout`.
    patience: Duration,
}

impl Catalog {
    /// Waits for the catalog as `registry.timeout` says. With a snapshot it is asked once: what serves must not wait for
    /// what does not answer.
    async fn reach(
        config: &config::registry::Registry,
        balancer: &mut lb::Config,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
        let consul = feed::consul::Consul::new(&config.consul, &balancer.tag_prefix);
        let consul = consul.map_err(|error| BuildError::of("registry.consul.addr", &error))?;
        let snapshot = config.snapshot.as_deref().map(Snapshot::at);
        let spare = snapshot.as_ref().and_then(Snapshot::read);
        let patience = match spare {
            Some(_) => Duration::from_millis(1),
            None => config.timeout,
        };
        let mut spare_after = SPARE_AFTER;
        match (consul.datacenter(metrics, (patience, config.retry)).await, spare) {
            (Ok(datacenter), _) => balancer.datacenter = datacenter.unwrap_or(balancer.datacenter.clone()),
            (Err(trouble), Some(spare)) => {
                metrics.snapshot_used(&trouble);
                balancer.datacenter = spare.datacenter;
                spare_after = Duration::ZERO;
            }
            (Err(trouble), None) => {
                let waited = catalog::duration::format(config.timeout);
                let reason =
                    format_args!("no answer within {waited} (registry.timeout): {trouble}").to_string();
                return Err(BuildError::of("registry.consul.addr", &reason));
            }
        }
        Ok(Self {
            consul,
            snapshot,
            datacenter: balancer.datacenter.clone(),
            spare_after,
            patience: config.timeout,
        })
    }

    fn follow(self, outs: Outs, metrics: Metrics) -> Feed {
        Box::pin(async move {
            let keep = async {
                match &self.snapshot {
                    Some(snapshot) => snapshot.keep(&outs, &self.datacenter, &metrics).await,
                    None => std::future::pending().await,
                }
            };
            let opening = Opening {
                spare: self.snapshot.as_ref(),
                spare_after: self.spare_after,
                patience: self.patience,
            };
            tokio::select! {
                () = self.consul.follow(&outs, &metrics, opening) => {}
                () = keep => {}
            }
        })
    }
}

async fn from_files(
    mut files: Files,
    outs: Outs,
    metrics: Metrics,
    config: &config::registry::Registry,
) -> Result<Feed, BuildError> {
    let opened = files.open(&outs, (config.timeout, config.retry)).await;
    let option = match config.backend {
        Backend::Static => "registry.static",
        _ => "registry.file",
    };
    opened.map_err(|error| BuildError::of(option, &error))?;
    Ok(Box::pin(async move { files.follow(&outs, &metrics).await }))
}

fn from_custom(custom: Custom, outs: Outs, metrics: Metrics, config: &config::registry::Registry) -> Feed {
    let patience = (config.timeout, config.retry);
    Box::pin(async move { custom.follow(&outs, &metrics, patience).await })
}
