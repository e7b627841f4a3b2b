//! What is known of a foreign catalog, what of it has to be read again, and when.

mod ears;
mod grace;
mod sweep;
mod unexplained;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use catalog::node::fold;
use catalog::service;
use catalog::{Answer, Check, Index, Instance, InstanceKey, Picture};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(super) use self::ears::Ears;
use self::ears::NodeCheck;
use self::grace::Grace;
use self::unexplained::Unexplained;
use super::{Config, Question, lock};
use crate::blocking::Stepper;
use crate::client::{ClientError, Consistency, Query};
use crate::wire::health::HealthEntry;

/// Where a change may have been passed over, a comparison waits for so many gaps between two: in a busy catalog nearly
/// every answer passes over indexes, and of other things.
const DOUBTED: u32 = 10;

/// Attempts at reading what cannot be read before the first picture is published without it; some two seconds.
const FIRST_TRIES: u32 = 4;

pub(super) struct Painter<'a> {
    config: &'a Config,
    ears: &'a Mutex<Ears>,
    picture: Picture,
    /// Of every instance that was read, whether it is kept in the picture or not.
    versions: BTreeMap<InstanceKey, Index>,
    /// With which index each service was read that has instances.
    read_at: BTreeMap<Arc<str>, Index>,
    /// Names of the services to read again.
    stale: BTreeSet<Arc<str>>,
    /// What is known of node checks that changed since the services they speak for were read.
    node_checks: Vec<NodeCheck>,
    /// Nodes as last compared.
    nodes: BTreeMap<Arc<str>, sweep::Node>,
    /// Some service changed, and nothing read so far shows which.
    unexplained: Unexplained,
    /// Both lists have been heard.
    knows: bool,
    /// All versions are to be compared at this moment,
    sweep_at: Instant,
    /// and while a change is unexplained, earlier, but not before this one.
    soon_at: Instant,
    /// Paces the reading again of what could not be read.
    failures: Stepper,
    retry_at: Option<Instant>,
    grace: Grace,
    published: bool,
}

impl<'a> Painter<'a> {
    pub(super) fn new(config: &'a Config, ears: &'a Mutex<Ears>, now: Instant) -> Self {
        Self {
            config,
            ears,
            picture: Picture::new(),
            versions: BTreeMap::new(),
            read_at: BTreeMap::new(),
            stale: BTreeSet::new(),
            node_checks: Vec::new(),
            nodes: BTreeMap::new(),
            unexplained: Unexplained::default(),
            knows: false,
            sweep_at: now + config.slow_sweep,
            soon_at: now,
            failures: Stepper::default(),
            retry_at: None,
            grace: Grace::new(config.keep_over_restart),
            published: false,
        }
    }

    /// Takes over what was heard.
    pub(super) fn listen(&mut self, now: Instant) {
        let mut ears = lock(self.ears);
        self.knows = ears.know_all();
        // What is read before both were heard could be older than they are.
        if !self.knows {
            return;
        }
        let (heard, failing) = (ears.take(), ears.failing());
        drop(ears);
        if heard.restarted {
            self.begin_anew(now);
        }
        self.grace.heard(failing, now);
        self.stale.extend(heard.services);
        self.node_checks.extend(heard.node_checks);
        self.unexplained.checked(heard.checked_at);
        self.unexplained.heard(heard.moves, now);
        if heard.missed {
            self.unexplained.surely(now);
        }
    }

    /// The catalog has lost its memory. Its indexes start over, so no version that was read tells anything any more.
    fn begin_anew(&mut self, now: Instant) {
        if self.grace.begin(now) {
            tracing::info!("the catalog began anew; what it does not know any more is kept for a while");
        }
        self.unexplained.begin_anew();
        let known = self.versions.keys().map(|key| key.service.clone());
        self.stale.extend(known);
    }

    /// When there is something to do even if nothing is heard.
    pub(super) fn next_look(&self) -> Instant {
        let moments = [self.retry_at, self.grace.until(), self.unexplained.due()];
        let moments = moments.into_iter().flatten();
        moments.fold(self.next_sweep(), Instant::min)
    }

