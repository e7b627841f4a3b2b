//! Local table and catalog agree in the end, whatever happens to either.

use std::time::Duration;

use catalog::check::SERF_HEALTH;
use catalog::command::{Record, Target};
use catalog::{Command, Index};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::identity::Identity;
use crate::leader;
use crate::store::Store;

const NODE: &str = "n1";

/// A local table, the catalog it is synced to, and nobody who looks at results of checks.
struct World {
    local: Local,
    store: Store,
    identity: Arc<Identity>,
    _results: mpsc::Receiver<crate::check::Event>,
}

impl World {
    async fn new() -> Self {
        let identity = Arc::new(Identity::example());
        let store = Store::new(CancellationToken::new());
        leader::enlist(&store, &identity).await.unwrap();
        let (events, results) = mpsc::channel(8);
        let checks = Checks::new(events, CancellationToken::new());
        let local = Local::new(checks, Sync::new(identity.clone(), store.clone()));
        Self {
            local,
            store,
            identity,
            _results: results,
        }
    }

    /// What the catalog holds for this node, but for what the leader keeps: that must be there.
    fn recorded(&self) -> (Vec<ServiceSpec>, Vec<catalog::check::CheckSpec>) {
        let state = self.store.read();
        let services = state.services_on(NODE).rows.expect("the node is enlisted").1;
        let (kept, services): (Vec<_>, Vec<_>) = services
            .iter()
            .map(|service| service.spec.clone())
            .partition(|spec| *spec.id == *leader::CONSUL_SERVICE);
        assert_eq!(
            kept[0].port,
            crate::identity::SERVER_PORT,
            "the leader's service is as it was"
        );
        let (kept, checks): (Vec<_>, Vec<_>) = state
            .checks_on(NODE)
            .rows
            .iter()
            .map(|check| check.spec.clone())
            .partition(|spec| *spec.id == *SERF_HEALTH);
        assert_eq!(kept[0].status, Status::Passing, "the leader's check is as it was");
        (services, checks)
    }

    /// What is vouched for here.
    fn vouched(&self) -> (Vec<ServiceSpec>, Vec<catalog::check::CheckSpec>) {
        let services = self.local.services();
        let services = services
            .values()
            .map(|spec| (**spec).clone())
            .filter(|spec| *spec.id != *leader::CONSUL_SERVICE);
        let checks = self.local.checks();
        (
            services.collect(),
            checks.into_values().map(|check| check.spec).collect(),
        )
    }

    fn index(&self) -> Index {
        self.store.read().index()
    }

    async fn write(&self, command: Command) {
        // Somebody else's mistakes are his.
        let _reply = self.store.propose(&command).await;
    }

    fn record(&self, service: Option<ServiceSpec>, checks: Vec<catalog::check::CheckSpec>) -> Command {
        Command::Register(Box::new(Record {
            node: self.identity.node_spec(),
            skip_node_update: true,
            service,
            checks,
        }))
    }
}

fn service(id: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        id: id.into(),
        name: "web".into(),
        port,
        ..ServiceSpec::default()
    }
}

fn ttl(id: &str) -> Definition {
    Definition {
        id: id.into(),
        name: String::new(),
        notes: String::new(),
        initial: None,
        output: String::new(),
        probe: Probe::Ttl {
            ttl: Duration::from_secs(3600),
        },
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    }
}

fn registration(id: &str, port: u16, checks: &[&str]) -> Registration {
    Registration {
        service: service(id, port),
        checks: checks.iter().map(|id| ttl(id)).collect(),
    }
}

