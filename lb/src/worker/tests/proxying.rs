//! What servers and clients see of each other through the balancer.

use super::harness::*;

#[test]
fn a_request_reaches_its_route_and_says_where_it_came_from() {
    let server = Server::saying("hello");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-example.com/")]);
    let answer = balancer.connect().ask(
        "GET /a/b%2Fc?q=1 HTTP/1.1\r\nHost: Example.com:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Mine: 1\r\n\
         Connection: close, X-Drop, X-Real-Ip\r\nX-Drop: 1\r\n\r\n",
    );
    assert_eq!((answer.status(), &*answer.body), (200, "hello"));
    let seen = server.only();
    assert!(
        seen.head.starts_with("GET /a/b%2Fc?q=1 HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    for (name, value) in [
        ("host", "Example.com:8080"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "Example.com:8080"),
        ("x-forwarded-port", "8080"),
        ("x-mine", "1"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    assert_eq!(
        seen.header("forwarded"),
        ["for=127.0.0.1; proto=http; httpproto=http/1.1"]
    );
    assert_eq!(seen.header("x-drop"), [""; 0]);
    assert_eq!(seen.header("connection"), [""; 0]);
}

#[test]
fn a_trusted_peer_is_believed() {
    let server = Server::saying("");
    let trust = |config: &mut crate::Config| config.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let balancer = Balancer::with(trust, &[routed("web", server.addr, "urlprefix-/")]);
    balancer
        .connect()
        .ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(server.only().header("x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
    assert_eq!(server.only().header("x-forwarded-proto"), ["https"]);
}

#[test]
fn a_commanded_target_gets_requests_and_its_own_query_first() {
    let server = Server::saying("hello");
    let mut balancer = Balancer::start(&[]);
    balancer.command(&format!(
        "route add web a.com/ http://{}/unused?own=1 opts \"strip=/x\"",
        server.addr
    ));
    assert_eq!(balancer.get("a.com", "/x/y?q=2").status(), 200);
    assert!(server.only().head.starts_with("GET /y?own=1&q=2 HTTP/1.1\r\n"));
    balancer.command("");
    assert_eq!(balancer.get("a.com", "/x/y").status(), 404);
}

#[test]
fn strip_prepend_and_host_options_change_what_the_server_sees() {
    let server = Server::saying("");
    let balancer = Balancer::start(&[routed(
        "web",
        server.addr,
        "urlprefix-/api strip=/api prepend=/v2 host=dst",
    )]);
    balancer.get("a.com", "/api/x%20y?q");
    let seen = server.only();
    assert!(
        seen.head.starts_with("GET /v2/x%20y?q HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("x-forwarded-prefix"), ["/api"]);
    assert_eq!(seen.header("x-forwarded-host"), ["a.com"]);
    assert_eq!(seen.header("host"), [server.addr.to_string()]);
}

#[test]
fn a_redirect_is_answered_without_asking_a_server() {
    let server = Server::saying("");
    let tag = "urlprefix-a.com/ redirect=308,https://$host$path";
    let balancer = Balancer::start(&[routed("web", server.addr, tag)]);
    let answer = balancer.get("a.com:81", "/x%20y?q=1");
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.header("location"), ["https://a.com:81/x%20y?q=1"]);
    assert!(server.seen().is_empty());
    assert_eq!(balancer.metric("http_redirect_count_total"), 1);
}

#[test]
fn a_redirect_that_leads_back_gives_way() {
    let server = Server::saying("here");
    let trusting = |config: &mut crate::Config| config.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let to = |tag| routed("go", server.addr, tag);
    let balancer = Balancer::with(
        trusting,
        &[
            routed("web", server.addr, "urlprefix-/"),
            to("urlprefix-plain.com/ redirect=301,http://plain.com$path?seen"),
            to("urlprefix-tls.com/ redirect=301,https://$host$path"),
            to("urlprefix-up.com/ redirect=301,/"),
            to("urlprefix-old.com/old strip=/old redirect=301,http://old.com$path"),
        ],
    );
    let ask = |host: &str, path: &str, proto: &str| {
        let headers = format!("Host: {host}\r\nX-Forwarded-Proto: {proto}\r\n");
        let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
        balancer.connect().ask(&request).status()
    };
    assert_eq!(ask("plain.com", "/x", "http"), 200);
    assert_eq!(ask("plain.com", "/x", "https"), 301);
    assert_eq!(ask("tls.com", "/x", "http"), 301);
    assert_eq!(ask("tls.com", "/x", "https"), 200);
    assert_eq!(ask("up.com", "/x", "http"), 301);
    assert_eq!(ask("up.com", "/", "http"), 200);
    assert_eq!(ask("old.com", "/old/x", "http"), 301);
}

#[test]
fn unknown_is_404_and_known_but_unfit_is_503() {
    let server = Server::saying("");
    let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-a.com/")]);
    let answer = balancer.get("b.com", "/");
    assert_eq!((answer.status(), &*answer.body), (404, "no route\n"));
    assert_eq!(balancer.metric("notfound_total"), 1);

    balancer.route(&[Routed {
        fit: false,
        ..routed("web", server.addr, "urlprefix-a.com/")
    }]);
    let answer = balancer.get("a.com", "/");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("retry-after"), ["1"]);
    assert_eq!(balancer.metric("unavailable_total"), 1);
    assert!(server.seen().is_empty());
}

#[test]
fn connections_are_kept_alive_on_both_sides() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    for _ in 0..5 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
    }
    assert_eq!(server.seen().len(), 5);
    assert_eq!(
        server.connections(),
        1,
        "the connection to the server is used again"
    );
    client.write(&"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(
            client.answer().unwrap().status(),
            200,
            "pipelined requests are answered in order"
        );
    }
}

#[test]
fn idle_connections_to_a_target_that_left_the_table_are_closed() {
    let server = Server::saying("x");
    let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    balancer.get("a", "/");
    until("the connection is idle", || {
        balancer.metric("upstream_idle_connections") == 1
    });
    balancer.route(&[]);
    until("the connection is closed", || {
        balancer.metric("upstream_idle_connections") == 0
    });
}

#[test]
fn bodies_stream_both_ways_with_trailers() {
    let server = Server::start(|request| {
        let body = request.body.to_uppercase();
        Some(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n",
            body.len()
        ))
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    client.write("2\r\nde\r\n0\r\n\r\n");
    let answer = client.answer().unwrap();
    assert_eq!(answer.body, "ABCDE");
    assert_eq!(answer.header("x-sum"), ["7"]);
    assert_eq!(
        client
            .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy")
            .body,
        "XY"
    );
    until("both are counted", || {
        balancer.metric("route_tx_bytes_total") == 7
    });
    assert_eq!(balancer.metric("route_rx_bytes_total"), 7);
    assert_eq!(balancer.metric("client_gone_total"), 0);
    assert_eq!(server.connections(), 1, "trailers are an end like any other");
}

#[test]
fn a_client_that_closes_its_half_still_gets_its_answer() {
    let server = Server::start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        Some(ok("late"))
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.close_write();
    assert_eq!(client.answer().unwrap().body, "late");
}

#[test]
fn http_1_0_clients_are_served() {
    let server = Server::saying("old");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.0\r\n\r\n");
    let answer = client.rest();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("old"),
        "{answer}"
    );
    assert_eq!(server.only().header("host"), [server.addr.to_string()]);
}

#[test]
fn every_request_leaves_one_line_in_the_log_and_one_count() {
    let server = Server::saying("hello");
    let pattern =
        "$request|$request_host|$response_status|$response_body_size|$upstream_service|$header.X-Real-Ip";
    let with_log =
        |config: &mut crate::Config| config.access_log = Some(crate::config::AccessLog::stdout(pattern));
    let mut balancer = Balancer::with(with_log, &[routed("web", server.addr, "urlprefix-a.com/")]);
    balancer.get("a.com", "/x?y");
    balancer.get("b.com", "/\"");
    balancer.end();
    until("the log is written", || balancer.log.text().lines().count() == 2);
    assert_eq!(
        balancer.log.text(),
        "GET /x?y HTTP/1.1|a.com|200|5|web|127.0.0.1\nGET /\\x22 HTTP/1.1|b.com|404|9||\n"
    );
    assert_eq!(balancer.metric("requests_seconds"), 1);
    assert_eq!(balancer.metric("route_seconds"), 1);
    assert_eq!(balancer.metric("http_status_total"), 1);
}

#[test]
fn an_answer_of_ours_to_head_is_logged_as_what_it_is() {
    let with_log = |config: &mut crate::Config| {
        config.access_log = Some(crate::config::AccessLog::stdout("$response_status"));
    };
    let mut balancer = Balancer::with(with_log, &[]);
    let mut client = balancer.connect();
    client.write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.head();
    assert_eq!(
        (answer.status(), answer.header("content-length")),
        (404, vec!["9"])
    );
    balancer.end();
    until("the log is written", || !balancer.log.text().is_empty());
    assert_eq!(balancer.log.text(), "404\n");
    assert_eq!(balancer.metric("client_gone_total"), 0);
}

#[test]
fn a_head_request_keeps_the_length_and_the_connection() {
    let server = Server::start(|_| Some("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".into()));
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    for _ in 0..2 {
        client.write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().header("content-length"), ["1000"]);
    }
    assert_eq!(server.connections(), 1);
}
