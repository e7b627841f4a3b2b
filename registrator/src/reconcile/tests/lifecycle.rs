//! What outlives a container, a name, an engine or ourselves.

use catalog::service::META_CONTAINER;

use super::*;
use crate::config::AtExit;
use crate::container::{Health, Network};

const AN_HOUR: Duration = Duration::from_secs(3600);

fn is_write(pending: &Pending) -> bool {
    matches!(pending, Pending::Write(..))
}

fn is_list(pending: &Pending) -> bool {
    matches!(pending, Pending::List(_))
}

fn keys(entries: &Entries) -> Vec<&str> {
    entries.keys().map(|key| &**key).collect()
}

/// An earlier life under another mark, and perhaps another host name.
fn marked_before(count: u8, hostname: &str) -> World {
    let mut before = World::new(|config| {
        (config.owner, config.hostname) = ("t1".to_owned(), hostname.to_owned());
    });
    (0..count).for_each(|number| before.start(number));
    before.settle();
    before
}

fn after(before: World, change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(|config| {
        config.former_owners = vec!["t1".to_owned()];
        change(config);
    });
    (world.containers, world.registry) = (before.containers, before.registry);
    world
}

// === Whose an entry is ===

#[test]
fn entries_under_a_former_mark_are_ours_where_their_container_is_here() {
    let mut before = marked_before(3, "t1");
    // The third is on another host that has the same name.
    before.containers.remove(&World::id(2));
    let theirs = before.registry["t1:c2:80"].clone();
    let mut world = after(before, |_| {});
    world.pass(AN_HOUR);
    assert_eq!(world.writes, 2, "the mark, once each");
    assert_eq!(world.registry.remove("t1:c2:80"), Some(theirs));
    assert_eq!(world.registry, world.expected());
}

/// A registry whose entries hold a key and an address, and beside them a mark.
fn bare() -> Abilities {
    Abilities {
        tells_health: false,
        lists: Lists::Places,
        ..Abilities::default()
    }
}

/// [`after`], with a registry that holds little.
fn bare_after(before: World, change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::with(vec![bare()], |config| {
        config.former_owners = vec!["t1".to_owned()];
        change(config);
    });
    (world.containers, world.registry) = (before.containers, before.registry);
    world
}

#[test]
fn where_entries_name_no_container_one_under_a_former_mark_is_ours_if_one_here_would_have_it() {
    let mut before = marked_before(5, "t1");
    // The first goes on, the second has ended, the third was started anew with another port; of the fourth and the
    // fifth those with entries are on another host of the same name, which has a container more than we have.
    before.die(1, 0);
    before.start(2);
    for key in ["t1:c3:80", "t1:c4:80"] {
        let theirs = before.registry.get_mut(key).unwrap();
        theirs.service.address = "10.0.0.2".to_owned();
    }
    before.containers.remove(&World::id(4));
    let theirs = ["t1:c3:80", "t1:c4:80"].map(|key| before.registry[key].clone());
    let mut world = bare_after(before, |_| {});
    world.pass(AN_HOUR);
    assert_eq!(
        keys(&world.registry),
        ["t1:c0:80", "t1:c2:80", "t1:c3:80", "t1:c4:80"]
    );
    assert_eq!(world.writes, 3, "one goes, two get the mark");
    let expected = world.expected();
    for key in ["t1:c0:80", "t1:c2:80"] {
        assert_eq!(world.registry[key], expected[key]);
    }
    assert_eq!(
        ["t1:c3:80", "t1:c4:80"].map(|key| world.registry[key].clone()),
        theirs
    );
    assert_eq!(world.mind.losers().len(), 1, "and it is said whose it is");
}

#[test]
fn with_cleanup_all_entries_under_a_former_mark_get_ours_or_go() {
    let mut before = marked_before(2, "t1");
    before.containers.remove(&World::id(1));
    let mut world = bare_after(before, |config| config.cleanup = true);
    world.pass(AN_HOUR);
    assert_eq!(world.registry, world.expected());
    assert_eq!(world.writes, 2);
}

#[test]
fn who_writes_over_an_entry_under_a_former_mark_of_ours_is_let_be() {
    let mut world = bare_after(marked_before(1, "t1"), |_| {});
    world.pass(AN_HOUR);
    let mut theirs = world.registry["t1:c0:80"].clone();
    theirs.service.address = "10.0.0.2".to_owned();
    theirs.service.meta.insert(META_OWNER.to_owned(), "t1".to_owned());
    world.registry.insert("t1:c0:80".into(), theirs.clone());
    let before = world.writes;
    world.pass(AN_HOUR);
    assert_eq!(
        (world.registry["t1:c0:80"].clone(), world.writes),
        (theirs, before)
    );
}

