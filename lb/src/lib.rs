//! The balancer: from tags to a routing table to proxied bytes.
//!
//! It learns of services as pictures ([`Inputs`]) and never where those come from. One task, the
//! router, turns pictures into a [`table::Table`]; every worker reads the current table with one
//! atomic load per request and shares nothing else.
//!
//! | file | |
//! | --- | --- |
//! | `config.rs` | what the operator can choose, and the text forms of single values |
//! | `health.rs` | which instances may receive traffic; pure |
//! | `table.rs` `table/*` | tags → definitions → routes; lookups; pure |
//! | `router.rs` | the single writer of the table |
//! | `admin.rs` `admin/*` | the table shown to people and programs |
//! | `facade.rs` | `Config::build`, [`Lb`]: claim, run, drain |
//! | `worker.rs` `listen.rs` | one thread, runtime and set of sockets per core |
//! | `http.rs` `http/*` `tcp.rs` | the life of a request, of a connection |
//! | `upstream.rs` `upstream/*` | connections to targets, owned by a worker |
//! | `access_log.rs` `metrics.rs` `meter.rs` | what is written down and counted |

mod access_log;
pub mod admin;
pub mod config;
mod facade;
pub mod health;
mod http;
mod listen;
mod meter;
pub mod metrics;
pub mod router;
pub mod table;
mod tcp;
mod upstream;
mod worker;

use tokio::sync::watch;

pub use crate::access_log::FIELDS as ACCESS_LOG_FIELDS;
pub use crate::config::Config;
pub use crate::facade::{Bound, BuildError, Lb, RunError};

/// What the balancer is told, always as whole pictures of now.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Every instance that could be routed. What it holds when [`Lb::run`] begins is the first picture.
    pub instances: watch::Receiver<catalog::Picture>,
}
