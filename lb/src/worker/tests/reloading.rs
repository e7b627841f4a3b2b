//! Another configuration while everything runs: nobody who is inside notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::harness::*;
use super::secure::Secured;
use crate::config::{CertKind, Config, Listener, Proto};
use crate::tls::tests::harness::source;
use crate::worker::ReloadError;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn http(addr: &str) -> Listener {
    Listener::http(addr.parse().unwrap())
}

impl Balancer {
    /// What the balancer says when it gets this configuration.
    pub(super) fn reload(&self, config: Config) -> Result<Vec<String>, ReloadError> {
        let reloader = self.reloader.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let applied = tokio::time::timeout(DEADLINE, reloader.apply(config)).await;
            applied.expect("an answer in time")
        })
    }

    /// One HTTP listener, which may have got a port already, and what else `adapt` says.
    pub(super) fn config(&self, adapt: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config {
            listeners: vec![http("127.0.0.1:0")],
            shutdown_wait: DEADLINE,
            workers: 1,
            ..Config::default()
        };
        adapt(&mut config);
        config
    }
}

/// A port that was free a moment ago.
fn free() -> Listener {
    Listener::http(nobody())
}

#[test]
fn a_listener_comes_and_another_goes_and_those_inside_stay() {
    let server = Server::saying("x");
    let balancer = Balancer::with(
        |config| config.workers = 2,
        &[routed("web", server.addr, "urlprefix-/")],
    );
    let mut stays = balancer.connect();
    assert_eq!(stays.ask(GET).status(), 200);

    let second = free();
    let both = |config: &mut Config| {
        config.workers = 2;
        config.listeners.push(second.clone());
    };
    let lines = balancer.reload(balancer.config(both)).unwrap();
    assert_eq!(lines, [format!("listening on {} (http)", second.addr)]);
    let mut elsewhere = Client::to(second.addr);
    assert_eq!(elsewhere.ask(GET).status(), 200);
    assert_eq!(stays.ask(GET).status(), 200);
    until("both are counted", || balancer.metric("listeners") == 2);

    let second_alone = |config: &mut Config| {
        config.workers = 2;
        config.listeners = vec![second.clone()];
    };
    let lines = balancer.reload(balancer.config(second_alone)).unwrap();
    assert_eq!(lines, [format!("closing {} (http)", balancer.addr)]);
    until("the first port is closed", || {
        TcpStream::connect(balancer.addr).is_err()
    });
    assert_eq!(elsewhere.ask(GET).status(), 200);
    assert_eq!(stays.rest(), "", "an idle connection of a closed listener ends");
    assert_eq!(balancer.metric("listeners"), 1);
}

