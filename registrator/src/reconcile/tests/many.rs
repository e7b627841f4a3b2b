//! Containers with many ports: what they cost, and that they hold up nobody.

use std::cell::Cell;

use super::*;
use crate::container::Network;

thread_local!(static KEYS: Cell<usize> = const { Cell::new(0) });

impl World {
    /// A container in the host's network that exposes so many ports.
    fn range(&mut self, number: u8, ports: u16) {
        self.start(number);
        let container = self.containers.get_mut(&Self::id(number)).unwrap();
        container.network = Network::Host;
        container.bindings.clear();
        container.asked.clear();
        let ports = (20_000..20_000 + ports).map(|port| format!("{port}/udp").parse().unwrap());
        container.exposed = ports.collect();
        self.tell(number, What::Turned);
    }

    /// Answers everything but writes.
    fn look(&mut self) {
        self.ask();
        let is_question = |pending: &Pending| !matches!(pending, Pending::Write(..));
        while let Some(at) = self.pending.iter().position(is_question) {
            self.answer(at, true, true);
            self.ask();
        }
    }

    fn remove(&mut self, number: u8) {
        self.containers.remove(&Self::id(number));
        self.tell(number, What::Turned);
    }
}

/// Each comparison of what is wanted with what is held asks for the key of each service.
#[test]
fn writes_that_do_what_they_are_to_do_do_not_compare_everything_again() {
    let counting = Abilities {
        key: |service| {
            KEYS.set(KEYS.get() + 1);
            service.id.clone()
        },
        ..Abilities::default()
    };
    let mut world = World::with(vec![counting], |_| {});
    world.doubts = false;
    world.range(0, 500);
    world.settle();
    assert_eq!((world.registry.len(), world.writes), (500, 500));
    let starting = KEYS.replace(0);
    world.tell(0, What::Signalled(15));
    world.settle();
    assert_eq!(world.writes, 1000);
    let stopping = KEYS.replace(0);
    world.remove(0);
    world.settle();
    assert_eq!((world.registry.len(), world.writes), (0, 1500));
    let all = (starting, stopping, KEYS.get());
    assert!(
        all.0 < 20 * 500 && all.1 < 20 * 500 && all.2 < 20 * 500,
        "{all:?}"
    );
}

#[test]
fn a_container_with_one_port_does_not_wait_for_one_with_many() {
    let few = Abilities {
        abreast: 4,
        ..Abilities::default()
    };
    let mut world = World::with(vec![few], |_| {});
    world.start(1);
    world.settle();
    world.range(0, 100);
    world.look();
    assert_eq!(world.writing().len(), 4);
    world.start(2);
    world.tell(2, What::Turned);
    world.remove(1);
    world.look();
    for _ in 0..2 {
        world.answer(0, true, true);
        world.look();
    }
    let writes = world.writing();
    let keys: Vec<&str> = writes.iter().map(|(_, write)| &*write.key).collect();
    assert!(
        keys.contains(&"t1:c1:80") && keys.contains(&"t1:c2:80"),
        "{keys:?}"
    );
    world.settle();
    assert_eq!(world.registry, world.expected());
}

#[test]
fn a_container_with_many_ports_that_is_renamed_is_known_throughout() {
    let mut world = World::new(|_| {});
    world.range(0, 100);
    world.settle();
    let container = world.containers.get_mut(&World::id(0)).unwrap();
    container.name = "other".to_owned();
    world.tell(0, What::Changed);
    world.look();
    while !world.pending.is_empty() {
        world.answer(0, true, true);
        assert!(world.registry.len() >= 100, "{}", world.registry.len());
        world.look();
    }
    assert_eq!(world.registry, world.expected());
}

proptest! {
    /// L11, R12: with room for few writes most wait in line while things change.
    #[test]
    fn what_waits_in_line_is_still_right_when_its_turn_comes(
        events in prop::collection::vec(event(), 1..60),
        ports in 1..12_u16,
    ) {
        let few = Abilities { abreast: 2, ..Abilities::default() };
        let plain = Abilities { tells_health: false, lists: Lists::Places, ..few };
        let mut world = World::with(vec![few, plain], |config| config.deregister = Deregister::OnSuccess);
        for (event, heard) in events {
            play(&mut world, &event, heard);
            if let Event::Start(number) = event {
                world.range(number, ports);
            }
        }
        world.containers.clear();
        world.pass(Duration::from_secs(130));
        prop_assert_eq!(&world.registry, &Entries::new());
        prop_assert_eq!(&world.beside, &Entries::new());
        prop_assert!(world.mind.is_settled());
    }
}
