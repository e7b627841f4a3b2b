//! The mind against a small world: containers that start, stop and vanish, events that get lost,
//! answers that are old when they arrive, a registry that fails and may have obeyed all the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::service::META_OWNER;
use catalog::{Registration, Status};
use proptest::prelude::*;

use super::knowledge::Complaint;
use super::ledger::Outcome;
use super::mind::{Action, Mind, Which};
use super::notes::Note;
use super::*;
use crate::config::{Config, Deregister};
use crate::container::{Binding, Container, State};
use crate::docker::{Listed, What};
use crate::registry::{Abilities, Lists};
use crate::services::derive;

mod asked;
mod lifecycle;
mod many;
mod registries;
mod swarm;
mod told;

const MOMENT: Duration = Duration::from_millis(1);

/// A question on its way, with the answer as the world was when it was asked.
#[derive(Debug)]
enum Pending {
    List(Vec<Listed>),
    Inspect(Arc<str>, Box<Option<Container>>),
    Read(Which, Vec<Registration>),
    Write(Which, Write),
}

type Entries = BTreeMap<Arc<str>, Registration>;

struct World {
    mind: Mind,
    config: Arc<Config>,
    now: Instant,
    containers: BTreeMap<Arc<str>, Container>,
    registry: Entries,
    /// A second registry, where there is one.
    beside: Entries,
    abilities: Vec<Abilities>,
    pending: Vec<Pending>,
    next_port: u16,
    writes: usize,
    suspicions: usize,
    /// What comes of a write that fails.
    trouble: Outcome,
    /// Checks that were reported on.
    reports: Vec<Arc<str>>,
    /// What was said of containers, and how many were inspected.
    complaints: Vec<Complaint>,
    inspections: usize,
    /// Each look is checked by one at everything.
    doubts: bool,
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(vec![Abilities::default()], change)
    }

    fn with(abilities: Vec<Abilities>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        change(&mut config);
        let config = Arc::new(config);
        let now = Instant::now();
        let mut mind = Mind::new(config.clone(), &abilities, now);
        mind.connected(now);
        Self {
            mind,
            config,
            now,
            containers: BTreeMap::new(),
            registry: Entries::new(),
            beside: Entries::new(),
            abilities,
            pending: Vec::new(),
            next_port: 20_000,
            writes: 0,
            suspicions: 0,
            trouble: Outcome::Unheard,
            reports: Vec::new(),
            complaints: Vec::new(),
            inspections: 0,
            doubts: true,
        }
    }

    /// The same containers and registries, looked at by a mind that knows nothing of them yet.
    fn reborn(mut self) -> Self {
        self.mind = Mind::new(self.config.clone(), &self.abilities, self.now);
        self.mind.connected(self.now);
        self.pending.clear();
        self.writes = 0;
        self
    }

    fn shelf(&mut self, which: Which) -> &mut Entries {
        match which {
            0 => &mut self.registry,
            _ => &mut self.beside,
        }
    }

    /// What a registry says it holds.
    fn listing(&mut self, which: Which) -> Vec<Registration> {
        let shows = self.abilities[which].lists;
        let mut listed: Vec<Registration> = self.shelf(which).values().cloned().collect();
        for Registration { service, checks } in &mut listed {
            if shows < Lists::States {
                checks.clear();
            }
            if shows < Lists::Services {
                service.tags.clear();
                service.meta.retain(|key, _| key == META_OWNER);
            }
        }
        listed
    }

    fn id(number: u8) -> Arc<str> {
        format!("{number:064}").into()
    }

    fn start(&mut self, number: u8) {
        self.next_port += 1;
        let binding = Binding {
            address: "0.0.0.0".parse().unwrap(),
            port: self.next_port,
        };
        let port = "80/tcp".parse().unwrap();
        let container = Container {
            id: Self::id(number),
            name: format!("c{number}"),
            image: "web".to_owned(),
            bindings: [(port, vec![binding])].into(),
            asked: [(port, vec![binding])].into(),
            state: State {
                running: true,
                started: true,
                ..State::default()
            },
            stop_signal: 15,
            ..Container::default()
        };
        self.containers.insert(container.id.clone(), container);
    }

    fn die(&mut self, number: u8, exit_code: i64) {
        if let Some(container) = self.containers.get_mut(&Self::id(number)) {
            container.bindings.clear();
            container.state = State {
                started: true,
                exit_code,
                ..State::default()
            };
        }
    }

    fn tell(&mut self, number: u8, what: What) {
        let mut note = Note {
            only_signals: true,
            ..Note::default()
        };
        note.add(what);
        self.mind.noted(&[(Self::id(number), note)].into(), self.now);
    }

    /// Asks the mind what to do, and sets it on its way.
    fn ask(&mut self) {
        self.suspicions += usize::from(self.mind.suspects_stream(self.now));
        for action in self.mind.actions(self.now) {
            let pending = match action {
                Action::List => {
                    let line = |c: &Container| Listed {
                        id: c.id.clone(),
                        up: c.state.running,
                        shows: shows(c),
                        tells_health: true,
                    };
                    Pending::List(self.containers.values().map(line).collect())
                }
                Action::Inspect(id) => {
                    Pending::Inspect(id.clone(), Box::new(self.containers.get(&id).cloned()))
                }
                Action::Read(which) => Pending::Read(which, self.listing(which)),
                Action::Write(which, write) => Pending::Write(which, write),
                Action::Report(which, check) => {
                    self.reports.push(check.clone());
                    self.mind.reported(which, &check, true, self.now);
                    continue;
                }
                Action::Renew(..) | Action::Watch(_) => continue,
            };
            self.pending.push(pending);
        }
        if !self.doubts {
            return;
        }
        // What was kept from the look before is what a look at everything finds.
        let mut doubting = self.mind.clone();
        assert!(doubting.doubt(self.now), "what is intended has changed unnoticed");
        let more = doubting.actions(self.now);
        let writes = |action: &&Action| matches!(action, Action::Write(..));
        assert_eq!(
            more.iter().find(writes),
            None,
            "missed while nothing seemed to have changed"
        );
    }

    /// Lets one answer arrive. A failure of a write may be of the answer only.
    fn answer(&mut self, at: usize, works: bool, obeyed: bool) {
        match self.pending.swap_remove(at) {
            Pending::List(listed) => {
                self.mind.listed(works.then_some(listed.as_slice()), self.now);
            }
            Pending::Inspect(id, facts) => {
                let answer = if works { Ok(*facts) } else { Err(()) };
                let (complaints, _) = self.mind.inspected(&id, answer, self.now);
                self.complaints.extend(complaints);
                self.inspections += 1;
            }
            Pending::Read(which, services) => {
                self.mind.read(which, works.then_some(Some(services)), self.now);
            }
            Pending::Write(which, Write { key, verb }) => {
                if works || obeyed {
                    self.writes += 1;
                    match verb {
                        Verb::Register(offer) | Verb::Refresh(offer) => {
                            let entry = (*offer.registration).clone();
                            self.shelf(which).insert(key.clone(), entry);
                        }
                        Verb::Deregister => _ = self.shelf(which).remove(&key),
                    }
                }
                let outcome = if works { Outcome::Obeyed } else { self.trouble };
                self.mind.wrote(which, &key, outcome, self.now);
            }
        }
    }

    /// Writes on their way.
    fn writing(&self) -> Vec<(Which, &Write)> {
        let mut writes = Vec::new();
        for pending in &self.pending {
            if let Pending::Write(which, write) = pending {
                writes.push((*which, write));
            }
        }
        writes
    }

    /// Answers everything that is asked, what `bad` names with a failure, until nothing is left to do right now.
    fn settle_but(&mut self, bad: impl Fn(&Pending) -> bool) {
        for _ in 0..1000 {
            self.ask();
            if self.pending.is_empty() {
                return;
            }
            let works = !bad(&self.pending[0]);
            self.answer(0, works, works);
        }
        panic!("never settles: {:?}", self.pending);
    }

    /// Everything works, until there is nothing left to do right now.
    fn settle(&mut self) {
        self.settle_but(|_| false);
    }

    fn pass(&mut self, time: Duration) {
        self.pass_but(time, |_| false);
    }

    fn pass_but(&mut self, time: Duration, bad: impl Fn(&Pending) -> bool) {
        let end = self.now + time;
        self.settle_but(&bad);
        while let Some(at) = self.mind.deadline(self.now).filter(|at| *at <= end) {
            self.now = at.max(self.now + MOMENT);
            self.settle_but(&bad);
        }
        self.now = end;
        self.settle_but(&bad);
    }

    fn expected(&self) -> Entries {
        let running = self.containers.values().filter(|container| container.runs());
        let derived = running.flat_map(|container| derive(container, &self.config, &|_| None).offers);
        derived
            .map(|offer| {
                (
                    offer.registration.service.id.clone(),
                    (*offer.registration).clone(),
                )
            })
            .collect()
    }

    fn says(&self, number: u8) -> (Status, &str) {
        let check = &self.registry[&*format!("t1:c{number}:80")].checks[0];
        (check.initial.unwrap(), &check.output)
    }
}

