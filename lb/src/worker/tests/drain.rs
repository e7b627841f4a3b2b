//! Ports, stops, table changes and panics: who is served to the end, and who is not served any more.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::harness::*;
use crate::config::Listener;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that answers when told to.
fn patient() -> (Server, std::sync::mpsc::Sender<()>) {
    let (answer, told) = channel();
    let told = Mutex::new(told);
    let server = Server::start(move |_| {
        told.lock().unwrap().recv().ok()?;
        Some(ok("finished"))
    });
    (server, answer)
}

#[test]
fn a_stop_finishes_the_running_request_and_refuses_new_connections() {
    let (server, answer) = patient();
    let mut balancer = Balancer::with(
        |config| config.workers = 2,
        &[routed("web", server.addr, "urlprefix-/")],
    );
    let mut idle = balancer.connect();
    let mut running = balancer.connect();
    running.write(GET);
    until("the request is running", || server.seen().len() == 1);
    balancer.stop.cancel();
    until("new connections are refused", || {
        TcpStream::connect(balancer.addr).is_err()
    });
    assert_eq!(idle.rest(), "", "an idle connection is closed at once");
    answer.send(()).unwrap();
    let answer = running.answer().unwrap();
    assert_eq!(answer.body, "finished");
    assert_eq!(answer.header("connection"), ["close"]);
    assert_eq!(running.rest(), "");
    balancer.end();
}

