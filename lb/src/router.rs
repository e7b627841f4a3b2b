//! The single writer of the routing table: pictures → parts → table → swap → log what changed. Route commands come on
//! top of what the pictures' tags ask for.
//!
//! Only the part of a changed instance and its routes are made anew, and a picture that changes no part
//! changes no table. Nothing here waits for anything but the next picture or commands, and its own work, which is done
//! aside.

mod breath;
mod gauges;
mod lines;

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::{InstanceKey, Picture};
use imbl::ordmap::DiffItem;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, RoutesLog};
use crate::table::{Builder, Part, Skipped, Table, Weights};
use breath::Breath;
use gauges::Gauges;
use lines::Lines;

/// The current table: one atomic load for a reader.
pub type Live = Arc<ArcSwap<Table>>;

/// Owns the table and all that is needed to make the next one.
#[derive(Debug)]
pub struct Router {
    config: Arc<Config>,
    live: Live,
    swapped: watch::Sender<()>,
    names: watch::Sender<Arc<BTreeSet<String>>>,
    ready: watch::Sender<bool>,
    picture: Picture,
    commands: Arc<str>,
    /// What is wrong with them.
    complaints: BTreeSet<Skipped>,
    builder: Builder,
    gauges: Gauges,
}

/// What came since the last table.
#[derive(Default)]
struct News {
    picture: Option<Picture>,
    commands: Option<Arc<str>>,
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
            names: watch::Sender::default(),
            ready,
            picture: Picture::new(),
            commands: Arc::default(),
            complaints: BTreeSet::new(),
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

    /// Names that routes of the current table wish the balancer to be registered under.
    #[must_use]
    pub fn names(&self) -> watch::Receiver<Arc<BTreeSet<String>>> {
        self.names.subscribe()
    }

    /// Changes with every table that takes effect.
    #[must_use]
    pub fn swapped(&self) -> watch::Receiver<()> {
        self.swapped.subscribe()
    }

    /// Follows pictures and commands until `stop`. What the watches hold at the start makes the first table.
    pub async fn run(
        self,
        mut instances: watch::Receiver<Picture>,
        mut commands: watch::Receiver<Arc<str>>,
        stop: CancellationToken,
    ) {
        let mut router = self;
        let (mut first, mut commanded) = (true, true);
        loop {
            let news = News {
                picture: Some(instances.borrow_and_update().clone()),
                commands: Some(commands.borrow_and_update().clone()),
            };
            router = router.take_aside(news).await;
            if std::mem::take(&mut first) {
                // Once only: whoever withdraws it later means it.
                router.ready.send_replace(true);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = instances.changed() => if changed.is_err() {
                    router.gauges.source_ended.inc();
                    tracing::warn!("no more pictures will come, the routing table stays as it is");
                    stop.cancelled().await;
                    return;
                },
                // Who never sends any has no sender either.
                changed = commands.changed(), if commanded => commanded = changed.is_ok(),
            }
        }
    }

