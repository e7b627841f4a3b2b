//! The single writer of the routing table: pictures → parts → table → swap → log what changed.
//!
//! Only the part of a changed instance is made anew, and a picture that changes no part changes no
//! table. Nothing here waits for anything but the next picture.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::{InstanceKey, Picture};
use imbl::ordmap::DiffItem;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::table::{Ledger, Part, Skipped, Table};

/// The current table: one atomic load for a reader.
pub type Live = Arc<ArcSwap<Table>>;

/// Owns the table and all that is needed to make the next one.
#[derive(Debug)]
pub struct Router {
    config: Arc<Config>,
    live: Live,
    ready: watch::Sender<bool>,
    picture: Picture,
    parts: BTreeMap<InstanceKey, Part>,
    ledger: Ledger,
    gauges: Gauges,
}

#[derive(Debug)]
struct Gauges {
    routes: IntGauge,
    swaps: IntCounter,
    skipped: IntGauge,
    skipped_total: IntCounter,
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
            ready,
            picture: Picture::new(),
            parts: BTreeMap::new(),
            ledger: Ledger::new(config.workers),
            gauges: Gauges::register(registry)?,
            config,
        })
    }

    /// Where the current table is found.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Follows pictures until `stop`. What the watch holds at the start is the first picture.
    pub async fn run(mut self, mut instances: watch::Receiver<Picture>, stop: CancellationToken) {
        let first = instances.borrow_and_update().clone();
        self.update(first);
        // Once only: whoever withdraws it later means it.
        self.ready.send_replace(true);
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
            self.update(picture);
        }
    }

    /// Takes over a picture. Returns whether the table was swapped.
    pub fn update(&mut self, picture: Picture) -> bool {
        let changes = self.changes(&picture);
        self.picture = picture;
        let mut lines = (BTreeSet::new(), BTreeSet::new());
        let mut matters = false;
        for Change { key, part } in changes {
            let old = self.parts.get(&key);
            if old == part.as_ref() {
                continue;
            }
            matters |= self.matters(old, part.as_ref());
            lines.0.extend(old.into_iter().flat_map(Part::lines));
            lines.1.extend(part.iter().flat_map(Part::lines));
            let known = old.map_or(&[][..], |old| &old.skipped);
            self.warn_of(
                part.iter()
                    .flat_map(|part| &part.skipped)
                    .filter(|skipped| !known.contains(skipped)),
            );
            match part {
                Some(part) => self.parts.insert(key, part),
                None => self.parts.remove(&key),
            };
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

    /// An instance without routes still makes the name of its node one of ours.
    fn matters(&self, old: Option<&Part>, new: Option<&Part>) -> bool {
        let empty = |part: Option<&Part>| part.is_none_or(Part::is_empty);
        !(empty(old) && empty(new)) || new.is_some_and(|part| !self.live.load().knows_node(&part.node))
    }

    fn swap(&mut self) {
        let table = Table::build(&self.config, self.parts.values(), &mut self.ledger);
        self.gauges.routes.set(count(table.routes().count()));
        self.gauges.skipped.set(count(table.skipped().len()));
        self.gauges.swaps.inc();
        self.live.store(Arc::new(table));
        self.ledger.sweep();
    }

    fn warn_of<'a>(&self, skipped: impl Iterator<Item = &'a Skipped>) {
        for Skipped {
            service,
            instance,
            tag,
            reason,
        } in skipped
        {
            tracing::warn!(?service, ?instance, %tag, %reason, "this tag makes no route");
            self.gauges.skipped_total.inc();
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
        };
        registry.register(Box::new(gauges.routes.clone()))?;
        registry.register(Box::new(gauges.swaps.clone()))?;
        registry.register(Box::new(gauges.skipped.clone()))?;
        registry.register(Box::new(gauges.skipped_total.clone()))?;
        Ok(gauges)
    }
}