#[tokio::test]
async fn checks_that_are_replaced_leave_maintenance_and_the_status_of_those_that_stay() {
    let world = World::new().await;
    let local = &world.local;
    local.register(registration("web", 1, &["a", "b"]), false).await;
    local.report("a", Status::Passing, "well").await.unwrap();
    local.maintenance(Some("web"), true, "").await.unwrap();
    local.register(registration("web", 2, &["a", "c"]), true).await;

    let (_, checks) = world.recorded();
    let seen: Vec<_> = checks.iter().map(|spec| (&*spec.id, spec.status)).collect();
    assert_eq!(
        seen,
        [
            ("_service_maintenance:web", Status::Critical),
            ("a", Status::Passing),
            ("c", Status::Critical),
        ]
    );
    assert_eq!(
        local.report("b", Status::Passing, "").await,
        Err(LocalError::NotTtl("b".to_owned()))
    );
}

#[tokio::test]
async fn a_whole_comparison_removes_strangers_and_what_the_leader_keeps_stays() {
    let world = World::new().await;
    world.local.register(registration("web", 1, &["a"]), false).await;
    let stranger = catalog::check::CheckSpec {
        id: "odd".into(),
        ..world.local.checks()["a"].spec.clone()
    };
    let foreign = world.record(Some(service("stranger", 9)), vec![stranger]);
    world.write(foreign).await;
    world.local.sync_all().await;
    assert_eq!(world.recorded(), world.vouched());
}

#[tokio::test]
async fn nobody_takes_over_the_service_that_the_leader_keeps() {
    let world = World::new().await;
    let impostor = registration(leader::CONSUL_SERVICE, 80, &[]);
    world.local.register(impostor, true).await;
    world.local.sync_all().await;
    world.recorded();
    world.local.deregister(leader::CONSUL_SERVICE).await;
    world.local.sync_all().await;
    world.recorded();
}

#[tokio::test]
async fn what_the_catalog_refuses_keeps_nothing_else_out() {
    let world = World::new().await;
    let mut nameless = registration("nameless", 1, &[]);
    nameless.service.name = "".into();
    tokio::join!(
        world.local.register(nameless, false),
        world.local.register(registration("web", 1, &["a"]), false),
    );
    world.local.sync_all().await;
    let (services, checks) = world.recorded();
    assert_eq!((services.len(), checks.len()), (1, 1));
}

#[tokio::test]
async fn a_whole_comparison_mends_a_catalog_that_lost_the_node() {
    let world = World::new().await;
    world.local.register(registration("web", 1, &["a"]), false).await;
    world
        .write(Command::Deregister {
            node: NODE.into(),
            target: Target::Node,
        })
        .await;
    world.local.sync_all().await;
    leader::enlist(&world.store, &world.identity).await.unwrap();
    assert_eq!(world.recorded(), world.vouched());
    let settled = world.index();
    leader::enlist(&world.store, &world.identity).await.unwrap();
    assert_eq!(
        world.index(),
        settled,
        "a leader with nothing to mend writes nothing"
    );
}

/// Once, a comparison whose marks another sync had carried off took the whole table for strangers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_whole_comparison_beside_registrations_removes_nothing() {
    let world = Arc::new(World::new().await);
    for n in 0..20 {
        world
            .local
            .register(registration(&format!("old{n}"), 1, &[]), false)
            .await;
    }
    let mut states = world.store.subscribe();
    let lost = tokio::spawn(async move {
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            if state.service_at(NODE, &"old0".into()).is_none() {
                return true;
            }
        }
        false
    });
    let work = |n: u16| {
        let world = world.clone();
        tokio::spawn(async move {
            for round in 0..300 {
                if n == 0 {
                    world.local.sync_all().await;
                } else {
                    world
                        .local
                        .register(registration(&format!("new{n}"), round, &[]), false)
                        .await;
                }
            }
        })
    };
    for worker in (0..4).map(work).collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert_eq!(world.recorded(), world.vouched());
    drop(world);
    assert!(
        !lost.await.unwrap(),
        "a service that was registered all the time was gone for a moment"
    );
}

#[derive(Clone, Debug)]
enum Event {
    Register(usize, u16, Vec<usize>, bool),
    Deregister(usize),
    Check(usize, Option<usize>),
    DropCheck(usize),
    Report(usize, bool),
    Result(usize, bool, u8),
    Maintenance(Option<usize>, bool),
    /// Others write to the catalog behind our back.
    ForeignService(usize, u16),
    ForeignLoss(Option<usize>),
    ForeignCheckLoss(usize),
    Whole,
}

