//! What the balancer is shown, and what the registrator is told.

use std::time::Duration;

use catalog::Command;
use catalog::check::Probe;
use catalog::command::{Record, Target};
use catalog::service::{META_CONTAINER, META_OWNER, META_PORT};
use registrator::{Port, Protocol};
use tokio::sync::mpsc;

use super::*;
use crate::check::Checks;
use crate::leader;
use crate::sync::Sync;

/// A feed that looks when it is told to.
struct World {
    store: Store,
    stopped: watch::Sender<Arc<[Registration]>>,
    feed: Feed,
    pictures: watch::Receiver<Picture>,
}

impl World {
    fn new() -> Self {
        let store = Store::new(CancellationToken::new());
        let (stopped, at_rest) = watch::channel(Arc::from([]));
        let identity = Arc::new(Identity::example());
        let keys = Overrides {
            routes: "fabio/config".to_owned(),
            no_route: "fabio/noroute.html".to_owned(),
        };
        let (feed, inputs) = Feed::new(store.clone(), at_rest, identity, "urlprefix-".to_owned(), keys);
        let pictures = inputs.instances.clone();
        Self {
            store,
            stopped,
            feed,
            pictures,
        }
    }

    async fn put(&mut self, service: ServiceSpec) {
        let record = Record {
            node: Identity::example().node_spec(),
            service: Some(service),
            ..Record::default()
        };
        self.store
            .propose(&Command::Register(Box::new(record)))
            .await
            .unwrap();
    }

    async fn remove(&mut self, id: &str) {
        let (node, target) = (Identity::example().node, Target::Service(id.into()));
        self.store
            .propose(&Command::Deregister { node, target })
            .await
            .unwrap();
    }

    fn rest(&mut self, services: &[ServiceSpec]) {
        let resting = services.iter().map(|service| Registration {
            service: service.clone(),
            checks: Vec::new(),
        });
        self.stopped.send_replace(resting.collect());
    }

    /// Looks; says whether the balancer would notice.
    fn look(&mut self) -> bool {
        self.feed.look(&self.store.read());
        let changed = self.pictures.has_changed().unwrap();
        self.pictures.mark_unchanged();
        changed
    }

    /// Ids, ports and whether they are fit for traffic.
    fn shown(&self) -> Vec<(String, u16, bool)> {
        let picture = self.pictures.borrow();
        let line = |instance: &Arc<Instance>| {
            let fit = instance
                .checks
                .iter()
                .all(|check| check.spec.status == Status::Passing);
            let spec = &instance.service.spec;
            (spec.id.to_string(), spec.port, fit)
        };
        picture.values().map(line).collect()
    }

    fn instance(&self, id: &str) -> Arc<Instance> {
        let picture = self.pictures.borrow();
        let found = picture.values().find(|instance| *instance.service.spec.id == *id);
        found.unwrap().clone()
    }
}

fn service(id: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        id: id.into(),
        name: id.into(),
        port,
        ..ServiceSpec::default()
    }
}

fn tagged(id: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        tags: vec!["blue".to_owned(), " urlprefix-/".to_owned()],
        ..service(id, port)
    }
}

fn in_container(id: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        meta: [(META_PORT.to_owned(), "80".to_owned())].into(),
        ..service(id, port)
    }
}

#[tokio::test]
async fn only_what_could_be_routed_is_shown_and_nothing_else_disturbs() {
    let mut world = World::new();
    world.put(tagged("tagged", 1)).await;
    world.put(in_container("container", 2)).await;
    assert!(world.look());
    let both = [("container".to_owned(), 2, true), ("tagged".to_owned(), 1, true)];
    assert_eq!(world.shown(), both);

    world.put(service("database", 3)).await;
    world.rest(&[service("resting database", 4)]);
    assert!(!world.look(), "the balancer is told of what it cannot use");
    assert_eq!(world.shown(), both);

    world.put(service("tagged", 1)).await;
    assert!(world.look());
    assert_eq!(
        world.shown(),
        both[..1],
        "an instance that lost its tag is still shown"
    );
}

#[tokio::test]
async fn an_instance_that_did_not_change_is_the_same_object_in_the_next_picture() {
    let mut world = World::new();
    world.put(tagged("a", 1)).await;
    world.put(tagged("b", 2)).await;
    world.rest(&[in_container("c", 0)]);
    world.look();
    let before = ["a", "b", "c"].map(|id| world.instance(id));
    world.put(tagged("b", 3)).await;
    world.rest(&[in_container("c", 0), in_container("d", 0)]);
    assert!(world.look());
    let same = ["a", "b", "c"].map(|id| before.iter().any(|old| Arc::ptr_eq(old, &world.instance(id))));
    assert_eq!(same, [true, false, true]);
}

#[tokio::test]
async fn a_stopped_container_is_shown_unfit_and_gone_once_it_is_removed() {
    let mut world = World::new();
    world.put(in_container("web", 1)).await;
    world.look();
    world.remove("web").await;
    world.rest(&[in_container("web", 0)]);
    assert!(world.look());
    assert_eq!(world.shown(), [("web".to_owned(), 0, false)]);
    world.rest(&[]);
    assert!(world.look());
    assert!(world.shown().is_empty());
}