    /// Works on a thread that may take its time: a picture of ten thousand new services takes a while, and this
    /// runtime is everybody's.
    async fn take_aside(mut self, news: News) -> Self {
        let working = tokio::task::spawn_blocking(move || {
            self.take(news);
            self
        });
        // It is never cancelled, so all that can have happened to it is a panic, which stays one.
        working
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Takes over a picture. Returns whether the table was swapped.
    pub fn update(&mut self, picture: Picture) -> bool {
        self.take(News {
            picture: Some(picture),
            commands: None,
        })
    }

    /// Takes over the route commands that come on top of what tags ask for. Returns whether the table was swapped.
    pub fn command(&mut self, commands: Arc<str>) -> bool {
        self.take(News {
            picture: None,
            commands: Some(commands),
        })
    }

    fn take(&mut self, news: News) -> bool {
        let (mut lines, mut breath) = (Lines::default(), Breath::new());
        let commanded = news.commands.is_some_and(|commands| self.follow(commands));
        let mut matters = commanded;
        for Change { key, part } in news
            .picture
            .map_or_else(Vec::new, |picture| self.changes(picture))
        {
            breath.draw_if_due();
            let old = self.builder.part(&key);
            if old == part.as_ref() {
                continue;
            }
            lines.gone.extend(old.and_then(Part::built_in_line));
            lines.came.extend(part.as_ref().and_then(Part::built_in_line));
            self.warn_of(old, part.as_ref());
            matters |= self.builder.put(&key, part);
        }
        if commanded {
            // Asked of what is there now, so it is told with the command and not kept.
            for command in self.builder.idle_commands() {
                tracing::warn!(%command, "this route command names no target now");
                self.gauges.noted_total.inc();
            }
        }
        if matters {
            breath.draw();
            let table = self.swap();
            breath.draw();
            let differences = self.builder.take_differences();
            match self.config.routes_log {
                RoutesLog::Delta => lines.with(&differences).say(),
                RoutesLog::All => table.text(Weights::Asked).lines().for_each(|line| {
                    tracing::info!(route = %line, "route");
                }),
                RoutesLog::Detail => table.tree().lines().for_each(|line| {
                    tracing::info!("{line}");
                }),
            }
        }
        matters
    }

    /// Commands are read anew whenever one of them changes; what was wrong before is not said again.
    fn follow(&mut self, commands: Arc<str>) -> bool {
        if Arc::ptr_eq(&self.commands, &commands) || self.commands == commands {
            return false;
        }
        let matters = self.builder.command(&commands);
        self.commands = commands;
        let [skipped, notes] = self.builder.complaints();
        let known = std::mem::take(&mut self.complaints);
        let is_new = |one: &&Skipped| !known.contains(one);
        for Skipped { tag, reason, .. } in skipped.iter().filter(is_new) {
            tracing::warn!(command = %tag, %reason, "this route command is left out");
            self.gauges.skipped_commands_total.inc();
        }
        for Skipped { tag, reason, .. } in notes.iter().filter(is_new) {
            tracing::warn!(command = %tag, %reason, "this route command is followed, but");
            self.gauges.noted_total.inc();
        }
        self.complaints = skipped.iter().chain(&*notes).cloned().collect();
        matters
    }

    fn changes(&mut self, picture: Picture) -> Vec<Change> {
        let part = |key: &InstanceKey, instance| Change {
            key: key.clone(),
            part: Some(Part::of(&self.config, instance)),
        };
        let changes = self
            .picture
            .diff(&picture)
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
            .collect();
        self.picture = picture;
        changes
    }

    fn swap(&mut self) -> Arc<Table> {
        let table = Arc::new(self.builder.build());
        self.gauges.routes.set(count(table.size()));
        let [commands, _] = self.builder.complaints();
        self.gauges.skipped_commands.set(count(commands.len()));
        let tags = table.skipped().count() - commands.len();
        self.gauges.skipped.set(count(tags));
        self.gauges.noted.set(count(table.notes().count()));
        self.gauges.swaps.inc();
        let names: BTreeSet<String> = table.aliases().iter().map(ToString::to_string).collect();
        self.names.send_if_modified(|last| {
            let differ = **last != names;
            if differ {
                *last = Arc::new(names);
            }
            differ
        });
        self.live.store(table.clone());
        self.swapped.send_replace(());
        table
    }

    /// What is wrong with the tags of an instance, once.
    fn warn_of(&self, old: Option<&Part>, new: Option<&Part>) {
        let skipped = old.map_or(&[][..], |old| &old.said.skipped);
        let notes = old.map_or(&[][..], |old| &old.said.notes);
        let Some(new) = new else { return };
        for Skipped {
            service,
            instance,
            tag,
            reason,
        } in new.said.skipped.iter().filter(|one| !skipped.contains(one))
        {
            tracing::warn!(?service, ?instance, %tag, %reason, "this tag makes no route");
            self.gauges.skipped_total.inc();
        }
        for Skipped {
            service,
            instance,
            tag,
            reason,
        } in new.said.notes.iter().filter(|one| !notes.contains(one))
        {
            tracing::warn!(?service, ?instance, %tag, %reason, "this tag makes a route, but");
            self.gauges.noted_total.inc();
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod weight;
