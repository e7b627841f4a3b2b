//! Listeners of every kind: who comes, what for, and what becomes of those who say neither.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::harness::*;
use super::secure::Secured;
use crate::arrival::proxy;
use crate::config::{Config, Listener, Proto};
use crate::table::options::ProxyHeader;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn of(proto: Proto) -> Listener {
    Listener {
        proto,
        ..Listener::http("127.0.0.1:0".parse().unwrap())
    }
}

/// Believes PROXY headers of this machine, and waits for them.
fn behind_a_proxy(config: &mut Config) {
    config.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    for listener in &mut config.listeners {
        listener.proxy_header = Some(Duration::from_secs(1));
    }
}

/// A header for a client of documentation, as bytes that are text here only for version 1.
fn header(version: ProxyHeader) -> Vec<u8> {
    let (client, local) = ("192.0.2.7:4711", "198.51.100.1:443");
    proxy::header(version, client.parse().unwrap(), local.parse().unwrap())
}

/// Sends bytes and reads to the end.
fn told(addr: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = dial(addr);
    stream.set_nodelay(true).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stream.write_all(piece).unwrap();
    }
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8(all).unwrap()
}

const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_trusted_proxy_says_who_the_client_is_in_either_version() {
    let server = Server::saying("x");
    let balancer = Balancer::with(behind_a_proxy, &[routed("web", server.addr, "urlprefix-/")]);
    let forwarded = || server.seen().last().unwrap().header("x-forwarded-for").join(",");
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let header = header(version);
        assert!(told(balancer.addr, &[&header, LAST]).starts_with("HTTP/1.1 200"));
        assert_eq!(forwarded(), "192.0.2.7");
        // In one segment with what follows, and byte by byte.
        assert!(told(balancer.addr, &[&[&header, LAST].concat()]).starts_with("HTTP/1.1 200"));
        let bytes: Vec<&[u8]> = header.chunks(3).chain([LAST]).collect();
        assert!(told(balancer.addr, &bytes).starts_with("HTTP/1.1 200"));
        assert_eq!(forwarded(), "192.0.2.7");
    }
    let mut local = header(ProxyHeader::V2);
    local[12] = 0x20;
    for nobody in [&local[..], b"PROXY UNKNOWN\r\n", b""] {
        assert!(told(balancer.addr, &[nobody, LAST]).starts_with("HTTP/1.1 200"));
        assert_eq!(forwarded(), "127.0.0.1");
    }
    assert_eq!(balancer.metric("proxy_header_errors_total"), 0);
}

#[test]
fn a_header_of_a_stranger_or_a_broken_one_ends_the_connection() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| {
        behind_a_proxy(config);
        config.trusted.clear();
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        assert_eq!(told(balancer.addr, &[&header(version), LAST]), "");
    }
    assert_eq!(balancer.metric("proxy_header_distrusted_total"), 2);
    assert!(told(balancer.addr, &[LAST]).starts_with("HTTP/1.1 200"));

    let balancer = Balancer::with(behind_a_proxy, &[routed("web", server.addr, "urlprefix-/")]);
    assert_eq!(told(balancer.addr, &[b"PROXY TCP4 1.2.3.4\r\n", LAST]), "");
    assert_eq!(told(balancer.addr, &[b"PROXY TCP4 1.2"]), "", "it never goes on");
    assert_eq!(balancer.metric("proxy_header_errors_total"), 2);
    // Without the option the header is what it looks like: no HTTP.
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    assert!(told(balancer.addr, &[&header(ProxyHeader::V1), LAST]).starts_with("HTTP/1.1 400"));
}

#[test]
fn a_server_that_speaks_first_is_heard_once_no_header_can_come() {
    let server = Server::speaking(|mut stream, _| {
        stream.write_all(b"220 hello\r\n").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        stream.write_all(&answer).unwrap();
    });
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Tcp)];
        behind_a_proxy(config);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let tag = format!("urlprefix-:{} proto=tcp", balancer.addr.port());
    balancer.route(&[routed("mail", server.addr, tag)]);
    let mut client = balancer.connect();
    assert_eq!(client.read(11), "220 hello\r\n");
    client.write("EHLO");
    assert_eq!(client.rest(), "EHLO");
}