#[tokio::test]
async fn of_one_id_the_instance_that_runs_is_shown() {
    let mut world = World::new();
    world.rest(&[in_container("web", 0), in_container("old", 0)]);
    world.put(in_container("web", 1)).await;
    world.look();
    let shown = [("old".to_owned(), 0, false), ("web".to_owned(), 1, true)];
    assert_eq!(world.shown(), shown);
    // Also where more run than rest.
    for id in ["x", "y", "z"] {
        world.put(in_container(id, 1)).await;
    }
    world.look();
    assert_eq!(world.shown()[..2], shown);
}

#[tokio::test]
async fn a_feed_tells_what_is_there_when_it_starts_and_each_change_until_it_is_stopped() {
    let World {
        store,
        stopped,
        feed,
        mut pictures,
    } = World::new();
    let stop = CancellationToken::new();
    let running = tokio::spawn(feed.run(stop.clone()));
    let mut sees = async |count: usize| {
        let seen = pictures.wait_for(|picture| picture.len() == count);
        tokio::time::timeout(Duration::from_secs(10), seen)
            .await
            .unwrap()
            .unwrap();
    };
    let resting = Registration {
        service: in_container("web", 0),
        checks: Vec::new(),
    };
    stopped.send_replace([resting].into());
    sees(1).await;
    // A registrator that ended takes nothing along.
    drop(stopped);
    tokio::task::yield_now().await;
    let record = Record {
        node: Identity::example().node_spec(),
        service: Some(tagged("api", 1)),
        ..Record::default()
    };
    store.propose(&Command::Register(Box::new(record))).await.unwrap();
    sees(2).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn offer(wanted: &Registration) -> Offer {
    Offer {
        registration: Arc::new(wanted.clone()),
        port: Port {
            number: 80,
            protocol: Protocol::Tcp,
        },
        container: "me".into(),
        tasks_of: None,
        told_id: false,
        inside_name: String::new(),
        attributes: Arc::default(),
        fit: Status::Passing,
        why: Vec::new(),
    }
}

#[tokio::test]
async fn the_door_lists_what_it_was_given_with_what_its_checks_say_now() {
    let identity = Arc::new(Identity::example());
    let store = Store::new(CancellationToken::new());
    leader::enlist(&store, &identity).await.unwrap();
    let (events, _results) = mpsc::channel(1);
    let local = Local::new(
        Checks::new(events, CancellationToken::new()),
        Sync::new(identity, store),
    );
    let door = Door::new(local.clone());
    let mut wanted = Registration {
        service: ServiceSpec {
            meta: [META_CONTAINER, META_OWNER]
                .map(|key| (key.to_owned(), "me".to_owned()))
                .into(),
            ..service("web", 1)
        },
        checks: vec![Definition {
            id: "container:web".into(),
            name: "its container".to_owned(),
            notes: String::new(),
            initial: Some(Status::Passing),
            output: "running".to_owned(),
            probe: Probe::Container,
            success_before_passing: 0,
            failures_before_critical: 0,
            deregister_critical_after: None,
        }],
    };
    let listed = async || door.services().await.unwrap().unwrap();
    let of_leader = CONSUL_SERVICE;
    let ids = |listed: &[Registration]| {
        let ids = listed
            .iter()
            .map(|registration| registration.service.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&listed().await),
        [of_leader],
        "who wants its id must hear that it is taken"
    );

    door.register(&offer(&wanted)).await.unwrap();
    local.maintenance(Some("web"), true, "").await.unwrap();
    assert_eq!(listed().await[0], wanted, "maintenance is nobody's registration");

    wanted.checks[0].initial = Some(Status::Critical);
    wanted.checks[0].output = "paused".to_owned();
    door.refresh(&offer(&wanted)).await.unwrap();
    assert_eq!(listed().await[0], wanted);

    door.deregister("web").await.unwrap();
    assert_eq!(ids(&listed().await), [of_leader]);
}

#[tokio::test]
async fn the_store_is_compared_and_set_and_deleted_from() {
    let kv = StoreKv::new(Store::new(CancellationToken::new()));
    let kv: &dyn lb::Kv = &kv;
    assert!(kv.put("a/b", b"1".to_vec(), Some(0)).await.unwrap());
    let index = kv.get("a/b").await.unwrap().unwrap().index;
    assert!(!kv.put("a/b", b"2".to_vec(), Some(0)).await.unwrap());
    assert!(!kv.delete("a/b", Some(index + 1)).await.unwrap());
    assert_eq!(kv.list("a/").await.unwrap().len(), 1);
    assert!(kv.delete("a/b", Some(index)).await.unwrap());
    assert!(kv.delete("a/b", None).await.unwrap(), "it is gone all the same");
    assert_eq!(kv.get("a/b").await.unwrap(), None);
}
