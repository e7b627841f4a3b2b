//! Checks that a container asks for: which are compared, and which are reported on, how often, and when no more.

use super::*;

/// A world whose container asks for a TTL check of 30 s, and what it says beside that.
fn asking(labels: &[(&str, &str)]) -> World {
    let mut world = World::new(|_| {});
    world.start(0);
    let said = labels.iter().chain(&[("SERVICE_CHECK_TTL", "30s")]);
    let said = said.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    world.change(|container| container.labels.extend(said));
    world
}

impl World {
    fn change(&mut self, change: impl FnOnce(&mut Container)) {
        change(self.containers.get_mut(&Self::id(0)).unwrap());
        self.tell(0, What::Changed);
    }

    /// How many reports a minute brings.
    fn reports_in_a_minute(&mut self) -> usize {
        self.reports.clear();
        self.pass(Duration::from_secs(60));
        self.reports.len()
    }
}

#[test]
fn a_ttl_check_is_reported_on_three_times_in_its_life_and_nothing_is_written_for_it() {
    let mut world = asking(&[]);
    world.settle();
    assert_eq!(world.reports, [Arc::from("service:t1:c0:80")]);
    assert_eq!(world.reports_in_a_minute(), 6);
    assert_eq!(world.writes, 1);
    assert!(world.mind.is_settled());
}

#[test]
fn nobody_speaks_for_a_container_that_is_paused_stopping_or_gone() {
    let mut world = asking(&[]);
    world.settle();
    world.change(|container| container.state.paused = true);
    assert_eq!(world.reports_in_a_minute(), 0);
    world.change(|container| container.state.paused = false);
    assert_eq!(world.reports_in_a_minute(), 7, "at once, then every ten seconds");
    world.tell(0, What::Signalled(15));
    world.reports.clear();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.reports, []);
    world.die(0, 0);
    world.tell(0, What::Died(None));
    assert_eq!(world.reports_in_a_minute(), 0);
}

#[test]
fn whoever_reports_by_himself_is_left_alone() {
    for (word, reports) in [("false", 0), ("true", 6), ("", 6)] {
        let mut world = asking(&[("SERVICE_CHECK_HEARTBEAT", word)]);
        world.settle();
        assert_eq!(world.reports_in_a_minute(), reports, "{word:?}");
    }
}

#[test]
fn a_check_is_not_reported_on_before_its_service_is_there() {
    let mut world = asking(&[]);
    let write = |pending: &Pending| matches!(pending, Pending::Write(..));
    world.settle_but(write);
    assert_eq!(world.reports, []);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.reports.len(), 1);
}

#[test]
fn a_registry_that_cannot_tell_health_hears_no_reports() {
    let silent = Abilities {
        tells_health: false,
        ..Abilities::default()
    };
    let mut world = World::with(vec![silent], |_| {});
    world.start(0);
    world.change(|container| _ = container.labels.insert("SERVICE_CHECK_TTL".into(), "30s".into()));
    assert_eq!((world.reports_in_a_minute(), world.registry.len()), (0, 1));
}

#[test]
fn every_check_that_is_asked_for_is_compared_and_those_of_others_are_not() {
    let mut world = asking(&[("SERVICE_CHECK_2_TCP", "true")]);
    world.settle();
    let mut checks = world.registry["t1:c0:80"].checks.clone();
    assert_eq!(&*checks[2].id, "service:t1:c0:80:2");
    checks[2].failures_before_critical = 9;
    let of_others = Definition {
        id: "theirs".into(),
        ..checks[1].clone()
    };
    world.registry.get_mut("t1:c0:80").unwrap().checks = checks;
    world.pass(Duration::from_secs(120));
    assert_eq!((world.writes, &world.registry), (2, &world.expected()));
    world.registry.get_mut("t1:c0:80").unwrap().checks.push(of_others);
    world.pass(Duration::from_secs(120));
    assert_eq!(world.writes, 2);
}

/// Ids of checks are shared by a node, and `<service>:2` may be a service too.
#[test]
fn no_service_takes_over_the_check_of_another() {
    let check: Arc<str> = "service:t1:c0:80:2".into();
    for earlier in [None, Some(0), Some(1)] {
        let mut world = World::new(|_| {});
        for number in earlier.into_iter().chain([0, 1]) {
            if world.containers.contains_key(&World::id(number)) {
                continue;
            }
            world.start(number);
            let says: &[(&str, &str)] = match number {
                0 => &[("SERVICE_CHECK_2_TCP", "true"), ("SERVICE_CHECK_TTL", "30s")],
                _ => &[("SERVICE_CHECK_TTL", "30s"), ("SERVICE_ID", "t1:c0:80:2")],
            };
            let says = says
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let container = world.containers.get_mut(&World::id(number)).unwrap();
            container.labels.extend(says);
            world.tell(number, What::Changed);
            if earlier.is_some() {
                world.settle();
            }
        }
        world.settle();
        let bring = |id: &str| world.registry[id].checks.iter().any(|known| known.id == check);
        let (asks, taker) = (bring("t1:c0:80"), bring("t1:c0:80:2"));
        assert_ne!(asks, taker, "{earlier:?}");
        assert!(earlier.is_none_or(|first| taker == (first == 1)), "{earlier:?}");
        let losers = world.mind.losers();
        assert_eq!(losers.len(), 1, "{losers:?}");
        assert_eq!(losers[0].container, if asks { "c1" } else { "c0" });
        let ours = world.reports.iter().filter(|reported| **reported == check);
        assert_eq!(ours.count() > 0, taker, "{earlier:?}");
        let writes = world.writes;
        world.pass(Duration::from_secs(130));
        assert_eq!(world.writes, writes);
        // With who has it gone, the other gets it.
        let (gone, left) = if asks { (0, "t1:c0:80:2") } else { (1, "t1:c0:80") };
        world.containers.remove(&World::id(gone));
        world.tell(gone, What::Died(None));
        world.pass(Duration::from_secs(130));
        assert!(world.registry[left].checks.iter().any(|known| known.id == check));
        assert_eq!(world.mind.losers(), []);
    }
}