#[test]
fn an_entry_under_a_former_mark_goes_with_its_container_once_that_was_seen() {
    let mut world = after(marked_before(2, "t1"), |_| {});
    world.settle();
    world.containers.remove(&World::id(0));
    world.tell(0, What::Turned);
    world.settle();
    assert_eq!(keys(&world.registry), ["t1:c1:80"]);
}

#[test]
fn cleanup_also_removes_what_nobody_accounts_for_under_a_former_mark() {
    let mut before = marked_before(2, "t1");
    before.containers.remove(&World::id(1));
    let mut world = after(before, |config| config.cleanup = true);
    world.settle();
    assert_eq!(world.registry, world.expected());
}

/// L38, R14.
#[test]
fn a_host_that_got_another_name_adopts_its_entries_and_is_never_without() {
    let mut world = after(marked_before(2, "old"), |_| {});
    never_absent(&mut world);
    assert_eq!(world.registry, world.expected());
    assert_eq!(keys(&world.registry), ["t1:c0:80", "t1:c1:80"]);
}

/// L39, R14.
#[test]
fn two_hosts_of_one_name_leave_each_other_alone() {
    let mut other = World::new(|config| config.owner = "other".to_owned());
    (0..3).for_each(|number| other.start(number));
    other.settle();
    let theirs = other.registry.clone();
    let mut world = after(other, |config| config.cleanup = true);
    world.containers.clear();
    (3..5).for_each(|number| world.start(number));
    world.pass(AN_HOUR);
    assert_eq!(world.registry.len(), 5);
    for (key, entry) in theirs {
        assert_eq!(world.registry[&key], entry);
    }
}

/// L49.
#[test]
fn with_the_original_at_work_there_is_no_fight() {
    let mut world = World::new(|_| {});
    let mut theirs = Registration::default();
    theirs.service.id = "t1:c0:80".into();
    world.registry.insert("t1:c0:80".into(), theirs.clone());
    world.start(0);
    world.settle();
    assert_eq!(world.registry, world.expected(), "taken over");
    // It writes its own again.
    for _ in 0..5 {
        world.registry.insert("t1:c0:80".into(), theirs.clone());
        world.pass(world.config.resync);
    }
    assert_eq!((world.registry["t1:c0:80"].clone(), world.writes), (theirs, 1));
    assert_eq!(world.mind.losers().len(), 1, "nobody is told whose it is");
    world.registry.clear();
    world.pass(world.config.resync);
    assert_eq!(world.registry, world.expected());
}

#[test]
fn a_takeover_that_failed_is_tried_again() {
    let mut world = World::new(|_| {});
    let mut theirs = Registration::default();
    theirs.service.id = "t1:c0:80".into();
    world.registry.insert("t1:c0:80".into(), theirs.clone());
    world.start(0);
    // For so long that it is read meanwhile, with no write under way.
    world.trouble = Outcome::Refused;
    world.pass_but(Duration::from_secs(200), is_write);
    assert_eq!(world.registry["t1:c0:80"], theirs);
    world.pass(AN_HOUR);
    assert_eq!(world.registry, world.expected());
}

// === Names ===

/// Answers writes in the worst order, newest first, and looks after each whether a running container is nowhere.
fn never_absent(world: &mut World) {
    let held = |world: &World| {
        let ids = world
            .registry
            .values()
            .map(|entry| entry.service.meta[META_CONTAINER].clone());
        ids.collect::<std::collections::BTreeSet<String>>()
    };
    let before = held(world);
    for _ in 0..1000 {
        world.ask();
        if world.pending.is_empty() {
            return;
        }
        world.answer(world.pending.len() - 1, true, true);
        assert_eq!(held(world), before, "one was nowhere for a moment");
    }
    panic!("never settles");
}

fn rename(world: &mut World, number: u8, name: &str) {
    world.containers.get_mut(&World::id(number)).unwrap().name = name.to_owned();
    world.tell(number, What::Changed);
}