    fn next_sweep(&self) -> Instant {
        match self.unexplained.wish(self.config.sweep_gap * DOUBTED) {
            Some(wish) => self.sweep_at.min(self.soon_at.max(wish)),
            None => self.sweep_at,
        }
    }

    /// Does what there is to do: reads what is marked, compares versions if it is time to, and publishes if that changed
    /// the picture.
    pub(super) async fn look(
        &mut self,
        out: &watch::Sender<Picture>,
        told: &impl Fn(Question, Option<&ClientError>),
    ) {
        if !self.knows {
            self.sweep_at = Instant::now() + self.config.slow_sweep;
            return;
        }
        let before = self.picture.clone();
        for key in self.grace.over(Instant::now()) {
            self.picture.remove(&key);
        }
        for check in std::mem::take(&mut self.node_checks) {
            self.take_over(&check);
        }
        self.read_stale(told).await;
        self.unexplained.judge(Instant::now());
        if Instant::now() >= self.next_sweep() {
            self.sweep(told).await;
            self.read_stale(told).await;
        }
        let whole = self.stale.is_empty();
        self.retry_at = (!whole).then(|| Instant::now() + self.failures.failed(rand::random()));
        if whole {
            self.failures = Stepper::default();
        }
        let first = !self.published && (whole || self.nearly_whole());
        if first || (self.published && !before.ptr_eq(&self.picture)) {
            if first {
                self.remember(&out.borrow());
            }
            self.published = true;
            out.send_replace(self.picture.clone());
        }
    }

    /// Keeps what was known earlier, where the catalog has lost its memory since: a version fell, or most is not as it was.
    fn remember(&mut self, earlier: &Picture) {
        let now = |key| self.versions.get(key).copied();
        let changed = earlier
            .iter()
            .filter(|(key, was)| now(key) != Some(was.service.modified));
        let fell = changed
            .clone()
            .any(|(key, was)| now(key).is_some_and(|now| now < was.service.modified));
        if !fell && (earlier.is_empty() || changed.count() * 2 < earlier.len()) {
            return;
        }
        for (key, instance) in earlier {
            if !self.versions.contains_key(key) {
                self.grace.hold(key.clone());
                self.picture.insert(key.clone(), instance.clone());
            }
        }
        self.begin_anew(Instant::now());
    }

    /// The first picture has to be whole: half of one would look like services going away. But where most could be read
    /// and the rest could not for a while, those few must not keep all others from being served.
    fn nearly_whole(&self) -> bool {
        let mut read = 0;
        let mut last = None;
        for key in self.versions.keys() {
            read += usize::from(last.replace(&key.service) != Some(&key.service));
        }
        self.failures.failures() >= FIRST_TRIES && read > self.stale.len()
    }

