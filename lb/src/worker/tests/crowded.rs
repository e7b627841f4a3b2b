//! More clients than there may be.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::harness::{Balancer, Client, Server, ok, routed, until};
use crate::config::{Config, Listener};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn at_most(total: usize) -> impl FnOnce(&mut Config) {
    move |config| config.edge.total = Some(total)
}

#[test]
fn silent_clients_make_room_then_those_that_have_been_idle_longest() {
    let server = Server::saying("x");
    let balancer = Balancer::with(at_most(4), &[routed("web", server.addr, "urlprefix-/")]);
    let kept = || {
        let mut client = balancer.connect();
        assert_eq!(client.ask(GET).status(), 200);
        client
    };
    let (mut first, mut second) = (kept(), kept());
    let mut silent: Vec<Client> = (0..2).map(|_| balancer.connect()).collect();
    until("all are inside", || balancer.metric("connections") == 4);
    // Newcomers make no room, and nothing shows when they cease to be new.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(first.ask(GET).status(), 200, "so the second has idled longer");
    let mut newcomers: Vec<Client> = (0..3).map(|_| kept()).collect();
    assert_eq!(
        (silent[0].rest(), silent[1].rest()),
        (String::new(), String::new())
    );
    assert_eq!(second.rest(), "");
    assert_eq!(first.ask(GET).status(), 200);
    assert!(newcomers.iter_mut().all(|client| client.ask(GET).status() == 200));
    assert_eq!(balancer.metric("connections_given_up_total"), 3);
}

#[test]
fn hundreds_of_silent_clients_keep_nobody_out() {
    let server = Server::saying("x");
    let balancer = Balancer::with(at_most(40), &[routed("web", server.addr, "urlprefix-/")]);
    let silent: Vec<Client> = (0..300).map(|_| balancer.connect()).collect();
    for _ in 0..50 {
        assert_eq!(balancer.get("a", "/").status(), 200);
    }
    until("there are as many as may be", || {
        balancer.metric("connections") <= 40
    });
    drop(silent);
}

#[test]
fn a_want_of_descriptors_is_ours_and_no_fault_of_the_target() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    until("it is inside", || balancer.metric("connections") == 1);
    let before = getrlimit(Resource::Nofile);
    // Nothing can be opened, whatever is open.
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let answer = client.ask(GET);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(
        (answer.status(), &*answer.body, answer.header("retry-after")),
        (503, "no room for a connection to upstream\n", vec!["1"])
    );
    assert_eq!(client.ask(GET).status(), 200);
    assert_eq!(balancer.metric("outlier_ejections_total"), 0);
}

#[test]
fn where_everybody_is_served_newcomers_wait() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (now, peak) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let highest = peak.clone();
    let server = Server::start(move |_| {
        highest.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        let _ = released.lock().unwrap().recv();
        now.fetch_sub(1, SeqCst);
        Some(ok("x"))
    });
    let echo = Server::speaking(|stream, _| {
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    let adapt = |config: &mut Config| {
        config
            .listeners
            .push(Listener::tcp("127.0.0.1:0".parse().unwrap()));
        config.edge.total = Some(2);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    balancer.route(&[
        routed("web", server.addr, "urlprefix-/"),
        routed(
            "tcp",
            echo.addr,
            format!("urlprefix-:{} proto=tcp", balancer.bound[1].port()),
        ),
    ]);
    let mut tunnel = Client::to(balancer.bound[1]);
    tunnel.write("hello");
    assert_eq!(tunnel.read(5), "hello");
    let mut served = balancer.connect();
    served.write(GET);
    until("it is served", || server.seen().len() == 1);
    let mut waiting: Vec<Client> = (0..8).map(|_| balancer.connect()).collect();
    for client in &mut waiting {
        client.write(GET);
    }
    for _ in 0..9 {
        release.send(()).unwrap();
    }
    assert_eq!(served.answer().unwrap().status(), 200);
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap().status(), 200);
    }
    // One that was about to be accepted is not sent back.
    assert!(peak.load(SeqCst) <= 2, "{peak:?}");
    tunnel.write("hello");
    assert_eq!(tunnel.read(5), "hello");
}
