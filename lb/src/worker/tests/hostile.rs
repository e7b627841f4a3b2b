//! Clients that mean harm or know no better: each gets its clear refusal, and nobody else notices.

use std::time::Duration;

use super::harness::*;

/// What each of these gets is 400, and the server behind sees nothing of it.
#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused_before_any_server_sees_it() {
    let server = Server::saying("reached");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 6, 6\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x6\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Content-Length : 6\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "X: 1\r\n\tfolded\r\n",
        "X: 1\nTransfer-Encoding: chunked\r\n",
        "X: 1\n",
        "X\r: 1\r\n",
        "X: a\0b\r\n",
        "Host: b\r\n",
    ] {
        let mut client = balancer.connect();
        client.write(&format!("{head}{framing}\r\n{smuggled}"));
        let answer = client
            .answer()
            .unwrap_or_else(|| panic!("no answer to {framing:?}"));
        assert_eq!(answer.status(), 400, "{framing:?}");
        assert_eq!(
            client.rest(),
            "",
            "{framing:?}: the connection ends with the refusal"
        );
    }
    for request in [
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = balancer.connect();
        client.write(request);
        assert_eq!(
            client.answer().map(|answer| answer.status()),
            Some(400),
            "{request:?}"
        );
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    assert_eq!(balancer.get("a", "/").body, "reached", "others are served");
}

#[test]
fn the_second_request_of_a_connection_is_held_to_the_same_rules() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).status(), 200);
    let both =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(client.ask(both).status(), 400);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_bad_chunk_size_is_400_and_the_server_is_unharmed() {
    let server = Server::saying("fine");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    let answer = client.answer().unwrap();
    assert_eq!(
        (answer.status(), &*answer.body),
        (400, "malformed request body\n")
    );
    assert!(server.seen().is_empty(), "a request without its end is none");
    assert_eq!(balancer.get("a", "/").body, "fine");
    assert_eq!(balancer.metric("upstream_failures_total"), 0);
}

#[test]
fn a_body_that_ends_early_is_400_to_a_client_that_still_listens() {
    let server = Server::saying("whole");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for rest in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = balancer.connect();
        client.write(&format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}"));
        client.close_write();
        let answer = client.answer().expect("it still listens");
        assert_eq!(answer.status(), 400, "{rest:?}");
    }
}

#[test]
fn a_host_name_of_ten_kilobytes_is_refused_by_name() {
    let server = Server::saying("");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let answer = balancer.get(&"a".repeat(10_000), "/");
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.body, "host name of 10000 bytes, at most 253 are allowed\n");
    assert_eq!(balancer.metric("bad_requests_total"), 1);
}

#[test]
fn a_head_too_large_is_431_and_too_many_headers_too() {
    let balancer = Balancer::start(&[]);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(balancer.connect().ask(&large).status(), 431);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(200));
    assert_eq!(balancer.connect().ask(&many).status(), 431);
}

#[test]
fn what_hyper_refuses_is_counted() {
    let balancer = Balancer::start(&[]);
    for request in [
        "\x16\x03\x01 hello\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    ] {
        assert_eq!(balancer.connect().ask(request).status(), 400, "{request:?}");
    }
    until("all are counted", || balancer.metric("bad_requests_total") == 3);
}

#[test]
fn what_hyper_refuses_has_its_line_in_the_access_log() {
    let logged = |config: &mut crate::Config| {
        config.access_log = Some(crate::config::AccessLog::stdout(r#""$request" $response_status"#));
    };
    let server = Server::saying("x");
    let mut balancer = Balancer::with(logged, &[routed("web", server.addr, "urlprefix-/")]);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(200));
    for (request, status) in [
        ("\x16\x03\x01 hello\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        (&*long, 431),
        (&*many, 431),
    ] {
        assert_eq!(balancer.connect().ask(request).status(), status, "{request:?}");
    }
    let mut client = balancer.connect();
    assert_eq!(client.ask("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
    assert_eq!(client.ask("GET /\r\n\r\n").status(), 400);
    until("all are counted", || balancer.metric("bad_requests_total") == 5);
    drop(client);
    balancer.end();
    assert_eq!(
        balancer.log.text(),
        "\"-\" 400\n\"-\" 400\n\"-\" 431\n\"-\" 431\n\"GET /fine HTTP/1.1\" 200\n\"-\" 400\n"
    );
}

#[test]
fn an_answer_framed_twice_reaches_the_client_framed_once() {
    let server = Server::start(|_| {
        let framing = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        Some(format!("HTTP/1.1 200 OK\r\n{framing}\r\n5\r\nhello\r\n0\r\n\r\n"))
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let answer = balancer.get("a", "/");
    assert_eq!(answer.body, "hello");
    assert_eq!(answer.header("content-length"), [""; 0]);
}

#[test]
fn connect_is_not_a_way_through() {
    let balancer = Balancer::start(&[]);
    assert_eq!(
        balancer
            .connect()
            .ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
            .status(),
        405
    );
}

#[test]
fn dots_do_not_lead_around_a_route() {
    let open = Server::saying("open");
    let inner = Server::saying("inner");
    let balancer = Balancer::start(&[
        routed("open", open.addr, "urlprefix-/"),
        routed("in", inner.addr, "urlprefix-/in"),
    ]);
    for path in [
        "/open/../in/x",
        "/open/%2e%2e/in/x",
        "//in/x",
        "/./in/x",
        "/%69n/x",
        "/open%2f..%2Fin/x",
        "/open/x%2f..%2f%2e%2e/in/x",
    ] {
        assert_eq!(balancer.get("a", path).body, "inner", "{path}");
    }
    assert!(
        inner.seen().iter().all(|seen| !seen.head.contains("..")),
        "{:?}",
        inner.seen()
    );
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let hasty = |config: &mut crate::Config| {
        config.listeners[0].read_timeout = Some(Duration::from_millis(100));
        config.listeners[0].idle_timeout = Some(Duration::from_millis(100));
    };
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Some(ok("slow"))
    });
    let balancer = Balancer::with(hasty, &[routed("web", server.addr, "urlprefix-/")]);
    let mut slow = balancer.connect();
    slow.write("GET / HTTP/1.1\r\nHo");
    assert_eq!(slow.rest(), "");
    assert_eq!(balancer.connect().rest(), "");
    assert_eq!(
        balancer.get("a", "/").body,
        "slow",
        "waiting for an answer is not idling"
    );
}
