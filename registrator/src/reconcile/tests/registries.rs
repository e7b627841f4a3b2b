//! What a registry cannot do or show, what it loses, and several of them at once.

use catalog::ServiceSpec;
use catalog::service::{ServiceAddress, Weights};

use super::*;
use crate::container::Health;

/// Holds keys and values: nobody reads there what checks say.
fn plain() -> Abilities {
    Abilities {
        tells_health: false,
        lists: Lists::Places,
        ..Abilities::default()
    }
}

/// Lists services, and not their checks.
fn without_checks() -> Abilities {
    Abilities {
        lists: Lists::Services,
        ..Abilities::default()
    }
}

fn keep_failed(config: &mut Config) {
    config.deregister = Deregister::OnSuccess;
}

fn is_write(pending: &Pending) -> bool {
    matches!(pending, Pending::Write(..))
}

/// One container that ran, failed with code 3 while nobody looked, and is looked at again.
fn failed_unseen(abilities: Abilities) -> (World, u16) {
    let mut world = World::with(vec![abilities], keep_failed);
    world.start(0);
    world.settle();
    world.die(0, 3);
    let port = world.registry["t1:c0:80"].service.port;
    (world.reborn(), port)
}

/// R8.
#[test]
fn a_container_that_failed_while_nobody_looked_turns_critical_also_where_checks_are_not_listed() {
    for abilities in [Abilities::default(), without_checks()] {
        let (mut world, port) = failed_unseen(abilities);
        world.settle();
        assert_eq!(world.says(0), (Status::Critical, "container exited (3)"));
        assert_eq!((world.registry["t1:c0:80"].service.port, world.writes), (port, 1));
        world.pass(Duration::from_secs(130));
        assert_eq!(world.writes, 1);
    }
}

#[test]
fn a_failed_container_stays_though_the_registry_refuses_to_hear_of_it_for_a_while() {
    let (unseen, _) = failed_unseen(without_checks());
    let mut seen = World::with(vec![Abilities::default()], keep_failed);
    seen.start(0);
    seen.settle();
    seen.die(0, 3);
    seen.tell(0, What::Died(None));
    for mut world in [seen, unseen] {
        for _ in 0..5 {
            world.settle_but(is_write);
            world.now = world.mind.deadline(world.now).unwrap();
            world.ask();
            let gone = world
                .writing()
                .iter()
                .any(|(_, write)| write.verb == Verb::Deregister);
            assert!(!gone, "removed after a write that failed");
        }
        world.pass(Duration::from_secs(60));
        assert_eq!(world.says(0), (Status::Critical, "container exited (3)"));
    }
}

/// R8.
#[test]
fn a_failed_container_whose_entry_the_registry_lost_is_registered_again() {
    let mut world = World::with(vec![Abilities::default()], keep_failed);
    world.start(0);
    world.settle();
    world.die(0, 3);
    world.tell(0, What::Died(None));
    world.settle();
    let entry = world.registry.clone();
    world.registry.clear();
    world.pass(world.config.resync);
    assert_eq!(world.registry, entry);
}

#[test]
fn a_registry_gets_no_more_writes_at_once_than_it_bears() {
    let mut world = World::new(|_| {});
    (0..=255).for_each(|number| world.start(number));
    let mut most = 0;
    for _ in 0..100 {
        // All that is asked is answered before any write is.
        world.ask();
        while let Some(at) = world.pending.iter().position(|pending| !is_write(pending)) {
            world.answer(at, true, true);
            world.ask();
        }
        most = most.max(world.writing().len());
        while !world.pending.is_empty() {
            world.answer(0, true, true);
        }
    }
    assert_eq!((most, world.registry.len()), (32, 256));
}