/// As a line of a listing shows it.
fn shows(container: &Container) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{container:?}").hash(&mut hasher);
    hasher.finish()
}

fn started(count: u8) -> World {
    let mut world = World::new(|_| {});
    (0..count).for_each(|number| world.start(number));
    world.settle();
    assert_eq!(world.registry, world.expected());
    world
}

/// L27, R7.
#[test]
fn what_runs_is_registered_and_a_second_look_writes_nothing() {
    let mut world = started(3);
    assert_eq!((world.registry.len(), world.writes), (3, 3));
    world.pass(Duration::from_secs(200));
    assert_eq!(world.writes, 3);
    assert!(world.mind.is_settled());
}

/// L40.
#[test]
fn a_host_that_moves_writes_each_service_once_under_its_id() {
    let mut world = started(3);
    let home = "10.0.0.2".parse().unwrap();
    world.mind.moved(home);
    Arc::make_mut(&mut world.config).home = home;
    world.settle();
    assert_eq!(world.registry, world.expected());
    assert_eq!((world.registry.len(), world.writes), (3, 6));
    assert!(
        world
            .registry
            .values()
            .all(|entry| entry.service.address == "10.0.0.2")
    );
    world.pass(Duration::from_secs(200));
    assert_eq!(world.writes, 6);
}

