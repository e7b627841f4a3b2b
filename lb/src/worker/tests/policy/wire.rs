//! The same over TLS and over HTTP/2, and for gRPC.

use http_body_util::BodyExt;

use super::*;
use crate::config::{Headers, Proto, Sts};
use crate::tls::tests::authority::Authority;
use crate::tls::tests::harness::{Files, file_source, listener_of};
use crate::worker::tests::h2;

/// curl to a host over TLS, whoever vouches for it.
fn curl_tls(balancer: &Balancer, host: &str, more: &[&str]) -> String {
    let port = balancer.addr.port();
    drop(balancer.connect());
    let out = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--include",
            "--insecure",
            "--max-time",
            "10",
        ])
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{host}:{port}/"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// With the certificate and key of a file.
fn over_tls(config: &mut crate::Config, pair: &str) {
    config.certs = vec![file_source("mine", pair)];
    config.listeners[0].proto = Proto::Https;
    config.listeners[0].tls = Some(listener_of("mine"));
}

/// A status that has no body by its meaning would end the connection in confusion with one (RFC 9110, 6.4.1).
#[test]
fn a_status_without_a_body_is_answered_without_body_type_or_length() {
    let files = Files::new();
    let pair = files.put_pair("a.pem", &Authority::new("ca").issue(&["a.com"]));
    for status in [204, 205, 304] {
        let with_status = |config: &mut crate::Config| {
            over_tls(config, &pair);
            config.no_route_status = status;
        };
        let routes = [routed(
            "r",
            nobody(),
            "urlprefix-r.com/ redirect=304,https://a.com/",
        )];
        let balancer = Balancer::with(with_status, &routes);
        let asked = |host: &str, version: &str| curl_tls(&balancer, host, &[version]).to_lowercase();
        for page in ["", "<h1>nothing here</h1>"] {
            balancer.no_route.send_replace(page.into());
            for version in ["--http1.1", "--http2"] {
                for (host, status) in [("a.com", status), ("r.com", 304)] {
                    let answer = asked(host, version);
                    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                    assert!(
                        head.contains(&format!(" {status}")) && body.is_empty(),
                        "{answer}"
                    );
                    assert!(!head.contains("content-type"), "{answer}");
                    // Over HTTP/1.1 only a length says where an answer of 205 ends.
                    let length = head
                        .lines()
                        .filter(|line| line.starts_with("content-length"))
                        .collect::<Vec<_>>();
                    let needed = status == 205 && version == "--http1.1";
                    assert_eq!(
                        length,
                        if needed {
                            vec!["content-length: 0"]
                        } else {
                            Vec::new()
                        },
                        "{answer}"
                    );
                }
            }
        }
        assert!(asked("r.com", "--http1.1").contains("location: https://a.com/"));
    }
}

#[test]
fn over_tls_targets_and_clients_are_told_so() {
    let files = Files::new();
    let pair = files.put_pair("a.pem", &Authority::new("ca").issue(&["a.com"]));
    let server = Server::start(|_| {
        Some(
            "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n".to_owned(),
        )
    });
    let with_headers = |config: &mut crate::Config| {
        over_tls(config, &pair);
        config.headers = Headers {
            tls: Some(("X-Tls".into(), "yes".into())),
            sts: Some(Sts {
                max_age: 77,
                subdomains: false,
                preload: false,
            }),
            local_ip: Some("10.9.8.7".parse().unwrap()),
            ..Headers::default()
        };
    };
    let balancer = Balancer::with(
        with_headers,
        &[
            routed("a", server.addr, "urlprefix-a.com/"),
            routed("b", server.addr, "urlprefix-b.com/ deny=ip:127.0.0.1"),
            routed("c", server.addr, "urlprefix-c.com/ redirect=301,https://a.com/"),
            routed(
                "d",
                server.addr,
                "urlprefix-d.com/ setresphdr=Strict-Transport-Security:max-age=0",
            ),
        ],
    );
    for (version, httpproto) in [("--http1.1", "http/1.1"), ("--http2", "http/2.0")] {
        let out = curl_tls(&balancer, "a.com", &[version, "--tlsv1.3", "-H", "X-Tls: no"]).to_lowercase();
        assert_eq!(
            out.matches("strict-transport-security: max-age=77\r\n").count(),
            1,
            "{out}"
        );
        assert!(!out.contains("max-age=1\r\n"), "{out}");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.header("x-tls"), ["yes"]);
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
        assert_eq!(
            seen.header("x-forwarded-port"),
            [balancer.addr.port().to_string()]
        );
        let forwarded = seen.header("forwarded")[0];
        let start = format!(
            "for=127.0.0.1; proto=https; by=10.9.8.7; httpproto={httpproto}; tlsver=tls13; tlscipher=0x13"
        );
        assert!(forwarded.starts_with(&start), "{forwarded}");
    }
    for (host, status) in [("b.com", " 403"), ("c.com", " 301"), ("e.com", " 404")] {
        let out = curl_tls(&balancer, host, &[]).to_lowercase();
        assert!(
            out.contains(status) && out.contains("strict-transport-security: max-age=77\r\n"),
            "{out}"
        );
    }
    let out = curl_tls(&balancer, "d.com", &[]).to_lowercase();
    assert!(
        out.contains("max-age=0\r\n") && !out.contains("max-age=77"),
        "{out}"
    );
}

