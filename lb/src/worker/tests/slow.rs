//! Clients that take or send next to nothing while their target waits for them, and those whose target is slow.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::harness::*;
use super::secure::Secured;
use crate::config::Proto;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn strict(stall: u64, rate: u32) -> impl FnOnce(&mut crate::Config) {
    move |config| {
        config.edge.stall = Duration::from_millis(stall);
        config.edge.rate = rate;
    }
}

/// Answers without end.
fn endless() -> Server {
    Server::speaking(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while stream.write(&[b'x'; 65_536]).is_ok() {}
    })
}

/// Reads a little again and again; whether the other side is still there after a while.
fn sips(client: &mut std::net::TcpStream, long: Duration) -> bool {
    let start = Instant::now();
    let mut bytes = [0; 20_000];
    while start.elapsed() < long {
        match client.read(&mut bytes) {
            Ok(1..) => std::thread::sleep(Duration::from_millis(10)),
            _ => return false,
        }
    }
    true
}

#[test]
fn a_client_that_sips_at_its_answer_is_given_up_where_it_takes_too_little() {
    let server = endless();
    for (rate, kept) in [(100_000_000, false), (10_000, true)] {
        let balancer = Balancer::with(strict(1000, rate), &[routed("web", server.addr, "urlprefix-/")]);
        let mut client = dial(balancer.addr);
        client.write_all(GET.as_bytes()).unwrap();
        if kept {
            assert!(sips(&mut client, Duration::from_secs(3)));
            assert_eq!(balancer.metric("connections"), 1);
        } else {
            std::thread::spawn(move || sips(&mut client, DEADLINE));
            until("it is given up", || balancer.metric("connections") == 0);
        }
    }
}

/// Sends a body of `length` bytes one by one.
fn drips(balancer: &Balancer, head: &str, length: usize, pause: Duration) -> Answer {
    let mut client = balancer.connect();
    client.write(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {length}\r\n\r\n"
    ));
    let mut writer = client.writer();
    std::thread::spawn(move || {
        for _ in 0..length {
            if writer.write_all(b"x").is_err() {
                break;
            }
            std::thread::sleep(pause);
        }
    });
    client.answer().expect("an answer")
}

#[test]
fn an_upload_that_drips_is_answered_408_and_a_slow_one_is_not() {
    let server = Server::start(|request| Some(ok(&request.body)));
    let routes = [routed("web", server.addr, "urlprefix-/")];
    let pause = Duration::from_millis(20);
    let balancer = Balancer::with(strict(300, 100_000), &routes);
    let answer = drips(&balancer, "", 10_000, pause);
    assert_eq!(
        (answer.status(), &*answer.body),
        (408, "request body does not come in time\n")
    );
    assert_eq!(answer.header("connection"), ["close"]);
    assert_eq!(balancer.metric("bad_requests_total"), 1);
    assert!(server.seen().is_empty());
    for rate in [0, 10] {
        let balancer = Balancer::with(strict(300, rate), &routes);
        assert_eq!(drips(&balancer, "", 50, pause).status(), 200, "{rate}");
    }
}

#[test]
fn an_upload_waits_for_a_target_that_is_slow_to_take_it() {
    let server = Server::speaking(|mut stream, _| {
        std::thread::sleep(Duration::from_secs(1));
        let mut taken = 0;
        let mut bytes = vec![0; 65_536];
        while taken < 20_000_000 {
            taken += stream.read(&mut bytes).unwrap();
        }
        stream.write_all(ok("taken").as_bytes()).unwrap();
    });
    let balancer = Balancer::with(
        strict(200, 1_000_000),
        &[routed("web", server.addr, "urlprefix-/")],
    );
    let mut client = balancer.connect();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n");
    client.write(&"x".repeat(20_000_000));
    assert_eq!(client.answer().unwrap().body, "taken");
}