#[test]
fn a_target_is_told_of_the_client_in_the_version_it_wants() {
    let server = Server::speaking(|mut stream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream
            .write_all(all.escape_ascii().to_string().as_bytes())
            .unwrap();
    });
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Tcp)];
        behind_a_proxy(config);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let port = balancer.addr.port();
    balancer.route(&[routed(
        "db",
        server.addr,
        format!("urlprefix-:{port} proto=tcp pxyproto=true"),
    )]);
    let mut client = balancer.connect();
    client.write("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nhello");
    client.close_write();
    let expected = format!("PROXY TCP4 192.0.2.7 127.0.0.1 4711 {port}\\r\\nhello");
    assert_eq!(client.rest(), expected);

    balancer.route(&[routed(
        "db",
        server.addr,
        format!("urlprefix-:{port} proto=tcp pxyproto=v2"),
    )]);
    let mut client = balancer.connect();
    client.write("hello");
    client.close_write();
    let seen = client.rest();
    assert!(
        seen.starts_with("\\r\\n\\r\\n\\x00\\r\\nQUIT\\n!\\x11\\x00\\x0c\\x7f\\x00\\x00\\x01"),
        "{seen}"
    );
    assert!(seen.ends_with("hello"), "{seen}");
    // What the target is told is none of the client's bytes.
    until("both are counted", || {
        balancer.metric("route_tx_bytes_total") == 10
    });
}

#[test]
fn a_client_that_the_target_does_not_let_in_is_closed_and_counted() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::Tcp)];
    let mut balancer = Balancer::with(adapt, &[]);
    let port = balancer.addr.port();
    let rule = |rule: &str| routed("db", server.addr, format!("urlprefix-:{port} proto=tcp {rule}"));
    for (number, closed) in ["allow=ip:10.0.0.0/8", "deny=ip:127.0.0.1/32", "allow=nonsense"]
        .iter()
        .enumerate()
    {
        balancer.route(&[rule(closed)]);
        assert_eq!(told(balancer.addr, &[LAST]), "", "{closed}");
        assert_eq!(balancer.metric("tcp_denied_total"), number as u64 + 1);
    }
    assert_eq!(balancer.metric("tcp_connfail_total"), 0);
    balancer.route(&[rule("allow=ip:127.0.0.0/8")]);
    assert_eq!(balancer.connect().ask(GET).status(), 200);
}

#[test]
fn ports_follow_the_routes_that_name_them() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::TcpDynamic)];
        config.workers = 2;
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let (one, other) = (nobody(), nobody());
    let route = |addr: SocketAddr| routed("db", server.addr, format!("urlprefix-:{} proto=tcp", addr.port()));
    let serves = |addr: SocketAddr| TcpStream::connect(addr).is_ok();
    balancer.route(&[route(one)]);
    until("the port is open", || serves(one));
    assert_eq!(Client::to(one).ask(GET).status(), 200);

    let mut inside = Client::to(one);
    assert_eq!(inside.ask(GET).status(), 200);
    balancer.route(&[route(other)]);
    until("the other port is open", || serves(other));
    until("the first port is closed", || !serves(one));
    assert_eq!(
        inside.ask(GET).status(),
        200,
        "a session goes on when its route is gone"
    );
    assert_eq!(Client::to(other).ask(GET).status(), 200);
    assert_eq!(balancer.metric("listeners"), 1);
}

#[test]
fn a_port_that_is_taken_is_tried_again_and_disturbs_no_other() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::TcpDynamic)];
    let mut balancer = Balancer::with(adapt, &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, fine) = (taken.local_addr().unwrap(), nobody());
    let route = |addr: SocketAddr| routed("db", server.addr, format!("urlprefix-:{} proto=tcp", addr.port()));
    balancer.route(&[route(addr), route(fine)]);
    until("the other port is open", || TcpStream::connect(fine).is_ok());
    until("the failure is counted", || {
        balancer.metric("listener_failures_total") > 0
    });
    drop(taken);
    balancer.route(&[route(addr), route(fine), route(nobody())]);
    until("it is open, too", || TcpStream::connect(addr).is_ok());
    assert_eq!(Client::to(addr).ask(GET).status(), 200);
}

#[test]
fn a_port_with_a_listener_of_its_own_is_left_to_it() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::Http), of(Proto::TcpDynamic)];
    let mut balancer = Balancer::with(adapt, &[]);
    let other = nobody();
    let route = |addr: SocketAddr| routed("db", server.addr, format!("urlprefix-:{} proto=tcp", addr.port()));
    balancer.route(&[route(balancer.addr), route(other)]);
    until("the other port is open", || TcpStream::connect(other).is_ok());
    assert_eq!(balancer.get("a", "/").status(), 404);
    assert_eq!(balancer.metric("listener_failures_total"), 0);
}

