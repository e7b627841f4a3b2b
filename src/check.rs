//! Runs checks: each in a task of its own, told to stop by its token.
//!
//! Owns the schedule and nothing else: what a result means for a service is the business of
//! whoever reads the [`Event`]s. Must not touch the local table or the store.
//!
//! | file | |
//! | --- | --- |
//! | `tally.rs` | results in a row → status; time spent critical. Pure |
//! | `poll.rs` | when a check runs: at once, then every interval |
//! | `http.rs`, `grpc.rs`, `h2ping.rs`, `tcp.rs`, `udp.rs`, `program.rs` | one run |
//! | `ttl.rs` | waits to be told |
//! | `connect.rs`, `tls.rs` | connections over HTTP/2, whom a check trusts |
//! | `metrics.rs` | what is counted |

mod connect;
mod grpc;
mod h2ping;
mod http;
pub mod metrics;
mod poll;
mod program;
pub mod tally;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod ttl;
mod udp;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use catalog::Status;
use catalog::check::{Definition, Probe};
use prometheus::Registry;
use registrator::Inside;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::metrics::Metrics;
use self::program::Lingering;
use self::tls::Trust;

/// Runs under way at one time; more wait their turn. Enough that a few hundred dead targets, each
/// holding a place until its timeout, do not keep healthy ones from their first run.
const MOST_AT_ONCE: usize = 256;

/// What the runner tells about a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A status is known, perhaps the same as before.
    Result {
        /// Id of the check.
        check: Arc<str>,
        /// After thresholds.
        status: Status,
        /// For people.
        output: String,
    },
    /// As far as the runner knows, the check has been critical for as long as its definition
    /// allows, and its service may go. Told again after as long again. The reader knows of
    /// statuses set by others, and has the last word.
    Overdue {
        /// Id of the check.
        check: Arc<str>,
    },
}

/// Handle to the runner; cheap to clone.
#[derive(Clone)]
pub struct Checks {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    stop: CancellationToken,
    /// Held for the few lines that add, find or drop one.
    running: Mutex<HashMap<Arc<str>, Running>>,
}

/// What every task needs.
#[derive(Clone)]
struct Shared {
    events: mpsc::Sender<Event>,
    room: Arc<Semaphore>,
    trust: Trust,
    /// Where programs run, once there is a registrator.
    inside: Arc<OnceLock<Inside>>,
    metrics: Metrics,
}

struct Running {
    definition: Definition,
    stop: CancellationToken,
    heard: watch::Sender<Heard>,
}

/// What somebody outside last said of a check.
#[derive(Clone, Debug, Default)]
struct Heard {
    status: Option<Status>,
    output: String,
}

/// A check's task: its definition and its ways in and out.
struct Task {
    definition: Definition,
    shared: Shared,
    heard: watch::Receiver<Heard>,
    lingering: Lingering,
}

/// What one run found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    status: Status,
    output: String,
}

impl Outcome {
    fn critical(output: impl Into<String>) -> Self {
        Self {
            status: Status::Critical,
            output: output.into(),
        }
    }
}

impl Checks {
    /// A runner without checks, which tells `events` and ends all its tasks when `stop` fires.
    pub fn new(events: mpsc::Sender<Event>, stop: CancellationToken) -> Self {
        let shared = Shared {
            events,
            room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            trust: Trust::default(),
            inside: Arc::default(),
            metrics: Metrics::new(),
        };
        Self {
            inner: Arc::new(Inner {
                shared,
                stop,
                running: Mutex::default(),
            }),
        }
    }

    /// Adds the runner's counters to those that are exported.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.inner.shared.metrics.register(registry)
    }

    /// Programs that checks want are run `inside` containers from now on; before, such checks are
    /// critical. To be called once.
    pub fn run_programs(&self, inside: Inside) {
        self.inner.shared.inside.set(inside).ok();
    }

    /// Starts a check, in place of the one of that id. Starting the very same again leaves its
    /// schedule and its thresholds alone, but gives a TTL its full time. Must be called within a
    /// runtime.
    pub fn start(&self, definition: &Definition) {
        let mut running = self.running();
        if let Some(known) = running.get(&definition.id) {
            if known.definition == *definition {
                known.heard.send_modify(|_| {});
                return;
            }
            known.stop.cancel();
        }
        let stop = self.inner.stop.child_token();
        let (heard, ears) = watch::channel(Heard::default());
        let task = Task {
            definition: definition.clone(),
            shared: self.inner.shared.clone(),
            heard: ears,
            lingering: Lingering::default(),
        };
        let ended = stop.clone();
        // Everything a task does may be dropped at any await: nothing outlives it but its socket.
        tokio::spawn(async move { ended.run_until_cancelled(task.run()).await });
        let entry = Running {
            definition: definition.clone(),
            stop,
            heard,
        };
        running.insert(definition.id.clone(), entry);
    }

    /// Stops a check; nothing if it does not run. A result that is already told may still arrive.
    pub fn stop(&self, id: &str) {
        if let Some(known) = self.running().remove(id) {
            known.stop.cancel();
        }
    }

    /// Somebody outside said what a check's status is, which starts its time to live anew.
    pub fn heard(&self, id: &str, status: Status, output: &str) {
        if let Some(known) = self.running().get(id) {
            known.heard.send_replace(Heard {
                status: Some(status),
                output: output.to_owned(),
            });
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Arc<str>, Running>> {
        // Each use is one call on the map: a panic elsewhere cannot leave it half changed.
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    async fn run(self) {
        match (&self.definition.probe, self.definition.probe.pace()) {
            (_, Some((interval, _))) => self.poll(interval).await,
            (Probe::Ttl { ttl }, None) => {
                let ttl = *ttl;
                self.listen(Some(ttl)).await;
            }
            // The registrator watches it; we only count how long it has been critical.
            (_, None) => self.listen(None).await,
        }
    }

    /// False when nobody listens any more.
    async fn tell(&self, outcome: Outcome) -> bool {
        let event = Event::Result {
            check: self.definition.id.clone(),
            status: outcome.status,
            output: outcome.output,
        };
        self.shared.events.send(event).await.is_ok()
    }

    async fn tell_overdue(&self) -> bool {
        let check = self.definition.id.clone();
        tracing::info!(%check, "a check has been critical for too long");
        self.shared.events.send(Event::Overdue { check }).await.is_ok()
    }
}