/// L18, R19.
#[test]
fn a_stop_signal_takes_a_container_out_of_rotation_without_an_inspection() {
    let mut world = started(2);
    world.tell(0, What::Signalled(15));
    world.ask();
    assert!(
        matches!(
            world.pending.as_slice(),
            [Pending::Write(
                _,
                Write {
                    verb: Verb::Refresh(_),
                    ..
                }
            )]
        ),
        "{:?}",
        world.pending
    );
    world.settle();
    assert_eq!(world.says(0), (Status::Critical, "stopping (SIGTERM)"));
    assert_eq!(world.says(1).0, Status::Passing);
    world.die(0, 0);
    world.tell(0, What::Died(None));
    world.settle();
    assert_eq!(world.registry, world.expected());
}

/// L21.
#[test]
fn a_container_that_survives_its_stop_signal_comes_back_after_its_time() {
    let mut world = started(1);
    world.tell(0, What::Signalled(15));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.says(0).0, Status::Critical);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.says(0), (Status::Passing, "running"));
}

/// L19.
#[test]
fn a_signal_that_does_not_stop_it_changes_nothing() {
    let mut world = started(1);
    world.tell(0, What::Signalled(1));
    world.settle();
    assert_eq!((world.says(0).0, world.writes), (Status::Passing, 1));
    world.tell(0, What::Signalled(9));
    world.settle();
    assert_eq!(world.says(0), (Status::Critical, "stopping (SIGKILL)"));
}

