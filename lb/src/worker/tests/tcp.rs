//! Bytes by port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::harness::*;
use crate::config::{Config, Listener};

fn on_tcp(config: &mut Config) {
    config.listeners = vec![Listener::tcp("127.0.0.1:0".parse().unwrap())];
}

/// Reads to the end, then answers with the same, so only a kept half-close gets anything.
fn reflector() -> Server {
    Server::speaking(|mut stream, _| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    })
}

fn tag(balancer: &Balancer) -> String {
    format!("urlprefix-:{} proto=tcp", balancer.addr.port())
}

#[test]
fn bytes_go_to_the_service_of_the_port_and_each_half_closes_by_itself() {
    let server = reflector();
    let mut balancer = Balancer::with(on_tcp, &[]);
    balancer.route(&[
        routed("db", nobody(), tag(&balancer)),
        routed("db", server.addr, tag(&balancer)),
    ]);
    for _ in 0..2 {
        let mut client = balancer.connect();
        client.write("ping");
        client.close_write();
        assert_eq!(client.rest(), "ping");
    }
    until("all is counted", || balancer.metric("route_rx_bytes_total") == 8);
    assert_eq!(balancer.metric("route_tx_bytes_total"), 8);
    assert_eq!(balancer.metric("tcp_conn_total"), 2);
    assert_eq!(balancer.metric("tcp_connfail_total"), 0);
}

#[test]
fn a_port_without_route_or_target_is_closed_and_counted() {
    let mut balancer = Balancer::with(on_tcp, &[]);
    assert_eq!(balancer.connect().rest(), "");
    balancer.route(&[Routed {
        fit: false,
        ..routed("db", nobody(), tag(&balancer))
    }]);
    assert_eq!(balancer.connect().rest(), "");
    assert_eq!(balancer.metric("tcp_noroute_total"), 2);
    balancer.route(&[routed("db", nobody(), tag(&balancer))]);
    assert_eq!(balancer.connect().rest(), "");
    assert_eq!(balancer.metric("tcp_connfail_total"), 1);
}

#[test]
fn a_silent_client_is_closed_after_the_read_timeout() {
    let server = reflector();
    let mut balancer = Balancer::with(
        |config| {
            on_tcp(config);
            config.listeners[0].read_timeout = Some(Duration::from_millis(50));
        },
        &[],
    );
    balancer.route(&[routed("db", server.addr, tag(&balancer))]);
    assert_eq!(balancer.connect().rest(), "");
}

#[test]
fn connections_to_a_target_that_left_go_on_unless_their_route_says_how_long() {
    let echo = || {
        Server::speaking(|mut stream, _| {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        })
    };
    let three = |config: &mut Config| {
        config.listeners = vec![Listener::tcp("127.0.0.1:0".parse().unwrap()); 3];
    };
    let mut balancer = Balancer::with(three, &[]);
    let options = ["", "shutdownsessions=0s", "shutdownsessions=1h"];
    let routes: Vec<Routed> = std::iter::zip(&balancer.bound, options)
        .map(|(at, option)| {
            let tag = format!("urlprefix-:{} proto=tcp {option}", at.port());
            routed("db", echo().addr, tag)
        })
        .collect();
    balancer.route(&routes);
    let mut clients: Vec<Client> = balancer.bound.iter().map(|at| Client::to(*at)).collect();
    let mut goes_on = |which: usize| {
        clients[which].write("x");
        assert_eq!(clients[which].read(1), "x", "{}", options[which]);
    };
    (0..3).for_each(&mut goes_on);
    balancer.route(&[]);
    goes_on(0);
    until("the one is closed", || balancer.metric("tcp_connections") == 2);
    goes_on(0);
    goes_on(2);
    assert_eq!(clients[1].rest(), "");
}

#[test]
fn one_that_takes_no_connections_is_passed_over_as_for_requests() {
    let server = reflector();
    let mut balancer = Balancer::with(on_tcp, &[]);
    balancer.route(&[
        routed("db", nobody(), tag(&balancer)),
        routed("db", server.addr, tag(&balancer)),
    ]);
    for _ in 0..10 {
        let mut client = balancer.connect();
        client.write("ping");
        client.close_write();
        assert_eq!(client.rest(), "ping");
    }
    assert_eq!(balancer.metric("retries_total"), 1);
    until("it is shown", || balancer.metric("outlier_ejected") == 1);
}

#[test]
fn a_route_says_how_long_a_connect_may_take() {
    // It accepts nobody, and its queue is full.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let soon = Duration::from_millis(100);
    let waiting: Vec<TcpStream> = (0..4)
        .map_while(|_| TcpStream::connect_timeout(&addr, soon).ok())
        .collect();
    assert!(waiting.len() < 4, "the queue takes all");
    let mut balancer = Balancer::with(on_tcp, &[]);
    let tag = format!("{} dialtimeout=50ms", tag(&balancer));
    balancer.route(&[routed("db", addr, tag)]);
    let _client = balancer.connect();
    until("it is given up", || balancer.metric("tcp_connfail_total") == 1);
}

#[test]
fn one_that_listens_is_found_among_many_that_do_not() {
    let server = reflector();
    let mut balancer = Balancer::with(on_tcp, &[]);
    let tag = tag(&balancer);
    let mut routes: Vec<Routed> = (0..6).map(|_| routed("tcp", nobody(), tag.clone())).collect();
    routes.push(routed("tcp", server.addr, tag));
    balancer.route(&routes);
    let mut client = balancer.connect();
    client.write("hi");
    client.close_write();
    assert_eq!(client.rest(), "hi");
    let retries = balancer.metric("retries_total");
    assert_eq!(balancer.metric("upstream_failures_total"), retries);

    routes.truncate(1);
    balancer.route(&routes);
    assert_eq!(balancer.connect().rest(), "");
    assert_eq!(
        balancer.metric("retries_total"),
        retries,
        "there was nobody else to ask"
    );
}