#[test]
fn what_outlasts_the_shutdown_wait_is_cut() {
    let (server, _never) = patient();
    let short = |config: &mut crate::Config| config.shutdown_wait = Duration::from_millis(50);
    let mut balancer = Balancer::with(short, &[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    until("the request is running", || server.seen().len() == 1);
    let start = Instant::now();
    balancer.end();
    assert!(start.elapsed() < DEADLINE / 2);
    assert!(client.answer().is_none());
    assert_eq!(balancer.metric("client_gone_total"), 1);
}

#[test]
fn a_stop_ends_at_once_where_nothing_is_open_and_cuts_tcp_at_the_deadline() {
    let server = Server::speaking(|mut stream, _| {
        let mut one = [0];
        while stream.read_exact(&mut one).is_ok() && stream.write_all(&one).is_ok() {}
    });
    let on_tcp = |wait: Duration| {
        move |config: &mut crate::Config| {
            config.listeners = vec![Listener::tcp("127.0.0.1:0".parse().unwrap())];
            config.shutdown_wait = wait;
        }
    };
    let routed_to = |balancer: &Balancer| {
        let tag = format!("urlprefix-:{} proto=tcp", balancer.addr.port());
        [routed("db", server.addr, tag)]
    };
    let mut balancer = Balancer::with(on_tcp(DEADLINE), &[]);
    balancer.route(&routed_to(&balancer));
    let mut client = balancer.connect();
    client.write("x");
    assert_eq!(client.read(1), "x");
    drop(client);
    until("it has left", || balancer.metric("tcp_connections") == 0);
    let start = Instant::now();
    balancer.end();
    assert!(start.elapsed() < DEADLINE / 4);

    let mut balancer = Balancer::with(on_tcp(Duration::from_millis(500)), &[]);
    balancer.route(&routed_to(&balancer));
    let mut client = balancer.connect();
    client.write("x");
    assert_eq!(client.read(1), "x");
    let start = Instant::now();
    balancer.stop.cancel();
    until("the port is closed", || {
        TcpStream::connect(balancer.addr).is_err()
    });
    client.write("y");
    assert_eq!(client.read(1), "y", "until the deadline it goes on");
    balancer.end();
    assert!((DEADLINE / 40..DEADLINE / 2).contains(&start.elapsed()));
    assert_eq!(client.rest(), "");
}

#[test]
fn an_answer_that_is_written_leaves_even_without_a_shutdown_wait() {
    let (server, answer) = patient();
    let none = |config: &mut crate::Config| config.shutdown_wait = Duration::ZERO;
    let mut balancer = Balancer::with(none, &[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    until("the request is running", || server.seen().len() == 1);
    answer.send(()).unwrap();
    balancer.end();
    assert_eq!(client.answer().unwrap().body, "finished");
}

#[test]
fn a_client_that_came_just_before_the_stop_is_answered() {
    let server = Server::saying("x");
    let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut clients: Vec<Client> = (0..20).map(|_| balancer.connect()).collect();
    balancer.stop.cancel();
    // All at once: each has only a moment.
    clients.iter_mut().for_each(|client| client.write(GET));
    for client in &mut clients {
        let answer = client.answer().expect("an answer");
        assert_eq!(
            (answer.status(), answer.header("connection")),
            (200, vec!["close"])
        );
    }
    balancer.end();
}

#[test]
fn a_first_request_that_is_half_here_at_the_stop_is_answered() {
    let server = Server::saying("hello");
    for (begin, rest) in [
        ("GET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"),
        ("POST / HTTP/1.1\r\nHo", "st: a\r\nContent-Length: 2\r\n\r\nhi"),
        ("\r\nGET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"),
    ] {
        let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
        let (mut client, mut silent) = (balancer.connect(), balancer.connect());
        client.write(begin);
        until("both have come in", || balancer.metric("connections") == 2);
        balancer.stop.cancel();
        assert_eq!(silent.rest(), "", "who has sent nothing was waited for");
        let answer = client.ask(rest);
        assert_eq!((answer.status(), &*answer.body), (200, "hello"), "{begin:?}");
        assert_eq!(client.rest(), "", "{begin:?}");
        balancer.end();
    }
}

#[test]
fn a_large_answer_is_whole_though_its_client_has_asked_again_before_the_stop() {
    // What the system takes of it before the client does.
    let size = 150_000;
    let server = Server::start(move |_| Some(ok(&"x".repeat(size))));
    for request in ["GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", GET] {
        let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
        let mut client = balancer.connect();
        client.write(request);
        assert_eq!(client.head().status(), 200);
        client.write(GET);
        balancer.stop.cancel();
        until("it is closed", || balancer.metric("connections") == 0);
        assert_eq!(client.read(size).len(), size, "{request:?}");
        balancer.end();
    }
}

#[test]
fn a_request_keeps_its_target_when_the_table_changes() {
    let (server, answer) = patient();
    let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(GET);
    until("the request is running", || server.seen().len() == 1);
    balancer.route(&[]);
    assert_eq!(balancer.get("a", "/").status(), 404);
    answer.send(()).unwrap();
    assert_eq!(client.answer().unwrap().body, "finished");
}

#[test]
fn instances_that_come_and_go_under_traffic_fail_no_request() {
    let servers = [Server::saying("x"), Server::saying("x")];
    let routes = servers
        .each_ref()
        .map(|server| routed("web", server.addr, "urlprefix-/"));
    let mut balancer = Balancer::with(|config| config.workers = 2, &routes);
    let (addr, over) = (balancer.addr, Arc::new(AtomicBool::new(false)));
    let client = |request: &'static str| {
        let over = over.clone();
        std::thread::spawn(move || {
            let mut client = Client::to(addr);
            while !over.load(SeqCst) {
                assert_eq!(client.ask(request).status(), 200);
            }
        })
    };
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let clients = [client(GET), client(post), client(GET), client(post)];
    let served = || servers.iter().map(|server| server.seen().len()).sum::<usize>();
    for change in 0..20 {
        let before = served();
        balancer.route(&routes[change % 2..=change % 2]);
        until("traffic goes on", || served() > before + 20);
    }
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn every_worker_serves_the_same_port() {
    let server = Server::saying("x");
    let balancer = Arc::new(Balancer::with(
        |config| config.workers = 4,
        &[routed("web", server.addr, "urlprefix-/")],
    ));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let balancer = balancer.clone();
            std::thread::spawn(move || (0..20).for_each(|_| assert_eq!(balancer.get("a", "/").status(), 200)))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(server.seen().len(), 160);
}

#[test]
fn a_taken_port_is_an_error_that_names_who_asked_and_where() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = crate::Config {
        listeners: vec![Listener::http(addr)],
        ..crate::Config::default()
    };
    let stores = crate::tls::Stores::build(&[], None, crate::router::Live::default()).unwrap();
    let error = crate::worker::Workers::claim(crate::current::Current::new(config.into()).unwrap(), &stores)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("proxy.addr: cannot listen on {addr} (http): ")),
        "{error}"
    );
}

#[test]
fn a_panic_in_a_connection_is_counted_and_the_worker_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let counters = crate::metrics::Counters::new(&crate::histogram::Bounds::default());
    runtime.block_on(async {
        let mut connections = tokio::task::JoinSet::new();
        connections.spawn(async { panic!("a fault of ours") });
        crate::worker::bury(&counters, connections.join_next().await.unwrap());
        connections.spawn(async {});
        crate::worker::bury(&counters, connections.join_next().await.unwrap());
    });
    assert_eq!(counters.panics.get(), 1);
}
