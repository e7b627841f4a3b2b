//! WebSockets: agreed, declined, unasked.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::harness::*;

/// Agrees to any upgrade, then echoes in capitals until the client closes.
fn echo() -> Server {
    Server::speaking(|mut stream, _| {
        let mut head = [0; 4096];
        let mut read = 0;
        while !head[..read].ends_with(b"\r\n\r\n") {
            read += stream.read(&mut head[read..]).unwrap();
        }
        let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Extra: 1\r\n\r\nhello";
        stream.write_all(agreed.as_bytes()).unwrap();
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..read].to_ascii_uppercase()).unwrap();
        }
    })
}

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn a_websocket_carries_bytes_both_ways_until_both_sides_close() {
    let server = echo();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(UPGRADE);
    let answer = client.head();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade"), ["websocket"]);
    assert_eq!(answer.header("x-extra"), ["1"]);
    assert_eq!(client.read(5), "hello");
    client.write("one\ntwo\n\n");
    assert_eq!(client.read(9), "ONE\nTWO\n\n");
    assert_eq!(balancer.metric("ws_conn"), 1);
    client.close_write();
    assert_eq!(client.rest(), "");
    until("the tunnel is over", || balancer.metric("ws_conn") == 0);
    until("its bytes are counted", || {
        balancer.metric("route_rx_bytes_total") == 14
    });
    assert_eq!(balancer.metric("route_tx_bytes_total"), 9);
    assert_eq!(
        balancer.metric("upstream_idle_connections"),
        0,
        "it never goes back to the pool"
    );
}

#[test]
fn a_server_that_declines_an_upgrade_answers_as_usual() {
    let server = Server::saying("no");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    assert_eq!(client.ask(UPGRADE).body, "no");
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body,
        "no",
        "the connection goes on"
    );
}

#[test]
fn nobody_gets_a_connection_of_http_2_past_the_routes() {
    for protocol in ["h2c", "H2C", "h2c/1.0", "websocket, h2c/2", "h2c /1"] {
        let server = Server::saying("plain");
        let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
        let headers = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n";
        let answer = balancer.connect().ask(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{headers}Upgrade: {protocol}\r\n\r\n"
        ));
        assert_eq!(answer.body, "plain");
        let seen = server.only();
        assert_eq!(seen.header("upgrade"), [""; 0], "{protocol}");
        assert_eq!(seen.header("http2-settings"), [""; 0]);
    }
}

#[test]
fn an_upgrade_nobody_asked_for_is_502() {
    let server = Server::start(|_| {
        Some("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".into())
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    assert_eq!(balancer.get("a", "/").status(), 502);
}

#[test]
fn a_client_that_leaves_before_it_learns_of_its_tunnel_leaves_nothing_behind() {
    let (agree, agreed) = channel::<()>();
    let agreed = Mutex::new(agreed);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::speaking(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        count.fetch_add(1, SeqCst);
        let _ = agreed.lock().unwrap().recv();
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.read(&mut [0; 4096]);
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for round in 1..=4 {
        let mut client = balancer.connect();
        client.write(UPGRADE);
        until("it is asked for", || asked.load(SeqCst) == round);
        // A byte that waits hides what comes behind it, once it was seen; nothing tells when that is.
        client.write("x");
        std::thread::sleep(Duration::from_millis(50));
        client.reset();
        agree.send(()).unwrap();
        until("nobody is inside", || balancer.metric("connections") == 0);
        assert_eq!(balancer.metric("ws_conn"), 0);
    }
}