/// L31, R4.
#[test]
fn between_the_end_of_a_process_and_the_look_at_it_nothing_seems_well() {
    let mut world = started(1);
    world.tell(0, What::Signalled(15));
    world.settle();
    world.die(0, 0);
    world.tell(0, What::Died(None));
    world.ask();
    // The inspection is on its way; the process is gone already.
    assert_eq!(world.says(0).0, Status::Critical);
    assert!(
        world
            .pending
            .iter()
            .all(|pending| matches!(pending, Pending::Inspect(..)))
    );
    world.start(0);
    world.tell(0, What::Turned);
    world.settle();
    assert_eq!(world.registry, world.expected());
    assert_eq!(world.says(0).0, Status::Passing);
}

#[test]
fn a_process_that_ended_unasked_is_out_of_rotation_before_the_look_at_it() {
    for (code, words) in [(None, "process ended"), (Some(1), "container exited (1)")] {
        let mut world = started(1);
        world.die(0, 1);
        world.tell(0, What::Died(code));
        world.ask();
        let write = world
            .pending
            .iter()
            .position(|pending| matches!(pending, Pending::Write(..)));
        world.answer(write.expect("a refresh, at once"), true, true);
        assert_eq!(world.says(0), (Status::Critical, words));
        world.settle();
        assert!(world.registry.is_empty());
    }
}

/// L51.
#[test]
fn an_empty_listing_once_removes_nothing() {
    let mut world = started(10);
    let writes = world.writes;
    world.now += Duration::from_secs(61);
    world.ask();
    let list = world.pending.iter_mut().find_map(|pending| match pending {
        Pending::List(listed) => Some(listed),
        _ => None,
    });
    list.expect("the slow pass lists").clear();
    world.settle();
    assert_eq!(world.registry.len(), 10);
    world.pass(Duration::from_secs(5));
    assert_eq!((world.registry.len(), world.writes), (10, writes));
}

/// L51.
#[test]
fn an_engine_that_denies_everything_for_a_moment_is_not_believed() {
    let mut world = started(10);
    world.now += Duration::from_secs(61);
    let containers = std::mem::take(&mut world.containers);
    world.settle();
    world.containers = containers;
    world.pass(Duration::from_secs(5));
    assert_eq!((world.registry.len(), world.writes), (10, 10));
}

#[test]
fn a_listing_of_the_registry_that_a_write_overtook_does_not_count_for_it() {
    let mut world = started(1);
    world.now += Duration::from_secs(61);
    world.ask();
    let read = world
        .pending
        .iter()
        .position(|pending| matches!(pending, Pending::Read(..)));
    let old = world.pending.remove(read.expect("the slow pass reads"));
    world.start(1);
    world.tell(1, What::Turned);
    world.settle();
    world.pending.push(old);
    world.answer(0, true, true);
    world.settle();
    assert_eq!((world.registry.len(), world.writes), (2, 2), "registered once");
}

/// R12.
#[test]
fn a_write_that_failed_and_was_obeyed_all_the_same_leaves_no_ghost() {
    let mut world = World::new(|config| config.resync = Duration::ZERO);
    world.settle();
    world.start(0);
    world.tell(0, What::Turned);
    world.ask();
    world.answer(0, true, true);
    world.ask();
    assert!(matches!(
        world.pending.as_slice(),
        [Pending::Write(
            _,
            Write {
                verb: Verb::Register(_),
                ..
            }
        )]
    ));
    world.answer(0, false, true);
    world.die(0, 0);
    // Not `Died`: that would be told the registry first, and heal by luck.
    world.tell(0, What::Turned);
    world.pass(Duration::from_secs(1));
    assert!(world.registry.is_empty());
}

#[test]
fn many_that_are_really_gone_go_after_a_second_look() {
    let mut world = started(10);
    world.containers.clear();
    world.pass(Duration::from_secs(61));
    world.pass(Duration::from_secs(2));
    assert!(world.registry.is_empty());
}

