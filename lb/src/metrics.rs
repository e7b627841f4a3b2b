//! Every metric of the balancer: its name, its labels and what it says; and how the counts become text.
//!
//! To add one: a row in `metrics/rows.rs`, a counter in `metrics/counters.rs`, a line in `metrics/scrape.rs`.
//! A test holds rows and lines together. Names are fabio's where fabio has one, with dots as underscores, the
//! unit and `_total` where Prometheus wants them, below `lictor_lb_`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::histogram::Bounds;
use crate::table::Table;
use crate::trace::Lost;

mod certificates;
mod counters;
mod doors;
mod fabio;
mod naming;
pub(crate) mod page;
pub(crate) mod push;
mod rows;
mod scrape;
mod services;
mod template;

pub(crate) use certificates::Certificates;
pub(crate) use counters::{Count, Counters};
use doors::Ports;
pub(crate) use fabio::FabioScrape;
pub use fabio::{FABIO, FabioRow, Group};
pub(crate) use naming::Naming;
pub use rows::{Kind, METRICS, Row};
pub(crate) use scrape::Scrape;
pub(crate) use services::Services;
pub(crate) use template::{NAME_FIELDS, PREFIX_FIELDS, Template};

/// The counts of all workers, and of the table's targets.
#[derive(Debug)]
pub(crate) struct Metrics {
    workers: Mutex<Vec<Arc<Counters>>>,
    pub(crate) services: Services,
    table: Arc<ArcSwap<Table>>,
    access_log: Option<AccessLog>,
    bounds: Bounds,
    /// `metrics.prometheus.buckets`, in order.
    buckets: Vec<f64>,
    /// fabio's metrics that these listeners have.
    fabio: Vec<&'static FabioRow>,
    /// Sendings of [`push`] that failed.
    push_failures: Count,
    /// Signals that could not be listened for.
    pub(crate) signal_failures: Count,
    spans: Arc<Lost>,
    /// Written by the owner of the listeners.
    pub(crate) ports: Ports,
    apart: OnceLock<Arc<Counters>>,
}

impl Metrics {
    pub(crate) fn new(config: &Config, table: Arc<ArcSwap<Table>>, access_log: Option<AccessLog>) -> Self {
        let mut buckets = config.metrics.buckets.clone();
        buckets.retain(|bound| bound.is_finite());
        buckets.sort_by(f64::total_cmp);
        buckets.dedup();
        Self {
            workers: Mutex::default(),
            services: Services::new(&config.metrics),
            table,
            access_log,
            bounds: Bounds::of(&config.metrics),
            buckets,
            fabio: fabio::rows(config),
            push_failures: Count::default(),
            signal_failures: Count::default(),
            spans: Arc::default(),
            ports: Ports::default(),
            apart: OnceLock::new(),
        }
    }

    /// Shows what traces lose.
    pub(crate) fn with_spans(self, spans: Arc<Lost>) -> Self {
        Self { spans, ..self }
    }

    /// Counters of what no worker does.
    pub(crate) fn apart(&self) -> Arc<Counters> {
        self.apart.get_or_init(|| self.of_a_worker()).clone()
    }

    /// New counters, for a worker to write.
    pub(crate) fn of_a_worker(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(&self.bounds));
        self.workers().push(counters.clone());
        counters
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Counters>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
