//! `ratelimit`, `maxinflight`, `maxbody`.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::*;

#[test]
fn a_route_answers_as_often_as_it_wants_whatever_becomes_of_the_table() {
    let server = Server::saying("x");
    let limited = routed("a", server.addr, "urlprefix-a.com/ ratelimit=1/h,3");
    let workers = |config: &mut crate::Config| config.workers = 2;
    let mut balancer = Balancer::with(workers, std::slice::from_ref(&limited));
    let status = |balancer: &Balancer| balancer.get("a.com", "/").status();
    assert_eq!((status(&balancer), status(&balancer)), (200, 200));
    balancer.route(&[limited.clone(), routed("b", server.addr, "urlprefix-b.com/")]);
    assert_eq!(status(&balancer), 200);
    let refused = balancer.get("a.com", "/");
    assert_eq!((refused.status(), &*refused.body), (429, "too many requests\n"));
    let wait: u64 = refused.header("retry-after")[0].parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(balancer.get("b.com", "/").status(), 200);
    assert_eq!(balancer.metric("denied_total"), 1);
}

#[test]
fn a_route_that_refused_answers_again_after_a_while() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ ratelimit=10/s,1")]);
    until("one is too many", || balancer.get("a", "/").status() == 429);
    until("time has passed", || balancer.get("a", "/").status() == 200);
}

#[test]
fn a_limit_goes_on_over_another_configuration() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ ratelimit=1/h,2")]);
    let status = || balancer.get("a", "/").status();
    assert_eq!(status(), 200);
    balancer.reload(balancer.config(|_| {})).unwrap();
    assert_eq!((status(), status()), (200, 429));
}

#[test]
fn each_client_behind_a_trusted_proxy_has_its_own_limit() {
    let server = Server::saying("x");
    let trusting = |config: &mut crate::Config| config.trusted = parse_networks("127.0.0.1").unwrap();
    let tag = "urlprefix-/ ratelimit=1/h,1 ratelimit.by=ip";
    let balancer = Balancer::with(trusting, &[routed("a", server.addr, tag)]);
    let status = |client: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        balancer.connect().ask(&request).status()
    };
    assert_eq!((status("10.0.0.1"), status("10.0.0.1")), (200, 429));
    assert_eq!((status("10.0.0.2"), status("10.0.0.2, 10.0.0.1")), (200, 429));
}

#[test]
fn no_more_are_under_way_than_a_route_wants() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let server = Server::start(move |request| {
        if request.head.starts_with("GET /held ") {
            wait.lock().unwrap().recv().ok()?;
        }
        Some(ok("done"))
    });
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ maxinflight=1")]);
    let held = "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = balancer.connect();
    first.write(held);
    until("the first is under way", || server.seen().len() == 1);
    let second = balancer.get("a", "/");
    assert_eq!((second.status(), second.header("retry-after")), (503, vec!["1"]));
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().body, "done");
    assert_eq!(first.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);

    // One whose client leaves makes room, too.
    let mut third = balancer.connect();
    third.write(held);
    until("the third is under way", || server.seen().len() == 3);
    assert_eq!(balancer.get("a", "/").status(), 503);
    third.reset();
    until("its place is free", || balancer.get("a", "/").status() == 200);
}

#[test]
fn a_body_that_says_it_is_too_long_is_refused_before_anything_is_sent() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ maxbody=10")]);
    let mut client = balancer.connect();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.answer().unwrap();
    assert_eq!(
        (answer.status(), &*answer.body),
        (413, "request body is too large\n")
    );
    assert_eq!(answer.header("connection"), ["close"]);
    assert_eq!(server.connections(), 0);
    let whole = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789";
    assert_eq!(balancer.connect().ask(whole).status(), 200);
    let big = tempfile::NamedTempFile::new().unwrap();
    big.as_file().set_len(1 << 20).unwrap();
    let out = curl(
        &balancer,
        "a",
        "/",
        &["--data-binary", &format!("@{}", big.path().display())],
    );
    assert!(out.starts_with("HTTP/1.1 413 "), "{out}");
}

#[test]
fn a_body_that_does_not_say_is_counted_and_cut_off() {
    let server = Server::saying("x");
    let global = |config: &mut crate::Config| config.edge.body = Some(10);
    let balancer = Balancer::with(global, &[routed("a", server.addr, "urlprefix-/")]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fits = format!("{head}5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n");
    assert_eq!(balancer.connect().ask(&fits).status(), 200);
    assert_eq!(server.only().body, "0123456789");

    let mut client = balancer.connect();
    client.write(&format!("{head}a\r\n0123456789\r\n1\r\nx\r\n"));
    assert_eq!(client.answer().unwrap().status(), 413);
    assert_eq!(server.seen().len(), 1, "no server has seen a whole request of it");
    assert_eq!(
        balancer.metric("upstream_failures_total"),
        0,
        "nor is it to blame"
    );
}

#[test]
fn a_route_may_take_more_than_others() {
    let server = Server::saying("x");
    let global = |config: &mut crate::Config| config.edge.body = Some(10);
    let balancer = Balancer::with(global, &[routed("a", server.addr, "urlprefix-/ maxbody=1k")]);
    let mut client = balancer.connect();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n");
    client.write(&"x".repeat(1024));
    assert_eq!(client.answer().unwrap().status(), 200);
}