/// L1, R13, R14.
#[test]
fn ghosts_of_an_earlier_life_go_and_entries_of_others_stay() {
    let mut earlier = started(2);
    let mut world = World::new(|_| {});
    world.registry = std::mem::take(&mut earlier.registry);
    let mut foreign = world.registry[&*"t1:c1:80".to_owned()].clone();
    foreign.service.id = "t1:other:80".into();
    foreign
        .service
        .meta
        .insert(META_OWNER.to_owned(), "somebody".to_owned());
    let mut unmarked = foreign.clone();
    unmarked.service.id = "t1:unmarked:80".into();
    unmarked.service.meta.clear();
    world
        .registry
        .extend([foreign, unmarked].map(|entry| (entry.service.id.clone(), entry)));
    world.containers = earlier.containers.clone();
    world.containers.remove(&World::id(1));
    world.settle();
    let left: Vec<&str> = world.registry.keys().map(|id| &**id).collect();
    assert_eq!(left, ["t1:c0:80", "t1:other:80", "t1:unmarked:80"]);
    assert_eq!(
        world.writes, 1,
        "the entry that was right already is not written again"
    );
}

#[test]
fn cleanup_also_removes_what_the_original_left_behind_for_this_host() {
    let mut world = World::new(|config| config.cleanup = true);
    for id in ["t1:dead:80", "t1:dead:53:udp", "t2:dead:80", "custom"] {
        let mut entry = Registration::default();
        entry.service.id = id.into();
        world.registry.insert(id.into(), entry);
    }
    world.start(0);
    world.settle();
    let left: Vec<&str> = world.registry.keys().map(|id| &**id).collect();
    assert_eq!(left, ["custom", "t1:c0:80", "t2:dead:80"]);
}

#[test]
fn cleanup_needs_no_container_to_know_that_none_is_there() {
    let mut world = World::new(|config| config.cleanup = true);
    let mut entry = Registration::default();
    entry.service.id = "t1:dead:80".into();
    world.registry.insert("t1:dead:80".into(), entry);
    world.settle();
    assert!(world.registry.is_empty());
}

/// R14, R20.
#[test]
fn an_id_that_somebody_else_uses_is_left_to_him_until_he_gives_it_up() {
    let mut world = World::new(|_| {});
    let mut theirs = Registration::default();
    theirs.service.id = "web".into();
    world.registry.insert("web".into(), theirs.clone());
    world.settle();
    world.start(0);
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    container.env.push("SERVICE_ID=web".to_owned());
    world.tell(0, What::Turned);
    world.settle();
    assert_eq!(world.registry["web"], theirs);
    assert_eq!(
        world.mind.losers()[0].container,
        "c0",
        "nobody is told why it is missing"
    );
    world.registry.clear();
    world.pass(world.config.resync);
    assert_eq!(world.registry, world.expected());
    assert_eq!(world.mind.losers(), []);
}

#[test]
fn what_the_original_left_for_a_container_that_runs_is_taken_over() {
    let mut world = World::new(|_| {});
    let mut left = Registration::default();
    left.service.id = "t1:c0:80".into();
    world.registry.insert("t1:c0:80".into(), left);
    world.start(0);
    world.settle();
    assert_eq!(world.says(0), (Status::Passing, "running"));
}

/// L15, L17.
#[test]
fn a_failed_container_stays_for_people_to_see_where_only_success_deregisters() {
    for (code, stays) in [
        (0, false),
        (1, true),
        (127, true),
        (130, false),
        (137, false),
        (143, false),
        (255, true),
    ] {
        let mut world = World::new(|config| config.deregister = Deregister::OnSuccess);
        world.start(0);
        world.settle();
        world.die(0, code);
        world.tell(0, What::Died(None));
        world.settle();
        assert_eq!(!world.registry.is_empty(), stays, "exit code {code}");
        if stays {
            assert_eq!(
                world.says(0),
                (Status::Critical, &*format!("container exited ({code})"))
            );
        }
        assert_eq!(world.mind.stopped().count(), usize::from(!stays));
        world.containers.clear();
        world.tell(0, What::Turned);
        world.settle();
        assert!(world.registry.is_empty(), "removed, whatever it returned");
    }
}