const SERVICES: [&str; 4] = ["a", "b", "c", "consul"];
const CHECKS: [&str; 4] = ["x", "y", "z", "_node_maintenance"];

fn event() -> impl Strategy<Value = Event> {
    let (service, check) = (0..SERVICES.len(), 0..CHECKS.len());
    prop_oneof![
        4 => (service.clone(), 1..3_u16, prop::collection::vec(0..3_usize, 0..3), any::<bool>())
            .prop_map(|(id, port, checks, replace)| Event::Register(id, port, checks, replace)),
        2 => service.clone().prop_map(Event::Deregister),
        2 => (check.clone(), prop::option::of(service.clone())).prop_map(|(id, of)| Event::Check(id, of)),
        1 => check.clone().prop_map(Event::DropCheck),
        2 => (check.clone(), any::<bool>()).prop_map(|(id, well)| Event::Report(id, well)),
        2 => (check.clone(), any::<bool>(), 0..3_u8).prop_map(|(id, well, says)| Event::Result(id, well, says)),
        1 => (prop::option::of(service.clone()), any::<bool>()).prop_map(|(id, on)| Event::Maintenance(id, on)),
        1 => (service.clone(), 3..5_u16).prop_map(|(id, port)| Event::ForeignService(id, port)),
        1 => prop::option::of(service).prop_map(Event::ForeignLoss),
        1 => check.prop_map(Event::ForeignCheckLoss),
        2 => Just(Event::Whole),
    ]
}

fn status(well: bool) -> Status {
    if well { Status::Passing } else { Status::Critical }
}

async fn play(world: &World, event: &Event) {
    let local = &world.local;
    let named = |id: &Option<usize>| id.map(|id| SERVICES[id]);
    match event {
        Event::Register(id, port, checks, replace) => {
            let checks: Vec<_> = checks.iter().map(|id| CHECKS[*id]).collect();
            local
                .register(registration(SERVICES[*id], *port, &checks), *replace)
                .await;
        }
        Event::Deregister(id) => _ = local.deregister(SERVICES[*id]).await,
        Event::Check(id, of) => _ = local.register_check(ttl(CHECKS[*id]), named(of)).await,
        Event::DropCheck(id) => _ = local.deregister_check(CHECKS[*id]).await,
        Event::Report(id, well) => _ = local.report(CHECKS[*id], status(*well), "told").await,
        Event::Result(id, well, says) => {
            local
                .result(CHECKS[*id], status(*well), &"!".repeat(usize::from(*says)))
                .await;
        }
        Event::Maintenance(id, on) => _ = local.maintenance(named(id), *on, "").await,
        Event::ForeignService(id, port) => {
            world
                .write(world.record(Some(service(SERVICES[*id], *port)), Vec::new()))
                .await;
        }
        Event::ForeignLoss(id) => {
            let target = named(id).map_or(Target::Node, |id| Target::Service(id.into()));
            let node = NODE.into();
            world.write(Command::Deregister { node, target }).await;
        }
        Event::ForeignCheckLoss(id) => {
            let (node, target) = (NODE.into(), Target::Check(CHECKS[*id].into()));
            world.write(Command::Deregister { node, target }).await;
        }
        Event::Whole => local.sync_all().await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn table_and_catalog_converge(events in prop::collection::vec(event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for event in &events {
                play(&world, event).await;
            }
            // In the order of a running agent it does not matter who mends first.
            leader::enlist(&world.store, &world.identity).await.unwrap();
            world.local.sync_all().await;
            leader::enlist(&world.store, &world.identity).await.unwrap();
            assert_eq!(world.recorded(), world.vouched());
            let settled = world.index();
            world.local.sync_all().await;
            assert_eq!(world.index(), settled, "what is equal is not written");
        });
    }
}
