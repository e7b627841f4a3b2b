//! What routes ask of requests, over real sockets, with curl where a client's own ways matter.

use std::process::Command;

use super::harness::*;
use crate::config::parse_networks;

pub(super) mod auth;
mod bodies;
mod limits;
mod wire;

/// Runs curl and returns what it prints: answers with their heads.
fn curl(balancer: &Balancer, host: &str, path: &str, more: &[&str]) -> String {
    // Workers listen a moment after they were started.
    drop(balancer.connect());
    let out = Command::new("curl")
        .args([
            "--silent",
            "--verbose",
            "--show-error",
            "--include",
            "--max-time",
            "10",
        ])
        .args(["--resolve", &format!("{host}:{}:127.0.0.1", balancer.addr.port())])
        .args(more)
        .arg(format!("http://{host}:{}{path}", balancer.addr.port()))
        .output()
        .expect("curl is there: tests/tools.sh");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn access_rules_look_at_the_client_behind_trusted_proxies_only() {
    let server = Server::saying("in");
    let routes = [
        routed("a", server.addr, "urlprefix-a.com/ allow=ip:10.0.0.0/8"),
        routed("b", server.addr, "urlprefix-b.com/ deny=ip:127.0.0.0/8"),
        routed("c", server.addr, "urlprefix-c.com/ allow=ip:nonsense"),
    ];
    let ask = |balancer: &Balancer, host: &str, said: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {said}\r\n\r\n");
        balancer.connect().ask(&request)
    };
    let balancer = Balancer::start(&routes);
    for host in ["a.com", "b.com", "c.com"] {
        let answer = ask(&balancer, host, "10.1.1.1");
        assert_eq!((answer.status(), &*answer.body), (403, "access denied"), "{host}");
    }
    assert_eq!(balancer.metric("denied_total"), 3);
    assert_eq!(server.connections(), 0);

    let trusting = |config: &mut crate::Config| config.trusted = parse_networks("127.0.0.1").unwrap();
    let balancer = Balancer::with(trusting, &routes);
    for (host, said, status) in [
        ("a.com", "10.1.1.1", 200),
        ("a.com", "10.1.1.1, 6.6.6.6", 403),
        ("a.com", "6.6.6.6, 10.1.1.1", 200),
        ("a.com", "somebody", 403),
        ("b.com", "6.6.6.6", 200),
        ("b.com", "127.0.0.9", 403),
        ("c.com", "10.1.1.1", 403),
    ] {
        assert_eq!(ask(&balancer, host, said).status(), status, "{host} {said}");
    }
}

#[test]
fn a_request_that_is_denied_can_be_followed_by_one_that_is_not() {
    let server = Server::saying("in");
    let balancer = Balancer::start(&[
        routed("a", server.addr, "urlprefix-a.com/ deny=ip:127.0.0.1"),
        routed("b", server.addr, "urlprefix-b.com/"),
    ]);
    let mut client = balancer.connect();
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: a.com\r\n\r\n").status(), 403);
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: b.com\r\n\r\n").status(), 200);
}

#[test]
fn headers_are_changed_on_the_way_there_and_back() {
    let server = Server::start(|_| {
        Some("HTTP/1.1 200 OK\r\nServer: secret\r\nX-Old: 1\r\nContent-Length: 0\r\n\r\n".to_owned())
    });
    let tag = "urlprefix-/ setreqhdr=X-Env:prod addreqhdr=X-Tag:two delreqhdr=Cookie setresphdr=X-Old:2 \
        addresphdr=X-Frame-Options:DENY delresphdr=Server";
    let balancer = Balancer::start(&[routed("web", server.addr, tag)]);
    let answer = balancer
        .connect()
        .ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y\r\nX-Env: mine\r\nX-Tag: one\r\n\r\n");
    let seen = server.only();
    assert_eq!(seen.header("x-env"), ["prod"]);
    assert_eq!(seen.header("x-tag"), ["one", "two"]);
    assert!(seen.header("cookie").is_empty());
    assert_eq!(answer.header("x-old"), ["2"]);
    assert_eq!(answer.header("x-frame-options"), ["DENY"]);
    assert!(answer.header("server").is_empty());
}