/// R12, R16.
#[test]
fn a_write_that_fails_waits_alone() {
    let mut world = World::new(|_| {});
    (0..2).for_each(|number| world.start(number));
    for _ in 0..50 {
        world.ask();
        let Some(at) = (!world.pending.is_empty()).then_some(0) else {
            break;
        };
        let bad = matches!(&world.pending[at], Pending::Write(_, write) if write.key.contains("c0"));
        world.answer(at, !bad, false);
    }
    assert_eq!(
        world.registry.keys().map(|id| &**id).collect::<Vec<_>>(),
        ["t1:c1:80"]
    );
    let due = world.mind.deadline(world.now).unwrap();
    assert_eq!(due - world.now, Duration::from_millis(100));
    world.pass(Duration::from_millis(100));
    assert_eq!(world.registry, world.expected());
}

/// R20.
#[test]
fn of_two_containers_that_claim_one_id_the_holder_keeps_it() {
    let mut world = started(0);
    world.start(7);
    let label = ("SERVICE_ID".to_owned(), "same".to_owned());
    world
        .containers
        .get_mut(&World::id(7))
        .unwrap()
        .labels
        .extend([label.clone()]);
    world.tell(7, What::Turned);
    world.settle();
    world.start(3);
    world
        .containers
        .get_mut(&World::id(3))
        .unwrap()
        .labels
        .extend([label]);
    world.tell(3, What::Turned);
    world.settle();
    assert_eq!(
        world.registry["same"].service.meta["lictor-container"],
        *World::id(7)
    );
    assert_eq!(world.mind.losers()[0].container, "c3");
    world.containers.remove(&World::id(7));
    world.tell(7, What::Turned);
    world.settle();
    assert_eq!(
        world.registry["same"].service.meta["lictor-container"],
        *World::id(3)
    );
    assert!(world.mind.losers().is_empty());
}

#[test]
fn nobody_takes_an_id_that_another_container_has_by_rule_by_naming_it() {
    // Whichever comes first in order of ids, and whichever was there first.
    for ((thief, victim), first) in [((0, 1), true), ((1, 0), true), ((0, 1), false), ((1, 0), false)] {
        let mut world = World::new(|_| {});
        world.start(thief);
        let id = format!("t1:c{victim}:80");
        let container = world.containers.get_mut(&World::id(thief)).unwrap();
        container.env.push(format!("SERVICE_ID={id}"));
        if first {
            world.settle();
        }
        world.start(victim);
        world.tell(victim, What::Turned);
        world.settle();
        assert_eq!(world.registry.len(), 1);
        assert_eq!(
            world.registry[&*id].service.meta["lictor-container"],
            *World::id(victim)
        );
        let [complaint] = &world.mind.losers()[..] else {
            panic!("{:?}", world.mind.losers());
        };
        let why = format!("container c{victim} (000000000000) has the id {id}; not registered");
        assert_eq!(complaint.container, format!("c{thief}"));
        assert_eq!(complaint.fault, crate::services::Fault::new("SERVICE_ID", why));
    }
}

#[test]
fn who_has_his_id_by_rule_is_not_said_to_have_set_it() {
    let mut world = World::new(|_| {});
    let mut theirs = Registration::default();
    theirs.service.id = "t1:c0:80".into();
    theirs
        .service
        .meta
        .insert(META_OWNER.to_owned(), "somebody".to_owned());
    world.registry.insert("t1:c0:80".into(), theirs);
    world.start(0);
    world.settle();
    let losers = world.mind.losers();
    assert_eq!((losers.len(), &*losers[0].fault.key), (1, "id"));
}

/// L35.
#[test]
fn an_absent_registry_is_asked_again_and_nothing_is_written_unread() {
    let mut world = World::new(|_| {});
    world.start(0);
    for _ in 0..20 {
        world.ask();
        let Some(at) = (!world.pending.is_empty()).then_some(0) else {
            break;
        };
        assert!(!matches!(world.pending[at], Pending::Write(..)));
        let works = !matches!(world.pending[at], Pending::Read(..));
        world.answer(at, works, works);
    }
    assert!(world.registry.is_empty());
    world.pass(Duration::from_millis(100));
    assert_eq!(world.registry, world.expected());
}

