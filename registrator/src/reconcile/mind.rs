//! News in, actions out: decides what to ask and what to write, and does neither.
//!
//! Time is handed in, so a model can drive it. Losing any piece of news is survivable: the slow
//! pass asks for everything again, and nothing here depends on having heard of a change.

mod accounts;
mod plan;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Registration;

use super::errand::Errand;
use super::knowledge::{Complaint, Knowledge, Loser};
use super::ledger::{Ledger, Outcome};
use super::lines::Lines;
use super::notes::Note;
use super::queue::Queue;
use super::{Intended, Write};
use crate::config::{Config, Home};
use crate::container::Container;
use crate::docker::Listed;
use crate::registry::Abilities;

/// If more than this many, and more than half of all, vanish between two listings, the engine is
/// asked again before it is believed.
const FEW: usize = 5;
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// An event may come after the listing that shows what it tells of; not much later.
const HEARING: Duration = Duration::from_secs(1);

/// Why containers are listed when an engine is there.
const CONNECTED: &str = "connected";

/// A registry, by its place among those that were given.
pub(crate) type Which = usize;

/// Something to be done, whose outcome must be reported back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// List all containers.
    List,
    /// Inspect one container.
    Inspect(Arc<str>),
    /// Ask a registry what it holds.
    Read(Which),
    /// Write to a registry.
    Write(Which, Write),
    /// Let these entries of a registry live on.
    Renew(Which, Vec<Arc<Registration>>),
    /// Say of a check that it passes.
    Report(Which, Arc<str>),
    /// Wait for a registry to falter.
    Watch(Which),
}

/// The registrator without its hands.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Mind {
    config: Arc<Config>,
    knowledge: Knowledge,
    /// One for each registry; none waits for another.
    ledgers: Vec<Ledger>,
    queue: Queue,
    /// Inspections that began after a container's life had ended.
    ended: BTreeSet<Arc<str>>,
    listing: Errand,
    /// What the listing before showed.
    lines: Lines,
    /// What the next listing is for.
    relist: &'static str,
    connected: bool,
    /// Who vanished in the last listing, if that was too many to believe at once.
    suspected: Option<BTreeSet<Arc<str>>>,
    /// A listing was taken in and all that it called for has been answered.
    surveyed: bool,
    listed_once: bool,
    /// Ids that another container holds, and who would like to have them.
    losers: Vec<Loser>,
    /// What is to be registered, as it was last worked out.
    intended: Intended,
    /// Something has changed that this, or what is written of it, depends on; but for writes that did what they
    /// were to do.
    stale: bool,
    /// Ids that somebody else has registered in a registry, and which container would like to have them.
    taken: BTreeSet<(Arc<str>, String)>,
    /// Containers that have a service which a registry cannot hold, with the setting that would help and the reason.
    refused: BTreeSet<(String, &'static str, String)>,
    /// The next listing is the first since the engine was found, and may show what no event told.
    first_look: bool,
    /// Containers that a listing showed to have changed, before any event told of it.
    unheard: BTreeMap<Arc<str>, Instant>,
    /// Since when the engine cannot be heard, or has not shown yet what is left.
    deaf_since: Option<Instant>,
    /// That has been so for too long, as of the last look.
    impatient: bool,
    /// It is about to stop.
    leaving: bool,
}

impl Mind {
    pub(crate) fn new(config: Arc<Config>, registries: &[Abilities], now: Instant) -> Self {
        let ledger = |abilities: &Abilities| Ledger::new(*abilities, &config, now);
        Self {
            knowledge: Knowledge::new(config.clone()),
            ledgers: registries.iter().map(ledger).collect(),
            config,
            queue: Queue::default(),
            ended: BTreeSet::new(),
            listing: Errand::default(),
            lines: Lines::default(),
            relist: CONNECTED,
            connected: false,
            suspected: None,
            surveyed: false,
            listed_once: false,
            losers: Vec::new(),
            intended: Intended::new(),
            stale: true,
            taken: BTreeSet::new(),
            refused: BTreeSet::new(),
            first_look: true,
            unheard: BTreeMap::new(),
            deaf_since: None,
            impatient: false,
            leaving: false,
        }
    }

