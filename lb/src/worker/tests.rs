//! The data path as clients and servers see it: real workers, real sockets on loopback, bytes written and
//! read by hand.

use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::watch;

use super::Shared;
use crate::current::Current;
use crate::metrics::Metrics;
use crate::outlier::Outliers;
use crate::router::Live;
use crate::tls::Stores;

mod harness;
mod secure;

mod answers;
mod clients;
mod crowded;
mod drain;
mod failing;
mod h2;
mod hostile;
mod leaving;
mod listening;
mod loops;
mod policy;
mod probing;
mod proof;
mod proxying;
mod real;
mod reloading;
mod retrying;
mod slow;
mod smuggling;
mod tcp;
mod trailers;
mod turns;
mod upgrading;
mod upstreams;

/// What workers share that have an empty table, tell nobody, and have no page for requests without a route.
pub(super) fn shared(current: &Current) -> Shared {
    let (config, table) = (current.config.clone(), Live::default());
    Shared {
        metrics: Arc::new(Metrics::new(&config, table.clone(), None)),
        access_log: None,
        traces: None,
        registry: Registry::new(),
        outliers: Arc::new(Outliers::new(config.outliers)),
        hops: super::loops::Hops::default(),
        stores: Stores::build(&config.certs, None, table.clone()).unwrap(),
        policy: current.policy.clone(),
        no_route: watch::channel(Arc::from("")).1,
        table,
        config,
    }
}
