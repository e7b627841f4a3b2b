//! Hears when a server may have lost what it holds: it held its answer to a question about one of our entries, and now
//! that entry is gone or another, or the server itself was away.
//!
//! One question for all entries: what takes them away is, but for people who remove one, a server that began anew, and
//! that ends every connection. Whoever removes another entry is noticed by the slow pass; one that goes missing is
//! followed by a second look, for who removes one removes more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::ClientError;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use super::link::is_absence;

/// How long a server is asked to hold its answer; one that vanished without a word is noticed after it.
pub(super) const HELD: Duration = Duration::from_secs(60);
/// Between two attempts to reach a server that is away.
const AWAY: Duration = Duration::from_millis(500);
/// Between two alarms, whatever happens: each is answered with a question about everything.
const APART: Duration = Duration::from_secs(1);

/// A server as the ear asks it.
pub(super) trait Held {
    /// Whether it answers and can be written to.
    fn is_there(&self) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// A mark of what stands under a key, another one whenever that changes; `None`: nothing stands there. With `seen`
    /// the answer is held until there is another mark, or [`HELD`] is over.
    fn mark(
        &self,
        key: &str,
        seen: Option<&str>,
    ) -> impl Future<Output = Result<Option<String>, ClientError>> + Send;
}

/// What is to be heard of, and when the last alarm was.
#[derive(Debug, Default)]
pub(super) struct Ear(watch::Sender<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Entries of ours.
    keys: BTreeSet<Arc<str>>,
    /// An answer did not come.
    missed: bool,
    /// The last alarm was for an entry.
    lost: bool,
    alarm: Option<Instant>,
}

impl Ear {
    /// These entries of ours are there.
    pub(super) fn there(&self, keys: impl IntoIterator<Item = Arc<str>>) {
        self.0.send_modify(|known| known.keys.extend(keys));
    }

    /// This one is about to go.
    pub(super) fn goes(&self, key: &str) {
        self.0.send_if_modified(|known| known.keys.remove(key));
    }

    /// The server gave no answer.
    pub(super) fn missed(&self) {
        self.0.send_modify(|known| known.missed = true);
    }

    /// Resolves when entries may have been lost, or when a server that was away is back.
    pub(super) async fn alarm(&self, server: &impl Held) {
        let mut news = self.0.subscribe();
        loop {
            let (missed, lost, first) = {
                let known = news.borrow_and_update();
                (known.missed, known.lost, known.keys.first().cloned())
            };
            let alarmed = match first {
                _ if missed => {
                    back(server).await;
                    true
                }
                _ if lost => {
                    self.0.send_modify(|known| known.lost = false);
                    true
                }
                Some(key) => tokio::select! {
                    lost = self.is_lost(server, &key) => {
                        self.0.send_modify(|known| known.lost = lost);
                        lost
                    }
                    _ = news.wait_for(|known| known.missed || !known.keys.contains(&key)) => false,
                },
                None => {
                    // Nothing is there that could get lost.
                    _ = news.changed().await;
                    false
                }
            };
            if alarmed {
                return self.pace().await;
            }
        }
    }

    /// Listens to one entry. False: somebody else has news.
    async fn is_lost(&self, server: &impl Held, key: &Arc<str>) -> bool {
        let mut seen: Option<String> = None;
        loop {
            let asked = Instant::now();
            match server.mark(key, seen.as_deref()).await {
                Ok(None) => {
                    self.goes(key);
                    return true;
                }
                Ok(Some(mark)) if seen.as_ref().is_some_and(|seen| *seen != mark) => return true,
                // One that does not hold its answers is not asked without end.
                Ok(mark) => match seen {
                    Some(_) => tokio::time::sleep_until(asked + APART).await,
                    None => seen = mark,
                },
                Err(error) if is_absence(&error) => {
                    self.missed();
                    return false;
                }
                Err(error) => {
                    // It does not know the question, or we may not ask it: the slow pass looks, as ever.
                    debug!(%key, %error, "cannot listen for changes of an entry");
                    tokio::time::sleep(HELD).await;
                }
            }
        }
    }

    /// Ends an alarm, not too soon after the last.
    async fn pace(&self) {
        let last = self.0.borrow().alarm;
        if let Some(last) = last {
            tokio::time::sleep_until(last + APART).await;
        }
        self.0.send_modify(|known| {
            known.missed = false;
            known.alarm = Some(Instant::now());
        });
    }
}

/// Waits until a server answers again.
async fn back(server: &impl Held) {
    while let Err(error) = server.is_there().await {
        if !is_absence(&error) {
            return;
        }
        tokio::time::sleep(AWAY).await;
    }
}
