//! What events said since somebody last looked.
//!
//! One entry per container, however many events it had, so nothing here can overflow and a burst
//! costs one look. The stream writes, the loop takes; the lock guards a few lines and is never
//! held over an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::docker::{Docker, Notice, What};

/// The mailbox between the event stream and the loop.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pending: Mutex<Pending>,
    something: Notify,
    stalled: Notify,
}

/// Everything noted since the last take.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// A new connection: look at everything.
    pub(crate) connected: Option<Docker>,
    pub(crate) touched: BTreeMap<Arc<str>, Note>,
}

/// What was noted of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Only signals came: there is nothing an inspection would show.
    pub(crate) only_signals: bool,
    /// A process ended or began, and with it what was known of signals before.
    pub(crate) turned: bool,
    /// A process ended, and none has begun since.
    pub(crate) died: bool,
    /// What that returned, as far as the engine said; also if the container was removed since.
    pub(crate) exit_code: Option<i64>,
    /// A process began.
    pub(crate) began: bool,
    /// Signals sent since.
    pub(crate) signals: Vec<i32>,
}

impl Note {
    /// Adds one more event to what is noted.
    pub(crate) fn add(&mut self, what: What) {
        match what {
            What::Signalled(signal) => {
                if !self.signals.contains(&signal) {
                    self.signals.push(signal);
                }
            }
            What::Died(_) | What::Turned | What::Removed => {
                self.only_signals = false;
                self.turned = true;
                self.died = matches!(what, What::Died(_));
                self.signals.clear();
                match what {
                    What::Died(code) => self.exit_code = code,
                    What::Turned => (self.exit_code, self.began) = (None, true),
                    _ => {}
                }
            }
            What::Changed => self.only_signals = false,
        }
    }
}

impl Notes {
    pub(crate) fn take(&self, notice: Notice) {
        let fresh = || Note {
            only_signals: true,
            ..Note::default()
        };
        self.pending()
            .touched
            .entry(notice.container)
            .or_insert_with(fresh)
            .add(notice.what);
        self.something.notify_one();
    }

    pub(crate) fn connected(&self, docker: Docker) {
        self.pending().connected = Some(docker);
        self.something.notify_one();
    }

    /// Waits until there is something, and takes all of it.
    pub(crate) async fn next(&self) -> Pending {
        self.something.notified().await;
        std::mem::take(&mut *self.pending())
    }

    /// Says that the stream is silent though things happen.
    pub(crate) fn suspect_stream(&self) {
        self.stalled.notify_one();
    }

    /// Takes back a suspicion that came while there was no stream to suspect.
    pub(crate) fn trust_stream(&self) {
        _ = self.stalled.notified().now_or_never();
    }

    /// Waits for such a suspicion.
    pub(crate) async fn stalled(&self) {
        self.stalled.notified().await;
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Every write leaves it whole, so a panic elsewhere does not spoil it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L8.
    #[test]
    fn a_suspicion_against_one_stream_is_not_held_against_the_next() {
        let notes = Notes::default();
        notes.suspect_stream();
        notes.trust_stream();
        assert!(notes.stalled().now_or_never().is_none());
        notes.suspect_stream();
        assert!(notes.stalled().now_or_never().is_some());
    }
}
