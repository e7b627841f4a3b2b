//! Draws the picture of a foreign Consul's catalog, and keeps it true.
//!
//! No single documented question answers with everything, and one held question per service
//! exhausts the server's connections per client (200). So two questions are held, whatever the
//! size of the catalog, and only what they point at is asked for:
//!
//! - `health/state/any` tells of every check that came, changed or went, and so of the services
//!   it speaks for: a check of a node speaks for all services there.
//! - `catalog/services` tells of names and tags, and by its index that *some* service changed.
//!   A new port or address shows in nothing else; then all services are asked for, not more often
//!   than every [`Config::sweep_gap`]. Node records move neither index, hence a slow sweep as well.
//!
//! Services are read through `health/service`, which shows an instance and its checks at one
//! moment: joining them from two answers would let a new instance pass for one without checks.
//! A service that cannot be read keeps what was known of it. Owns the picture it publishes; the
//! consumer decides what is fit for traffic.

mod painter;

use std::sync::Arc;
use std::time::Duration;

use catalog::{Instance, Picture};
use tokio::sync::watch;
use tokio::time::Instant;

use self::painter::Painter;
use crate::blocking::follow;
use crate::client::{Client, ClientError, Query};

/// Says whether an instance belongs into the picture.
pub type Keep = Arc<dyn Fn(&Instance) -> bool + Send + Sync>;

/// How a foreign catalog is watched.
#[derive(Clone)]
pub struct Config {
    /// Its agent.
    pub client: Client,
    /// Freshness and, if set, the time to hold questions.
    pub query: Query,
    /// What of it matters.
    pub keep: Keep,
    /// At least this long from one look at all services to the next.
    pub sweep_gap: Duration,
    /// At most this long.
    pub slow_sweep: Duration,
    /// Questions under way at the same time, beside the two that are held.
    pub parallel: usize,
}

impl Config {
    /// Watches everything that `client`'s agent knows.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            query: Query::default(),
            keep: Arc::new(|_| true),
            sweep_gap: Duration::from_secs(5),
            slow_sweep: Duration::from_secs(300),
            parallel: 8,
        }
    }
}

/// Publishes pictures to `out` until dropped; the first one when every service has been read.
/// `trouble` is told of every question that failed, for the caller to log and count.
pub async fn watch(config: Config, out: &watch::Sender<Picture>, trouble: impl Fn(&ClientError)) {
    let client = &config.client;
    let (checks, mut new_checks) = watch::channel(Vec::new());
    let (names, mut new_names) = watch::channel(painter::Names::new());
    let ask_checks = |query: Query| async move { client.health_state(None, &query).await };
    let follow_checks = follow(config.query.clone(), ask_checks, |answer| match answer {
        Ok(answer) => drop(checks.send_replace(answer.rows)),
        Err(error) => trouble(&error),
    });
    let ask_names = |query: Query| async move { client.services(&query).await };
    let follow_names = follow(config.query.clone(), ask_names, |answer| match answer {
        Ok(answer) => drop(names.send_replace(answer.rows)),
        Err(error) => trouble(&error),
    });
    let draw = async {
        let mut painter = Painter::new(&config, Instant::now());
        let (mut know_checks, mut know_names) = (false, false);
        loop {
            tokio::select! {
                _ = new_checks.changed() => {
                    painter.checks_changed(new_checks.borrow_and_update().clone());
                    know_checks = true;
                }
                _ = new_names.changed() => {
                    painter.names_changed(new_names.borrow_and_update().clone(), Instant::now());
                    know_names = true;
                }
                () = tokio::time::sleep_until(painter.next_look()) => painter.look(Instant::now()),
            }
            // Both lists first: what is read before they were heard could be older than they are.
            if know_checks && know_names {
                painter.read_stale(out, &trouble).await;
            }
        }
    };
    tokio::select! {
        () = follow_checks => {}
        () = follow_names => {}
        () = draw => {}
    }
}
