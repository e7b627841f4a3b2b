//! Tasks of a swarm's service, of which one entry stands for all on this host.

use super::*;
use crate::container::Mesh;

/// What the swarm publishes on every node.
const PUBLISHED: u16 = 8080;

/// A world with so many tasks of one service.
fn tasks(count: u8, change: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(change);
    for number in 0..count {
        world.task(number);
        world.settle();
    }
    world
}

impl World {
    fn task(&mut self, number: u8) {
        self.start(number);
        let task = self.containers.get_mut(&Self::id(number)).unwrap();
        let port = "80/tcp".parse().unwrap();
        let mut bindings = std::mem::take(&mut task.bindings);
        bindings.get_mut(&port).unwrap()[0].port = PUBLISHED;
        task.mesh = Mesh::Ports(bindings);
        task.asked.clear();
        let labels = [
            ("com.docker.swarm.service.id", "s1"),
            ("com.docker.swarm.service.name", "shop_web"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        task.labels.extend(labels);
        self.tell(number, What::Turned);
    }

    /// The one entry: what it says, and which task stands behind it.
    fn entry(&self) -> (Status, Arc<str>) {
        assert_eq!(self.registry.len(), 1, "{:?}", self.registry.keys());
        let entry = &self.registry["t1:shop_web:80"];
        assert_eq!(entry.service.port, PUBLISHED);
        let container = &entry.service.meta[catalog::service::META_CONTAINER];
        (entry.checks[0].initial.unwrap(), container.as_str().into())
    }
}

#[test]
fn tasks_of_one_service_are_one_entry_and_nobody_complains() {
    let mut world = tasks(3, |_| {});
    assert_eq!(world.entry(), (Status::Passing, World::id(0)));
    assert_eq!(world.mind.losers(), []);
    world.pass(Duration::from_secs(200));
    assert_eq!(world.writes, 1);
    let accounts = world.mind.accounts(&[], &|_, _| None, world.now);
    let left_out: Vec<&str> = accounts[1].left_out.iter().map(|reason| &*reason.rule).collect();
    assert_eq!(
        left_out,
        ["container c0 (000000000000) stands for all tasks on this host"]
    );
}

#[test]
fn a_task_that_stops_hands_the_entry_on_before_it_ends_and_the_last_one_takes_it_along() {
    let mut world = tasks(2, |_| {});
    world.tell(0, What::Signalled(15));
    world.settle();
    assert_eq!(world.entry(), (Status::Passing, World::id(1)));
    world.die(0, 0);
    world.tell(0, What::Died(None));
    world.settle();
    world.task(2);
    world.settle();
    assert_eq!(
        world.entry(),
        (Status::Passing, World::id(1)),
        "who holds it keeps it"
    );
    assert_eq!(world.writes, 2);
    for number in [1, 2] {
        world.die(number, 0);
        world.tell(number, What::Died(None));
    }
    world.settle();
    assert!(world.registry.is_empty());
}

#[test]
fn a_task_that_failed_and_is_kept_for_people_to_see_gives_way_to_one_that_is_fit() {
    let mut world = tasks(1, |config| config.deregister = Deregister::OnSuccess);
    world.die(0, 1);
    world.tell(0, What::Died(None));
    world.settle();
    assert_eq!(world.entry(), (Status::Critical, World::id(0)));
    let mut world = world.reborn();
    world.settle();
    assert_eq!(world.entry(), (Status::Critical, World::id(0)));
    world.task(1);
    world.settle();
    assert_eq!(world.entry(), (Status::Passing, World::id(1)));
}

#[test]
fn a_task_of_which_the_swarm_has_more_to_tell_is_asked_about_at_each_listing() {
    let mut world = tasks(1, |_| {});
    let id = World::id(0);
    let known = std::mem::replace(&mut world.containers.get_mut(&id).unwrap().mesh, Mesh::Pending);
    world.tell(0, What::Changed);
    world.settle();
    assert!(world.registry.is_empty());
    let line = shows(&world.containers[&id]);
    world.relist(line);
    assert!(world.registry.is_empty());
    // A line of a listing does not show it.
    world.containers.get_mut(&id).unwrap().mesh = known;
    world.relist(line);
    assert_eq!(world.entry().0, Status::Passing);
}

impl World {
    /// Takes in a listing of the first task.
    fn relist(&mut self, shows: u64) {
        let line = Listed {
            id: Self::id(0),
            up: true,
            shows,
            tells_health: true,
        };
        self.mind.listed(Some(&[line]), self.now);
        self.settle();
    }
}
