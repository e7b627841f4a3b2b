//! `probe=`: targets that are asked whether they may get traffic.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::harness::*;

const ROUTE: &str = "urlprefix-/ probe=/up?deep=1 probeinterval=100ms";

/// Answers requests always and probes only while it is well.
fn patient(name: &'static str) -> (Server, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let server = Server::start(move |request| {
        let is_ill = request.head.starts_with("GET /up") && !is_well.load(SeqCst);
        Some(if is_ill {
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            ok(name)
        })
    });
    (server, well)
}

fn probes(server: &Server) -> usize {
    let seen = server.seen();
    seen.iter()
        .filter(|request| request.head.starts_with("GET /up"))
        .count()
}

#[test]
fn who_fails_its_probe_gets_nothing_until_it_passes() {
    let ((sick, well), (other, others_well)) = (patient("sick"), patient("other"));
    let routes = [routed("web", sick.addr, ROUTE), routed("web", other.addr, ROUTE)];
    let balancer = Balancer::start(&routes);
    let mut client = balancer.connect();
    let mut ask = || client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut who = |times: usize| -> Vec<String> { (0..times).map(|_| ask().body).collect() };
    let both = |answers: &[String]| {
        ["sick", "other"]
            .iter()
            .all(|name| answers.iter().any(|each| each == name))
    };
    assert!(both(&who(20)), "nobody is out before a probe has said so");

    well.store(false, SeqCst);
    until("it is out", || balancer.metric("probe_down") == 1);
    assert_eq!(who(20), vec!["other"; 20]);
    assert!(balancer.metric("probe_failures_total") >= 2);

    others_well.store(false, SeqCst);
    until("both are out", || balancer.metric("probe_down") == 2);
    let refused = balancer.get("a", "/");
    assert_eq!((refused.status(), refused.header("retry-after").len()), (503, 1));

    well.store(true, SeqCst);
    until("it is back", || balancer.metric("probe_down") == 1);
    assert_eq!(who(20), vec!["sick"; 20]);
}

#[test]
fn a_probe_asks_what_the_route_says_once_for_all_routes_that_say_the_same() {
    let (server, _) = patient("fine");
    let tags = [
        format!("{ROUTE} host=web.internal"),
        format!("{} host=web.internal", ROUTE.replace("-/ ", "-b/ ")),
    ];
    let mut routes: Vec<Routed> = tags.iter().map(|tag| routed("web", server.addr, tag)).collect();
    let mut balancer = Balancer::start(&routes);
    until("it was asked", || probes(&server) >= 3);
    let seen = server.seen();
    let probe = seen
        .iter()
        .find(|request| request.head.starts_with("GET /up"))
        .unwrap();
    assert!(
        probe.head.starts_with("GET /up?deep=1 HTTP/1.1\r\n"),
        "{}",
        probe.head
    );
    assert_eq!(probe.header("host"), ["web.internal"]);
    assert!(
        probe.header("user-agent")[0].ends_with(" probe"),
        "{}",
        probe.head
    );
    assert_eq!(probe.header("x-forwarded-for").len(), 0, "nobody asked for it");

    // One route less changes nothing; the last one ends it.
    routes.pop();
    balancer.route(&routes);
    let before = probes(&server);
    until("it is still asked", || probes(&server) > before + 1);
    balancer.route(&[routed("web", server.addr, "urlprefix-/")]);
    assert_eq!(balancer.get("a", "/").body, "fine");
    let connections = server.connections();
    std::thread::sleep(std::time::Duration::from_millis(350));
    assert!(
        server.connections() <= connections + 1,
        "one may have been under way"
    );
}

#[test]
fn a_connection_is_enough_where_the_probe_is_of_tcp() {
    let server = Server::saying("fine");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let tag = "urlprefix-/ probe=tcp probeinterval=100ms";
    let routes = [
        routed("web", server.addr, tag),
        routed("web", gone.local_addr().unwrap(), tag),
    ];
    let balancer = Balancer::start(&routes);
    until("connections were made", || server.connections() >= 2);
    assert_eq!(balancer.metric("probe_down"), 0);
    drop(gone);
    until("it is out", || balancer.metric("probe_down") == 1);
    assert_eq!(
        balancer.metric("retries_total"),
        0,
        "no request had to learn of it"
    );
    for _ in 0..20 {
        assert_eq!(balancer.get("a", "/").body, "fine");
    }
}

#[test]
fn a_verdict_goes_with_the_target_from_route_to_route() {
    let (sick, well) = patient("sick");
    let mut balancer = Balancer::start(&[routed("web", sick.addr, ROUTE.replace("-/ ", "-/a "))]);
    well.store(false, SeqCst);
    until("it is out", || balancer.metric("probe_down") == 1);
    // In the order in which routes are made, the old one goes before the new one comes.
    balancer.route(&[routed("web", sick.addr, ROUTE.replace("-/ ", "-/b "))]);
    assert_eq!(balancer.get("a", "/b").status(), 503, "it is as ill as before");
    well.store(true, SeqCst);
    until("it is back", || balancer.get("a", "/b").status() == 200);
}

#[test]
fn one_that_came_back_is_asked_anew() {
    let (sick, well) = patient("sick");
    let route = [routed("web", sick.addr, ROUTE)];
    let mut balancer = Balancer::start(&route);
    well.store(false, SeqCst);
    until("it is out", || balancer.metric("probe_down") == 1);
    balancer.route(&[]);
    balancer.route(&route);
    assert_eq!(
        balancer.get("a", "/").status(),
        200,
        "nothing is known of who comes anew"
    );
    until("it is out again", || balancer.metric("probe_down") == 1);
    until("requests see that", || balancer.get("a", "/").status() == 503);
}

#[test]
fn what_a_probe_meets_is_no_reason_to_pass_over_who_passes_it_again() {
    let (gone, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), Server::saying("other"));
    let addr = gone.local_addr().unwrap();
    drop(gone);
    let tag = "urlprefix-/ probe=tcp probeinterval=100ms";
    let balancer = Balancer::start(&[routed("web", addr, tag), routed("web", other.addr, tag)]);
    until("it is out", || balancer.metric("probe_down") == 1);
    let failures = balancer.metric("probe_failures_total");
    until("it fails more often", || {
        balancer.metric("probe_failures_total") > failures + 2
    });
    assert_eq!(balancer.metric("outlier_ejections_total"), 0);
}
