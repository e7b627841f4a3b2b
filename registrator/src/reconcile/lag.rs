//! How long it takes from an event to what is written of it. Pure: time is handed in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A container may have several writes to come after the first: so long they count as of the same event.
const TOGETHER: Duration = Duration::from_secs(1);
/// What is written so long after an event has another reason.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Events whose writes are awaited, by container.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    heard: BTreeMap<Arc<str>, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    /// When a write came of it for the first time.
    written: Option<Instant>,
}

impl Lag {
    /// An event of a container was heard.
    pub(crate) fn heard(&mut self, container: &Arc<str>, now: Instant) {
        let fresh = Heard {
            at: now,
            written: None,
        };
        let heard = self.heard.entry(container.clone()).or_insert(fresh);
        // Several events that are answered by one write: the first of them waits longest.
        if heard.written.is_some() {
            *heard = Heard {
                at: now,
                written: None,
            };
        }
    }

    /// When the event was heard that a write which begins now answers.
    pub(crate) fn since(&mut self, container: &str, now: Instant) -> Option<Instant> {
        let heard = self.heard.get(container)?;
        let late = heard.written.is_some_and(|at| at + TOGETHER < now) || heard.at + FORGOTTEN < now;
        if late {
            self.heard.remove(container);
            return None;
        }
        Some(heard.at)
    }

    /// That write was obeyed.
    pub(crate) fn written(&mut self, container: &str, now: Instant) {
        if let Some(heard) = self.heard.get_mut(container) {
            heard.written.get_or_insert(now);
        }
    }

    /// Forgets what no write will come of. Called now and then.
    pub(crate) fn tidy(&mut self, now: Instant) {
        self.heard.retain(|_, heard| match heard.written {
            Some(at) => at + TOGETHER >= now,
            None => heard.at + FORGOTTEN >= now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_answers_the_first_event_since_the_write_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let web: Arc<str> = "web".into();
        let mut lag = Lag::default();
        assert_eq!(lag.since("web", at(0)), None);
        lag.heard(&web, at(0));
        lag.heard(&web, at(5));
        assert_eq!(lag.since("web", at(7)), Some(at(0)));
        lag.written("web", at(9));
        assert_eq!(lag.since("web", at(20)), Some(at(0)), "its other port");
        lag.heard(&web, at(500));
        assert_eq!(lag.since("web", at(510)), Some(at(500)));
        lag.written("web", at(520));
        assert_eq!(
            lag.since("web", at(60_000)),
            None,
            "a registry that lost its data is no lag"
        );
        lag.heard(&web, at(61_000));
        lag.tidy(at(62_000));
        assert!(lag.since("web", at(62_000)).is_some());
        lag.tidy(at(661_001));
        assert_eq!(lag.since("web", at(62_000)), None);
    }
}
