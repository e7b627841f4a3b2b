//! The balancer comes, is missed, is wished for under other names, and goes; in this agent's own table.

use tokio::task::JoinHandle;

use super::*;
use crate::check::Checks;
use crate::identity::Identity;
use crate::store::Store;
use crate::sync::Sync;

const SOON: Duration = Duration::from_secs(20);

struct World {
    local: Local,
    names: watch::Sender<Arc<BTreeSet<String>>>,
    https: watch::Sender<bool>,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Infallible>>,
}

impl World {
    fn start(config: Register) -> Self {
        let (events, _) = tokio::sync::mpsc::channel(16);
        let checks = Checks::new(events, CancellationToken::new());
        let store = Store::new(CancellationToken::new());
        let local = Local::new(checks, Sync::new(Arc::new(Identity::example()), store));
        let (names, wished) = watch::channel(Arc::default());
        let (ready, serving) = watch::channel(false);
        let (https, over_tls) = watch::channel(false);
        let balancer = Balancer {
            admin: ("[::]:9998".parse().unwrap(), over_tls),
            host: ("10.0.0.7".parse().unwrap(), "host1".to_owned()),
            names: wished,
            ready: serving,
        };
        let presence = Presence::new(config, balancer, Registry::Own(local.clone()), Metrics::new());
        let stop = CancellationToken::new();
        let running = tokio::spawn(presence.run(stop.clone()));
        Self {
            local,
            names,
            https,
            ready,
            stop,
            running,
        }
    }

    fn wish(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.names.send_replace(Arc::new(names));
    }

    async fn until(&self, ids: &[&str]) {
        let there = async {
            while self.local.services().keys().map(|id| &**id).collect::<Vec<_>>() != ids {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let within = tokio::time::timeout(SOON, there).await;
        within.unwrap_or_else(|_| panic!("wanted {ids:?}, have {:?}", self.local.services().keys()));
    }
}

fn config(enabled: bool) -> Register {
    Register {
        enabled,
        ip: None,
        port: None,
        name: "fabio".to_owned(),
        tags: vec!["edge".to_owned()],
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        skip_verify: false,
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_registered_when_it_serves_and_gone_when_it_stops() {
    let world = World::start(config(true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.until(&[]).await;
    world.ready.send_replace(true);
    world.until(&["fabio-host1-9998"]).await;
    let service = world.local.service("fabio-host1-9998").unwrap();
    assert_eq!((service.address.as_str(), service.port), ("10.0.0.7", 9998));
    assert_eq!(
        (&*service.name, service.tags.as_slice()),
        ("fabio", &["edge".to_owned()][..])
    );
    let checks = world.local.checks();
    let ttl = &checks["fabio-host1-9998-ttl"];
    assert_eq!(ttl.spec.status, Status::Passing);
    let health = checks["fabio-host1-9998-health"].definition.as_ref().unwrap();
    assert!(matches!(&health.probe, Probe::Http(http) if http.url == "http://10.0.0.7:9998/health"));
    assert_eq!(health.deregister_critical_after, Some(Duration::from_secs(60)));
    world.stop.cancel();
    let World { local, running, .. } = world;
    running.await.unwrap().unwrap();
    assert!(local.services().is_empty() && local.checks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn its_check_asks_by_the_scheme_that_the_admin_server_speaks_now() {
    let world = World::start(config(true));
    world.ready.send_replace(true);
    world.wish(&["shop"]);
    world.until(&["fabio-host1-9998", "shop-host1-9998"]).await;
    let asks = |id: &str, scheme: &str| {
        let url = format!("{scheme}://10.0.0.7:9998/health");
        let checks = world.local.checks();
        let health = checks.get(id).and_then(|check| check.definition.clone());
        health.is_some_and(|health| matches!(&health.probe, Probe::Http(http) if http.url == url))
    };
    for (over_tls, scheme) in [(true, "https"), (false, "http")] {
        world.https.send_replace(over_tls);
        let there = async {
            while !["fabio-host1-9998-health", "shop-host1-9998-health"]
                .iter()
                .all(|id| asks(id, scheme))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, there).await.unwrap();
        let ttl = world.local.checks()["fabio-host1-9998-ttl"].clone();
        assert_eq!(ttl.spec.status, Status::Passing);
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_routes_wish_for_come_and_go_and_what_is_missing_comes_back() {
    let world = World::start(config(false));
    world.ready.send_replace(true);
    world.wish(&["shop", "blog"]);
    world.until(&["blog-host1-9998", "shop-host1-9998"]).await;
    world.local.deregister("shop-host1-9998").await;
    world.until(&["blog-host1-9998", "shop-host1-9998"]).await;
    world.wish(&["shop"]);
    world.until(&["shop-host1-9998"]).await;
    world
        .local
        .register(
            Registration {
                service: ServiceSpec {
                    id: "other-host1-9998".into(),
                    name: "other".into(),
                    ..ServiceSpec::default()
                },
                checks: Vec::new(),
            },
            true,
        )
        .await;
    world.wish(&[]);
    world.until(&["other-host1-9998"]).await;
}

#[tokio::test]
async fn every_attempt_that_fails_is_counted() {
    // A port that was free a moment ago answers nobody.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let client = Client::new(&api::client::Config::new(address)).unwrap();
    let (_, names) = watch::channel(Arc::default());
    let (_ready, serving) = watch::channel(true);
    let balancer = Balancer {
        admin: ("[::]:9998".parse().unwrap(), watch::channel(false).1),
        host: ("10.0.0.7".parse().unwrap(), "host1".to_owned()),
        names,
        ready: serving,
    };
    let metrics = Metrics::new();
    let registry = Registry::Foreign(Box::new(client));
    let mut presence = Presence::new(config(true), balancer, registry, metrics.clone());
    let wanted = presence.wanted();
    for times in 1..=3 {
        assert!(!presence.tend(&wanted).await);
        assert_eq!(metrics.counted("registration_failures_total"), times);
    }
}
