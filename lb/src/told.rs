//! All that is told of the traffic, begun together and ended together: metrics, the access log, spans. Built with the
//! rest of the configuration, so that what cannot be meant or opened is known before anything runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::Registry;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, BadFormat, Format, Sink};
use crate::config::{self, BadValue, Config, LogTarget};
use crate::metrics::{FabioScrape, Metrics, Naming, Scrape, push};
use crate::table::Table;
use crate::trace::{BadTraces, Exporter, Traces};

/// What the last words may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why nothing can be told as configured.
#[derive(Debug, thiserror::Error)]
pub enum Untellable {
    /// The pattern of the access log is none.
    #[error("log.access.format: {0}")]
    AccessLog(#[from] BadFormat),
    /// The access log cannot be written where it was asked for.
    #[error("log.access.target: {target}: {source}")]
    AccessLogTarget {
        /// Where it was to go.
        target: String,
        /// Why not.
        source: io::Error,
    },
    /// A name of metrics is no template.
    #[error(transparent)]
    Template(#[from] BadValue),
    /// Spans cannot be sent so.
    #[error(transparent)]
    Traces(#[from] BadTraces),
}

/// What was asked for, opened, and not begun.
#[derive(Debug)]
pub(crate) struct Telling {
    access_log: Option<(Format, Sink)>,
    naming: Naming,
    exporter: Option<Exporter>,
}

impl Telling {
    pub(crate) fn of(config: &Config) -> Result<Self, Untellable> {
        Ok(Self {
            access_log: config
                .access_log
                .as_ref()
                .map(|log| access_log(log, &config.node))
                .transpose()?,
            naming: Naming::of(&config.metrics)?,
            exporter: Exporter::of(&config.traces)?,
        })
    }

    /// Begins.
    ///
    /// # Errors
    /// When the writer of the access log cannot start, or somebody counts into the registry under the same names.
    pub(crate) fn begin(
        self,
        config: &Config,
        registry: &Registry,
        table: Arc<ArcSwap<Table>>,
    ) -> Result<Told, BeginError> {
        let start = |(format, sink)| AccessLog::start(format, sink);
        let access_log = self
            .access_log
            .map(start)
            .transpose()
            .map_err(BeginError::AccessLog)?;
        let (traces, recorded) = Traces::new(config.traces.rate);
        let metrics = Metrics::new(config, table, access_log.clone());
        let metrics = Arc::new(metrics.with_spans(traces.lost().clone()));
        registry.register(Box::new(Scrape(metrics.clone())))?;
        if let Some(fabio) = FabioScrape::of(config, &metrics, &self.naming)? {
            registry.register(Box::new(fabio))?;
        }
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(push::run(
            metrics.clone(),
            config.metrics.clone(),
            self.naming,
            stop.clone(),
        ));
        let lost = traces.lost().clone();
        let traces = self.exporter.map(|exporter| {
            tasks.spawn(exporter.run(recorded, lost, stop.clone()));
            traces
        });
        let to_file = |log: &config::AccessLog| matches!(log.target, LogTarget::File { .. });
        if let Some(log) = access_log
            .clone()
            .filter(|_| config.access_log.as_ref().is_some_and(to_file))
        {
            tasks.spawn(reopen_when_told(log, metrics.clone(), stop.clone()));
        }
        Ok(Told {
            metrics,
            access_log,
            traces,
            tasks,
            stop,
        })
    }
}

/// Why nothing could be begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The thread that writes the access log could not start.
    #[error("access log: {0}")]
    AccessLog(io::Error),
    /// Counters could not be registered.
    #[error("metrics of the balancer: {0}")]
    Metrics(#[from] prometheus::Error),
}

async fn reopen_when_told(log: AccessLog, metrics: Arc<Metrics>, stop: CancellationToken) {
    tokio::select! {
        Err(error) = log.reopen_when_told() => {
            metrics.signal_failures.add(1);
            tracing::error!(%error, "cannot listen for signals: a renamed access log stays in use");
        }
        () = stop.cancelled() => {}
    }
}

fn access_log(log: &config::AccessLog, node: &str) -> Result<(Format, Sink), Untellable> {
    let format = Format::parse(&log.format)?;
    let sink = Sink::open(&log.target, node).map_err(|source| Untellable::AccessLogTarget {
        target: match &log.target {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::File { path, .. } => format!("file:{}", path.display()),
            LogTarget::Syslog(place) => place.clone(),
        },
        source,
    })?;
    Ok((format, sink))
}

/// What is being told.
#[derive(Debug)]
pub(crate) struct Told {
    pub metrics: Arc<Metrics>,
    pub access_log: Option<AccessLog>,
    /// `None`: spans go nowhere.
    pub traces: Option<Traces>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Told {
    /// The last words, once there is no more traffic.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        let last = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(GOODBYE, last).await;
    }
}