#[test]
fn who_is_to_leave_rotation_does_not_stand_in_line_with_those_that_come() {
    let narrow = Abilities {
        abreast: 1,
        ..Abilities::default()
    };
    let mut world = World::with(vec![narrow], |_| {});
    (0..3).for_each(|number| world.start(number));
    world.settle();
    for number in [3, 4] {
        world.start(number);
        world.tell(number, What::Turned);
    }
    world.ask();
    while !world.pending.is_empty() {
        world.answer(0, true, true);
    }
    world.tell(2, What::Signalled(15));
    world.ask();
    assert!(
        matches!(
            world.writing()[..],
            [(
                0,
                Write {
                    verb: Verb::Refresh(_),
                    ..
                }
            )]
        ),
        "{:?}",
        world.pending
    );
}

/// L35, R16.
#[test]
fn a_registry_that_is_down_holds_up_no_other() {
    let mut world = World::with(vec![without_checks(), Abilities::default()], |_| {});
    let down = |pending: &Pending| matches!(pending, Pending::Read(1, _) | Pending::Write(1, _));
    (0..3).for_each(|number| world.start(number));
    world.settle_but(down);
    assert_eq!(world.registry, world.expected());
    world.die(1, 0);
    world.tell(1, What::Died(None));
    world.settle_but(down);
    assert_eq!((&world.registry, world.beside.len()), (&world.expected(), 0));
    world.pass(Duration::from_secs(30));
    assert_eq!(
        (&world.registry, &world.beside),
        (&world.expected(), &world.expected())
    );
    // Now it is there, and refuses.
    world.start(4);
    world.tell(4, What::Turned);
    world.settle_but(|pending| matches!(pending, Pending::Write(1, _)));
    assert_eq!((&world.registry, world.beside.len()), (&world.expected(), 2));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.beside, world.expected());
}

#[test]
fn of_two_containers_that_claim_one_id_all_registries_hold_the_same() {
    let label = ("SERVICE_ID".to_owned(), "same".to_owned());
    let mut world = World::with(vec![Abilities::default(); 2], |_| {});
    for number in [7, 3] {
        world.start(number);
        let container = world.containers.get_mut(&World::id(number)).unwrap();
        container.labels.extend([label.clone()]);
        world.tell(number, What::Turned);
        world.settle();
    }
    // One that comes later learns who holds it from the other.
    world.beside.clear();
    world.pass(world.config.resync);
    for entries in [&world.registry, &world.beside] {
        assert_eq!(entries["same"].service.meta["lictor-container"], *World::id(7));
    }
    assert_eq!(
        world.mind.losers().len(),
        1,
        "one complaint, however many registries"
    );
}

#[test]
fn who_cannot_have_his_id_in_several_registries_is_told_once() {
    let mut world = World::with(vec![Abilities::default(); 2], |_| {});
    for id in ["a", "b"] {
        let mut theirs = Registration::default();
        theirs.service.id = id.into();
        world.registry.insert(id.into(), theirs.clone());
        world.beside.insert(id.into(), theirs);
    }
    for (number, id) in [(0, "a"), (1, "b")] {
        world.start(number);
        let container = world.containers.get_mut(&World::id(number)).unwrap();
        container.env.push(format!("SERVICE_ID={id}"));
    }
    world.settle();
    let told: Vec<String> = world
        .mind
        .losers()
        .into_iter()
        .map(|loser| loser.container)
        .collect();
    assert_eq!(told, ["c0", "c1"]);
}

#[test]
fn what_cannot_tell_health_holds_only_what_passes_and_is_told_nothing_else() {
    let mut world = World::with(vec![plain()], |_| {});
    (0..2).for_each(|number| world.start(number));
    world.settle();
    assert_eq!((world.registry.len(), world.writes), (2, 2));
    world.tell(0, What::Signalled(15));
    world.settle();
    assert_eq!(
        world.registry.keys().map(|key| &**key).collect::<Vec<_>>(),
        ["t1:c1:80"]
    );
    world.pass(Duration::from_secs(12));
    assert_eq!(
        (world.registry.len(), world.writes),
        (2, 4),
        "it survived its signal"
    );
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    container.state.health = Some(Health::Healthy);
    world.tell(0, What::Changed);
    world.settle();
    assert_eq!(world.writes, 4, "it passed before, and says so in other words");
    // Its listing shows all that it can hold, so a restart finds nothing to write.
    let mut world = world.reborn();
    world.pass(Duration::from_secs(130));
    assert_eq!((world.registry.len(), world.writes), (2, 0));
}

