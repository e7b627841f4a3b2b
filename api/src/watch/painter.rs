//! What is known of a foreign catalog, what of it has to be read again, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::node::fold;
use catalog::service;
use catalog::{Instance, Picture};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Config;
use crate::blocking::Stepper;
use crate::client::{ClientError, Query};
use crate::wire::check::HealthCheck;
use crate::wire::health::HealthEntry;

/// Service names with the tags of all their instances.
pub(super) type Names = BTreeMap<Arc<str>, Vec<String>>;

pub(super) struct Painter<'a> {
    config: &'a Config,
    /// By node and id, as last heard.
    checks: BTreeMap<(Arc<str>, Arc<str>), HealthCheck>,
    /// As last heard; `None` before the first time.
    names: Option<Names>,
    picture: Picture,
    /// Names of the services to read again.
    stale: BTreeSet<Arc<str>>,
    last_sweep: Option<Instant>,
    /// All services are to be read again at this moment.
    sweep_at: Instant,
    /// Paces the reading again of what could not be read.
    failures: Stepper,
    retry_at: Option<Instant>,
    published: bool,
}

impl<'a> Painter<'a> {
    pub(super) fn new(config: &'a Config, now: Instant) -> Self {
        Self {
            config,
            checks: BTreeMap::new(),
            names: None,
            picture: Picture::new(),
            stale: BTreeSet::new(),
            last_sweep: None,
            sweep_at: now + config.slow_sweep,
            failures: Stepper::default(),
            retry_at: None,
            published: false,
        }
    }

    /// Marks the services of every check that differs from what was known of it.
    pub(super) fn checks_changed(&mut self, rows: Vec<HealthCheck>) {
        let rows = rows
            .into_iter()
            .map(|check| ((check.node.clone(), check.id.clone()), check));
        let before = std::mem::replace(&mut self.checks, rows.collect());
        let changed = self
            .checks
            .iter()
            .filter(|(key, check)| before.get(*key) != Some(*check));
        let gone = before.iter().filter(|(key, _)| !self.checks.contains_key(*key));
        let (mut nodes, mut services) = (BTreeSet::new(), BTreeSet::new());
        for (_, check) in changed.chain(gone) {
            if check.service_id.is_empty() {
                nodes.insert(&check.node);
            } else {
                services.insert(check.service_name.clone());
            }
        }
        let there = self
            .picture
            .values()
            .filter(|instance| nodes.contains(&instance.node.spec.name));
        services.extend(there.map(|instance| instance.service.spec.name.clone()));
        self.stale.append(&mut services);
    }

    /// Marks names that came, went or changed tags. The list is only heard when *something* about
    /// services changed: where it shows nothing, everything has to be read.
    pub(super) fn names_changed(&mut self, rows: Names, now: Instant) {
        let before = self.names.replace(rows).unwrap_or_default();
        let names = self.names.iter().flatten();
        let came = names
            .filter(|(name, tags)| before.get(*name) != Some(*tags))
            .map(|(name, _)| name);
        let went = before
            .keys()
            .filter(|name| self.names.as_ref().is_none_or(|now| !now.contains_key(*name)));
        let marked = self.stale.len();
        self.stale.extend(came.chain(went).cloned());
        let shows = self.stale.len() > marked;
        // Behind a change that shows there may be one that does not, so that is a sweep too, later.
        let earliest = self
            .last_sweep
            .map_or(now, |last| now.max(last + self.config.sweep_gap));
        let at = if shows {
            now + self.config.sweep_gap
        } else {
            earliest
        };
        self.sweep_at = self.sweep_at.min(at);
    }

    /// When there is something to do even if nothing is heard.
    pub(super) fn next_look(&self) -> Instant {
        self.retry_at
            .map_or(self.sweep_at, |retry| retry.min(self.sweep_at))
    }

    /// Marks everything, if it is time to.
    pub(super) fn look(&mut self, now: Instant) {
        if now >= self.sweep_at {
            self.last_sweep = Some(now);
            self.sweep_at = now + self.config.slow_sweep;
            self.stale
                .extend(self.names.iter().flatten().map(|(name, _)| name.clone()));
            self.stale
                .extend(self.picture.keys().map(|key| key.service.clone()));
        }
    }

    /// Reads what is marked, and publishes if that changed the picture. What cannot be read stays
    /// marked, and stays in the picture as it was.
    pub(super) async fn read_stale(&mut self, out: &watch::Sender<Picture>, trouble: &impl Fn(&ClientError)) {
        let mut waiting = std::mem::take(&mut self.stale).into_iter();
        let mut reading = JoinSet::new();
        let mut failed = BTreeSet::new();
        let before = self.picture.clone();
        loop {
            while reading.len() < self.config.parallel.max(1) {
                let Some(name) = waiting.next() else { break };
                let client = self.config.client.clone();
                let query = Query {
                    consistency: self.config.query.consistency,
                    ..Query::default()
                };
                reading.spawn(async move {
                    let rows = client.health_service(&name, &query).await;
                    (name, rows)
                });
            }
            match reading.join_next().await {
                None => break,
                Some(Ok((name, Ok(answer)))) => self.redraw(&name, answer.rows),
                Some(Ok((name, Err(error)))) => {
                    trouble(&error);
                    failed.insert(name);
                }
                // Only a panic in the client ends a task early, and that is not ours to hide.
                Some(Err(lost)) => std::panic::resume_unwind(lost.into_panic()),
            }
        }
        self.retry_at = (!failed.is_empty()).then(|| Instant::now() + self.failures.failed(rand::random()));
        if failed.is_empty() {
            self.failures = Stepper::default();
        }
        let whole = failed.is_empty();
        self.stale = failed;
        if !before.ptr_eq(&self.picture) || (!self.published && whole) {
            self.publish(out, whole);
        }
    }

    /// The first picture has to be whole: half of one would look like services going away.
    fn publish(&mut self, out: &watch::Sender<Picture>, whole: bool) {
        if self.published || whole {
            self.published = true;
            out.send_replace(self.picture.clone());
        }
    }

    /// Replaces the instances of one service; one that says the same as before stays the same `Arc`.
    fn redraw(&mut self, name: &str, rows: Vec<HealthEntry>) {
        let rows = rows
            .into_iter()
            .map(Instance::from)
            .filter(|instance| (self.config.keep)(instance));
        let mut rows: BTreeMap<_, _> = rows.map(|instance| (instance.key(), instance)).collect();
        let name = fold(name);
        let known: Vec<_> = service::within(&self.picture, &name)
            .map(|(key, instance)| (key.clone(), instance.clone()))
            .collect();
        for (key, old) in known {
            match rows.remove(&key) {
                None => drop(self.picture.remove(&key)),
                Some(new) if new == *old => {}
                Some(new) => drop(self.picture.insert(key, Arc::new(new))),
            }
        }
        for (key, new) in rows {
            self.picture.insert(key, Arc::new(new));
        }
    }
}