#[test]
fn refresh_only_bounds_how_often_ports_change() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| {
        config.listeners = vec![Listener {
            refresh: Some(Duration::from_millis(200)),
            ..of(Proto::TcpDynamic)
        }];
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let start = Instant::now();
    let (mut routes, mut times) = (Vec::new(), Vec::new());
    for open in 1..=3 {
        let tag = format!("urlprefix-:{} proto=tcp", nobody().port());
        routes.push(routed("db", server.addr, tag));
        balancer.route(&routes);
        // Not by connecting: somebody else may have been given that port meanwhile.
        until("the port is open", || balancer.metric("listeners") == open);
        times.push(start.elapsed());
    }
    assert!(times[2] - times[1] > Duration::from_millis(100), "{times:?}");
}

#[test]
fn a_scraper_is_given_metrics_and_everybody_else_the_way_to_them() {
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Prometheus)];
        config.metrics.path = "/prom".to_owned();
    };
    let balancer = Balancer::with(adapt, &[]);
    let mut client = balancer.connect();
    for path in ["/", "/metrics", "/prom/x"] {
        let answer = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (answer.status(), answer.header("location")),
            (308, vec!["/prom"]),
            "{path}"
        );
    }
    let answer = client.ask("POST /prom HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        (answer.status(), answer.header("allow")),
        (405, vec!["GET, HEAD"])
    );
    let answer = client.ask("GET /prom?x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), ["text/plain; version=0.0.4"]);
}

#[test]
fn a_client_has_as_many_connections_as_it_may_and_others_are_served() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| {
        config.edge.connections = Some(2);
        behind_a_proxy(config);
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let from = |last: u8| {
        let mut client = balancer.connect();
        client.write(&format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 1 2\r\n{GET}"));
        client
    };
    let (mut one, mut two) = (from(1), from(1));
    assert_eq!(
        (one.answer().unwrap().status(), two.answer().unwrap().status()),
        (200, 200)
    );
    assert!(from(1).answer().is_none());
    assert_eq!(from(2).answer().unwrap().status(), 200);
    assert_eq!(balancer.metric("connections_refused_total"), 1);
    drop(one);
    until("there is room again", || from(1).answer().is_some());
    assert_eq!(two.ask(GET).status(), 200);
    // The proxy itself is not limited: it brings connections of many.
    let plain: Vec<Client> = (0..5).map(|_| balancer.connect()).collect();
    for mut client in plain {
        assert_eq!(client.ask(GET).status(), 200);
    }
}

#[test]
fn a_stranger_is_limited_by_the_address_it_comes_from() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| config.edge.connections = Some(2);
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let (mut one, mut two) = (balancer.connect(), balancer.connect());
    assert_eq!((one.ask(GET).status(), two.ask(GET).status()), (200, 200));
    assert_eq!(balancer.connect().rest(), "");
    assert_eq!(balancer.metric("connections_refused_total"), 1);
}

#[test]
fn ten_thousand_idle_connections_leave_others_served() {
    // As many as the limit of open files allows: each has two ends in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = rustix::process::Rlimit {
        current: Some(most.min(1 << 20)),
        maximum: limit.maximum,
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let count = usize::try_from((most / 2).saturating_sub(500).min(10_000)).unwrap();
    let server = Server::saying("x");
    let balancer = Balancer::with(
        |config| {
            config.workers = 2;
            // The kernel does not share them out evenly.
            config.edge.total = Some(2 * count + 100);
        },
        &[routed("web", server.addr, "urlprefix-/")],
    );
    let idle: Vec<TcpStream> = (0..count).map(|_| dial(balancer.addr)).collect();
    until("all are inside", || {
        balancer.metric("connections") as usize == count
    });
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        assert_eq!(balancer.get("a", "/").status(), 200);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    drop(idle);
    until("all have left", || balancer.metric("connections") < 10);
}

#[test]
fn listeners_over_tls_serve_what_is_inside() {
    let server = Server::saying("x");
    let secured = Secured::new(&["a.test"]);
    let adapt = |config: &mut Config| {
        config.listeners = vec![
            of(Proto::Https),
            of(Proto::Grpcs),
            of(Proto::HttpsTcpSni),
            of(Proto::Prometheus),
        ];
        secured.on(config);
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    for addr in &balancer.bound[..3] {
        let mut client = secured.client(*addr, "a.test");
        client.write_all(LAST).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut scraper = secured.client(balancer.bound[3], "a.test");
    scraper
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    scraper.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(balancer.metric("grpc_conn_total"), 1);

    let alert = told(balancer.addr, &[b"GET / HTTP/1.1\r\n\r\n"]);
    assert!(!alert.contains("HTTP"), "{alert}");
    until("it is counted", || balancer.metric("tls_errors_total") == 1);
}

#[test]
fn a_handshake_that_does_not_go_on_ends() {
    let secured = Secured::new(&["a.test"]);
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Https), of(Proto::TcpSni)];
        config.edge.header_timeout = Some(Duration::from_millis(100));
        secured.on(config);
    };
    let balancer = Balancer::with(adapt, &[]);
    let hello = secured.hello("a.test");
    for addr in &balancer.bound {
        assert_eq!(Client::to(*addr).rest(), "");
        assert_eq!(told(*addr, &[&hello[..50]]), "");
    }
    assert_eq!(balancer.metric("tls_errors_total"), 2);
    assert_eq!(balancer.metric("tcp_hello_errors_total"), 2);
}