    /// The engine is there (again): look at everything.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected = true;
        self.stale = true;
        self.lines.forget();
        self.first_look = true;
        self.unheard.clear();
        self.listing.want(now);
        self.relist = CONNECTED;
        self.ledgers
            .iter_mut()
            .for_each(|ledger| ledger.reading.want(now));
        self.queue.forgive(now);
    }

    /// Others reach this host elsewhere from now on. Returns what cannot be registered there.
    pub(crate) fn moved(&mut self, home: Home) -> Vec<Complaint> {
        self.stale = true;
        self.knowledge.moved(home)
    }

    /// The engine cannot be heard any more.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.deaf_since.get_or_insert(now);
    }

    /// The end is near: from now on only what is to be left behind gets written.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        self.stale = true;
    }

    /// Events were noted.
    pub(crate) fn noted(&mut self, touched: &BTreeMap<Arc<str>, Note>, now: Instant) {
        self.stale |= !touched.is_empty();
        for (id, note) in touched {
            self.unheard.remove(id);
            if note.turned {
                // An inspection under way may show the life before.
                self.ended.remove(id);
            }
            if self.knowledge.noted(id, note, now) {
                self.queue.add(id, true);
            }
        }
    }

    /// The engine listed its containers, or failed to. Returns how often in a row it has failed.
    pub(crate) fn listed(&mut self, answer: Option<&[Listed]>, now: Instant) -> u32 {
        self.stale = true;
        let failures = self.listing.end(answer.is_some(), self.resync(), now);
        let Some(listed) = answer else {
            self.relist = "failed";
            return failures;
        };
        let mut missing = self.missing(listed);
        let all = self.knowledge.ids().count().max(missing.len());
        let unbelievable = missing.len() > FEW && missing.len() * 2 > all;
        if unbelievable
            && !self
                .suspected
                .as_ref()
                .is_some_and(|before| missing.is_subset(before))
        {
            self.listing.want(now + SECOND_LOOK);
            self.relist = "vanished";
            self.suspected = Some(std::mem::take(&mut missing));
        } else {
            self.suspected = None;
        }
        self.wonder(listed, &missing, now);
        for (line, shows_news) in listed.iter().zip(self.lines.take(listed)) {
            if shows_news || !self.knowledge.agrees_with(line) {
                self.queue.add(&line.id, false);
            }
        }
        // Not even an empty listing removes anything: the engine must deny each container by id.
        missing.iter().for_each(|id| self.queue.add(id, false));
        self.listed_once = true;
        // Without containers there is nothing to inspect, and all is known.
        self.look_round();
        failures
    }

    /// Remembers what events should have told of, or will in a moment.
    fn wonder(&mut self, listed: &[Listed], missing: &BTreeSet<Arc<str>>, now: Instant) {
        if std::mem::take(&mut self.first_look) || !self.queue.is_idle() {
            return;
        }
        let ran = |id: &str| self.knowledge.ran(id) == Some(true);
        let turned = listed.iter().filter(|line| line.up != ran(&line.id));
        let gone = missing.iter().filter(|id| ran(id));
        for id in turned.map(|line| &line.id).chain(gone) {
            self.unheard.entry(id.clone()).or_insert(now);
        }
    }

    /// Notices when a listing was taken in and all that it called for has been answered.
    fn look_round(&mut self) {
        if self.listed_once && !self.first_look && self.suspected.is_none() && self.queue.is_idle() {
            self.surveyed = true;
            self.deaf_since = None;
        }
    }

    /// Containers that we know, or that entries of ours stand for, and that are not listed.
    fn missing(&self, listed: &[Listed]) -> BTreeSet<Arc<str>> {
        let present: BTreeSet<&str> = listed.iter().map(|line| &*line.id).collect();
        let known = self
            .knowledge
            .ids()
            .map(|id| &**id)
            .chain(self.ledgers.iter().flat_map(Ledger::containers));
        known
            .filter(|id| !present.contains(id) && !self.knowledge.is_gone(id))
            .map(Arc::from)
            .collect()
    }

    /// A container was inspected: `Ok(None)` if there is no such container. Returns what it brings
    /// that we do not understand.
    pub(crate) fn inspected(
        &mut self,
        id: &Arc<str>,
        answer: Result<Option<Container>, ()>,
        now: Instant,
    ) -> (Vec<Complaint>, u32) {
        self.stale = true;
        let failures = self.queue.done(id, answer.is_ok(), now);
        let ended = self.ended.remove(id);
        let Ok(facts) = answer else {
            return (Vec::new(), failures);
        };
        let owner = facts.as_ref().and_then(|facts| self.knowledge.unmet_owner(facts));
        // What is said of this one waits for the answer.
        if let Some(owner) = owner.filter(|owner| !self.queue.expects(owner)) {
            self.queue.add(&owner, false);
        }
        let complaints = self.knowledge.inspected(id, facts, ended, now);
        self.look_round();
        (complaints, failures)
    }

    /// A registry said what it holds, or failed to. Returns how often in a row it has failed.
    pub(crate) fn read(
        &mut self,
        which: Which,
        answer: Option<Option<Vec<Registration>>>,
        now: Instant,
    ) -> u32 {
        self.stale = true;
        let resync = self.resync();
        let ledger = &mut self.ledgers[which];
        let failed_before = ledger.reading.fails();
        let failures = ledger.reading.end(answer.is_some(), resync, now);
        let Some(answer) = answer else { return failures };
        if failed_before {
            ledger.forgive(now);
        }
        ledger.listed(answer, &self.config);
        // Entries of ours may stand for containers that no listing will ever show again.
        let strangers = ledger.containers().any(|id| !self.knowledge.has_settled(id));
        if self.listed_once && strangers {
            self.listing.want(now);
            self.relist = "entries";
        }
        self.forget_the_gone();
        failures
    }

    /// A write ended. Returns how often in a row it has failed.
    pub(crate) fn wrote(&mut self, which: Which, key: &Arc<str>, outcome: Outcome, now: Instant) -> u32 {
        // What stands for a container that failed is read off entries, and who holds an id that others want too.
        let ledger = &self.ledgers[which];
        let matters = |entry: &Registration| {
            let id = &entry.service.id;
            let behind = ledger.behind(key);
            self.losers.iter().any(|loser| loser.id == *id)
                || behind.is_some_and(|container| self.knowledge.keeps(container))
        };
        let removes = ledger.removes(key).is_some_and(matters);
        let (failures, agreed) = self.ledgers[which].done(key, outcome, now);
        self.stale |= removes || !agreed;
        self.forget_the_gone();
        failures
    }

    /// Entries live on, or may not. Returns how often in a row that has failed.
    pub(crate) fn renewed(&mut self, which: Which, worked: bool, now: Instant) -> u32 {
        let pause = Some(self.config.ttl_refresh);
        let ledger = &mut self.ledgers[which];
        if !worked && !ledger.reading.fails() {
            // Some may have ended by now.
            ledger.reading.want(now);
        }
        ledger.renewing.end(worked, pause, now)
    }

    /// A report on a check arrived, or did not.
    pub(crate) fn reported(&mut self, which: Which, check: &str, obeyed: bool, now: Instant) {
        self.ledgers[which].heartbeats.done(check, obeyed, now);
    }

    /// A registry may have lost entries.
    pub(crate) fn faltered(&mut self, which: Which, now: Instant) {
        self.stale = true;
        self.ledgers[which].faltered(now);
    }

    /// That a container is gone need only be known while an entry stands for it. Who that is costs a look at all
    /// entries, so it is asked when there are many of them.
    fn forget_the_gone(&mut self) {
        if !self.knowledge.has_many_gone() {
            return;
        }
        let recorded: BTreeSet<&str> = self.ledgers.iter().flat_map(Ledger::containers).collect();
        self.knowledge.bury(&recorded);
    }

    fn resync(&self) -> Option<Duration> {
        Some(self.config.resync).filter(|resync| !resync.is_zero())
    }

    /// What is to be asked now.
    fn questions(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.leaving {
            return actions;
        }
        for (which, ledger) in self.ledgers.iter_mut().enumerate() {
            if ledger.reading.begin(now) {
                ledger.asked();
                actions.push(Action::Read(which));
            }
            if ledger.renewing.begin(now) {
                actions.push(Action::Renew(which, ledger.held()));
            }
            // One that falters again and again is listened to once between two readings.
            if !ledger.watched && !ledger.reading.is_under_way() {
                ledger.watched = true;
                actions.push(Action::Watch(which));
            }
        }
        if self.connected {
            if self.listing.begin(now) {
                actions.push(Action::List);
            }
            while let Some(id) = self.queue.next() {
                if self.knowledge.is_over(&id) {
                    self.ended.insert(id.clone());
                }
                actions.push(Action::Inspect(id));
            }
        }
        actions
    }

    /// When to look again though nothing has happened.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = [
            self.listing.deadline().filter(|_| self.connected),
            self.queue.deadline().filter(|_| self.connected),
            self.knowledge.deadline(),
            self.unheard
                .values()
                .min()
                .map(|at| *at + HEARING)
                .filter(|at| *at > now),
            self.patience_ends().filter(|end| *end > now),
            self.ledgers
                .iter()
                .filter_map(|ledger| ledger.deadline(now))
                .min(),
        ];
        waits.into_iter().flatten().min()
    }

    /// Whether a listing showed what events should have told by now; asks once.
    pub(crate) fn suspects_stream(&mut self, now: Instant) -> bool {
        let overdue = self.unheard.values().any(|at| *at + HEARING <= now);
        if overdue {
            self.unheard.clear();
        }
        overdue
    }

    /// What the listing that begins is for; asked once for each.
    pub(crate) fn relist(&mut self) -> &'static str {
        std::mem::replace(&mut self.relist, "resync")
    }

    /// Whether nothing is being written, nor waits to be.
    pub(crate) fn has_said_all(&self) -> bool {
        self.ledgers.iter().all(Ledger::is_settled)
    }

    /// As if everything had changed. Returns whether nothing has that was not noticed.
    #[cfg(test)]
    pub(crate) fn doubt(&mut self, now: Instant) -> bool {
        self.stale = true;
        self.intended(now) == (self.intended.clone(), self.losers.clone())
    }

    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_idle() && self.has_said_all()
    }
}
