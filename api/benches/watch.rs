//! What one change costs whoever watches a foreign catalog of 5000 services: `cargo bench -p api --bench watch`.
//!
//! The catalog is a scripted one on a thread of its own, or a real one whose address is given as argument and in which
//! this program then registers 5000 services. Time is the processor's, of the thread that watches, from one picture to
//! the next, and on the wall, from the change to its picture; the latter is mostly the server's. No criterion: a table
//! of medians is all there is to say.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that prints a table"
)]

#[path = "../tests/watch/scripted.rs"]
#[allow(dead_code, reason = "tests use all of it")]
mod scripted;

use std::time::{Duration, Instant};

use api::client::{Client, Config};
use api::watch::{self, watch};
use catalog::check::{Definition, Probe};
use catalog::{Instance, Picture, Registration, ServiceSpec, Status};
use tokio::sync::watch as latest;

const SERVICES: u16 = 5000;
const ROUNDS: u16 = 51;

/// Processor time of this thread so far.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The catalog under test.
enum Server {
    Scripted(scripted::Consul),
    Real(Box<Client>),
}

impl Server {
    async fn fill(&self) {
        match self {
            Self::Scripted(consul) => consul.change(|catalog| {
                for n in 0..SERVICES {
                    catalog.service(&format!("service-{n}"), &format!("instance-{n}"), 1000 + n);
                }
            }),
            Self::Real(client) => {
                for n in 0..SERVICES {
                    client.register(&registration(n, 1000 + n)).await.unwrap();
                }
            }
        }
    }

    async fn flip(&self, n: u16, status: Status) {
        match self {
            Self::Scripted(consul) => {
                consul.change(|catalog| catalog.check(&format!("instance-{n}"), status.as_str()));
            }
            Self::Real(client) => {
                let check = format!("service:instance-{n}");
                client.update_check(&check, status, "").await.unwrap();
            }
        }
    }

    async fn replace(&self, n: u16, port: u16) {
        match self {
            Self::Scripted(consul) => {
                consul.change(|catalog| {
                    catalog.service(&format!("service-{n}"), &format!("instance-{n}"), port);
                });
            }
            Self::Real(client) => client.register(&registration(n, port)).await.unwrap(),
        }
    }
}

fn registration(n: u16, port: u16) -> Registration {
    Registration {
        service: ServiceSpec {
            id: format!("instance-{n}").into(),
            name: format!("service-{n}").into(),
            tags: vec![format!("urlprefix-/service-{n}")],
            port,
            ..ServiceSpec::default()
        },
        checks: vec![Definition {
            id: format!("service:instance-{n}").into(),
            name: "reports".to_owned(),
            notes: String::new(),
            initial: Some(Status::Passing),
            output: "all is well with this instance, as it was when it was last asked".to_owned(),
            probe: Probe::Ttl {
                ttl: Duration::from_secs(3600),
            },
            success_before_passing: 0,
            failures_before_critical: 0,
            deregister_critical_after: None,
        }],
    }
}

/// Waits for a picture and says what it took: on the wall, and of this thread's processor time.
async fn until(
    pictures: &mut latest::Receiver<Picture>,
    (started, before): (Instant, Duration),
    fits: impl Fn(&Picture) -> bool,
) -> (Duration, Duration) {
    pictures.wait_for(|picture| fits(picture)).await.unwrap();
    (started.elapsed(), busy() - before)
}

fn median(mut times: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    let middle = times.len() / 2;
    times.sort();
    let wall = times[middle].0;
    times.sort_by_key(|(_, busy)| *busy);
    (wall, times[middle].1)
}

fn main() {
    let address = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let behind = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (server, address) = behind.block_on(async {
        match address {
            Some(address) => (
                Server::Real(Box::new(Client::new(&Config::new(address.clone())).unwrap())),
                address,
            ),
            None => {
                let consul = scripted::Consul::start().await;
                let address = consul.address.to_string();
                (Server::Scripted(consul), address)
            }
        }
    });
    behind.block_on(server.fill());
    let here = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Changes are made from the other runtime, so that their cost is not this thread's.
    let ask = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
        std::thread::scope(|scope| {
            scope.spawn(|| behind.block_on(task)).join().unwrap();
        });
    };
    here.block_on(async {
        let (out, mut pictures) = latest::channel(Picture::new());
        let config = watch::Config::new(Client::new(&Config::new(address)).unwrap());
        let start = (Instant::now(), busy());
        tokio::task::spawn(async move { watch(config, &out, |_, _| {}).await });
        let all = |picture: &Picture| picture.len() >= usize::from(SERVICES);
        let first = until(&mut pictures, start, all).await;
        let (mut flips, mut replaced) = (Vec::new(), Vec::new());
        for n in (0..SERVICES).step_by(usize::from(SERVICES / ROUNDS)) {
            let id = format!("instance-{n}");
            let mine = |picture: &Picture, fits: &dyn Fn(&Instance) -> bool| {
                picture
                    .values()
                    .any(|found| *found.service.spec.id == *id && fits(found))
            };
            let start = (Instant::now(), busy());
            ask(Box::pin(server.flip(n, Status::Critical)));
            let down = |found: &Instance| found.status() == Status::Critical;
            flips.push(until(&mut pictures, start, |picture| mine(picture, &down)).await);
            let start = (Instant::now(), busy());
            ask(Box::pin(server.replace(n, 20_000 + n)));
            let moved = |found: &Instance| found.service.spec.port == 20_000 + n;
            replaced.push(until(&mut pictures, start, |picture| mine(picture, &moved)).await);
        }
        println!("{SERVICES} services | on the wall | processor time of the watcher");
        for (what, (wall, busy)) in [
            ("first picture", first),
            ("a check changes", median(flips)),
            ("an instance is replaced", median(replaced)),
        ] {
            println!("{what} | {wall:.1?} | {busy:.1?}");
        }
    });
}
