//! Keeps an event stream open and turns it into [`Notes`].
//!
//! Owns the connection's life: connect, follow, lose, wait, connect again. Each new connection is
//! handed over together with the wish to look at everything, because what happened in between is
//! only partly replayed. Never decides anything about containers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::endpoint::Endpoint;
use super::events::Events;
use super::{Docker, Error, Info};
use crate::metrics::Metrics;
use crate::reconcile::notes::Notes;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether the engine can be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not tried yet.
    Starting,
    /// Its events reach us.
    Connected,
    /// It is absent; what is registered stays as it is.
    Waiting {
        /// What the last attempt said.
        reason: String,
    },
}

/// Follows the engine at `endpoint` until `stop`.
pub(crate) struct Follower {
    pub(crate) endpoint: Endpoint,
    /// Whether templates of the configuration may name any part of a container's answer.
    pub(crate) keeps_answers: bool,
    pub(crate) notes: Arc<Notes>,
    pub(crate) metrics: Metrics,
    pub(crate) connection: watch::Sender<Connection>,
    /// The engine that was last heard, for whoever has something done by it.
    pub(crate) docker: watch::Sender<Option<Docker>>,
}

impl Follower {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        // Where the next stream begins: nothing between two streams is missed that the engine
        // still remembers.
        let mut since = None;
        loop {
            let lost = tokio::select! {
                () = stop.cancelled() => return,
                lost = self.follow(&mut since) => lost,
            };
            if *self.connection.borrow() == Connection::Connected {
                pause = FIRST_PAUSE;
            }
            self.report(&lost);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rand::random_range(pause / 2..=pause)) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects and listens; comes back with what ended it.
    async fn follow(&mut self, since: &mut Option<i64>) -> Error {
        match self.listen(since).await {
            Ok(()) => Error::Engine("the engine ended the event stream".to_owned()),
            Err(error) => {
                if matches!(error, Error::Unreadable(_)) {
                    // A replay would begin with the same event; the look at everything must do.
                    *since = None;
                }
                error
            }
        }
    }

    async fn listen(&mut self, since: &mut Option<i64>) -> Result<(), Error> {
        let docker = Docker::connect(&self.endpoint, self.keeps_answers).await?;
        // Of several sockets that was the one: another engine would have other containers, and ours would all be gone.
        self.endpoint = docker.endpoint().clone();
        let info = docker.info().await.unwrap_or_else(|error| {
            debug!(engine = %self.endpoint, %error, "the engine says nothing of itself");
            Info::default()
        });
        let start = resume(*since, info.time).unwrap_or_else(our_clock);
        let mut events = Events::new(docker.clone(), start);
        // From `start` on nothing gets lost, so the look at everything may begin.
        *since = Some(start);
        self.notes.trust_stream();
        self.notes.connected(docker.clone());
        let id = info.id.as_deref().unwrap_or_default();
        info!(engine = %self.endpoint, api = %docker.version(), id, "following the container engine");
        self.docker.send_replace(Some(docker));
        self.connection.send_replace(Connection::Connected);
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    None => return Ok(()),
                    Some(notice) => {
                        self.metrics.events.inc();
                        if let Some(at) = notice.at {
                            // Its clock as it is now, also where that was set back.
                            *since = Some(at + 1);
                        }
                        self.notes.take(notice);
                    }
                },
                () = self.notes.stalled() => {
                    return Err(Error::Engine("the event stream has stalled".to_owned()));
                }
            }
        }
    }

    fn report(&self, lost: &Error) {
        let reason = lost.to_string();
        self.metrics.failures.with_label_values(&["connect"]).inc();
        let before = self.connection.send_replace(Connection::Waiting {
            reason: reason.clone(),
        });
        match before {
            Connection::Starting => {
                warn!(engine = %self.endpoint, %reason, "no container engine yet: nothing is registered; trying on");
            }
            Connection::Connected => {
                self.metrics.reconnects.inc();
                warn!(engine = %self.endpoint, %reason, "container engine lost: registrations stay; trying on");
            }
            Connection::Waiting { .. } => {}
        }
    }
}

/// Where a stream begins: where the last one ended, but never in the engine's future, as after its clock was set back:
/// some engines would tell nothing until then.
fn resume(ended: Option<i64>, now: Option<i64>) -> Option<i64> {
    match (ended, now) {
        (Some(ended), Some(now)) => Some(ended.min(now)),
        (one, other) => one.or(other),
    }
}

/// The next best to the engine's own, which most often is the same.
fn our_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// Reads a time as engines write it, `2026-01-31T12:00:00.123456789+01:00`, in nanoseconds since 1970.
pub(super) fn unix_nanos(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let zone_at = clock.find(['Z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.splitn(3, ':').map(str::parse::<i64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let offset = match zone.strip_prefix(['+', '-']) {
        None => 0,
        Some(digits) => {
            let (hours, minutes) = digits.split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    // Days since 1970 in a calendar whose years begin in March, so that leap days come last.
    let (shifted, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let era_days = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400);
    let days = era_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    let total = days * 86_400 + hours * 3600 + minutes * 60 + seconds - offset;
    total.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L41.
    #[test]
    fn a_stream_resumes_where_the_last_one_ended_and_never_in_the_engines_future() {
        assert_eq!(resume(Some(5), Some(9)), Some(5));
        assert_eq!(resume(Some(9), Some(5)), Some(5), "its clock was set back");
        assert_eq!(resume(Some(5), None), Some(5));
        assert_eq!(resume(None, Some(9)), Some(9));
        assert_eq!(resume(None, None), None);
    }

    #[test]
    fn an_engines_clock_is_read_with_its_fraction_and_zone() {
        assert_eq!(unix_nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            unix_nanos("2024-02-29T12:00:00.5Z"),
            Some(1_709_208_000_500_000_000)
        );
        assert_eq!(
            unix_nanos("2026-11-21T14:00:00.123456789+01:00"),
            unix_nanos("2026-11-21T13:00:00.123456789Z")
        );
        assert_eq!(unix_nanos("yesterday"), None);
    }
}
