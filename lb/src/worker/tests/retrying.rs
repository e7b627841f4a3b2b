//! Servers that refuse, close, stall or talk nonsense, and what the client gets instead.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_refused_connection_goes_to_another_instance_whatever_the_method() {
    let server = Server::saying("up");
    let balancer = Balancer::start(&[
        routed("web", nobody(), "urlprefix-/"),
        routed("web", server.addr, "urlprefix-/"),
    ]);
    let mut client = balancer.connect();
    for request in [POST, GET, POST, GET] {
        assert_eq!(client.ask(request).body, "up");
    }
    assert_eq!(server.seen().iter().filter(|seen| seen.body == "hi").count(), 2);
    assert!(balancer.metric("retries_total") >= 1);
    assert_eq!(
        balancer.metric("upstream_failures_total"),
        0,
        "nothing failed for a client"
    );
}

#[test]
fn one_that_listens_is_found_among_many_that_do_not() {
    let server = Server::saying("alive");
    let mut routes: Vec<Routed> = (0..6).map(|_| routed("web", nobody(), "urlprefix-/")).collect();
    routes.push(routed("web", server.addr, "urlprefix-/"));
    let balancer = Balancer::start(&routes);
    assert_eq!(balancer.get("a", "/").body, "alive");
}

#[test]
fn nobody_listening_anywhere_is_502() {
    let balancer = Balancer::start(&[
        routed("web", nobody(), "urlprefix-/"),
        routed("web", nobody(), "urlprefix-/"),
    ]);
    let answer = balancer.get("a", "/");
    assert_eq!(
        (answer.status(), &*answer.body),
        (502, "upstream refused the connection\n")
    );
}

/// Answers the first request of each connection once `together` of them have come, and closes when asked a
/// second time.
fn forgetful(together: usize) -> Server {
    let come = AtomicUsize::new(0);
    Server::speaking(move |stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut request = || {
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let body = String::new();
            (!head.is_empty()).then(|| seen.lock().unwrap().push(Answer { head, body }))
        };
        if request().is_some() {
            come.fetch_add(1, SeqCst);
            until("all have come", || come.load(SeqCst) >= together);
            (&stream).write_all(ok("").as_bytes()).unwrap();
            request();
        }
    })
}

#[test]
fn a_stale_idle_connection_is_replaced_for_an_idempotent_request() {
    let server = forgetful(1);
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    assert_eq!(client.ask(GET).status(), 200);
    until("the connection is idle", || {
        balancer.metric("upstream_idle_connections") == 1
    });
    assert_eq!(client.ask(GET).status(), 200);
    assert_eq!((server.connections(), server.seen().len()), (2, 3));
    assert_eq!(balancer.metric("retries_total"), 1);
}

#[test]
fn many_stale_idle_connections_cost_one_retry() {
    let server = forgetful(5);
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut clients: Vec<Client> = (0..5).map(|_| balancer.connect()).collect();
    clients.iter_mut().for_each(|client| client.write(GET));
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.answer().unwrap().status(), 200));
    until("all are idle", || {
        balancer.metric("upstream_idle_connections") == 5
    });
    assert_eq!(clients[0].ask(GET).status(), 200);
    assert_eq!(balancer.metric("retries_total"), 1);
}

#[test]
fn a_post_that_may_have_arrived_is_never_sent_again() {
    for post in [POST, "POST / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let server = forgetful(1);
        let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
        let mut client = balancer.connect();
        assert_eq!(client.ask(GET).status(), 200);
        until("the connection is idle", || {
            balancer.metric("upstream_idle_connections") == 1
        });
        assert_eq!(client.ask(post).status(), 502);
        assert_eq!(server.seen().len(), 2);
        assert_eq!(balancer.metric("retries_total"), 0);
    }
}

#[test]
fn a_request_that_can_be_sent_only_once_avoids_connections_that_idled_long() {
    let server = Server::saying("");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    let mut connections_after = |request: &str| {
        assert_eq!(client.ask(request).status(), 200);
        server.connections()
    };
    assert_eq!(connections_after(POST), 1);
    assert_eq!(connections_after(POST), 1);
    // Time is the only thing that makes a connection old.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(connections_after(POST), 2);
    assert_eq!(connections_after(GET), 2);
}

#[test]
fn a_server_that_closes_without_an_answer_is_502_and_another_is_asked_first() {
    let rude = Server::start(|_| None);
    let mut balancer = Balancer::start(&[routed("web", rude.addr, "urlprefix-/")]);
    assert_eq!(balancer.get("a", "/").status(), 502);
    let server = Server::saying("kind");
    balancer.route(&[
        routed("web", rude.addr, "urlprefix-/"),
        routed("web", server.addr, "urlprefix-/"),
    ]);
    for _ in 0..4 {
        assert_eq!(balancer.get("a", "/").body, "kind");
    }
}

#[test]
fn an_answer_that_is_no_http_is_502_and_asked_once() {
    let server = Server::start(|_| Some("SSH-2.0-x\r\n\r\n".into()));
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    assert_eq!(balancer.get("a", "/").status(), 502);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn an_answer_that_takes_too_long_is_504() {
    let server = Server::start(|_| {
        std::thread::sleep(DEADLINE);
        None
    });
    let limit = |config: &mut crate::Config| config.response_header_timeout = Some(Duration::from_millis(50));
    let balancer = Balancer::with(limit, &[routed("web", server.addr, "urlprefix-/")]);
    assert_eq!(balancer.get("a", "/").status(), 504);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(balancer.metric("upstream_timeouts_total"), 1);
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let server = Server::speaking(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .unwrap();
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.rest(), "half");
    until("it is counted", || {
        balancer.metric("upstream_failures_total") == 1
    });
}

#[test]
fn a_client_that_resets_while_it_waits_takes_its_request_along() {
    let (gone, left) = std::sync::mpsc::channel();
    let gone = Mutex::new(gone);
    let server = Server::speaking(move |mut stream, seen| {
        let read = stream.read(&mut [0; 1024]).unwrap();
        assert!(read > 0);
        let (head, body) = (String::new(), String::new());
        seen.lock().unwrap().push(Answer { head, body });
        // Never an answer, only the end of the connection.
        let end = stream.read(&mut [0; 1024]);
        gone.lock()
            .unwrap()
            .send(end.is_ok_and(|read| read == 0))
            .unwrap();
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the server has it", || server.seen().len() == 1);
    client.reset();
    assert_eq!(left.recv_timeout(DEADLINE), Ok(true));
    until("it is counted", || balancer.metric("client_gone_total") == 1);
    until("nothing is left", || balancer.metric("connections") == 0);
}

#[test]
fn a_client_that_leaves_before_the_end_is_counted() {
    let server = Server::speaking(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\nmore\r\n").is_ok() {}
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    assert_eq!(client.head().status(), 200);
    drop(client);
    until("it is counted", || balancer.metric("client_gone_total") == 1);
}
