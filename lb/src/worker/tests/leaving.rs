//! Clients that leave while their target is silent: its work ends with them.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::h2;
use super::harness::*;
use super::secure::Secured;
use crate::config::Proto;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Never answers; how many requests it works on.
fn silent() -> (Server, Arc<AtomicUsize>) {
    let working = Arc::new(AtomicUsize::new(0));
    let count = working.clone();
    let server = Server::speaking(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        count.fetch_add(1, SeqCst);
        let _ = stream.read(&mut [0; 4096]);
        count.fetch_sub(1, SeqCst);
    });
    (server, working)
}

/// So that tests need not wait for a minute.
fn hasty(config: &mut crate::Config) {
    config.edge.stall = Duration::from_millis(400);
}

/// Sees the target begin to work, then what becomes of that once `leave` has been called.
fn leaves<C>(balancer: &Balancer, working: &AtomicUsize, how: &str, client: C, leave: impl FnOnce(C)) {
    until("the target works", || working.load(SeqCst) == 1);
    leave(client);
    until(how, || working.load(SeqCst) == 0);
    until(how, || balancer.metric("connections") == 0);
}

#[test]
fn a_client_that_leaves_with_another_request_sent_ahead_is_noticed() {
    let (server, working) = silent();
    let balancer = Balancer::with(hasty, &[routed("web", server.addr, "urlprefix-/")]);
    for ahead in ["", "G", GET] {
        let ask = || {
            let mut client = balancer.connect();
            client.write(GET);
            client
        };
        // Sent only now, or it would be read along with the first.
        let reset = |mut client: Client| {
            client.write(ahead);
            client.reset();
        };
        leaves(&balancer, &working, "reset", ask(), reset);
        let close = |mut client: Client| client.write(ahead);
        leaves(&balancer, &working, "closed", ask(), close);
    }
}

#[test]
fn a_client_that_leaves_over_tls_is_noticed() {
    let secured = Secured::new(&["a.test"]);
    let (server, working) = silent();
    let adapt = |config: &mut crate::Config| {
        hasty(config);
        config.listeners[0].proto = Proto::Https;
        secured.on(config);
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let ask = || {
        let mut client = secured.client(balancer.addr, "a.test");
        client.write_all(GET.as_bytes()).unwrap();
        // Takes the tickets, so that closing is no reset.
        client
            .sock
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        assert!(client.read(&mut [0]).is_err());
        client
    };
    leaves(&balancer, &working, "with a goodbye", ask(), |mut client| {
        client.conn.send_close_notify();
        client.flush().unwrap();
    });
    leaves(&balancer, &working, "without", ask(), drop);
    leaves(
        &balancer,
        &working,
        "with a goodbye and a reset",
        ask(),
        |mut client| {
            client.conn.send_close_notify();
            client.flush().unwrap();
            socket2::SockRef::from(&client.sock)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        },
    );
}

#[test]
fn a_client_of_http_2_that_leaves_is_noticed() {
    let (server, working) = silent();
    let balancer = Balancer::with(hasty, &[routed("web", server.addr, "urlprefix-/")]);
    h2::run(async {
        let mut client = h2::connect(&balancer).await;
        let asked = tokio::spawn(client.send_request(h2::get("http://a/")));
        while working.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        asked.abort();
        // The runtime ends, and its connections with it.
    });
    until("it is noticed", || working.load(SeqCst) == 0);
    until("it is over", || balancer.metric("connections") == 0);
}

#[test]
fn a_client_that_only_closed_its_half_is_answered() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(1));
        Some(ok("late"))
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(&format!("{GET}{GET}"));
    client.close_write();
    assert_eq!(client.answer().unwrap().body, "late");
    assert_eq!(client.answer().unwrap().body, "late");
    assert_eq!(client.rest(), "");
}