#[test]
fn a_container_that_failed_is_not_kept_where_nobody_would_see_that_it_did() {
    let mut world = World::with(vec![plain()], keep_failed);
    world.start(0);
    world.settle();
    world.die(0, 3);
    world.tell(0, What::Died(None));
    world.settle();
    assert!(world.registry.is_empty());
}

#[test]
fn an_entry_is_what_its_registry_tells_apart() {
    let by_name = Abilities {
        key: |service| format!("{}/{}", service.name, service.id).into(),
        ..Abilities::default()
    };
    let mut world = World::with(vec![by_name], |_| {});
    world.start(0);
    world.settle();
    // Another container of the same name, whose service is called otherwise.
    let mut other = world.containers.remove(&World::id(0)).unwrap();
    (other.id, other.image) = (World::id(1), "api".to_owned());
    world.containers.insert(World::id(1), other);
    (0..2).for_each(|number| world.tell(number, What::Turned));
    world.settle();
    assert_eq!(
        world.registry.keys().map(|key| &**key).collect::<Vec<_>>(),
        ["api/t1:c0:80"]
    );
}

#[test]
fn of_two_that_a_registry_cannot_tell_apart_it_holds_the_first_in_order_of_ids() {
    let by_name = Abilities {
        key: |service| service.name.clone(),
        ..Abilities::default()
    };
    let mut world = World::with(vec![by_name], |_| {});
    (0..3).for_each(|number| world.start(number));
    world.settle();
    world.pass(Duration::from_secs(130));
    let held: Vec<&str> = world.registry.values().map(|entry| &*entry.service.id).collect();
    assert_eq!((held, world.writes), (vec!["t1:c0:80"], 1));
}

#[test]
fn a_registry_that_faltered_is_asked_at_once_and_listened_to_again() {
    let mut world = started(2);
    let watches = |world: &mut World| {
        let actions = world.mind.actions(world.now);
        actions
            .iter()
            .filter(|action| matches!(action, Action::Watch(0)))
            .count()
    };
    assert_eq!(watches(&mut world), 0, "somebody listens already");
    world.registry.clear();
    world.mind.faltered(0, world.now);
    world.settle();
    assert_eq!(world.registry, world.expected());
    // One that gives no answers is asked once a second, however often it falters.
    for _ in 0..8 {
        world.now += world.config.resync;
        world.settle_but(|pending| matches!(pending, Pending::Read(..)));
    }
    world.mind.faltered(0, world.now);
    assert_eq!(watches(&mut world), 1);
    world.ask();
    assert!(world.pending.is_empty(), "{:?}", world.pending);
    world.mind.faltered(0, world.now + Duration::from_millis(500));
    world.now += Duration::from_secs(1);
    world.ask();
    assert!(
        matches!(world.pending[..], [Pending::Read(0, _)]),
        "{:?}",
        world.pending
    );
}

#[test]
fn what_a_registry_cannot_hold_is_not_offered_and_named_once_with_the_setting_that_helps() {
    let picky = Abilities {
        refuses: |service| {
            service
                .id
                .contains("c1")
                .then(|| ("SERVICE_ID", "no ones".to_owned()))
        },
        ..Abilities::default()
    };
    let mut world = World::with(vec![picky, Abilities::default()], |_| {});
    (0..2).for_each(|number| world.start(number));
    world.settle();
    let keys = |entries: &Entries| entries.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(&world.registry), ["t1:c0:80"]);
    assert_eq!(keys(&world.beside), ["t1:c0:80", "t1:c1:80"]);
    let losers = world.mind.losers();
    let [complaint] = &losers[..] else {
        panic!("{losers:?}")
    };
    assert_eq!(
        (complaint.container.as_str(), complaint.fault.key.as_str()),
        ("c1", "SERVICE_ID")
    );
    assert_eq!(complaint.fault.reason, "no ones; not registered");
}