#[test]
fn a_request_under_way_on_a_listener_that_goes_is_finished_whatever_the_shutdown_wait() {
    let (go, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let server = Server::start(move |_| {
        told.lock().unwrap().recv().ok()?;
        Some(ok("finished"))
    });
    let none = |config: &mut Config| config.shutdown_wait = std::time::Duration::ZERO;
    let balancer = Balancer::with(none, &[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    until("the request is running", || server.seen().len() == 1);
    let other = balancer.config(|config| config.listeners = vec![free()]);
    balancer.reload(other).unwrap();
    until("the port is closed", || {
        TcpStream::connect(balancer.addr).is_err()
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    go.send(()).unwrap();
    let answer = client.answer().unwrap();
    assert_eq!(answer.body, "finished");
    assert_eq!(answer.header("connection"), ["close"]);
}

#[test]
fn a_configuration_that_cannot_be_had_changes_nothing_and_says_why() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = free();
    let config = balancer.config(|config| {
        config.no_route_status = 410;
        config.listeners = vec![other.clone(), Listener::http(taken.local_addr().unwrap())];
    });
    let error = balancer.reload(config).unwrap_err().to_string();
    let start = format!(
        "proxy.addr: cannot listen on {} (http): ",
        taken.local_addr().unwrap()
    );
    assert!(error.starts_with(&start), "{error}");
    assert_eq!(balancer.get("a", "/").status(), 200);
    assert!(TcpStream::connect(other.addr).is_err());

    let config = balancer.config(|config| {
        config.listeners[0].tls = Some(crate::config::Tls {
            source: "nowhere".into(),
            ..crate::config::Tls::default()
        });
    });
    let error = balancer.reload(config).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert_eq!(balancer.get("a", "/").status(), 200);
}

#[test]
fn what_changes_holds_for_the_next_request_on_connections_that_are_open() {
    let balancer = Balancer::start(&[]);
    let mut client = balancer.connect();
    assert_eq!(client.ask(GET).status(), 404);
    let lines = balancer.reload(balancer.config(|config| config.no_route_status = 410));
    assert_eq!(lines.unwrap(), [""; 0]);
    until("the worker has taken it over", || client.ask(GET).status() == 410);
}

#[test]
fn a_listener_may_take_the_port_of_one_that_goes() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let wider = format!("0.0.0.0:{}", balancer.addr.port());
    let config = balancer.config(|config| config.listeners = vec![http(&wider)]);
    let lines = balancer.reload(config).unwrap();
    assert_eq!(
        lines,
        [
            format!("listening on {wider} (http)"),
            format!("closing {} (http)", balancer.addr)
        ]
    );
    // The system resets who connects in the very moment that a socket closes.
    let unserved = (0..20).filter(|_| {
        let mut client = Client::to(balancer.addr);
        client.writer().write_all(GET.as_bytes()).is_err() || client.answer().is_none()
    });
    assert!(unserved.count() <= 1);
}

#[test]
fn traffic_fails_no_request_while_everything_is_reloaded() {
    let server = Server::saying("x");
    let workers = |config: &mut Config| config.workers = 2;
    let balancer = Balancer::with(workers, &[routed("web", server.addr, "urlprefix-/")]);
    let (addr, over) = (balancer.addr, Arc::new(AtomicBool::new(false)));
    let client = |once: bool| {
        let over = over.clone();
        std::thread::spawn(move || {
            let mut kept = Client::to(addr);
            while !over.load(SeqCst) {
                if once {
                    kept = Client::to(addr);
                }
                assert_eq!(kept.ask(GET).status(), 200);
            }
        })
    };
    let clients = [client(false), client(true), client(true)];
    for _ in 0..20 {
        let before = server.seen().len();
        let other = free();
        let both = |config: &mut Config| {
            config.workers = 2;
            config.listeners.push(other);
        };
        balancer.reload(balancer.config(both)).unwrap();
        until("traffic goes on", || server.seen().len() > before + 10);
        balancer.reload(balancer.config(workers)).unwrap();
    }
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn another_certificate_is_for_those_who_come_later() {
    let server = Server::saying("x");
    let (old, new) = (Secured::new(&["a.test"]), Secured::new(&["a.test"]));
    let over_tls = |secured: &Secured| {
        let mut config = Config {
            listeners: vec![Listener {
                proto: Proto::Https,
                ..http("127.0.0.1:0")
            }],
            workers: 1,
            ..Config::default()
        };
        secured.on(&mut config);
        config
    };
    let first = over_tls(&old);
    let adapt = |config: &mut Config| {
        config.listeners = first.listeners.clone();
        config.certs = first.certs.clone();
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let mut inside = old.client(balancer.addr, "a.test");
    let mut ask = |close: &str| {
        inside
            .write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{close}\r\n").as_bytes())
            .unwrap();
        let mut answer = [0; 12];
        inside.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    ask("");
    balancer.reload(over_tls(&new)).unwrap();
    let trusts_new = || new.client(balancer.addr, "a.test").write_all(b"G").is_ok();
    until("newcomers see the other one", trusts_new);
    assert!(old.client(balancer.addr, "a.test").write_all(b"G").is_err());
}

#[test]
fn certificate_sources_of_a_configuration_that_is_refused_are_let_go() {
    let balancer = Balancer::start(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = balancer.config(|config| {
        config.listeners = vec![Listener::http(taken.local_addr().unwrap())];
        config.certs = vec![source("new", CertKind::Path("/nowhere".to_owned()))];
    });
    assert!(balancer.reload(config).is_err());
    assert!(balancer.stores.status().is_empty());
    assert!(balancer.stores.kept_in_reserve().is_empty());
}

#[test]
fn one_that_stops_takes_no_other_configuration() {
    let mut balancer = Balancer::start(&[]);
    let config = balancer.config(|_| {});
    balancer.end();
    assert!(matches!(balancer.reload(config), Err(ReloadError::Stopping)));
}

#[test]
fn a_proxy_that_is_no_longer_trusted_is_not_believed_on_open_connections_either() {
    let server = Server::saying("x");
    let trusting = |config: &mut Config| config.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let balancer = Balancer::with(trusting, &[routed("web", server.addr, "urlprefix-/")]);
    let said = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let mut client = balancer.connect();
    client.ask(said);
    for adapt in [|_: &mut Config| {}, trusting] {
        let reloaded = balancer.config(|config| {
            config.listeners[0] = Listener::http("127.0.0.1:0".parse().unwrap());
            adapt(config);
        });
        balancer.reload(reloaded).unwrap();
        client.ask(said);
    }
    let seen = server.seen();
    let believed: Vec<_> = seen.iter().map(|seen| seen.header("x-forwarded-for")).collect();
    assert_eq!(
        believed,
        [["192.0.2.1, 127.0.0.1"], ["127.0.0.1"], ["192.0.2.1, 127.0.0.1"]]
    );
}