#[test]
fn tls_of_a_tcp_listener_ends_here_and_each_half_closes_by_itself() {
    let server = Server::speaking(|mut stream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let secured = Secured::new(&["a.test"]);
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Tcp)];
        secured.on(config);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let port = balancer.addr.port();
    balancer.route(&[routed("db", server.addr, format!("urlprefix-:{port} proto=tcp"))]);
    let mut client = secured.client(balancer.addr, "a.test");
    let sent = vec![b'x'; 300_000];
    client.write_all(&sent).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all == sent);
    until("all is counted", || {
        balancer.metric("route_rx_bytes_total") == 300_000
    });
    assert_eq!(balancer.metric("route_tx_bytes_total"), 300_000);
}

#[test]
fn a_name_in_the_hello_leads_to_its_service_unread() {
    let secured = Secured::new(&["db.test"]);
    let server = secured.server();
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::TcpSni)];
    let mut balancer = Balancer::with(adapt, &[]);
    balancer.route(&[routed("db", server.addr, "urlprefix-db.test/ proto=tcp")]);
    let mut client = secured.client(balancer.addr, "db.test");
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    drop(client);
    until("all is counted", || balancer.metric("route_tx_bytes_total") > 200);

    let other = secured.hello("other.test");
    for nowhere in [&other[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        let mut stream = dial(balancer.addr);
        stream.write_all(nowhere).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 16]);
    }
    until("it is counted", || balancer.metric("tcp_sni_noroute_total") == 1);
    assert_eq!(
        balancer.metric("tcp_hello_errors_total"),
        1,
        "one that leaves in the middle is no error"
    );
    assert_eq!(balancer.metric("tcp_sni_conn_total"), 2);
}

#[test]
fn a_hello_in_pieces_with_more_behind_it_arrives_whole() {
    let server = Server::speaking(|mut stream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&(all.len() as u64).to_be_bytes()).unwrap();
        stream.write_all(&all).unwrap();
    });
    let secured = Secured::new(&["db.test"]);
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::TcpSni)];
    let balancer = Balancer::with(
        adapt,
        &[routed("db", server.addr, "urlprefix-db.test/ proto=tcp")],
    );
    let mut bytes = secured.hello("db.test");
    // Early data of TLS 1.3 comes in the same segment as the end of the hello.
    bytes.extend_from_slice(&[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]);
    for sizes in [
        vec![bytes.len()],
        vec![1, 4, 100, bytes.len() - 105],
        vec![bytes.len() - 11, 11],
    ] {
        let mut stream = dial(balancer.addr);
        stream.set_nodelay(true).unwrap();
        let mut rest = &bytes[..];
        for size in &sizes {
            let (piece, after) = rest.split_at(*size);
            stream.write_all(piece).unwrap();
            rest = after;
            std::thread::sleep(Duration::from_millis(10));
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all[8..] == bytes[..], "{sizes:?}");
    }
    let sent = 3 * bytes.len() as u64;
    until("all is counted", || {
        balancer.metric("route_tx_bytes_total") == sent
    });
}

#[test]
fn one_port_passes_some_names_on_and_serves_the_others() {
    let secured = Secured::new(&["db.test", "web.test"]);
    let (db, web) = (secured.server(), Server::saying("web"));
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::HttpsTcpSni)];
        secured.on(config);
        behind_a_proxy(config);
    };
    let balancer = Balancer::with(
        adapt,
        &[
            routed("db", db.addr, "urlprefix-db.test/ proto=tcp"),
            routed("web", web.addr, "urlprefix-web.test/"),
        ],
    );
    let mut client = secured.client(balancer.addr, "db.test");
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");

    let mut stream = dial(balancer.addr);
    stream.write_all(&header(ProxyHeader::V1)).unwrap();
    let mut client = secured.over(stream, "web.test");
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(web.only().header("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(balancer.metric("tcp_sni_conn_total"), 1);
}
