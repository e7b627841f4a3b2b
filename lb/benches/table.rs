//! What a table costs: made at once, and after one instance of it has changed.
//! `cargo bench -p lb --bench table` prints one line for each size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::node::NodeSpec;
use catalog::service::{META_BASE, META_PORT};
use catalog::{Instance, Node, Picture, Service, ServiceSpec};
use lb::Config;
use lb::router::Router;
use prometheus::Registry;
use tokio::sync::watch;

/// Instances of each service.
const INSTANCES: usize = 2;
/// Changes measured; what is printed is the median and the longest.
const CHANGES: usize = 51;

fn main() {
    for services in [100, 1_000, 5_000, 10_000] {
        let picture: Picture = (0..services)
            .flat_map(|n| (0..INSTANCES).map(move |i| entry(n, i, 80)))
            .collect();
        let mut router = Router::new(
            Arc::new(Config::default()),
            watch::Sender::new(false),
            &Registry::new(),
        )
        .expect("a registry of its own has no names taken");
        let whole = timed(|| router.update(picture.clone()));
        let mut changes: Vec<Duration> = (0..CHANGES)
            .map(|change| {
                let mut next = picture.clone();
                next.extend([entry(change * services / CHANGES, 0, 1000 + change)]);
                timed(|| router.update(next))
            })
            .collect();
        changes.sort();
        let (median, longest) = (changes[CHANGES / 2], changes[CHANGES - 1]);
        println!(
            "{services:6} services: at once {whole:9.2?}, one change {median:9.2?}, the longest {longest:9.2?}"
        );
    }
}

fn timed(work: impl FnOnce() -> bool) -> Duration {
    let start = Instant::now();
    assert!(work(), "the table was swapped");
    start.elapsed()
}

/// A service with a host, a path among those of every host, and built-in names.
fn entry(service: usize, instance: usize, port: usize) -> (catalog::InstanceKey, Arc<Instance>) {
    let name = format!("service-{service}");
    let spec = ServiceSpec {
        id: format!("box:{name}-{instance}:80").into(),
        port: u16::try_from(port).expect("ports are small here"),
        address: format!("10.{instance}.{}.{}", service / 250, service % 250),
        tags: vec![
            format!("urlprefix-{name}.example.com/"),
            format!("urlprefix-/{name} strip=/{name}"),
        ],
        meta: [(META_BASE.into(), name.clone()), (META_PORT.into(), "80".into())].into(),
        name: name.into(),
        ..ServiceSpec::default()
    };
    let node = NodeSpec {
        name: format!("node-{}", service % 10).into(),
        ..NodeSpec::default()
    };
    let instance = Instance {
        node: Arc::new(Node {
            spec: node,
            created: 1,
            modified: 1,
        }),
        service: Arc::new(Service {
            spec,
            created: 1,
            modified: 1,
        }),
        checks: Vec::new(),
    };
    (instance.key(), Arc::new(instance))
}
