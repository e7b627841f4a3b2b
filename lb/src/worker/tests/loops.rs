//! Requests and connections that come back to us.

use super::harness::*;
use crate::config::{AccessLog, Config, Listener};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn logged(config: &mut Config) {
    config.access_log = Some(AccessLog::stdout("$response_status $upstream_addr"));
}

#[test]
fn a_request_to_a_listener_of_ours_goes_round_eight_times_and_no_more() {
    for proto in ["http", "h2c"] {
        let mut balancer = Balancer::with(logged, &[]);
        let addr = balancer.addr;
        balancer.route(&[routed("web", addr, format!("urlprefix-/ proto={proto}"))]);
        let answer = balancer.get("a", "/");
        assert_eq!(
            (answer.status(), &*answer.body),
            (508, "request goes round in a loop\n"),
            "{proto}"
        );
        assert_eq!(balancer.metric("loops_total"), 1, "{proto}");
        balancer.end();
        until("all are logged", || balancer.log.text().lines().count() >= 9);
        let mut lines = vec![format!("508 {addr}"); 8];
        lines.insert(0, "508".to_owned());
        let text = balancer.log.text();
        let mut logged: Vec<&str> = text.lines().map(str::trim).collect();
        logged.sort_unstable();
        assert_eq!(logged, lines, "{proto}");
    }
}

#[test]
fn two_balancers_that_lead_to_each_other_stop_as_one_does() {
    for proto in ["http", "h2c"] {
        let (mut one, mut other) = (Balancer::start(&[]), Balancer::start(&[]));
        one.route(&[routed("web", other.addr, format!("urlprefix-/ proto={proto}"))]);
        other.route(&[routed("web", one.addr, format!("urlprefix-/ proto={proto}"))]);
        // Both listen.
        drop((one.connect(), other.connect()));
        assert_eq!(one.get("a", "/").status(), 508, "{proto}");
        assert_eq!(one.metric("loops_total") + other.metric("loops_total"), 1);
        let other = other
            .connect()
            .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(other.status(), 508, "{proto}");
    }
}

#[test]
fn a_forged_mark_costs_its_request_and_no_other() {
    let server = Server::saying("fine");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    let marks = "lictor, ".repeat(8);
    let forged = format!("GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: {marks}\r\n\r\n");
    assert_eq!(client.ask(&forged).status(), 508);
    assert_eq!(client.ask(GET).status(), 200, "on the same connection");
    let said = "GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: edge; x=1\r\nCDN-Loop: lictor\r\n\r\n";
    client.ask(said);
    // Nor can it be taken off on the way.
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: x\r\nConnection: CDN-Loop\r\n\r\n");
    let seen: Vec<Vec<String>> = server
        .seen()
        .iter()
        .map(|seen| seen.header("cdn-loop").into_iter().map(Into::into).collect())
        .collect();
    assert_eq!(seen, [["lictor"], ["edge; x=1, lictor, lictor"], ["lictor"]]);
    assert_eq!(balancer.metric("loops_total"), 1);
}

#[test]
fn a_target_that_is_a_listener_of_ours_is_noticed() {
    for (listener, target) in [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("[::]", "[::1]"),
    ] {
        let port = nobody().port();
        let at = |ip: &str| format!("{ip}:{port}").parse().unwrap();
        let own = |config: &mut Config| config.listeners = vec![Listener::http(at(listener))];
        let mut balancer = Balancer::with(own, &[routed("web", at(target), "urlprefix-a/")]);
        until("it is noticed", || balancer.metric("own_targets") == 1);
        balancer.route(&[routed("web", nobody(), "urlprefix-a/")]);
        until("it is gone", || balancer.metric("own_targets") == 0);
    }
}

#[test]
fn tcp_routes_that_lead_to_each_other_end_after_four_rounds() {
    let tcp = |config: &mut Config| {
        config.workers = 2;
        config.listeners = vec![
            Listener::tcp("127.0.0.1:0".parse().unwrap()),
            Listener::tcp("[::]:0".parse().unwrap()),
        ];
    };
    let mut balancer = Balancer::with(tcp, &[]);
    let ports: Vec<u16> = balancer.bound.iter().map(|addr| addr.port()).collect();
    let to = |port: u16| ([127, 0, 0, 1], port).into();
    // Both listen, and have done with those who came to see that.
    for (port, seen) in ports.iter().zip(1..) {
        let connect = || std::net::TcpStream::connect::<std::net::SocketAddr>(to(*port));
        until("it listens", || connect().is_ok());
        until("it has accepted", || balancer.metric("tcp_conn_total") == seen);
    }
    until("they are gone", || balancer.metric("tcp_connections") == 0);
    let tag = |port: u16| format!("urlprefix-:{port} proto=tcp");
    balancer.route(&[
        routed("one", to(ports[1]), tag(ports[0])),
        routed("other", to(ports[0]), tag(ports[1])),
    ]);
    let before = balancer.metric("tcp_conn_total");
    for round in 1..=8 {
        assert_eq!(balancer.connect().rest(), "");
        assert_eq!(balancer.metric("loops_total"), round);
        assert_eq!(balancer.metric("tcp_conn_total"), before + 5 * round);
    }
    assert_eq!(balancer.metric("outlier_ejected"), 0);
    until("all are gone", || balancer.metric("tcp_connections") == 0);
}

#[test]
fn a_tcp_route_may_lead_to_another_listener_of_ours() {
    let server = Server::saying("fine");
    let both = |config: &mut Config| {
        config
            .listeners
            .push(Listener::tcp("127.0.0.1:0".parse().unwrap()));
    };
    let mut balancer = Balancer::with(both, &[]);
    balancer.route(&[
        routed("web", server.addr, "urlprefix-/"),
        routed(
            "tcp",
            balancer.addr,
            format!("urlprefix-:{} proto=tcp", balancer.bound[1].port()),
        ),
    ]);
    for _ in 0..8 {
        assert_eq!(Client::to(balancer.bound[1]).ask(GET).status(), 200);
    }
    assert_eq!(balancer.metric("loops_total"), 0);
}

#[test]
fn a_tcp_connection_never_goes_to_the_listener_that_it_came_in_by() {
    for listener in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let tcp = |config: &mut Config| config.listeners = vec![Listener::tcp(listener.parse().unwrap())];
        let mut balancer = Balancer::with(tcp, &[]);
        let port = balancer.addr.port();
        balancer.addr = ([127, 0, 0, 1], port).into();
        let tag = format!("urlprefix-:{port} proto=tcp");
        let own = routed("tcp", balancer.addr, tag.clone());
        balancer.route(std::slice::from_ref(&own));
        assert_eq!(balancer.connect().rest(), "", "{listener}");
        assert_eq!(balancer.metric("loops_total"), 1, "{listener}");
        assert_eq!(
            balancer.metric("tcp_conn_total"),
            1,
            "{listener}: nobody came in but the client"
        );
        assert_eq!(balancer.metric("outlier_ejected"), 0, "{listener}");

        let server = Server::speaking(|mut stream, _| drop(std::io::Write::write_all(&mut stream, b"hello")));
        balancer.route(&[own, routed("tcp", server.addr, tag)]);
        for _ in 0..4 {
            assert_eq!(balancer.connect().rest(), "hello", "{listener}");
        }
    }
}
