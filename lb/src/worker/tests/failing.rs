//! Instances that fail again and again: passed over, come back, forgotten; and how often others are asked instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::harness::*;
use crate::config::Outliers;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers `status`, until told to be well.
fn ill(status: &'static str) -> (Server, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let server = Server::start(move |_| {
        Some(if is_well.load(SeqCst) {
            ok("well")
        } else {
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
        })
    });
    (server, well)
}

fn quick(config: &mut crate::Config) {
    config.outliers = Outliers {
        failures: 3,
        time: Duration::from_millis(400),
        max_time: Duration::from_millis(400),
        max_share: 0.5,
        slow_start: Duration::from_millis(1),
    };
}

#[test]
fn an_instance_whose_gateway_fails_is_passed_over_and_comes_back() {
    for status in [
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        let (sick, well) = ill(status);
        let server = Server::saying("fine");
        let routes = [
            routed("web", sick.addr, "urlprefix-/"),
            routed("web", server.addr, "urlprefix-/"),
        ];
        let mut balancer = Balancer::with(quick, &routes);
        let mut client = balancer.connect();
        let mut ask = |times: usize| (0..times).filter(|_| client.ask(GET).status() != 200).count();
        assert_eq!(ask(6), 3, "{status}: an answer is passed on, whatever it says");
        assert_eq!(ask(20), 0, "{status}: passed over");
        until("it is counted", || {
            balancer.metric("outlier_ejections_total") == 1
        });
        until("it is shown", || balancer.metric("outlier_ejected") == 1);
        // Another table changes nothing of that.
        balancer.route(&[
            routes[0].clone(),
            routes[1].clone(),
            routed("x", server.addr, "urlprefix-x/"),
        ]);
        assert_eq!(ask(20), 0, "{status}: still passed over");
        well.store(true, SeqCst);
        let before = sick.seen().len();
        until("it is asked again", || {
            assert_eq!(ask(2), 0);
            sick.seen().len() > before + 3
        });
        until("it is in good standing", || {
            balancer.metric("outlier_ejected") == 0
        });
    }
}

#[test]
fn a_client_that_is_slow_on_purpose_brings_no_instance_down() {
    let servers = [Server::saying("fine"), Server::saying("fine")];
    let routes = servers
        .each_ref()
        .map(|server| routed("web", server.addr, "urlprefix-/ timeout=20ms"));
    let balancer = Balancer::with(quick, &routes);
    for _ in 0..10 {
        let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        assert_eq!(balancer.connect().ask(half).status(), 504);
    }
    assert_eq!(balancer.get("a", "/").status(), 200);
    assert_eq!(balancer.metric("outlier_ejected"), 0);
    balancer.stop.cancel();
    until("it has stopped", || balancer.metric("connections") == 0);
    assert_eq!(balancer.metric("outlier_ejections_total"), 0);
}

#[test]
fn errors_of_the_application_are_answers_like_any_other() {
    let (sick, _) = ill("500 Internal Server Error");
    let balancer = Balancer::with(
        quick,
        &[
            routed("web", sick.addr, "urlprefix-/"),
            routed("web", Server::saying("fine").addr, "urlprefix-/"),
        ],
    );
    let failed = (0..20).filter(|_| balancer.get("a", "/").status() == 500).count();
    assert_eq!(failed, 10);
    assert_eq!(balancer.metric("outlier_ejections_total"), 0);
}

#[test]
fn the_last_instance_is_never_passed_over() {
    let (sick, well) = ill("503 Service Unavailable");
    let balancer = Balancer::with(quick, &[routed("web", sick.addr, "urlprefix-/")]);
    for _ in 0..20 {
        assert_eq!(balancer.get("a", "/").status(), 503);
    }
    well.store(true, SeqCst);
    assert_eq!(balancer.get("a", "/").status(), 200);
}

#[test]
fn one_that_takes_no_connections_is_asked_once_and_forgotten_when_it_leaves() {
    let gone = nobody();
    let server = Server::saying("fine");
    let routes = [
        routed("web", gone, "urlprefix-/"),
        routed("web", server.addr, "urlprefix-/"),
    ];
    let mut balancer = Balancer::start(&routes);
    for _ in 0..20 {
        assert_eq!(balancer.get("a", "/").status(), 200);
    }
    assert_eq!(balancer.metric("retries_total"), 1);
    until("it is shown", || balancer.metric("outlier_ejected") == 1);
    balancer.route(&routes[1..]);
    until("it is forgotten", || balancer.metric("outlier_ejected") == 0);
}

#[test]
fn an_answer_is_no_reason_to_ask_another() {
    let (sick, _) = ill("503 Service Unavailable");
    let other = Server::saying("other");
    let balancer = Balancer::start(&[
        routed("web", sick.addr, "urlprefix-/"),
        routed("web", other.addr, "urlprefix-/"),
    ]);
    assert_eq!(balancer.get("a", "/").status(), 503);
    assert_eq!((sick.seen().len(), other.seen().len()), (1, 0));
}

#[test]
fn a_route_says_how_often_others_are_asked() {
    let rude: Vec<Server> = (0..4).map(|_| Server::start(|_| None)).collect();
    let asked = |options: &str| {
        let before: usize = rude.iter().map(|server| server.seen().len()).sum();
        let tag = format!("urlprefix-/ {options}");
        let routes: Vec<Routed> = rude
            .iter()
            .map(|server| routed("web", server.addr, tag.clone()))
            .collect();
        let balancer = Balancer::start(&routes);
        assert_eq!(balancer.get("a", "/").status(), 502);
        rude.iter().map(|server| server.seen().len()).sum::<usize>() - before
    };
    assert_eq!((asked(""), asked("retries=0"), asked("retries=3")), (3, 1, 4));
}

#[test]
fn when_everything_fails_retries_end_with_their_budget() {
    let rude: Vec<Server> = (0..2).map(|_| Server::start(|_| None)).collect();
    let tight = |config: &mut crate::Config| {
        config.retries.budget = 0.0;
        config.outliers.failures = 0;
    };
    let routes: Vec<Routed> = rude
        .iter()
        .map(|server| routed("web", server.addr, "urlprefix-/"))
        .collect();
    let balancer = Balancer::with(tight, &routes);
    for _ in 0..150 {
        assert_eq!(balancer.get("a", "/").status(), 502);
    }
    assert_eq!(balancer.metric("retries_total"), 100);
    assert_eq!(balancer.metric("retries_refused_total"), 50);
}
