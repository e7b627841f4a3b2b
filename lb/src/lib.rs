//! The balancer: from tags to a routing table to proxied bytes.
//!
//! It learns of services as pictures ([`Inputs`]) and never where those come from. One task, the
//! router, turns pictures into a [`table::Table`]; every worker reads the current table with one
//! atomic load per request and shares nothing else.
//!
//! | file | |
//! | --- | --- |
//! | `check.rs` | what files would mean, before a start |
//! | `config.rs` | what the operator can choose, and the text forms of single values |
//! | `health.rs` | which instances may receive traffic; pure |
//! | `table.rs` `table/*` | tags → definitions → routes; lookups; pure |
//! | `router.rs` | the single writer of the table |
//! | `kv.rs` | the door to the catalog's key-value store |
//! | `admin.rs` `admin/*` | the table shown to people and programs |
//! | `facade.rs` | `Config::build`, [`Lb`]: claim, run, drain |
//! | `current.rs` | the configuration that holds now |
//! | `worker.rs` `listen.rs` `arrival.rs` | one thread, runtime and set of sockets per core; who arrives there |
//! | `http.rs` `http/*` `tcp.rs` | the life of a request, of a connection |
//! | `authority.rs` | `host:port`, taken apart |
//! | `hash.rs` | maps that every request asks |
//! | `fetch.rs` | the few requests of our own: certificates, secrets, authorities, configurations |
//! | `tls.rs` `tls/*` | certificates: sources, which one is shown, TLS with clients and with targets |
//! | `policy.rs` `policy/*` | what a route asks of its requests: who may come in, how often, changed how |
//! | `upstream.rs` `upstream/*` | connections to targets, owned by a worker |
//! | `outlier.rs` | what traffic teaches about targets: failures, ejection, slow return |
//! | `told.rs` `access_log.rs` `metrics.rs` `trace.rs` `histogram.rs` `codes.rs` `meter.rs` | what is written down and counted |
//! | `pace.rs` | whether a client keeps up; pure |

mod access_log;
pub mod admin;
mod arrival;
mod authority;
pub mod check;
mod codes;
pub mod config;
mod current;
mod facade;
pub mod fetch;
mod hash;
pub mod health;
mod histogram;
mod http;
mod kv;
mod listen;
mod meter;
pub mod metrics;
mod outlier;
mod pace;
mod policy;
mod probe;
pub mod router;
pub mod table;
mod tcp;
mod tls;
mod told;
mod trace;
mod upstream;
mod worker;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub use crate::access_log::{FIELDS as ACCESS_LOG_FIELDS, JSON_KEYS as ACCESS_LOG_KEYS};
pub use crate::config::Config;
pub use crate::facade::{Bound, BuildError, Lb, RunError};
pub use crate::histogram::{Bounds, Observed};
pub use crate::kv::{Entry, Kv, KvError, KvFuture};
pub use crate::told::{BeginError, Untellable};
pub use crate::trace::BadTraces;
pub use crate::worker::{ListenError, ReloadError, Reloader, Unclaimable};

/// What the balancer is told, always as whole pictures of now.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Every instance that could be routed. What it holds when [`Lb::run`] begins is the first picture.
    pub instances: watch::Receiver<catalog::Picture>,
    /// Route commands that are applied after what the tags ask for, in fabio's language.
    pub overrides: watch::Receiver<Arc<str>>,
    /// HTML for requests that no route wants; empty: none.
    pub no_route: watch::Receiver<Arc<str>>,
    /// The catalog's key-value store: overrides are written to it, ACME keeps its account and certificates in it.
    /// `None`: the source of the routes has none.
    pub kv: Option<Arc<dyn Kv>>,
    /// True once the pictures above are of the source and not of a beginning: before, no table is made and no listener
    /// opens, or a restart would answer 404 to everybody.
    pub known: watch::Receiver<bool>,
    /// Where somebody who wants the configuration read again says so; `None`: nobody reads it again.
    pub reload: Option<ReloadRequest>,
}

/// Takes those who want the configuration read again. The answer: one line for everything that changed, or all that is
/// wrong, in which case nothing did.
pub type ReloadRequest = mpsc::Sender<oneshot::Sender<Result<Vec<String>, String>>>;

impl Inputs {
    /// Instances alone: nothing overrides their tags, nothing can be written.
    #[must_use]
    pub fn of(instances: watch::Receiver<catalog::Picture>) -> Self {
        // A watch without a sender stays as it is.
        Self {
            instances,
            overrides: watch::channel(Arc::from("")).1,
            no_route: watch::channel(Arc::from("")).1,
            kv: None,
            known: watch::channel(true).1,
            reload: None,
        }
    }
}