/// L24, R7.
#[test]
fn a_renamed_container_is_known_by_both_names_for_a_moment_and_never_by_none() {
    let mut world = started(1);
    rename(&mut world, 0, "z");
    never_absent(&mut world);
    assert_eq!(keys(&world.registry), ["t1:z:80"]);
}

/// L25.
#[test]
fn two_containers_that_swap_names_are_both_right_in_the_end_and_no_entry_goes_meanwhile() {
    for first in [0, 1] {
        let mut world = started(2);
        rename(&mut world, 0, "c1");
        rename(&mut world, 1, "c0");
        world.ask();
        world.answer(first, true, true);
        while !world.pending.is_empty() {
            world.ask();
            assert!(
                world
                    .writing()
                    .iter()
                    .all(|(_, write)| write.verb != Verb::Deregister)
            );
            world.answer(world.pending.len() - 1, true, true);
        }
        world.settle();
        assert_eq!(world.registry, world.expected());
        let container = &world.registry["t1:c1:80"].service.meta[META_CONTAINER];
        assert_eq!(**container, *World::id(0));
    }
}

/// L24, L45: its own check begins anew under the new id.
#[test]
fn a_renamed_container_with_a_check_is_known_by_both_names_until_that_can_have_passed() {
    let mut world = started(0);
    world.start(0);
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    container
        .labels
        .insert("SERVICE_CHECK_HTTP".to_owned(), "/".to_owned());
    world.tell(0, What::Turned);
    world.pass(Duration::from_secs(2));
    rename(&mut world, 0, "z");
    world.settle();
    assert_eq!(keys(&world.registry), ["t1:c0:80", "t1:z:80"]);
    world.pass(Duration::from_millis(999));
    assert_eq!(world.registry.len(), 2);
    world.pass(MOMENT);
    assert_eq!(world.registry, world.expected());
    // One that ends waits for nothing.
    rename(&mut world, 0, "y");
    world.settle();
    world.die(0, 0);
    world.tell(0, What::Died(Some(0)));
    world.settle();
    assert!(world.registry.is_empty());
}

#[test]
fn the_entry_under_the_old_name_goes_though_the_new_one_is_refused_for_ever() {
    let mut world = started(1);
    rename(&mut world, 0, "z");
    let refused = |pending: &Pending| matches!(pending, Pending::Write(_, write) if &*write.key == "t1:z:80");
    for _ in 0..5 {
        assert!(world.registry.contains_key("t1:c0:80"));
        world.settle_but(refused);
        world.now = world.mind.deadline(world.now).unwrap();
    }
    world.settle_but(refused);
    assert!(!world.registry.contains_key("t1:c0:80"));
}

// === How much is said ===

fn judge(world: &mut World, health: Health) {
    world.containers.get_mut(&World::id(0)).unwrap().state.health = Some(health);
    world.tell(0, What::Changed);
    world.settle();
}

#[test]
fn an_output_with_a_clock_in_it_is_told_once_a_minute() {
    let mut world = started(1);
    let unhealthy = |second: u64| Health::Unhealthy(format!("bad at {second}"));
    judge(&mut world, unhealthy(0));
    let writes = world.writes;
    for second in 1..=120 {
        world.pass(Duration::from_secs(1));
        judge(&mut world, unhealthy(second));
    }
    assert!(world.writes - writes <= 2, "{}", world.writes - writes);
    world.pass(Duration::from_secs(120));
    assert_eq!(world.says(0).1, "unhealthy: bad at 120");
}

/// L29.
#[test]
fn a_healthcheck_that_flaps_is_told_of_a_little_and_in_the_end_rightly() {
    let mut world = started(1);
    judge(&mut world, Health::Healthy);
    let writes = world.writes;
    for _ in 0..100 {
        judge(&mut world, Health::Unhealthy("no".to_owned()));
        assert_eq!(world.says(0).0, Status::Critical, "bad news waits");
        world.pass(Duration::from_millis(50));
        judge(&mut world, Health::Healthy);
        world.pass(Duration::from_millis(50));
    }
    // Ten seconds: good and bad once a second.
    assert!(world.writes - writes <= 24, "{}", world.writes - writes);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.says(0), (Status::Passing, "healthy"));
}

// === Registries that were away ===