/// R25.
#[test]
fn entries_are_renewed_in_their_rhythm() {
    let mut world = World::new(|config| {
        config.ttl = Duration::from_secs(60);
        config.ttl_refresh = Duration::from_secs(25);
    });
    world.start(0);
    world.settle();
    let start = world.now;
    for round in 1..=2 {
        world.now = start + round * Duration::from_secs(25);
        let actions = world.mind.actions(world.now);
        let [Action::Renew(0, held)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(*held[0], world.registry["t1:c0:80"]);
        assert_eq!(world.mind.actions(world.now), [], "one at a time");
        world.mind.renewed(0, true, world.now);
    }
}

/// R7.
#[test]
fn a_change_of_any_field_is_written_but_for_tags_that_others_may_override() {
    let base = Registration {
        service: ServiceSpec {
            id: "web".into(),
            name: "web".into(),
            tags: vec!["a".to_owned()],
            port: 80,
            ..ServiceSpec::default()
        },
        ..Registration::default()
    };
    let apart = |change: &dyn Fn(&mut ServiceSpec), held: &dyn Fn(&mut ServiceSpec)| {
        let [mut wanted, mut entry] = [base.clone(), base.clone()];
        change(&mut wanted.service);
        held(&mut entry.service);
        let held = Held {
            entry: Arc::new(entry),
            known: Lists::Checks,
        };
        difference(&wanted, &held, &Abilities::default())
    };
    let address = |name: &str| (name.to_owned(), ServiceAddress::default());
    let nothing = |_: &mut ServiceSpec| {};
    let changes: [&dyn Fn(&mut ServiceSpec); 9] = [
        &|service| service.name = "api".into(),
        &|service| service.kind = "gateway".to_owned(),
        &|service| service.tags.clear(),
        &|service| _ = service.meta.insert("a".to_owned(), "b".to_owned()),
        &|service| service.port = 81,
        &|service| service.address = "10.0.0.2".to_owned(),
        &|service| service.tagged_addresses.extend([address("wan")]),
        &|service| {
            service.weights = Weights {
                passing: 2,
                warning: 1,
            }
        },
        &|service| service.enable_tag_override = true,
    ];
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(
            apart(change, &nothing),
            Difference::Service,
            "change {index}, wanted"
        );
        assert_eq!(
            apart(&nothing, change),
            Difference::Service,
            "change {index}, held"
        );
        assert_eq!(apart(change, change), Difference::None, "change {index}, both");
    }
    let overridden = |service: &mut ServiceSpec| {
        service.enable_tag_override = true;
        service.tags = vec!["somebody's".to_owned()];
    };
    assert_eq!(
        apart(&|service| service.enable_tag_override = true, &overridden),
        Difference::None
    );
    // An agent of Consul adds these.
    let filled_in = |service: &mut ServiceSpec| service.tagged_addresses.extend([address("lan_ipv4")]);
    assert_eq!(apart(&nothing, &filled_in), Difference::None);
    assert_eq!(apart(&filled_in, &nothing), Difference::Service);
}

#[test]
fn where_states_are_listed_a_restart_writes_only_the_states_that_changed() {
    let states = Abilities {
        lists: Lists::States,
        ..Abilities::default()
    };
    let mut world = World::with(vec![states], |_| {});
    (0..2).for_each(|number| world.start(number));
    world.settle();
    let check = &mut world.registry.get_mut("t1:c1:80").unwrap().checks[0];
    (check.initial, check.name) = (Some(Status::Critical), String::new());
    let mut world = world.reborn();
    world.ask();
    while let Some(at) = world.pending.iter().position(|pending| !is_write(pending)) {
        world.answer(at, true, true);
        world.ask();
    }
    assert!(
        matches!(
            world.writing()[..],
            [(
                0,
                Write {
                    verb: Verb::Refresh(_),
                    ..
                }
            )]
        ),
        "{:?}",
        world.pending
    );
}
