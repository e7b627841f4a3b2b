//! The single writer of the routing table: pictures → parts → table → swap → log what changed.
//!
//! Only the part of a changed instance and its routes are made anew, and a picture that changes no part
//! changes no table. Nothing here waits for anything but the next picture, and its own work, which is done
//! aside.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::{InstanceKey, Picture};
use imbl::ordmap::DiffItem;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::table::{Builder, Part, Skipped, Table};

/// The current table: one atomic load for a reader.
pub type Live = Arc<ArcSwap<Table>>;

/// Owns the table and all that is needed to make the next one.
#[derive(Debug)]
pub struct Router {
    config: Arc<Config>,
    live: Live,
    swapped: watch::Sender<()>,
    ready: watch::Sender<bool>,
    picture: Picture,
    builder: Builder,
    gauges: Gauges,
}

#[derive(Debug)]
struct Gauges {
    routes: IntGauge,
    swaps: IntCounter,
    skipped: IntGauge,
    skipped_total: IntCounter,
    noted: IntGauge,
    noted_total: IntCounter,
}

/// One instance that differs from the last picture; `None` where it was or is not there.
struct Change {
    key: InstanceKey,
    part: Option<Part>,
}

impl Router {
    /// A router with an empty table. `ready` becomes true with the first table made of a picture.
    pub fn new(
        config: Arc<Config>,
        ready: watch::Sender<bool>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            live: Live::default(),
            swapped: watch::Sender::new(()),
            ready,
            picture: Picture::new(),
            builder: Builder::new(config.clone()),
            gauges: Gauges::register(registry)?,
            config,
        })
    }

    /// Where the current table is found.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Changes with every table that takes effect.
    #[must_use]
    pub fn swapped(&self) -> watch::Receiver<()> {
        self.swapped.subscribe()
    }

    /// Follows pictures until `stop`. What the watch holds at the start is the first picture.
    pub async fn run(self, mut instances: watch::Receiver<Picture>, stop: CancellationToken) {
        let first = instances.borrow_and_update().clone();
        let mut router = self.update_aside(first).await;
        // Once only: whoever withdraws it later means it.
        router.ready.send_replace(true);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = instances.changed() => if changed.is_err() {
                    tracing::warn!("no more pictures will come, the routing table stays as it is");
                    stop.cancelled().await;
                    return;
                },
            }
            let picture = instances.borrow_and_update().clone();
            router = router.update_aside(picture).await;
        }
    }

    /// Updates on a thread that may take its time: a picture of ten thousand new services takes a while, and this
    /// runtime is everybody's.
    async fn update_aside(mut self, picture: Picture) -> Self {
        let updating = tokio::task::spawn_blocking(move || {
            self.update(picture);
            self
        });
        // It is never cancelled, so all that can have happened to it is a panic, which stays one.
        updating
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Takes over a picture. Returns whether the table was swapped.
    pub fn update(&mut self, picture: Picture) -> bool {
        let changes = self.changes(&picture);
        self.picture = picture;
        let mut lines = (BTreeSet::new(), BTreeSet::new());
        let mut matters = false;
        for Change { key, part } in changes {
            let old = self.builder.part(&key);
            if old == part.as_ref() {
                continue;
            }
            lines.0.extend(old.into_iter().flat_map(Part::lines));
            lines.1.extend(part.iter().flat_map(Part::lines));
            self.warn_of(old, part.as_ref());
            matters |= self.builder.put(&key, part);
        }
        if matters {
            self.swap();
            let (gone, came) = &lines;
            for line in gone.difference(came) {
                tracing::info!(route = %line, "- route");
            }
            for line in came.difference(gone) {
                tracing::info!(route = %line, "+ route");
            }
        }
        matters
    }

    fn changes(&self, picture: &Picture) -> Vec<Change> {
        let part = |key: &InstanceKey, instance| Change {
            key: key.clone(),
            part: Some(Part::of(&self.config, instance)),
        };
        self.picture
            .diff(picture)
            .map(|item| match item {
                DiffItem::Add(key, instance)
                | DiffItem::Update {
                    new: (key, instance), ..
                } => part(key, instance),
                DiffItem::Remove(key, _) => Change {
                    key: key.clone(),
                    part: None,
                },
            })
            .collect()
    }

    fn swap(&mut self) {
        let table = self.builder.build();
        self.gauges.routes.set(count(table.routes().count()));
        self.gauges.skipped.set(count(table.skipped().count()));
        self.gauges.noted.set(count(table.notes().count()));
        self.gauges.swaps.inc();
        self.live.store(Arc::new(table));
        self.swapped.send_replace(());
    }

    /// What is wrong with the tags of an instance, once.
    fn warn_of(&self, old: Option<&Part>, new: Option<&Part>) {
        let skipped = old.map_or(&[][..], |old| &old.skipped);
        let notes = old.map_or(&[][..], |old| &old.notes);
        let Some(new) = new else { return };
        for Skipped {
            service,
            instance,
            tag,
            reason,
        } in new.skipped.iter().filter(|one| !skipped.contains(one))
        {
            tracing::warn!(?service, ?instance, %tag, %reason, "this tag makes no route");
            self.gauges.skipped_total.inc();
        }
        for Skipped {
            service,
            instance,
            tag,
            reason,
        } in new.notes.iter().filter(|one| !notes.contains(one))
        {
            tracing::warn!(?service, ?instance, %tag, %reason, "this tag makes a route, but");
            self.gauges.noted_total.inc();
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Gauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = Self {
            routes: IntGauge::new("lictor_lb_routes", "Routes in the table, built-in ones included.")?,
            swaps: IntCounter::new("lictor_lb_table_swaps_total", "Routing tables that took effect.")?,
            skipped: IntGauge::new("lictor_lb_skipped_tags", "Tags that make no route now.")?,
            skipped_total: IntCounter::new(
                "lictor_lb_skipped_tags_total",
                "Tags that were found to make no route.",
            )?,
            noted: IntGauge::new(
                "lictor_lb_noted_tags",
                "Options of tags now that have no effect, or not the one that was meant.",
            )?,
            noted_total: IntCounter::new(
                "lictor_lb_noted_tags_total",
                "Options of tags that were found to have no effect, or not the one that was meant.",
            )?,
        };
        registry.register(Box::new(gauges.routes.clone()))?;
        registry.register(Box::new(gauges.swaps.clone()))?;
        registry.register(Box::new(gauges.skipped.clone()))?;
        registry.register(Box::new(gauges.skipped_total.clone()))?;
        registry.register(Box::new(gauges.noted.clone()))?;
        registry.register(Box::new(gauges.noted_total.clone()))?;
        Ok(gauges)
    }
}