/// L35, L36.
#[test]
fn a_registry_that_was_away_and_lost_everything_has_all_of_it_two_seconds_after_it_is_back() {
    for time in [Duration::from_millis(500), Duration::from_secs(300)] {
        let mut world = started(5);
        let away = |pending: &Pending| is_write(pending) || matches!(pending, Pending::Read(..));
        world.start(5);
        world.tell(5, What::Turned);
        world.pass_but(time, away);
        world.registry.clear();
        world.pass(Duration::from_secs(2));
        assert_eq!(world.registry, world.expected(), "away for {time:?}");
    }
}

/// L37.
#[test]
fn what_a_registry_refuses_is_tried_again_at_its_own_pace_though_it_was_away() {
    let mut world = started(1);
    world.start(1);
    world.tell(1, What::Turned);
    world.trouble = Outcome::Refused;
    world.pass_but(Duration::from_secs(20), is_write);
    world.mind.faltered(0, world.now);
    world.ask();
    assert!(world.writing().is_empty(), "{:?}", world.pending);
}

// === Networks of others ===

fn share(world: &mut World, number: u8, owner: u8) {
    world.start(number);
    let container = world.containers.get_mut(&World::id(number)).unwrap();
    container.network = Network::Container(World::id(owner));
    container.exposed = ["80/tcp".parse().unwrap()].into();
    container.bindings.clear();
}

/// L54.
#[test]
fn who_uses_the_network_of_a_container_that_stops_leaves_rotation_with_it() {
    let mut world = started(1);
    // One in the network of the first, and one in that one's.
    share(&mut world, 1, 0);
    share(&mut world, 2, 1);
    for number in [1, 2] {
        world.tell(number, What::Turned);
    }
    world.settle();
    assert_eq!(world.registry.len(), 3);
    world.tell(0, What::Signalled(15));
    world.settle();
    assert_eq!(world.says(0), (Status::Critical, "stopping (SIGTERM)"));
    for number in [1, 2] {
        let words = "network of c0: stopping (SIGTERM)";
        assert_eq!(world.says(number), (Status::Critical, words));
    }
    world.die(0, 0);
    world.tell(0, What::Died(None));
    world.settle();
    assert_eq!(
        keys(&world.registry),
        [""; 0],
        "an address that nobody has any more"
    );
}

#[test]
fn nobody_complains_of_a_network_before_its_owner_was_asked_for() {
    let shared = |owner_runs: bool| {
        let mut world = World::new(|_| {});
        // Inspected in order of ids: the owner last, and the one in between before him.
        for (number, owner) in [(0, 1), (1, 2)] {
            share(&mut world, number, owner);
            let container = world.containers.get_mut(&World::id(number)).unwrap();
            container.env.push("SERVICE_PORT=9999".to_owned());
        }
        if owner_runs {
            world.start(2);
            let owner = world.containers.get_mut(&World::id(2)).unwrap();
            owner.network = Network::Host;
            owner.asked.clear();
        }
        world.settle();
        world
    };
    let world = shared(true);
    assert_eq!(keys(&world.registry), ["t1:c0:9999", "t1:c1:9999", "t1:c2:80"]);
    assert_eq!((&world.complaints[..], world.inspections), (&[][..], 3));
    let mut world = shared(false);
    world.pass(Duration::from_secs(200));
    let said: Vec<&str> = world.complaints.iter().map(|one| &*one.container).collect();
    assert_eq!(said, ["c1", "c0"], "each is told once");
    assert!(
        world.complaints[0]
            .fault
            .reason
            .starts_with("port 9999/tcp not registered"),
        "{:?}",
        world.complaints
    );
}

#[test]
fn who_uses_the_network_of_a_container_that_restarts_follows_it_to_its_new_port() {
    let mut world = started(1);
    share(&mut world, 1, 0);
    world.tell(1, What::Turned);
    world.settle();
    for _ in 0..2 {
        let published = world.containers[&World::id(0)].bindings.values().flatten();
        let published = published.map(|binding| binding.port).next().unwrap();
        let ports: Vec<u16> = world.registry.values().map(|entry| entry.service.port).collect();
        assert_eq!(ports, [published; 2]);
        world.die(0, 0);
        world.tell(0, What::Died(None));
        world.settle();
        assert_eq!(keys(&world.registry), [""; 0]);
        world.start(0);
        world.tell(0, What::Turned);
        world.settle();
    }
}

// === The engine ===

/// L8, R3.
#[test]
fn a_stream_that_is_silent_though_containers_end_is_given_up() {
    for gone in [false, true] {
        let mut world = started(2);
        if gone {
            world.containers.remove(&World::id(0));
        } else {
            world.die(0, 0);
        }
        world.pass(world.config.resync + Duration::from_secs(2));
        assert_eq!((world.suspicions, world.registry.len()), (1, 1));
    }
}

