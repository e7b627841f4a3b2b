//! The last good pictures on disk, for a start while the source of routes is out of reach.
//!
//! Written whole or not at all: beside its place first, then moved. A snapshot that cannot be read is as good as none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::wire::health::HealthEntry;
use catalog::{Instance, Picture};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Outs;
use super::metrics::Metrics;

/// The format; others are not read.
const VERSION: u32 = 1;
/// From one writing to the next: a busy catalog must not keep the disk busy as well.
const GAP: Duration = Duration::from_secs(5);

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    datacenter: String,
    instances: Vec<HealthEntry>,
    overrides: String,
    no_route: String,
}

/// What was found on disk.
#[derive(Debug)]
pub struct Restored {
    /// Of the catalog.
    pub datacenter: String,
    /// Every instance that could be routed.
    pub instances: Picture,
    /// Route commands.
    pub overrides: Arc<str>,
    /// HTML for requests without a route.
    pub no_route: Arc<str>,
}

/// A place for a snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    /// At `path`; its directory has to be there.
    pub fn at(path: &str) -> Self {
        Self { path: path.into() }
    }

    /// What was last written; `None`, said in the log, where there is nothing of use.
    pub fn read(&self) -> Option<Restored> {
        let read = std::fs::read(&self.path)
            .and_then(|text| serde_json::from_slice::<Content>(&text).map_err(io::Error::other))
            .and_then(|content| match content.version {
                VERSION => Ok(content),
                other => Err(io::Error::other(format!("its version is {other}, not {VERSION}"))),
            });
        match read {
            Ok(content) => {
                let instances = content.instances.into_iter().map(Instance::from);
                Some(Restored {
                    datacenter: content.datacenter,
                    instances: instances.map(|found| (found.key(), Arc::new(found))).collect(),
                    overrides: content.overrides.into(),
                    no_route: content.no_route.into(),
                })
            }
            Err(error) => {
                tracing::info!(path = %self.path.display(), %error, "no snapshot of routes to start from");
                None
            }
        }
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let text = serde_json::to_vec(content)?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = Path::new(&beside);
        // What checks say is not everybody's business.
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(beside, &self.path)
    }

    /// Writes what the source tells, for ever; from when it is known, and only what differs from what was restored.
    pub async fn keep(&self, outs: &Outs, datacenter: &str, metrics: &Metrics) {
        let mut known = outs.known.subscribe();
        let mut instances = outs.instances.subscribe();
        let mut overrides = outs.overrides.subscribe();
        let mut no_route = outs.no_route.subscribe();
        // The sender is in `outs`, so this cannot fail.
        let _ = known.wait_for(|known| *known).await;
        let mut trouble = None;
        loop {
            let picture = instances.borrow_and_update().clone();
            let (text, page) = (
                overrides.borrow_and_update().clone(),
                no_route.borrow_and_update().clone(),
            );
            let (snapshot, datacenter) = (self.clone(), datacenter.to_owned());
            let writing = tokio::task::spawn_blocking(move || {
                let entry = |found: &Arc<Instance>| HealthEntry::of(found, &datacenter);
                snapshot.write(&Content {
                    version: VERSION,
                    instances: picture.values().map(entry).collect(),
                    overrides: text.to_string(),
                    no_route: page.to_string(),
                    datacenter,
                })
            });
            let outcome = writing.await.unwrap_or_else(|died| Err(io::Error::other(died)));
            let now = outcome.err().map(|error| error.to_string());
            if let Some(error) = &now {
                let path = self.path.display().to_string();
                metrics.snapshot_failed(&path, error, now != trouble);
            }
            trouble = now;
            tokio::time::sleep(GAP).await;
            if !any_changed([
                &instances.has_changed(),
                &overrides.has_changed(),
                &no_route.has_changed(),
            ]) {
                tokio::select! {
                    _ = instances.changed() => instances.mark_changed(),
                    _ = overrides.changed() => overrides.mark_changed(),
                    _ = no_route.changed() => no_route.mark_changed(),
                }
            }
        }
    }
}

fn any_changed(changed: [&Result<bool, watch::error::RecvError>; 3]) -> bool {
    changed.iter().any(|changed| matches!(changed, Ok(true)))
}

#[cfg(test)]
mod tests;
