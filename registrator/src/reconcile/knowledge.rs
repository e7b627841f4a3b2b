//! What is known of containers, and what should therefore be registered.
//!
//! Facts come from inspections only. Events add two things that only take out of rotation: that a
//! container was asked to stop, which no inspection shows, and that its process has ended, which an
//! engine busy with cleaning up shows late.

mod intended;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Registration;

use super::notes::Note;
use crate::config::{Config, Deregister, Home};
use crate::container::{self, Container, Mesh, Network};
use crate::docker::Listed;
use crate::registry::{Offer, Reason};
use crate::services::address::LONGEST_CHAIN;
use crate::services::{self, Fault};

/// What an engine waits between stop signal and kill, where nobody says otherwise.
const USUAL_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The engine's own kill at the end of that time comes first, and renews the drain.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a container that failed is kept though the engine has removed it: nobody else can take it away, and programs
/// that fail again and again under other names would fill registries without end.
const RELIC: Duration = Duration::from_secs(3600);

/// So many containers that do not exist may be remembered without need.
const MANY_GONE: usize = 256;

/// Everything known of containers.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Knowledge {
    config: Arc<Config>,
    containers: BTreeMap<Arc<str>, Known>,
    drains: BTreeMap<Arc<str>, Drain>,
    /// Containers that the engine says do not exist.
    gone: BTreeSet<Arc<str>>,
    /// How many of them are too many.
    many_gone: usize,
    /// Those of them that failed and were removed by the engine itself (`--rm`), and since when: they are kept for
    /// people to see, as they last were.
    relics: BTreeMap<Arc<str>, Instant>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Known {
    facts: Container,
    /// What it is registered as; while it does not run, what it would be.
    derived: Vec<Arc<Offer>>,
    /// While it does not run: what it was registered as when it did, if that was seen.
    lived: Vec<Arc<Offer>>,
    faults: Vec<Fault>,
    skipped: Vec<Reason>,
}

/// Signals a container was sent in its present life.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Drain {
    signals: BTreeMap<i32, Instant>,
    /// That life has ended; the next inspection to begin will show what came of it.
    over: bool,
    /// Its process has ended, as far as events told.
    died: bool,
    /// What that returned, for a container of which no inspection can be had any more.
    exit_code: Option<i64>,
}

/// A container that wants an id which another one has, be it of a service or of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loser {
    pub(crate) id: Arc<str>,
    pub(crate) container: Arc<str>,
    /// It named that id, instead of having it by rule.
    pub(crate) told: bool,
    /// Both are tasks of one service of a swarm, and the entry stands for both.
    pub(crate) shares: bool,
    /// It is the id of this check that another service has, the one of the id above.
    pub(crate) check: Option<Arc<str>>,
}

impl Loser {
    /// Whether it is this container that has no entry.
    pub(crate) fn yields(&self, container: &str) -> bool {
        self.check.is_none() && &*self.container == container
    }
}

/// A setting of a container that was left out, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) container: String,
    pub(crate) fault: Fault,
}