#[test]
fn a_target_that_has_nothing_to_say_for_long_is_no_fault_of_its_client() {
    let (event, told) = channel::<&str>();
    let told = Mutex::new(told);
    let server = Server::speaking(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while let Ok(event) = told.lock().unwrap().recv() {
            let _ = write!(stream, "{:x}\r\n{event}\r\n", event.len());
        }
    });
    let balancer = Balancer::with(
        strict(100, 1_000_000),
        &[routed("web", server.addr, "urlprefix-/")],
    );
    let mut client = balancer.connect();
    client.write(GET);
    assert_eq!(client.head().status(), 200);
    for text in ["data: 1\n\n", "data: 2\n\n"] {
        std::thread::sleep(Duration::from_millis(700));
        event.send(text).unwrap();
        assert_eq!(client.chunk(), text.as_bytes());
    }
}

#[test]
fn a_scraper_that_does_not_read_is_given_up() {
    let scraped = |config: &mut crate::Config| {
        config.listeners[0].proto = Proto::Prometheus;
        config.edge.stall = Duration::from_millis(300);
    };
    let balancer = Balancer::with(scraped, &[]);
    let mut client = dial(balancer.addr);
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    let requests = GET.repeat(1000);
    let start = Instant::now();
    while client.write_all(requests.as_bytes()).is_ok() {
        assert!(start.elapsed() < DEADLINE, "never given up");
    }
    until("it is given up", || balancer.metric("connections") == 0);
}

/// Answers with as much as the path says.
fn measured() -> Server {
    Server::start(|request| {
        let length = request.head.split(['/', ' ']).nth(2)?.parse().ok()?;
        Some(ok(&"x".repeat(length)))
    })
}

#[test]
fn the_rest_of_an_answer_that_its_client_takes_late_is_no_idling() {
    let server = measured();
    let adapt = |config: &mut crate::Config| {
        config.listeners[0].idle_timeout = Some(Duration::from_millis(200));
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    // Of one of them all is taken from the target and not all by the system, however much that takes.
    let lengths = (4..32).map(|times| times * 16_384);
    let asked = lengths.map(|length| {
        let mut client = balancer.connect();
        client.write(&format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n"));
        (length, client)
    });
    let asked: Vec<(usize, Client)> = asked.collect();
    std::thread::sleep(Duration::from_secs(1));
    for (length, mut client) in asked {
        assert_eq!(client.answer().map(|answer| answer.body.len()), Some(length));
    }
    until("those that idle now are closed", || {
        balancer.metric("connections") == 0
    });
}

#[test]
fn what_tls_keeps_of_an_answer_is_no_idling_either() {
    let (server, secured) = (measured(), Secured::new(&["a.test"]));
    let adapt = |config: &mut crate::Config| {
        config.listeners[0].idle_timeout = Some(Duration::from_millis(200));
        config.listeners[0].proto = Proto::Https;
        secured.on(config);
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let lengths = (4..32).map(|times| times * 16_384);
    let asked = lengths.map(|length| {
        let mut client = secured.client(balancer.addr, "a.test");
        let request = format!("GET /{length} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        (length, client)
    });
    let asked: Vec<_> = asked.collect();
    std::thread::sleep(Duration::from_secs(1));
    for (length, mut client) in asked {
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let body = answer.iter().filter(|byte| **byte == b'x').count();
        assert_eq!(body, length);
    }
}

#[test]
fn half_a_request_sent_ahead_cuts_no_answer_short() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(700));
        Some(ok("x"))
    });
    let adapts: [fn(&mut crate::Config); 2] = [
        |config| config.edge.header_timeout = Some(Duration::from_millis(200)),
        |config| config.listeners[0].read_timeout = Some(Duration::from_millis(200)),
    ];
    let ahead = [
        "GET / HTTP/1.1\r\nHo",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1",
    ];
    for (adapt, ahead) in adapts.into_iter().zip(ahead) {
        let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
        let mut client = balancer.connect();
        assert_eq!(client.ask(&format!("{GET}{ahead}")).status(), 200);
        // From here on it has the time that every request has.
        let rest = client.rest();
        assert!(!rest.contains("200 OK"), "{rest}");
    }
}