#[derive(Clone, Debug)]
enum Event {
    Start(u8),
    Die(u8, i64),
    Remove(u8),
    Signal(u8, i32),
    Answer { at: usize, works: bool, obeyed: bool },
    Time(u64),
}

fn event() -> impl Strategy<Value = (Event, bool)> {
    let number = 0..8_u8;
    let event = prop_oneof![
        3 => number.clone().prop_map(Event::Start),
        2 => (number.clone(), prop_oneof![Just(0), Just(1), Just(137)]).prop_map(|(n, code)| Event::Die(n, code)),
        1 => number.clone().prop_map(Event::Remove),
        1 => (number, prop_oneof![Just(1), Just(9), Just(15)]).prop_map(|(n, signal)| Event::Signal(n, signal)),
        8 => (0..100_usize, prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(at, works, obeyed)| Event::Answer { at, works, obeyed }),
        1 => (0..5_000_u64).prop_map(Event::Time),
    ];
    (event, prop::bool::weighted(0.7))
}

fn play(world: &mut World, event: &Event, heard: bool) {
    world.now += MOMENT;
    let (number, what) = match *event {
        Event::Start(number) => {
            world.start(number);
            (number, What::Turned)
        }
        Event::Die(number, code) => {
            world.die(number, code);
            (number, What::Died(None))
        }
        Event::Remove(number) => {
            world.containers.remove(&World::id(number));
            (number, What::Turned)
        }
        Event::Signal(number, signal) => (number, What::Signalled(signal)),
        Event::Answer { at, works, obeyed } => {
            if !world.pending.is_empty() {
                world.answer(at % world.pending.len(), works, obeyed);
            }
            return world.ask();
        }
        Event::Time(millis) => {
            world.now += Duration::from_millis(millis);
            return world.ask();
        }
    };
    if heard {
        world.tell(number, what);
    }
    world.ask();
}

fn places(entries: &Entries) -> Vec<(Arc<str>, u16)> {
    let place = |(key, entry): (&Arc<str>, &Registration)| (key.clone(), entry.service.port);
    entries.iter().map(place).collect()
}

proptest! {
    /// Whatever was lost or failed: once things work, two slow passes make recorded equal intended.
    /// L11, L32, R1, R12.
    #[test]
    fn recorded_converges_to_intended(events in prop::collection::vec(event(), 1..120)) {
        let plain = Abilities { tells_health: false, lists: Lists::Places, ..Abilities::default() };
        let mut world = World::with(vec![Abilities::default(), plain], |_| {});
        for (event, heard) in events {
            play(&mut world, &event, heard);
        }
        world.pass(Duration::from_secs(130));
        prop_assert_eq!(&world.registry, &world.expected());
        prop_assert_eq!(places(&world.beside), places(&world.expected()));
        prop_assert!(world.mind.is_settled());
        let writes = world.writes;
        world.pass(Duration::from_secs(130));
        prop_assert_eq!(world.writes, writes, "nothing changed, so nothing is written");
    }
}

/// L9, R1.
#[test]
fn three_hundred_starts_cost_one_inspection_each() {
    let mut world = started(0);
    let mut inspections = 0;
    for number in 0..=255 {
        world.start(number);
        world.tell(number, What::Turned);
    }
    loop {
        world.ask();
        inspections += world
            .pending
            .iter()
            .filter(|pending| matches!(pending, Pending::Inspect(..)))
            .count();
        if world.pending.is_empty() {
            break;
        }
        assert!(world.pending.len() <= 16 + 16, "{} at once", world.pending.len());
        while !world.pending.is_empty() {
            world.answer(0, true, true);
        }
    }
    assert_eq!((inspections, world.registry.len()), (256, 256));
}