    /// Reads the services that are marked. What cannot be read stays marked, and stays in the picture as it was.
    async fn read_stale(&mut self, told: &impl Fn(Question, Option<&ClientError>)) {
        let mut waiting = std::mem::take(&mut self.stale).into_iter();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < self.config.parallel.max(1) {
                let Some(name) = waiting.next() else { break };
                let (client, query) = (self.config.client.clone(), self.fresh());
                reading.spawn(async move {
                    let rows = client.health_service(&name, &query).await;
                    (name, rows)
                });
            }
            match reading.join_next().await {
                None => break,
                Some(Ok((name, Ok(answer)))) => {
                    told(Question::Service, None);
                    self.redraw(&name, answer);
                }
                Some(Ok((name, Err(error)))) => {
                    told(Question::Service, Some(&error));
                    self.stale.insert(name);
                }
                // Only a panic in the client ends a task early, and that is not ours to hide.
                Some(Err(lost)) => std::panic::resume_unwind(lost.into_panic()),
            }
        }
    }

    /// How single things are asked for: by a server that lags behind the one that told of a change, that change would be
    /// lost, so `stale` is for the lists.
    fn fresh(&self) -> Query {
        let consistency = match self.config.query.consistency {
            Consistency::Stale => Consistency::Default,
            other => other,
        };
        Query {
            consistency,
            ..Query::default()
        }
    }

    /// Replaces the instances of one service; one that says the same as before stays the same `Arc`.
    fn redraw(&mut self, name: &str, answer: Answer<Vec<HealthEntry>>) {
        let name = fold(name);
        let old: Vec<InstanceKey> = self
            .versions
            .range(first_of(&name)..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.service == name)
            .collect();
        let mut rows: BTreeMap<_, _> = answer
            .rows
            .into_iter()
            .map(Instance::from)
            .map(|instance| (instance.key(), instance))
            .collect();
        self.doubt(&name, answer.index, &old, &rows);
        for key in old {
            if !rows.contains_key(&key) {
                self.versions.remove(&key);
                self.unexplained.read(answer.index);
            }
        }
        for (key, instance) in &rows {
            let version = instance.service.modified;
            if self.versions.insert(key.clone(), version) != Some(version) {
                self.unexplained.read(version);
            }
        }
        rows.retain(|_, instance| (self.config.keep)(instance));
        let known: Vec<_> = service::within(&self.picture, &name)
            .map(|(key, instance)| (key.clone(), instance.clone()))
            .collect();
        for (key, old) in known {
            let found = rows.remove(&key);
            if found.is_some() {
                self.grace.found(&key);
            }
            match found {
                // It is there, but not wanted any more.
                None if self.versions.contains_key(&key) => drop(self.picture.remove(&key)),
                None if self.grace.holds() => self.grace.hold(key),
                // The list will tell, of its end or of a catalog that began anew.
                None if lock(self.ears).show(&key) => {}
                None => drop(self.picture.remove(&key)),
                Some(new) if new == *old => {}
                Some(new) => drop(self.picture.insert(key, Arc::new(new))),
            }
        }
        for (key, new) in rows {
            self.picture.insert(key, Arc::new(new));
        }
    }

    /// Looks whether this answer follows from the one before, and at what the lists have told meanwhile: before it may take
    /// anything out. In one history no version falls, no index does, and what goes raises it.
    fn doubt(
        &mut self,
        name: &Arc<str>,
        index: Index,
        old: &[InstanceKey],
        rows: &BTreeMap<InstanceKey, Instance>,
    ) {
        let now = Instant::now();
        let fell = old.iter().any(|key| {
            let found = rows.get(key).map(|found| found.service.modified);
            found.is_some_and(|found| found < self.versions[key])
        });
        let lost = old.iter().any(|key| !rows.contains_key(key));
        let before = self.read_at.remove(name).unwrap_or_default();
        if !rows.is_empty() {
            self.read_at.insert(name.clone(), index);
        }
        let (restarted, failing) = {
            let ears = lock(self.ears);
            (ears.restarted(), ears.failing())
        };
        if fell || restarted || (index > 0 && (index < before || (lost && index == before))) {
            self.begin_anew(now);
        }
        self.grace.heard(failing, now);
    }

    /// Takes over a check of a node for all that is known to run there.
    fn take_over(&mut self, check: &NodeCheck) {
        let node = fold(&check.node);
        let there: Vec<_> = self
            .picture
            .iter()
            .filter(|(key, _)| key.node == node)
            .map(|(key, instance)| (key.clone(), instance.clone()))
            .collect();
        for (key, instance) in there {
            let own = |known: &Arc<Check>| known.spec.service_id.is_none() && known.spec.id == check.id;
            let known = instance.checks.iter().find(|known| own(known));
            if known.map(|known| &**known) == check.now.as_deref() {
                continue;
            }
            let mut checks: Vec<_> = instance
                .checks
                .iter()
                .filter(|known| !own(known))
                .cloned()
                .collect();
            checks.extend(check.now.clone());
            // The node's before the service's, each by id, as when they are read.
            checks.sort_by(|a, b| {
                let place = |check: &Arc<Check>| (check.spec.service_id.is_some(), check.spec.id.clone());
                place(a).cmp(&place(b))
            });
            let instance = Instance {
                node: instance.node.clone(),
                service: instance.service.clone(),
                checks,
            };
            self.picture.insert(key, Arc::new(instance));
        }
    }
}

fn first_of(service: &Arc<str>) -> InstanceKey {
    InstanceKey {
        service: service.clone(),
        node: "".into(),
        id: "".into(),
    }
}