#[test]
fn the_rules_of_a_target_that_refused_are_not_those_of_the_next() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[
        routed("a", nobody(), "urlprefix-/ addreqhdr=X-From:a setreqhdr=X-Only:a"),
        routed("b", server.addr, "urlprefix-/ addreqhdr=X-From:b"),
    ]);
    for _ in 0..4 {
        assert_eq!(balancer.get("a", "/").status(), 200);
    }
    for seen in server.seen() {
        assert_eq!(
            (seen.header("x-from"), seen.header("x-only").len()),
            (vec!["b"], 0)
        );
    }
}

#[test]
fn a_request_does_not_go_on_to_where_more_is_asked_of_it() {
    let guarded = Server::saying("secret");
    let balancer = Balancer::start(&[
        routed("a", nobody(), "urlprefix-/"),
        routed("b", guarded.addr, "urlprefix-/ deny=ip:127.0.0.1"),
    ]);
    let statuses: Vec<u16> = (0..6).map(|_| balancer.get("a", "/").status()).collect();
    assert!(
        statuses.iter().all(|status| [403, 502].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(guarded.connections(), 0);
}

#[test]
fn a_guard_is_not_walked_around_by_spelling_and_the_spelling_stays() {
    let server = Server::saying("open");
    let balancer = Balancer::start(&[
        routed("web", server.addr, "urlprefix-/"),
        routed("api", server.addr, "urlprefix-/api"),
        routed("admin", nobody(), "urlprefix-/api/admin deny=ip:127.0.0.1"),
        routed("img", server.addr, "urlprefix-/img strip=/img"),
    ]);
    for path in [
        "/api/admin",
        "/api//admin/x",
        "//api/admin",
        "/api/%2fadmin",
        "/api%2Fadmin",
        "/api/%2F%2f/admin",
        "/api\\admin",
        "/api%5Cadmin",
        "/api/./admin",
        "/x/../api/admin",
        "/api/x%2f..%2fadmin",
        "/api/x\\..\\admin",
        "/api;v=1/admin",
        "/api/;/admin;x",
        "/%61pi/%61dmin",
    ] {
        assert_eq!(balancer.get("a", path).status(), 403, "{path}");
    }
    for path in [
        "/x/..;/api/admin",
        "/x/..;a=b/api",
        "/x/%2e%2e;/api",
        "/x%2f.;/api",
    ] {
        assert_eq!(balancer.get("a", path).status(), 400, "{path}");
    }
    assert!(server.seen().is_empty());
    for (sent, seen) in [
        ("/proxy/http:%2F%2Fb.com%2Fc", "/proxy/http:%2F%2Fb.com%2Fc"),
        ("/proxy/http://b.com/c?d=//e", "/proxy/http://b.com/c?d=//e"),
        ("/img/http://b.com/c", "/http://b.com/c"),
        ("/api/x;jsessionid=1", "/api/x;jsessionid=1"),
        ("/x/../api//y", "/api/y"),
        ("//api//x", "/api//x"),
    ] {
        assert_eq!(balancer.get("a", sent).status(), 200, "{sent}");
        let head = server.seen().pop().unwrap().head;
        assert!(head.starts_with(&format!("GET {seen} ")), "{sent}: {head}");
    }
}

#[test]
fn a_redirect_that_gives_way_does_not_open_what_lies_behind_it() {
    let server = Server::saying("open");
    let balancer = Balancer::start(&[
        routed(
            "moved",
            nobody(),
            "urlprefix-a.com/ redirect=301,http://a.com$path",
        ),
        routed("admin", server.addr, "urlprefix-/api/admin deny=ip:127.0.0.1"),
        routed("open", server.addr, "urlprefix-/api/admin/open"),
    ]);
    for sent in [
        "/api/admin//open",
        "/api/admin/%2Fopen",
        "/api/admin\\open",
        "/api/admin/;/open",
    ] {
        // A redirect to the spelling that is the same whoever reads it, or that spelling for the server.
        let answer = balancer.get("a.com", sent);
        match answer.status() {
            301 => assert_eq!(
                answer.header("location"),
                ["http://a.com/api/admin/open"],
                "{sent}"
            ),
            status => assert_eq!(status, 200, "{sent}"),
        }
        for seen in server.seen().drain(..) {
            assert!(
                seen.head.starts_with("GET /api/admin/open "),
                "{sent}: {}",
                seen.head
            );
        }
    }
    assert_eq!(balancer.get("a.com", "/api/admin//x").status(), 403);
}

#[test]
fn no_spelling_of_a_path_makes_a_redirect_lead_to_another_host() {
    let balancer = Balancer::start(&[routed(
        "old",
        nobody(),
        "urlprefix-/old strip=/old redirect=301,$path",
    )]);
    for sent in [
        "/old\\evil.com",
        "/old//evil.com",
        "/old/\\evil.com",
        "/old\\\\/evil.com",
        "/old/%5cevil.com",
        "/old%2F%2Fevil.com",
    ] {
        let answer = balancer.get("a.com", sent);
        assert_eq!(answer.status(), 301, "{sent}");
        let there = answer.header("location")[0];
        let is_path = there.starts_with('/') && !there[1..].starts_with(['/', '\\']);
        assert!(is_path, "{sent}: {there}");
    }
    for sent in ["/old%09/evil.com", "/old/%0a/evil.com", "/old/%0d%09"] {
        assert_eq!(balancer.get("a.com", sent).status(), 400, "{sent}");
    }
}

#[test]
fn a_stranger_does_not_learn_that_a_guarded_route_has_nobody_behind_it() {
    let unfit = |name, tag: &str| Routed {
        fit: false,
        ..routed(name, nobody(), tag)
    };
    let balancer = Balancer::start(&[
        unfit("a", "urlprefix-a.com/ deny=ip:127.0.0.1"),
        unfit("b", "urlprefix-b.com/ auth=nobody"),
        unfit("c", "urlprefix-c.com/ allow=ip:127.0.0.1"),
        unfit("d", "urlprefix-d.com/ redirect=301,https://b.com/"),
    ]);
    for (host, status) in [("a.com", 403), ("b.com", 401), ("c.com", 503), ("d.com", 503)] {
        assert_eq!(balancer.get(host, "/").status(), status, "{host}");
    }
}

#[test]
fn a_request_does_not_go_on_to_where_less_of_it_is_wanted() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[
        routed("a", nobody(), "urlprefix-/"),
        routed("b", server.addr, "urlprefix-/ ratelimit=1/h"),
    ]);
    let asked = (0..20).filter(|_| balancer.get("a", "/").status() == 200).count();
    assert!(asked <= 1, "{asked}");
}