#[test]
fn a_stream_whose_event_comes_a_little_after_the_listing_is_trusted() {
    let mut world = started(2);
    world.die(0, 0);
    world.start(2);
    world.pass(world.config.resync);
    world.now += Duration::from_millis(500);
    world.tell(0, What::Died(None));
    world.tell(2, What::Turned);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.suspicions, 0);
}

#[test]
fn what_happened_before_the_stream_was_opened_speaks_not_against_it() {
    let mut world = started(4);
    world.die(0, 0);
    world.containers.remove(&World::id(1));
    world.mind.connected(world.now);
    world.pass(Duration::from_secs(10));
    assert_eq!((world.suspicions, world.registry.len()), (0, 2));
}

/// L6.
#[test]
fn entries_of_an_engine_that_stays_away_are_critical_after_the_grace_and_well_when_it_is_back() {
    let mut world = World::new(|config| config.grace = Duration::from_secs(90));
    (0..2).for_each(|number| world.start(number));
    world.settle();
    world.mind.lost(world.now);
    world.pass_but(Duration::from_secs(89), is_list);
    assert_eq!(world.says(0).0, Status::Passing);
    // News of its absence come again and again.
    world.mind.lost(world.now);
    world.pass_but(Duration::from_secs(1), is_list);
    for number in [0, 1] {
        assert_eq!(
            world.says(number),
            (Status::Critical, "container engine not heard")
        );
    }
    world.die(1, 0);
    world.mind.connected(world.now);
    world.ask();
    assert!(world.writing().is_empty(), "nothing is known yet");
    world.settle();
    assert_eq!(world.registry, world.expected());
}

/// L6.
#[test]
fn without_a_grace_entries_stand_for_as_long_as_the_engine_is_away() {
    let mut world = started(2);
    world.mind.lost(world.now);
    world.pass_but(AN_HOUR, is_list);
    assert_eq!((world.writes, world.registry.len()), (2, 2));
}

/// One that its engine removes as soon as it ends.
fn passing_by() -> World {
    let mut world = World::new(|config| config.deregister = Deregister::OnSuccess);
    world.start(0);
    world.containers.get_mut(&World::id(0)).unwrap().auto_remove = true;
    world.tell(0, What::Turned);
    world.settle();
    assert_eq!(world.registry, world.expected());
    world
}

/// L16, R11.
#[test]
fn of_a_container_that_is_gone_with_its_end_the_event_says_whether_it_failed() {
    for (code, stays) in [
        (Some(0), false),
        (Some(1), true),
        (Some(255), true),
        (Some(137), false),
        (None, false),
    ] {
        for apart in [false, true] {
            let mut world = passing_by();
            world.containers.clear();
            // End and removal are heard of at once, or one after the other.
            let mut note = Note::default();
            note.add(What::Died(code));
            if apart {
                world.tell(0, What::Died(code));
                world.settle();
                world.tell(0, What::Removed);
            } else {
                note.add(What::Removed);
                world.mind.noted(&[(World::id(0), note)].into(), world.now);
            }
            world.pass(Duration::from_secs(200));
            assert_eq!(
                !world.registry.is_empty(),
                stays,
                "exit code {code:?}, apart {apart}"
            );
            if let (true, Some(code)) = (stays, code) {
                let words = format!("container exited ({code})");
                assert_eq!(world.says(0), (Status::Critical, &*words));
                assert_eq!((world.writes, world.suspicions), (2, 0));
            }
        }
    }
}

/// L16.
#[test]
fn what_a_container_that_is_gone_left_goes_with_its_successor_its_time_or_our_restart() {
    let failed = || {
        let mut world = passing_by();
        world.die(0, 3);
        world.tell(0, What::Died(Some(3)));
        world.settle();
        world.containers.clear();
        world.tell(0, What::Removed);
        world.settle();
        assert_eq!(world.says(0), (Status::Critical, "container exited (3)"));
        world
    };
    let mut world = failed();
    world.pass(AN_HOUR - Duration::from_secs(1));
    assert_eq!(world.registry.len(), 1);
    world.pass(Duration::from_secs(1));
    assert!(world.registry.is_empty());

    let mut world = failed().reborn();
    world.settle();
    assert!(world.registry.is_empty(), "nobody knows any more how it ended");

    // Another of its name takes its place.
    let mut world = failed();
    world.start(1);
    world.containers.get_mut(&World::id(1)).unwrap().name = "c0".to_owned();
    world.tell(1, What::Turned);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.says(0), (Status::Passing, "running"));
    assert_eq!(world.registry, world.expected());
}

