//! News in, actions out: decides what to ask and what to write, and does neither.
//!
//! Time is handed in, so a model can drive it. Losing any piece of news is survivable: the slow
//! pass asks for everything again, and nothing here depends on having heard of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Registration;

use super::knowledge::{Complaint, Knowledge};
use super::ledger::Ledger;
use super::notes::Note;
use super::queue::Queue;
use super::{Write, pause_after};
use crate::config::Config;
use crate::container::Container;
use crate::docker::Listed;
use crate::services::Fault;

/// If more than this many, and more than half of all, vanish between two listings, the engine is
/// asked again before it is believed.
const FEW: usize = 5;
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Something to be done, whose outcome must be reported back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// List all containers.
    List,
    /// Inspect one container.
    Inspect(Arc<str>),
    /// Ask the registry what it holds.
    Read,
    /// Write to the registry.
    Write(Write),
}

/// The registrator without its hands.
#[derive(Debug)]
pub(crate) struct Mind {
    config: Arc<Config>,
    knowledge: Knowledge,
    ledger: Ledger,
    queue: Queue,
    /// Inspections that began after a container's life had ended.
    ended: BTreeSet<Arc<str>>,
    listing: Errand,
    reading: Errand,
    connected: bool,
    /// Who vanished in the last listing, if that was too many to believe at once.
    suspected: Option<BTreeSet<Arc<str>>>,
    /// A listing was taken in and all that it called for has been answered.
    surveyed: bool,
    listed_once: bool,
    /// Ids that another container holds, and who would like to have them.
    losers: Vec<(Arc<str>, String)>,
    /// How many services are to be registered.
    services: usize,
    /// Ids that somebody else has registered, and which container would like to have them.
    taken: Vec<(Arc<str>, String)>,
    stream_is_suspect: bool,
}

/// A question asked again and again, one at a time.
#[derive(Debug, Default)]
struct Errand {
    under_way: bool,
    due: Option<Instant>,
    failures: u32,
}

impl Errand {
    fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.under_way && self.due.is_some_and(|due| due <= now);
        if begins {
            self.under_way = true;
            self.due = None;
        }
        begins
    }

    /// Ends it; asked again after `next`, unless somebody wants it sooner. Returns how often in a row
    /// it has failed.
    fn end(&mut self, worked: bool, next: Option<Duration>, now: Instant) -> u32 {
        self.under_way = false;
        self.failures = if worked { 0 } else { self.failures + 1 };
        let next = if worked {
            next
        } else {
            Some(pause_after(self.failures))
        };
        self.due = match (self.due, next.map(|next| now + next)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.failures
    }
}

