//! Servers of HTTP/2 and servers over TLS, as `proto=` and its companions ask for them; gRPC through and through.

pub(super) mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response, Version};
use tokio::sync::{Semaphore, mpsc};

use super::h2::{Body, connect, full, get, none, run, text};
use super::harness::*;
use crate::config::CertSource;
use crate::tls::tests::authority::{Authority, Issued};
use crate::tls::tests::harness::{Files, file_source};
use server::H2Server;

/// Says what it was asked, and how.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().and_then(|trailers| trailers.get("x-up")).cloned();
    let told = format!(
        "{} {} {:?} host={:?} te={:?} trailer={trailers:?} {}",
        parts.method,
        parts.uri,
        parts.version,
        parts.headers.get("host"),
        parts.headers.get("te"),
        String::from_utf8_lossy(&body.to_bytes()),
    );
    let body = http_body_util::Full::new(Bytes::from(told)).map_err(|never| match never {});
    let mut down = HeaderMap::new();
    down.insert("grpc-status", "0".parse().unwrap());
    Response::new(body.with_trailers(async { Some(Ok(down)) }).boxed_unsync())
}

/// A body that is written piece by piece.
fn channel() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let stream = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx).map(|piece| piece.map(Ok)));
    (sender, BodyExt::boxed_unsync(StreamBody::new(stream)))
}

#[test]
fn h2c_servers_serve_clients_of_both_versions_on_one_connection() {
    let server = H2Server::start(echo);
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    let mut client = balancer.connect();
    let answer = client.ask("POST /x?q HTTP/1.1\r\nHost: A.com:81\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(
        answer.body,
        "POST http://A.com:81/x?q HTTP/2.0 host=None te=None trailer=None hi"
    );
    run(async {
        let mut client = connect(&balancer).await;
        let all = join_all((0..50).map(|_| client.send_request(get("http://a/y"))));
        for answer in all.await {
            let body = answer.unwrap().into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
            assert!(body.to_bytes().starts_with(b"GET http://a/y HTTP/2.0"));
        }
    });
    assert_eq!((server.opened(), server.open()), (1, 1));
    until("all are counted", || balancer.metric("requests_seconds") == 51);
    assert_eq!(balancer.metric("client_gone_total"), 0);
}