/// L30: out when it turns bad, and back when it is well again, at its new port; never two, never too soon.
#[test]
fn a_container_that_is_restarted_because_it_was_unhealthy_comes_back_once_it_is_healthy() {
    let mut world = started(1);
    judge(&mut world, Health::Healthy);
    judge(&mut world, Health::Unhealthy("no".to_owned()));
    let mut told = vec![world.says(0).0];
    let old = world.registry["t1:c0:80"].service.port;
    for what in [What::Signalled(15), What::Signalled(9)] {
        world.tell(0, what);
        world.settle();
        told.push(world.says(0).0);
    }
    world.die(0, 137);
    world.tell(0, What::Died(Some(137)));
    world.settle();
    assert!(world.registry.is_empty());
    world.start(0);
    world.containers.get_mut(&World::id(0)).unwrap().state.health = Some(Health::Starting);
    world.tell(0, What::Turned);
    world.settle();
    told.push(world.says(0).0);
    assert_eq!(told, [Status::Critical; 4]);
    world.pass(Duration::from_secs(1));
    judge(&mut world, Health::Healthy);
    assert_eq!(world.says(0), (Status::Passing, "healthy"));
    assert_eq!(world.registry, world.expected());
    assert_ne!(world.registry["t1:c0:80"].service.port, old);
}

/// R15.
#[test]
fn the_entry_of_a_port_that_a_container_has_no_more_goes_and_the_others_stay() {
    let mut world = started(1);
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    let admin = "81/tcp".parse().unwrap();
    let binding = Binding {
        port: 30_000,
        ..container.bindings[&"80/tcp".parse().unwrap()][0]
    };
    container.bindings.insert(admin, vec![binding]);
    container.asked.insert(admin, vec![binding]);
    world.tell(0, What::Turned);
    world.settle();
    assert_eq!(keys(&world.registry), ["t1:c0:80", "t1:c0:81"]);
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    container.bindings.remove(&admin);
    container.asked.remove(&admin);
    // Nobody tells of it.
    let mut world = world.reborn();
    world.settle();
    assert_eq!(keys(&world.registry), ["t1:c0:80"]);
    assert_eq!(world.registry, world.expected());
}

/// R11.
#[test]
fn what_one_life_returned_is_not_held_against_the_next() {
    let mut world = passing_by();
    let mut note = Note::default();
    note.add(What::Died(Some(1)));
    note.add(What::Turned);
    world.mind.noted(&[(World::id(0), note)].into(), world.now);
    // Gone before anybody could look at its next life.
    world.containers.clear();
    world.tell(0, What::Removed);
    world.settle();
    assert!(world.registry.is_empty());
}

/// L28.
#[test]
fn a_container_that_had_no_memory_left_says_so() {
    let mut world = started(1);
    world.die(0, 137);
    world.containers.get_mut(&World::id(0)).unwrap().state.oom_killed = true;
    world.tell(0, What::Died(None));
    world.settle();
    assert!(world.registry.is_empty());
    let stopped = world.mind.stopped().next().unwrap();
    assert_eq!(stopped.checks[0].output, "container exited (137), out of memory");
}

// === The end ===

/// L3.
#[test]
fn at_the_end_entries_are_kept_drained_or_removed() {
    for (at_exit, left, writes) in [
        (AtExit::Keep, Some((Status::Passing, "running")), 2),
        (AtExit::Drain, Some((Status::Critical, "registrator stopped")), 4),
        (AtExit::Remove, None, 4),
    ] {
        let mut world = World::new(|config| config.at_exit = at_exit);
        (0..2).for_each(|number| world.start(number));
        let mut theirs = Registration::default();
        theirs.service.id = "theirs".into();
        world.registry.insert("theirs".into(), theirs);
        world.settle();
        world.mind.leave();
        world.settle();
        assert!(world.mind.has_said_all());
        assert_eq!(world.writes, writes);
        assert!(world.registry.contains_key("theirs"));
        match left {
            Some(left) => assert_eq!(world.says(1), left),
            None => assert_eq!(world.registry.len(), 1),
        }
    }
}