#[test]
fn paths_are_rewritten_after_strip_and_prepend_and_stay_clean() {
    let server = Server::saying("x");
    let balancer = Balancer::start(&[
        routed(
            "a",
            server.addr,
            r"urlprefix-a.com/v1 strip=/v1 rewrite=^/user/(\d+),/users/$1",
        ),
        routed("b", server.addr, "urlprefix-b.com/ rewrite=^/x(.*),/in/.$1"),
    ]);
    for (host, sent, line) in [
        ("a.com", "/v1/user/7?q=%2F", "GET /users/7?q=%2F HTTP/1.1"),
        ("a.com", "/v1/a%2Fb%20c", "GET /a%2Fb%20c HTTP/1.1"),
        ("b.com", "/x./../secret", "GET /secret HTTP/1.1"),
        ("b.com", "/x./secret", "GET /secret HTTP/1.1"),
        ("b.com", "/x%20y%3Fz", "GET /in/.%20y%3Fz HTTP/1.1"),
    ] {
        balancer.get(host, sent);
        let seen = server.seen();
        let head = &seen.last().unwrap().head;
        assert!(head.starts_with(line), "{sent}: {head}");
    }
}

#[test]
fn every_request_gets_what_the_operator_wants_on_it() {
    let server = Server::saying("x");
    let with_headers = |config: &mut crate::Config| {
        config.headers.request_id = Some("X-Request-Id".into());
        config.headers.client_ip = Some("X-Client-Ip".into());
        config.headers.tls = Some(("X-Tls".into(), "yes".into()));
        config.access_log = Some(crate::config::AccessLog::stdout("$header.X-Request-Id"));
    };
    let mut balancer = Balancer::with(with_headers, &[routed("web", server.addr, "urlprefix-/")]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nX-Client-Ip: 6.6.6.6\r\nX-Tls: yes\r\n\
        Connection: X-Request-Id, X-Client-Ip\r\n\r\n";
    balancer.connect().ask(request);
    balancer.connect().ask(request);
    let seen = server.seen();
    let ids: Vec<&str> = seen.iter().flat_map(|seen| seen.header("x-request-id")).collect();
    assert!(
        ids.len() == 2 && ids[0] != ids[1] && ids[0].len() == 36,
        "{ids:?}"
    );
    assert_eq!(seen[0].header("x-client-ip"), ["127.0.0.1"]);
    assert!(seen[0].header("x-tls").is_empty());
    balancer.end();
    until("the log is written", || balancer.log.text().lines().count() == 2);
    assert_eq!(balancer.log.text(), format!("{}\n{}\n", ids[0], ids[1]));
}

#[test]
fn a_page_is_shown_to_requests_that_no_route_wants() {
    let status = |config: &mut crate::Config| config.no_route_status = 503;
    let balancer = Balancer::with(status, &[]);
    assert_eq!(balancer.get("a", "/").body, "no route\n");
    balancer.no_route.send_replace("<h1>nothing here</h1>".into());
    let answer = balancer.get("a", "/");
    assert_eq!((answer.status(), &*answer.body), (503, "<h1>nothing here</h1>"));
    assert_eq!(answer.header("content-type"), ["text/html; charset=utf-8"]);
    let head = curl(&balancer, "a", "/", &["--head"]);
    assert!(head.contains("content-length: 21\r\n"), "{head}");
}

#[test]
fn a_redirect_has_a_link_for_those_who_read_and_its_rules_come_first() {
    let balancer = Balancer::start(&[
        routed("a", nobody(), "urlprefix-a.com/ redirect=301,https://b.com$path"),
        routed(
            "c",
            nobody(),
            "urlprefix-c.com/ redirect=302,https://b.com/ deny=ip:127.0.0.1",
        ),
        routed(
            "d",
            nobody(),
            "urlprefix-d.com/v1 strip=/v1 prepend=/v2 redirect=308,$path",
        ),
    ]);
    let answer = balancer.get("a.com", "/x?y=1&z=%22%3E");
    assert_eq!(answer.header("location"), ["https://b.com/x?y=1&z=%22%3E"]);
    assert_eq!(answer.header("content-type"), ["text/html; charset=utf-8"]);
    assert_eq!(
        answer.body,
        "<a href=\"https://b.com/x?y=1&amp;z=%22%3E\">Moved Permanently</a>.\n\n"
    );
    let posted = balancer
        .connect()
        .ask("POST / HTTP/1.1\r\nHost: a.com\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((posted.status(), &*posted.body), (301, ""));
    assert_eq!(balancer.get("c.com", "/").status(), 403);
    assert_eq!(
        balancer.get("d.com", "/v1/a%2Fb").header("location"),
        ["/v2/a%2Fb"]
    );
    assert_eq!(balancer.metric("http_redirect_count_total"), 3);
}