#[test]
fn a_call_streams_both_ways_with_metadata_and_trailers() {
    let server = H2Server::start(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["grpc-timeout"], "5S");
        assert_eq!(request.uri().path(), "/pkg.Service/Chat");
        let (sender, body) = channel();
        tokio::spawn(async move {
            let mut incoming = request.into_body();
            while let Some(Ok(frame)) = incoming.frame().await {
                let Ok(data) = frame.into_data() else { break };
                let _ = sender.send(Frame::data(Bytes::from(data.to_ascii_uppercase())));
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "7".parse().unwrap());
            let _ = sender.send(Frame::trailers(trailers));
        });
        let mut answer = Response::new(body);
        let kind = "application/grpc".parse().unwrap();
        answer.headers_mut().insert("content-type", kind);
        answer
    });
    let balancer = Balancer::start(&[routed("chat", server.addr, "urlprefix-/pkg.Service proto=grpc")]);
    run(async {
        let mut client = connect(&balancer).await;
        let (sender, body) = channel();
        let request = Request::post("http://a/pkg.Service/Chat")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "5S")
            .body(body)
            .unwrap();
        // The answer begins before the request has ended.
        let mut answer = client.send_request(request).await.unwrap();
        for message in ["one", "two"] {
            sender.send(Frame::data(Bytes::from(message))).unwrap();
            let said = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(said, message.to_uppercase());
        }
        drop(sender);
        let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "7");
    });
    until("it is counted", || balancer.metric("grpc_status_total") == 1);
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_at_the_server_and_its_connection_goes_on() {
    let (gone, mut left) = mpsc::unbounded_channel();
    let server = H2Server::start(move |request| {
        let gone = gone.clone();
        async move {
            if request.uri().path() == "/wait" {
                let (sender, body) = channel();
                tokio::spawn(async move {
                    sender.closed().await;
                    let _ = gone.send(());
                });
                return Response::new(body);
            }
            echo(request).await
        }
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    run(async {
        let mut client = connect(&balancer).await;
        let answer = client.send_request(get("http://a/wait")).await.unwrap();
        drop(answer);
        left.recv().await.unwrap();
        let answer = client.send_request(get("http://a/")).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
    assert_eq!(server.opened(), 1);
}

#[test]
fn more_streams_than_the_server_allows_take_another_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let server = H2Server::with(None, 4, move |request| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            echo(request).await
        }
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    run(async {
        // So that its settings are known.
        gate.add_permits(1);
        let mut client = connect(&balancer).await;
        client.send_request(get("http://a/")).await.unwrap();
        let all = tokio::spawn(join_all((0..10).map(|_| client.send_request(get("http://a/")))));
        while server.opened() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        gate.add_permits(10);
        for answer in all.await.unwrap() {
            assert_eq!(answer.unwrap().status(), 200);
        }
    });
    assert_eq!(server.opened(), 10_usize.div_ceil(server.streams() as usize));
}

#[test]
fn a_server_that_takes_leave_finishes_its_streams_and_gets_new_ones_on_a_new_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let server = H2Server::start(move |request| {
        let held = held.clone();
        async move {
            if request.uri().path() == "/slow" {
                held.acquire().await.unwrap().forget();
            }
            echo(request).await
        }
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    run(async {
        let mut client = connect(&balancer).await;
        client.send_request(get("http://a/")).await.unwrap();
        let slow = tokio::spawn(client.send_request(get("http://a/slow")));
        let mut failed = 0;
        for round in 0..20 {
            if round % 5 == 0 {
                server.leave();
            }
            let mut post = get("http://a/post");
            *post.method_mut() = "POST".parse().unwrap();
            *post.body_mut() = full("once");
            failed += usize::from(client.send_request(post).await.unwrap().status() != 200);
        }
        assert_eq!(failed, 0);
        gate.add_permits(1);
        assert!(
            text(slow.await.unwrap().unwrap())
                .await
                .starts_with("GET http://a/slow")
        );
    });
    assert!(server.opened() >= 2);
}

#[test]
fn streams_to_a_target_that_left_run_on_and_only_then_its_connection_is_closed() {
    let server = H2Server::start(|request| async move {
        let (sender, body) = channel();
        tokio::spawn(async move {
            let mut incoming = request.into_body();
            while let Some(Ok(frame)) = incoming.frame().await {
                let _ = sender.send(frame);
            }
        });
        Response::new(body)
    });
    let soon = |config: &mut crate::Config| config.grpc_shutdown = Duration::from_millis(100);
    let mut balancer = Balancer::with(soon, &[routed("web", server.addr, "urlprefix-/ proto=grpc")]);
    run(async {
        let mut client = connect(&balancer).await;
        let (sender, body) = channel();
        let request = Request::post("http://a/x").body(body).unwrap();
        let mut answer = client.send_request(request).await.unwrap();
        balancer.route(&[]);
        // Longer than the connection has once it is unused.
        tokio::time::sleep(Duration::from_millis(700)).await;
        sender.send(Frame::data(Bytes::from("still"))).unwrap();
        let said = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(said, "still");
        assert_eq!(server.open(), 1);
    });
    until("it is closed", || server.open() == 0);
}

#[test]
fn many_who_wait_for_a_connection_share_one_and_all_learn_that_there_is_none() {
    let server = H2Server::start(echo);
    let balancer = Balancer::start(&[
        routed("web", server.addr, "urlprefix-a/ proto=h2c"),
        routed("none", nobody(), "urlprefix-b/ proto=h2c"),
    ]);
    run(async {
        let mut client = connect(&balancer).await;
        let all = join_all((0..50).map(|_| client.send_request(get("http://a/"))));
        assert!(
            all.await
                .into_iter()
                .all(|answer| answer.unwrap().status() == 200)
        );
        let all = join_all((0..50).map(|_| client.send_request(get("http://b/"))));
        assert!(
            all.await
                .into_iter()
                .all(|answer| answer.unwrap().status() == 502)
        );
    });
    assert_eq!(server.opened(), 1);
}

#[test]
fn a_websocket_to_a_server_of_http_2_is_spoken_of_in_http_1() {
    let server = Server::saying("declined");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(balancer.connect().ask(upgrade).body, "declined");
    assert_eq!(server.only().header("upgrade"), ["websocket"]);
}

/// TLS with this certificate and these protocols.
fn tls(issued: &Issued, alpn: &[&str]) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der()], issued.key_der())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A source whose authority vouches for servers.
fn trusting(files: &Files, authority: &Authority) -> CertSource {
    let own = files.put_pair("own.pem", &authority.issue(&["balancer"]));
    CertSource {
        client_ca: Some(files.put("ca.pem", &authority.pem())),
        ..file_source("inner", &own)
    }
}

#[test]
fn servers_over_tls_are_verified_by_the_authority_and_the_name_of_the_route() {
    let (files, authority) = (Files::new(), Authority::new("inner"));
    let server = H2Server::with(Some(tls(&authority.issue(&["web.inner"]), &["h2"])), 100, echo);
    let stranger = Authority::new("stranger").issue(&["web.inner"]);
    let foreign = H2Server::with(Some(tls(&stranger, &["h2"])), 100, echo);
    let old = H2Server::with(
        Some(tls(&authority.issue(&["web.inner"]), &["http/1.1"])),
        100,
        echo,
    );
    let source = trusting(&files, &authority);
    let route = |host: &str, server: &H2Server, options: &str| {
        routed(
            "web",
            server.addr,
            format!("urlprefix-{host}/ proto=h2 {options}"),
        )
    };
    let balancer = Balancer::with(
        |config| config.certs.push(source),
        &[
            route("named", &server, "tlsca=inner tlsservername=web.inner"),
            route("hosted", &server, "tlsca=inner host=web.inner"),
            route("misnamed", &server, "tlsca=inner tlsservername=other.inner"),
            route("addressed", &server, "tlsca=inner"),
            route("system", &server, "tlsservername=web.inner"),
            route("foreign", &foreign, "tlsca=inner tlsservername=web.inner"),
            route("skipped", &foreign, "tlsskipverify=true"),
            route("old", &old, "tlsca=inner tlsservername=web.inner"),
            route("plain", &H2Server::start(echo), "tlsskipverify=true"),
        ],
    );
    for (host, status) in [
        ("named", 200),
        ("hosted", 200),
        ("misnamed", 502),
        ("addressed", 502),
        ("system", 502),
        ("foreign", 502),
        ("skipped", 200),
        ("old", 502),
        ("plain", 502),
    ] {
        let answer = balancer.get(host, "/x");
        assert_eq!(answer.status(), status, "{host}: {}", answer.body);
        if status == 200 {
            let named = if host == "hosted" { "web.inner" } else { host };
            assert!(
                answer
                    .body
                    .starts_with(&format!("GET https://{named}/x HTTP/2.0")),
                "{}",
                answer.body
            );
        } else {
            assert_eq!(answer.body, "upstream cannot be trusted\n", "{host}");
        }
    }
}

#[test]
fn https_servers_of_http_1_are_pooled_like_others_and_tunnel_too() {
    let (files, authority) = (Files::new(), Authority::new("inner"));
    let config = Arc::new(tls(&authority.issue(&["web.inner"]), &["http/1.1"]));
    let server = Server::speaking(move |stream, seen| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        use std::io::{Read, Write};
        let (mut head, mut read) = ([0; 4096], 0);
        while let Ok(more @ 1..) = stream.read(&mut head[read..]) {
            read += more;
            if !head[..read].ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8_lossy(&head[..read]).into_owned();
            let is_upgrade = text.contains("upgrade: websocket");
            let (head, body) = (text, String::new());
            seen.lock().unwrap().push(Answer { head, body });
            read = 0;
            if is_upgrade {
                let agreed =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(agreed.as_bytes()).unwrap();
                let mut bytes = [0; 5];
                stream.read_exact(&mut bytes).unwrap();
                stream.write_all(&bytes.to_ascii_uppercase()).unwrap();
                stream.conn.send_close_notify();
                let _ = stream.flush();
                return;
            }
            stream.write_all(ok("secret").as_bytes()).unwrap();
        }
    });
    let source = trusting(&files, &authority);
    let tag = "urlprefix-/ proto=https tlsca=inner tlsservername=web.inner";
    let balancer = Balancer::with(
        |config| config.certs.push(source),
        &[routed("web", server.addr, tag)],
    );
    let mut client = balancer.connect();
    for _ in 0..3 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body, "secret");
    }
    assert_eq!(server.connections(), 1);
    client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    client.write("hello");
    assert_eq!(client.read(5), "HELLO");
    client.close_write();
    assert_eq!(client.rest(), "");
}

