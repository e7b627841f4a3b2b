//! Instances that fail again and again: passed over, come back, forgotten; and how often others are asked instead.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
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
fn a_client_that_breaks_its_own_body_in_an_answer_brings_no_instance_down() {
    let endless = || {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        beginning(answer, |mut stream| _ = stream.read_to_end(&mut Vec::new()))
    };
    for (breaks, then_closes) in [("zz\r\n", false), ("", true), ("9\r\ntoo large\r\n", false)] {
        let servers = [endless(), endless()];
        let mut routes = Vec::from(
            servers
                .each_ref()
                .map(|server| routed("web", server.addr, "urlprefix-/ maxbody=9")),
        );
        routes.push(routed("gone", nobody(), "urlprefix-gone/"));
        let balancer = Balancer::with(quick, &routes);
        for _ in 0..10 {
            let mut client = balancer.connect();
            client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            assert_eq!(client.head().status(), 200);
            client.write(breaks);
            if then_closes {
                client.close_write();
            }
            client.rest();
        }
        until("all have ended", || {
            balancer.metric("upstream_failures_total") == 10
        });
        // Whatever came before is counted with it.
        assert_eq!(balancer.get("gone", "/").status(), 502);
        until("it is counted", || balancer.metric("outlier_ejections_total") > 0);
        assert_eq!(balancer.metric("outlier_ejections_total"), 1, "{breaks:?}");
    }
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

/// Begins an answer to each request, and then does what it is told.
fn beginning(answer: &'static str, then: fn(TcpStream)) -> Server {
    Server::speaking(move |mut stream, _| {
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        while head
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let _ = stream.write_all(answer.as_bytes());
        then(stream);
    })
}

#[test]
fn an_instance_whose_answers_break_off_is_passed_over() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (sick, server) = (beginning(answer, drop), Server::saying("fine"));
        let balancer = Balancer::with(
            |config| {
                quick(config);
                config.outliers.time = DEADLINE;
                config.outliers.max_time = DEADLINE;
            },
            &[
                routed("web", sick.addr, "urlprefix-/"),
                routed("web", server.addr, "urlprefix-/"),
            ],
        );
        let is_whole = || {
            let mut client = balancer.connect();
            client.write(GET);
            client.answer().is_some_and(|answer| answer.body == "fine")
        };
        let whole = |times: usize| (0..times).filter(|_| is_whole()).count();
        assert_eq!(whole(6), 3, "{answer}");
        assert_eq!(whole(20), 20, "{answer}: passed over");
        until("it is counted", || {
            balancer.metric("outlier_ejections_total") == 1
        });
    }
}

#[test]
fn events_may_end_anywhere_and_so_may_clients_leave() {
    let events = || {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
            4\r\ndata\r\n";
        beginning(answer, drop)
    };
    let endless = || {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        beginning(answer, |mut stream| _ = stream.read_to_end(&mut Vec::new()))
    };
    let balancer = Balancer::with(
        quick,
        &[
            routed("a", events().addr, "urlprefix-a/"),
            routed("a", events().addr, "urlprefix-a/"),
            routed("b", endless().addr, "urlprefix-b/"),
            routed("b", endless().addr, "urlprefix-b/"),
        ],
    );
    for host in ["a", "b"] {
        for _ in 0..10 {
            let mut client = balancer.connect();
            client.write(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(client.head().status(), 200);
            if host == "a" {
                client.rest();
            } else {
                client.reset();
            }
        }
    }
    until("all have left", || balancer.metric("client_gone_total") == 10);
    // Of ten failures three in a row would have been enough.
    balancer.stop.cancel();
    until("it has stopped", || balancer.metric("connections") == 0);
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