#[test]
fn an_authorization_server_that_nobody_vouches_for_lets_nobody_in() {
    let files = Files::new();
    let pair = files.put_pair("judge.pem", &Authority::new("ca").issue(&["localhost"]));
    let yes = Server::saying("yes");
    let judge = Balancer::with(
        |config| over_tls(config, &pair),
        &[routed("judge", yes.addr, "urlprefix-/")],
    );
    let endpoint = format!("https://localhost:{}/", judge.addr.port());
    assert!(
        curl_tls(&judge, "localhost", &[]).ends_with("yes"),
        "who does not verify is answered"
    );
    let server = Server::saying("in");
    let schemes = |config: &mut crate::Config| config.auth = vec![auth::external(endpoint)];
    let balancer = Balancer::with(schemes, &[routed("a", server.addr, "urlprefix-/ auth=sso")]);
    assert_eq!(balancer.get("a", "/").status(), 502);
    assert_eq!((yes.connections(), server.connections()), (1, 0));
}

#[test]
fn streams_of_http_2_meet_the_same_gate() {
    let server = Server::saying("in");
    let balancer = Balancer::start(&[
        routed("b", server.addr, "urlprefix-b.com/ auth=nobody"),
        routed("c", server.addr, "urlprefix-c.com/ allow=ip:10.0.0.0/8"),
        routed("d", server.addr, "urlprefix-d.com/ ratelimit=1/h,1"),
    ]);
    let h2 = |host: &str, more: &[&str]| {
        let more = [&["--http2-prior-knowledge"], more].concat();
        curl(&balancer, host, "/", &more)
    };
    let out = h2("b.com", &[]);
    assert!(
        out.starts_with("HTTP/2 401") && out.contains("www-authenticate: Basic realm=\"nobody\""),
        "{out}"
    );
    assert!(h2("c.com", &[]).starts_with("HTTP/2 403"));
    h2("d.com", &[]);
    assert!(h2("d.com", &[]).starts_with("HTTP/2 429"));

    let call = &["--header", "content-type: application/grpc", "--data", ""][..];
    for (host, status) in [("b.com", 16), ("c.com", 7), ("d.com", 8)] {
        let out = h2(host, call);
        assert!(
            out.starts_with("HTTP/2 200") && out.contains(&format!("grpc-status: {status}\r\n")),
            "{out}"
        );
    }
}

/// One body says how long it is, the other does not.
#[test]
fn bodies_of_http_2_that_are_too_long_cost_their_stream_only() {
    let server = Server::start(|request| Some(ok(&request.body)));
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ maxbody=10")]);
    let post = |body: h2::Body| {
        let mut request = h2::get("http://a.com/");
        *request.method_mut() = "POST".parse().unwrap();
        *request.body_mut() = body;
        request
    };
    h2::run(async {
        let mut client = h2::connect(&balancer).await;
        for _ in 0..20 {
            let says = h2::full("0123456789x");
            let says_not = h2::full("0123456789x").map_frame(|frame| frame).boxed_unsync();
            for body in [says, says_not] {
                let answer = client.send_request(post(body)).await.unwrap();
                assert_eq!(answer.status(), 413);
                assert_eq!(h2::text(answer).await, "request body is too large\n");
            }
            let answer = client.send_request(post(h2::full("0123456789"))).await.unwrap();
            assert_eq!(h2::text(answer).await, "0123456789");
        }
    });
    assert_eq!(server.seen().len(), 20);
}
