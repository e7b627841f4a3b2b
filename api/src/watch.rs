//! Draws the picture of a foreign Consul's catalog, and keeps it true.
//!
//! No single documented question answers with everything, and one held question per service
//! exhausts the server's connections per client (200). So two questions are held, whatever the
//! size of the catalog, and only what they point at is asked for:
//!
//! - `health/state/any` tells of every check that came, changed or went, and so of the service it speaks for. A check
//!   of a node speaks for all services there and is all there is to know, so it is taken over as it is.
//! - `catalog/services` tells of names and tags, and by its index that *some* service changed. A new port or address
//!   shows in nothing else: unless what was read explains that index, the versions of all services are compared, node
//!   by node, not more often than every [`Config::sweep_gap`], and a little later where an answer passed over indexes
//!   that nothing explains. Node records move neither index, hence a slow comparison as well.
//!
//! Both answers are long and change by a row at a time, so their texts are compared and only rows that differ are read
//! (`rows.rs`). Services are read through `health/service`, which shows an instance and its checks at one moment:
//! joining them from two answers would let a new instance pass for one without checks. A service that cannot be read
//! keeps what was known of it, and so does, for a while, a catalog that has lost its memory (`painter/grace.rs`). What
//! stands in the place of the first picture counts as known from earlier. Owns the picture it publishes; the consumer
//! decides what is fit for traffic.

mod painter;
mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use catalog::{Instance, Picture};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::painter::{Ears, Painter};
use crate::blocking::{Heard, follow};
use crate::client::{Client, ClientError, Consistency, Query};

/// Says whether an instance belongs into the picture.
pub type Keep = Arc<dyn Fn(&Instance) -> bool + Send + Sync>;

/// How a foreign catalog is watched.
#[derive(Clone)]
pub struct Config {
    /// Its agent.
    pub client: Client,
    /// Freshness and, if set, the time to hold questions.
    pub query: Query,
    /// Ask this often instead of holding questions; `None`: hold them.
    pub every: Option<Duration>,
    /// What of it matters.
    pub keep: Keep,
    /// At least this long from one comparison of all versions to the next.
    pub sweep_gap: Duration,
    /// At most this long.
    pub slow_sweep: Duration,
    /// What is missing after the catalog itself began anew is kept this long: it holds nothing yet because nobody has
    /// registered again, not because nobody is there.
    pub keep_over_restart: Duration,
    /// Questions under way at the same time, beside the two that are held; at least 1.
    pub parallel: usize,
}

impl Config {
    /// Watches everything that `client`'s agent knows.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            query: Query {
                // Shorter than Consul's own: a server that hangs, or a connection that was cut silently, is found out.
                wait: Some(Duration::from_secs(60)),
                ..Query::default()
            },
            every: None,
            keep: Arc::new(|_| true),
            sweep_gap: Duration::from_millis(500),
            slow_sweep: Duration::from_secs(60),
            keep_over_restart: Duration::from_secs(90),
            parallel: 8,
        }
    }
}

/// What a question is about, for those who are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// The list of checks, held.
    Checks,
    /// The list of service names, held.
    Names,
    /// One service, or the versions of all.
    Service,
}

/// Publishes pictures to `out` until dropped; the first one when every service has been read.
/// `told` is told what became of every question, for the caller to log and count.
pub async fn watch(
    config: Config,
    out: &watch::Sender<Picture>,
    told: impl Fn(Question, Option<&ClientError>),
) {
    let client = &config.client;
    let heard = Mutex::new(Ears::new(config.query.consistency == Consistency::Stale));
    let rang = Notify::new();
    let follow_checks = follow(
        config.query.clone(),
        config.every,
        |query: Query| async move { client.health_state_text(&query).await },
        |answer| {
            let taken = take(Question::Checks, answer, &told, &heard);
            rang.notify_one();
            taken
        },
    );
    let follow_names = follow(
        config.query.clone(),
        config.every,
        |query: Query| async move { client.services_text(&query).await },
        |answer| {
            let taken = take(Question::Names, answer, &told, &heard);
            rang.notify_one();
            taken
        },
    );
    let draw = async {
        let mut painter = Painter::new(&config, &heard, Instant::now());
        loop {
            tokio::select! {
                () = rang.notified() => painter.listen(Instant::now()),
                () = tokio::time::sleep_until(painter.next_look()) => {}
            }
            painter.look(out, &told).await;
        }
    };
    tokio::select! {
        () = follow_checks => {}
        () = follow_names => {}
        () = draw => {}
    }
}

/// Hands on what an answer says. An answer that cannot be read is a failure like any other.
fn take(
    question: Question,
    answer: Heard<Bytes>,
    told: &impl Fn(Question, Option<&ClientError>),
    ears: &Mutex<Ears>,
) -> bool {
    let outcome = match answer {
        Heard::News(answer) => lock(ears).hear(question, answer),
        Heard::Same => Ok(()),
        Heard::Failed(error) => Err(error),
    };
    if outcome.is_err() {
        lock(ears).failed(question);
    }
    told(question, outcome.as_ref().err());
    outcome.is_ok()
}

/// Held for as long as a list is compared, by futures of one task: nobody ever waits.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