#[test]
fn a_route_has_its_own_time_limits() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = H2Server::start(move |_| {
        count.fetch_add(1, SeqCst);
        async {
            tokio::time::sleep(DEADLINE).await;
            Response::new(none())
        }
    });
    let silent = Server::speaking(|stream, _| {
        std::thread::sleep(DEADLINE);
        drop(stream);
    });
    let balancer = Balancer::start(&[
        routed(
            "head",
            server.addr,
            "urlprefix-head/ proto=h2c responseheadertimeout=50ms",
        ),
        routed("all", server.addr, "urlprefix-all/ proto=h2c timeout=50ms"),
        routed("old", silent.addr, "urlprefix-old/ timeout=50ms"),
        routed(
            "shake",
            silent.addr,
            "urlprefix-shake/ proto=https dialtimeout=50ms",
        ),
    ]);
    for (number, host) in ["head", "all", "old", "shake"].into_iter().enumerate() {
        assert_eq!(balancer.get(host, "/").status(), 504, "{host}");
        assert_eq!(
            balancer.metric("upstream_timeouts_total"),
            number as u64 + 1,
            "{host}"
        );
    }
    assert_eq!(asked.load(SeqCst), 2);
}

#[test]
fn a_target_without_a_path_is_sent_as_the_root() {
    let plain = Server::saying("in");
    let streams = H2Server::start(echo);
    let balancer = Balancer::start(&[
        routed("plain", plain.addr, "urlprefix-a/"),
        routed("streams", streams.addr, "urlprefix-b/ proto=h2c"),
    ]);
    for (sent, line) in [
        ("", "/"),
        ("#f", "/"),
        ("#", "/"),
        ("/#f", "/"),
        ("?q", "/?q"),
        ("?q#f", "/?q"),
        ("?#f", "/?"),
    ] {
        for method in ["GET", "OPTIONS"] {
            let ask = |host: &str| {
                let request = format!("{method} http://{host}{sent} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                balancer.connect().ask(&request)
            };
            assert_eq!(ask("a").body, "in");
            let seen = plain.seen().pop().unwrap().head;
            assert!(
                seen.starts_with(&format!("{method} {line} HTTP/1.1\r\n")),
                "{sent}: {seen}"
            );
            let seen = ask("b").body;
            assert!(
                seen.starts_with(&format!("{method} http://b{line} HTTP/2.0")),
                "{sent}: {seen}"
            );
        }
    }
}
