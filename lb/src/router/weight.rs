//! What a large table weighs: bytes that are held for each route, from its command to the answer.

use std::sync::Arc;
use std::time::Duration;

use catalog::node::NodeSpec;
use catalog::{Instance, Node, Picture, Service, ServiceSpec};
use peak_alloc::PeakAlloc;
use prometheus::Registry;
use tokio::sync::watch;

use super::Router;
use crate::Config;
use crate::histogram::Bounds;
use crate::metrics::Metrics;
use crate::table::{Served, UnderWay};

/// Routes of each table.
const ROUTES: usize = 20_000;

/// What is held for each route, at once and after each was met by a request; and at most while the table was made.
fn weigh(make: impl FnOnce(&mut Router)) -> [usize; 3] {
    let (ready, _) = watch::channel(false);
    let config = Arc::new(Config {
        workers: 1,
        ..Config::default()
    });
    let mut router = Router::new(config.clone(), ready, &Registry::new()).unwrap();
    let bounds = Bounds::of(&config.metrics);
    let metrics = Metrics::new(&config, router.live(), None);
    let before = PeakAlloc.current_usage();
    PeakAlloc.reset_peak_usage();
    make(&mut router);
    let (idle, peak) = (PeakAlloc.current_usage(), PeakAlloc.peak_usage());
    let table = router.live().load_full();
    assert_eq!(table.size(), ROUTES);
    for target in table.routes().flat_map(|route| &route.targets) {
        let took = Duration::from_millis(7);
        let served = Served {
            status: Some(200),
            took,
            rx: 1,
            tx: 1,
        };
        drop(UnderWay::at(target.clone(), 0));
        if let Some(shard) = target.stats.count(0, served, &bounds) {
            metrics.services.list(&target.part.service, shard);
        }
    }
    let met = PeakAlloc.current_usage();
    [idle, met, peak].map(|bytes| (bytes - before) / ROUTES)
}

/// By route commands.
fn commanded(line: impl Fn(usize) -> String) -> [usize; 3] {
    let text: Arc<str> = (0..ROUTES).map(line).collect::<String>().into();
    weigh(|router| _ = router.command(text))
}

/// By tags of instances, each of a service of its own.
fn tagged(tag: impl Fn(usize) -> String) -> [usize; 3] {
    let node = Arc::new(Node {
        spec: NodeSpec::default(),
        created: 1,
        modified: 1,
    });
    let instance = |n: usize| {
        let name: Arc<str> = format!("s{n}").into();
        let spec = ServiceSpec {
            id: name.clone(),
            name,
            address: "127.0.0.1".to_owned(),
            port: 8080,
            tags: vec![tag(n)],
            ..ServiceSpec::default()
        };
        let service = Service {
            spec,
            created: 1,
            modified: 1,
        };
        let instance = Instance {
            node: node.clone(),
            service: Arc::new(service),
            checks: Vec::new(),
        };
        (instance.key(), Arc::new(instance))
    };
    let picture: Picture = (0..ROUTES).map(instance).collect();
    weigh(|router| _ = router.update(picture))
}

#[test]
fn a_route_of_a_command_weighs_little_and_little_more_once_it_was_met() {
    let by_host = commanded(|n| format!("route add s{n} h{n}.example.com/ http://127.0.0.1:8080/\n"));
    let by_path = commanded(|n| format!("route add s{n} /p{n}/ http://127.0.0.1:8080/\n"));
    for weights in [by_host, by_path] {
        let [idle, met, peak] = weights;
        println!("{idle} bytes, {met} once met, {peak} while it is made");
        assert!(idle < 640 && met < 770 && peak < 670, "{weights:?}");
    }
}

#[test]
fn a_route_of_a_tag_weighs_not_much_more() {
    let [idle, met, peak] = tagged(|n| format!("urlprefix-h{n}.example.com/"));
    println!("{idle} bytes, {met} once met, {peak} while it is made");
    assert!(
        idle < 1200 && met < 1330 && peak < 1230,
        "{:?}",
        [idle, met, peak]
    );
}