impl Mind {
    pub(crate) fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            knowledge: Knowledge::new(config.clone()),
            config,
            ledger: Ledger::default(),
            queue: Queue::default(),
            ended: BTreeSet::new(),
            listing: Errand::default(),
            reading: Errand {
                due: Some(now),
                ..Errand::default()
            },
            connected: false,
            suspected: None,
            surveyed: false,
            listed_once: false,
            losers: Vec::new(),
            services: 0,
            taken: Vec::new(),
            stream_is_suspect: false,
        }
    }

    /// The engine is there (again): look at everything.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected = true;
        self.listing.due = Some(now);
        self.reading.due = Some(now);
        self.queue.forgive(now);
    }

    /// Events were noted.
    pub(crate) fn noted(&mut self, touched: &BTreeMap<Arc<str>, Note>, now: Instant) {
        for (id, note) in touched {
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
        let resync = Some(self.config.resync).filter(|resync| !resync.is_zero());
        let failures = self.listing.end(answer.is_some(), resync, now);
        let Some(listed) = answer else { return failures };
        let mut missing = self.missing(listed);
        let all = self.knowledge.ids().count().max(missing.len());
        let unbelievable = missing.len() > FEW && missing.len() * 2 > all;
        if unbelievable
            && !self
                .suspected
                .as_ref()
                .is_some_and(|before| missing.is_subset(before))
        {
            self.listing.due = Some(now + SECOND_LOOK);
            self.suspected = Some(std::mem::take(&mut missing));
        } else {
            self.suspected = None;
        }
        for line in listed {
            let ran = self.knowledge.ran(&line.id);
            // Events should have told us; if not, the stream is silent for no good reason.
            self.stream_is_suspect |=
                self.listed_once && line.up && ran != Some(true) && self.queue.is_idle();
            if line.up || ran != Some(false) {
                self.queue.add(&line.id, false);
            }
        }
        // Not even an empty listing removes anything: the engine must deny each container by id.
        missing.iter().for_each(|id| self.queue.add(id, false));
        self.listed_once = true;
        // Without containers there is nothing to inspect, and all is known.
        self.surveyed |= self.suspected.is_none() && self.queue.is_idle();
        failures
    }

    /// Containers that we know, or that entries of ours stand for, and that are not listed.
    fn missing(&self, listed: &[Listed]) -> BTreeSet<Arc<str>> {
        let present: BTreeSet<&str> = listed.iter().map(|line| &*line.id).collect();
        let known = self
            .knowledge
            .ids()
            .map(|id| &**id)
            .chain(self.ledger.containers());
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
        let failures = self.queue.done(id, answer.is_ok(), now);
        let ended = self.ended.remove(id);
        let Ok(facts) = answer else {
            return (Vec::new(), failures);
        };
        let complaints = self.knowledge.inspected(id, facts, ended);
        self.surveyed |= self.listed_once && self.suspected.is_none() && self.queue.is_idle();
        (complaints, failures)
    }

    /// The registry said what it holds, or failed to. Returns how often in a row it has failed.
    pub(crate) fn read(&mut self, answer: Option<Option<Vec<Registration>>>, now: Instant) -> u32 {
        let resync = Some(self.config.resync).filter(|resync| !resync.is_zero());
        let failures = self.reading.end(answer.is_some(), resync, now);
        let Some(answer) = answer else { return failures };
        self.ledger.listed(answer, &self.config);
        self.forget_the_gone();
        // Entries of ours may stand for containers that no listing will ever show again.
        let strangers = self
            .ledger
            .containers()
            .filter(|id| !self.knowledge.has_settled(id));
        let strangers: Vec<Arc<str>> = strangers.map(Arc::from).collect();
        if self.listed_once && !strangers.is_empty() {
            self.listing.due = Some(now);
        }
        failures
    }

    /// A write ended. Returns how often in a row it has failed.
    pub(crate) fn wrote(&mut self, id: &Arc<str>, obeyed: bool, now: Instant) -> u32 {
        let failures = self.ledger.done(id, obeyed, now);
        self.forget_the_gone();
        failures
    }

    /// That a container is gone need only be known while an entry stands for it.
    fn forget_the_gone(&mut self) {
        let recorded: BTreeSet<&str> = self.ledger.containers().collect();
        self.knowledge.bury(&recorded);
    }

    /// Everything to be done now.
    pub(crate) fn actions(&mut self, now: Instant) -> Vec<Action> {
        self.knowledge.tick(now);
        self.queue.tick(now);
        let mut actions = Vec::new();
        if self.reading.begin(now) {
            self.ledger.asked();
            actions.push(Action::Read);
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
        let (intended, losers) = self.knowledge.intended(self.ledger.recorded());
        self.losers = losers;
        self.services = intended.len();
        self.taken = self.ledger.taken(&intended);
        let Self {
            knowledge,
            ledger,
            surveyed,
            ..
        } = self;
        let settled = |held: &Registration| match held.service.meta.get(catalog::service::META_CONTAINER) {
            Some(id) => knowledge.has_settled(id),
            None => *surveyed,
        };
        actions.extend(
            ledger
                .next(&intended, settled, now)
                .into_iter()
                .map(Action::Write),
        );
        actions
    }

    /// When to look again though nothing has happened.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = [
            self.listing
                .due
                .filter(|_| self.connected && !self.listing.under_way),
            self.reading.due.filter(|_| !self.reading.under_way),
            self.queue.deadline().filter(|_| self.connected),
            self.knowledge.deadline(),
            self.ledger.deadline(now),
        ];
        waits.into_iter().flatten().min()
    }

    /// Containers that do not get the id they want, as complaints against them.
    pub(crate) fn losers(&self) -> Vec<Complaint> {
        let complaint = |id: &Arc<str>, loser: &str, holder: &str| Complaint {
            container: self.knowledge.name_of(loser).to_owned(),
            fault: Fault::new("SERVICE_ID", format!("{holder} has the id {id}; not registered")),
        };
        let rivals = self.losers.iter();
        let rivals = rivals.map(|(id, loser)| complaint(id, loser, "another container"));
        let late = self.taken.iter();
        let late = late.map(|(id, loser)| complaint(id, loser, "somebody else"));
        rivals.chain(late).collect()
    }

    /// Whether a listing showed what events should have told; asks once.
    pub(crate) fn suspects_stream(&mut self) -> bool {
        std::mem::take(&mut self.stream_is_suspect)
    }

    pub(crate) fn stopped(&self) -> impl Iterator<Item = &Registration> {
        self.knowledge.stopped()
    }

    pub(crate) fn services(&self) -> usize {
        self.services
    }

    pub(crate) fn running(&self) -> usize {
        self.knowledge.running()
    }

    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_idle() && self.ledger.is_settled()
    }
}