impl Knowledge {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            containers: BTreeMap::new(),
            drains: BTreeMap::new(),
            gone: BTreeSet::new(),
            many_gone: MANY_GONE,
            relics: BTreeMap::new(),
        }
    }

    /// Takes in what events said; returns whether the container must be inspected.
    pub(crate) fn noted(&mut self, id: &Arc<str>, note: &Note, now: Instant) -> bool {
        if note.died || note.exit_code.is_some() {
            self.drains.entry(id.clone()).or_default();
        }
        if let Some(drain) = self.drains.get_mut(id).filter(|_| note.turned) {
            (drain.over, drain.died) = (true, note.died);
            let before = drain.exit_code.filter(|_| !note.began);
            drain.exit_code = note.exit_code.or(before);
        }
        if !note.signals.is_empty() {
            let drain = self.drains.entry(id.clone()).or_default();
            if drain.over {
                *drain = Drain::default();
            }
            drain
                .signals
                .extend(note.signals.iter().map(|signal| (*signal, now)));
        }
        !note.only_signals || !self.containers.contains_key(id)
    }

    /// Whether signals of a life that has ended are still held against a container.
    pub(crate) fn is_over(&self, id: &str) -> bool {
        self.drains.get(id).is_some_and(|drain| drain.over)
    }

    /// Takes in an inspection that began when `is_over` said `ended`. Returns complaints that were
    /// not made before.
    pub(crate) fn inspected(
        &mut self,
        id: &Arc<str>,
        facts: Option<Container>,
        ended: bool,
        now: Instant,
    ) -> Vec<Complaint> {
        let Some(facts) = facts else {
            let drain = self.drains.remove(id).unwrap_or_default();
            self.gone.insert(id.clone());
            match self.relic(id, drain.exit_code) {
                Some(relic) => {
                    self.relics.entry(id.clone()).or_insert(now);
                    // It said all it had to say while it was there.
                    _ = self.derive(id.clone(), relic);
                }
                None => _ = self.containers.remove(id),
            }
            return self.derive_sharers(id);
        };
        self.gone.remove(id);
        self.relics.remove(id);
        if !facts.runs() || (ended && self.is_over(id)) {
            self.drains.remove(id);
        }
        let mut complaints = self.derive(id.clone(), facts);
        complaints.append(&mut self.derive_sharers(id));
        complaints
    }

    /// What stays of a container that is gone, if it is one that is kept: it failed, and nobody but the engine removed
    /// it. Where it was seen after its end that says how it ended, else the event of its end.
    fn relic(&self, id: &str, exit_code: Option<i64>) -> Option<Container> {
        let mut facts = self.containers.get(id)?.facts.clone();
        if facts.runs() {
            let code = exit_code?;
            (facts.state.running, facts.state.exit_code, facts.state.health) = (false, code, None);
        }
        (facts.auto_remove && self.is_kept(&facts)).then_some(facts)
    }

    fn derive(&mut self, id: Arc<str>, mut facts: Container) -> Vec<Complaint> {
        let before = self.containers.remove(&id);
        // A tag moves on to the next image that is built, and a service does not change its name for that.
        if let Some(tag) = before.as_ref().and_then(|before| before.facts.image_tag.as_ref()) {
            facts.image_tag = Some(tag.clone());
        }
        let lookup = |id: &str| self.containers.get(id).map(|known| &known.facts);
        let mut derived = services::derive(&facts, &self.config, &lookup);
        let old = before
            .as_ref()
            .map(|before| before.faults.as_slice())
            .unwrap_or_default();
        if self.unmet_owner(&facts).is_some() {
            // What it seems to lack now may be there in a moment; it is derived again then.
            derived.faults = old.to_vec();
        }
        let news = derived.faults.iter().filter(|fault| !old.contains(fault));
        let complaints = news
            .map(|fault| Complaint {
                container: facts.name.clone(),
                fault: fault.clone(),
            })
            .collect();
        let (kept, lived) = match before {
            None => Default::default(),
            Some(before) if facts.runs() => (before.derived, Vec::new()),
            Some(before) if before.facts.runs() => (before.derived.clone(), before.derived),
            Some(before) => (before.derived, before.lived),
        };
        // An equal offer stays the same object, which makes the plan's comparison cheap.
        let id_of = |offer: &Offer| offer.registration.service.id.clone();
        let mut kept: BTreeMap<Arc<str>, Arc<Offer>> =
            kept.into_iter().map(|offer| (id_of(&offer), offer)).collect();
        let keep = |fresh: Offer| match kept.remove(&id_of(&fresh)) {
            Some(old) if *old == fresh => old,
            _ => Arc::new(fresh),
        };
        let known = Known {
            derived: derived.offers.into_iter().map(keep).collect(),
            lived,
            facts,
            faults: derived.faults,
            skipped: derived.skipped,
        };
        self.containers.insert(id, known);
        complaints
    }

    /// The container through whose network another one that runs is reached, where nobody has asked for it yet.
    pub(crate) fn unmet_owner(&self, facts: &Container) -> Option<Arc<str>> {
        let mut at = facts;
        for _ in 0..LONGEST_CHAIN {
            let Network::Container(owner) = &at.network else {
                return None;
            };
            match self.containers.get(owner) {
                Some(known) => at = &known.facts,
                // By anything but its id it would be remembered twice.
                None => return (facts.runs() && is_id(owner) && !self.is_gone(owner)).then(|| owner.clone()),
            }
        }
        None
    }

    /// Others reach this host elsewhere from now on: what all containers are registered as is derived anew.
    pub(crate) fn moved(&mut self, home: Home) -> Vec<Complaint> {
        Arc::make_mut(&mut self.config).home = home;
        let all: Vec<Container> = self
            .containers
            .values()
            .map(|known| known.facts.clone())
            .collect();
        all.into_iter()
            .flat_map(|facts| self.derive(facts.id.clone(), facts))
            .collect()
    }

    /// Containers in the network of `owner` are reached through it, so they change with it; and those in theirs.
    fn derive_sharers(&mut self, owner: &Arc<str>) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        let mut owners = vec![owner.clone()];
        for _ in 0..LONGEST_CHAIN {
            let shares = |known: &&Known| match &known.facts.network {
                Network::Container(id) => owners.contains(id),
                _ => false,
            };
            let sharers = self.containers.values().filter(shares);
            let sharers: Vec<Container> = sharers.map(|known| known.facts.clone()).collect();
            owners = sharers.iter().map(|facts| facts.id.clone()).collect();
            for facts in sharers {
                complaints.append(&mut self.derive(facts.id.clone(), facts));
            }
        }
        complaints
    }

    /// Forgets drains that are over because the container has survived its signal. Returns whether it forgot anything.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let containers = &self.containers;
        let config = &self.config;
        let mut forgot = false;
        self.drains.retain(|id, drain| {
            let limit = drain_time(config, containers.get(id).map(|known| &known.facts));
            let signals = drain.signals.len();
            drain.signals.retain(|_, at| *at + limit > now);
            let stays = drain.died || drain.exit_code.is_some() || !drain.signals.is_empty();
            forgot |= !stays || drain.signals.len() != signals;
            stays
        });
        let containers = &mut self.containers;
        self.relics.retain(|id, since| {
            let stays = *since + RELIC > now;
            if !stays {
                containers.remove(id);
            }
            forgot |= !stays;
            stays
        });
        forgot
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let end = |(id, drain): (&Arc<str>, &Drain)| {
            let limit = drain_time(&self.config, self.containers.get(id).map(|known| &known.facts));
            drain.signals.values().min().map(|at| *at + limit)
        };
        let relics = self.relics.values().map(|since| *since + RELIC);
        self.drains.iter().filter_map(end).chain(relics).min()
    }

    /// Whether a container that ended stays registered. A signal (128 and more) is a wish of
    /// people; 255 is what a program returns for -1.
    fn is_kept(&self, facts: &Container) -> bool {
        let code = facts.state.exit_code;
        let failed = (1..128).contains(&code) || code == 255;
        self.config.deregister == Deregister::OnSuccess && facts.state.started && failed
    }

    /// Whether it does not run and stays registered.
    pub(crate) fn keeps(&self, id: &str) -> bool {
        let known = self.containers.get(id);
        known.is_some_and(|known| !known.facts.runs() && self.is_kept(&known.facts))
    }

    /// What containers that exist but do not run would offer.
    pub(crate) fn stopped(&self) -> impl Iterator<Item = &Registration> {
        let known = self
            .containers
            .values()
            .filter(|known| !known.facts.runs() && !self.is_kept(&known.facts));
        known.flat_map(|known| known.derived.iter().map(|wanted| &*wanted.registration))
    }

    /// What containers offer, did in the life that ended, or would if they ran.
    pub(crate) fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        let known = self.containers.values();
        known.flat_map(|known| known.derived.iter().chain(&known.lived))
    }

    /// Whether it is known what has become of this container.
    pub(crate) fn has_settled(&self, id: &str) -> bool {
        self.containers.contains_key(id) || self.gone.contains(id)
    }

    /// Whether the engine has shown it.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.containers.contains_key(id)
    }

    pub(crate) fn is_gone(&self, id: &str) -> bool {
        self.gone.contains(id)
    }

    /// Whether there are twice as many dead as the last time somebody was forgotten.
    pub(crate) fn has_many_gone(&self) -> bool {
        self.gone.len() >= self.many_gone
    }

    /// Forgets the dead that nothing refers to any more.
    pub(crate) fn bury(&mut self, still_recorded: &BTreeSet<&str>) {
        let relics = &self.relics;
        self.gone
            .retain(|id| still_recorded.contains(&**id) || relics.contains_key(id));
        self.many_gone = MANY_GONE.max(self.gone.len() * 2);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.containers.keys()
    }

    /// Whether it ran when last inspected; `None` for one we never met.
    pub(crate) fn ran(&self, id: &str) -> Option<bool> {
        self.containers.get(id).map(|known| known.facts.state.running)
    }

    /// Whether a line of a listing leaves nothing to ask of its container, if it shows what it showed before.
    pub(crate) fn agrees_with(&self, line: &Listed) -> bool {
        let Some(Known { facts, .. }) = self.containers.get(&line.id) else {
            return false;
        };
        // An end or a signal is held against it, which an inspection may lift; or a swarm has more to tell of it.
        let in_doubt = self.drains.contains_key(&line.id) || !matches!(facts.mesh, Mesh::Ports(_));
        facts.state.running == line.up && !in_doubt && (line.tells_health || facts.state.health.is_none())
    }

    pub(crate) fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.containers.get(id).map_or(id, |known| &known.facts.name)
    }

    /// What the engine last showed of a container.
    pub(crate) fn facts(&self, id: &str) -> Option<&Container> {
        self.containers.get(id).map(|known| &known.facts)
    }

    /// Each container with the settings and the ports of it that were left out.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Container, &[Fault], &[Reason])> {
        let known = self.containers.values();
        known.map(|known| (&known.facts, &*known.faults, &*known.skipped))
    }

    pub(crate) fn running(&self) -> usize {
        self.containers
            .values()
            .filter(|known| known.facts.runs())
            .count()
    }
}

impl Drain {
    /// Why it counts, if it does.
    fn why(&self, facts: &Container) -> Option<String> {
        let ends = [container::SIGKILL, facts.stop_signal];
        let counts = self.signals.iter().filter(|(signal, _)| ends.contains(signal));
        // The first that counts: the kill at the end of the grace period is no news.
        match counts.min_by_key(|(_, at)| **at) {
            Some((signal, _)) => Some(format!("stopping ({})", container::signal_name(*signal))),
            // In the words that stay if it is kept: others would only be told a minute later.
            None => self.died.then(|| match self.exit_code {
                Some(code) => format!("container exited ({code})"),
                None => "process ended".to_owned(),
            }),
        }
    }
}

/// Whether a text is the whole id of a container.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn drain_time(config: &Config, facts: Option<&Container>) -> Duration {
    let stop = facts
        .and_then(|facts| facts.stop_timeout)
        .unwrap_or(USUAL_STOP_TIMEOUT);
    config.drain.max(stop) + MARGIN
}
