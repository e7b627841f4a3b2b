//! Clients of HTTP/2 in front of servers of HTTP/1.1: what each sees of the other.

mod hostile;
pub(super) mod raw;
mod slow;

use std::future::Future;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::*;

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Runs a client, with a deadline.
pub(super) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, client).await.expect("not in time") })
}

pub(super) async fn connect(balancer: &Balancer) -> SendRequest<Body> {
    connect_and_see(balancer).await.0
}

/// A connection whose settings are known, and how many streams those allow.
async fn connect_and_see(balancer: &Balancer) -> (SendRequest<Body>, usize) {
    let stream = loop {
        // Workers listen a moment after they were started.
        if let Ok(stream) = tokio::net::TcpStream::connect(balancer.addr).await {
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    // It is driven by a task of its own; this end of it only ends with it.
    while !connection.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let streams = connection.current_max_send_streams();
    tokio::spawn(connection);
    sender.ready().await.unwrap();
    (sender, streams)
}

pub(super) fn none() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn full(body: &'static str) -> Body {
    Full::new(Bytes::from_static(body.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(super) fn get(uri: &str) -> Request<Body> {
    Request::builder().uri(uri).body(none()).unwrap()
}

pub(super) async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn both_versions_are_served_on_one_port() {
    let server = Server::start(|request| Some(ok(&request.body)));
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-a.com/")]);
    let answer = run(async {
        let mut client = connect(&balancer).await;
        let mut request = get("http://A.com:81/x%2Fy?q");
        *request.body_mut() = full("hello");
        *request.method_mut() = "POST".parse().unwrap();
        for cookie in ["a=1", "b=2"] {
            request.headers_mut().append("cookie", cookie.parse().unwrap());
        }
        request
            .headers_mut()
            .insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        text(answer).await
    });
    assert_eq!(answer, "hello");
    let seen = server.only();
    assert!(
        seen.head.starts_with("POST /x%2Fy?q HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    for (name, value) in [
        ("host", "A.com:81"),
        ("cookie", "a=1; b=2"),
        ("content-length", "5"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "A.com:81"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    assert_eq!(balancer.get("a.com", "/").status(), 200);
    let other = run(async {
        let mut client = connect(&balancer).await;
        let answer = client.send_request(get("http://b.com/")).await.unwrap();
        (answer.status(), text(answer).await)
    });
    assert_eq!(other, (StatusCode::NOT_FOUND, "no route\n".to_owned()));
}

#[test]
fn streams_are_answered_side_by_side_each_when_it_is_ready() {
    let (answer, told) = channel();
    let told = Mutex::new(told);
    let server = Server::start(move |request| {
        if request.head.starts_with("GET /slow") {
            told.lock().unwrap().recv().ok()?;
        }
        Some(ok("x"))
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let slow = tokio::spawn(client.send_request(get("http://a/slow")));
        for _ in 0..300 {
            let answer = client.send_request(get("http://a/fast")).await.unwrap();
            assert_eq!(text(answer).await, "x");
        }
        answer.send(()).unwrap();
        assert_eq!(text(slow.await.unwrap().unwrap()).await, "x");
    });
    until("all are counted", || balancer.metric("requests_seconds") == 301);
    assert_eq!(balancer.metric("client_gone_total"), 0);
}

#[test]
fn a_connection_has_no_more_streams_than_allowed() {
    let balancer = Balancer::with(|config| config.edge.streams = 7, &[]);
    assert_eq!(run(connect_and_see(&balancer)).1, 7);
}

#[test]
fn trailers_of_a_server_reach_the_client() {
    let server = Server::start(|_| {
        Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n".into())
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let answer = client.send_request(get("http://a/")).await.unwrap();
        assert!(!answer.headers().contains_key("transfer-encoding"));
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "ab");
    });
    assert_eq!(server.connections(), 1);
}

/// Sends each event that it is given, to one client.
fn events() -> (Server, std::sync::mpsc::Sender<&'static str>) {
    let (event, told) = channel::<&str>();
    let told = Mutex::new(told);
    let server = Server::speaking(move |mut stream, _| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while let Ok(event) = told.lock().unwrap().recv() {
            let _ = write!(stream, "{:x}\r\n{event}\r\n", event.len());
        }
    });
    (server, event)
}

#[test]
fn events_are_passed_on_one_by_one() {
    let (server, event) = events();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let mut answer = client.send_request(get("http://a/")).await.unwrap();
        for text in ["data: 1\n\n", "data: 2\n\n"] {
            event.send(text).unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), text);
        }
    });
    let (server, event) = events();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for text in ["data: 1\n\n", "data: 2\n\n"] {
        event.send(text).unwrap();
        assert_eq!(client.read(14), format!("9\r\n{text}\r\n"));
    }
}

#[test]
fn a_client_that_cancels_takes_its_request_along_and_keeps_its_connection() {
    let (gone, left) = channel();
    let gone = Mutex::new(gone);
    let server = Server::speaking(move |mut stream, _| {
        use std::io::{Read, Write};
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        if head[..read].starts_with(b"GET /wait") {
            let end = stream.read(&mut head);
            gone.lock()
                .unwrap()
                .send(end.is_ok_and(|read| read == 0))
                .unwrap();
        } else {
            stream.write_all(ok("other").as_bytes()).unwrap();
        }
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let waiting = tokio::spawn(client.send_request(get("http://a/wait")));
        while server.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        waiting.abort();
        assert!(waiting.await.is_err());
        tokio::task::spawn_blocking(move || assert_eq!(left.recv_timeout(DEADLINE), Ok(true)))
            .await
            .unwrap();
        let answer = client.send_request(get("http://a/")).await.unwrap();
        assert_eq!(text(answer).await, "other");
    });
    until("it is counted", || balancer.metric("client_gone_total") == 1);
}

#[test]
fn a_stop_finishes_running_streams_and_refuses_new_ones() {
    let (answer, told) = channel();
    let told = Mutex::new(told);
    let server = Server::start(move |request| {
        if request.head.starts_with("GET /running") {
            told.lock().unwrap().recv().ok()?;
        }
        Some(ok("finished"))
    });
    let mut balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let running = tokio::spawn(client.send_request(get("http://a/running")));
        while server.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        balancer.stop.cancel();
        // What was on its way is answered; from GOAWAY on the client itself knows better.
        while client.send_request(get("http://a/new")).await.is_ok() {}
        answer.send(()).unwrap();
        assert_eq!(text(running.await.unwrap().unwrap()).await, "finished");
    });
    balancer.end();
}

#[test]
fn what_outlasts_the_shutdown_wait_is_cut_with_its_streams() {
    let server = Server::start(|_| {
        std::thread::sleep(DEADLINE);
        None
    });
    let short = |config: &mut crate::Config| config.shutdown_wait = Duration::from_millis(50);
    let mut balancer = Balancer::with(short, &[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let running = tokio::spawn(client.send_request(get("http://a/")));
        while server.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        balancer.stop.cancel();
        assert!(running.await.unwrap().is_err());
    });
    balancer.end();
    assert_eq!(balancer.metric("client_gone_total"), 1);
}

#[test]
fn a_refused_call_is_answered_in_words_of_grpc() {
    let server = Server::saying("");
    let dead = nobody();
    let balancer = Balancer::start(&[
        Routed {
            fit: false,
            ..routed("unfit", server.addr, "urlprefix-/unfit.Service")
        },
        routed("dead", dead, "urlprefix-/dead.Service"),
        routed("named", dead, "urlprefix-named/"),
    ]);
    run(async {
        let mut client = connect(&balancer).await;
        for (path, host, code, message) in [
            ("/no.Service/Call", None, "5", "no route found"),
            ("/unfit.Service/Call", None, "14", "no healthy instance"),
            (
                "/dead.Service/Call",
                None,
                "14",
                "upstream refused the connection",
            ),
            (
                "/x.Service/Call",
                Some("named"),
                "14",
                "upstream refused the connection",
            ),
            ("/x.Service/Call%00", None, "3", ""),
        ] {
            let mut request =
                Request::post(format!("http://a{path}")).header("content-type", "application/grpc");
            if let Some(host) = host {
                request = request.header("dsthost", host);
            }
            let answer = client.send_request(request.body(none()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["content-type"], "application/grpc");
            assert_eq!(answer.headers()["grpc-status"], code, "{path}");
            if !message.is_empty() {
                assert_eq!(answer.headers()["grpc-message"], message, "{path}");
            }
            assert_eq!(text(answer).await, "");
        }
    });
    assert!(server.seen().is_empty());
    assert_eq!(balancer.metric("unavailable_total"), 1);
}

/// Agrees to a WebSocket, then echoes in capitals until the client closes.
fn echo(status: &'static str) -> Server {
    Server::speaking(move |mut stream, seen| {
        use std::io::{Read, Write};
        let mut head = [0; 4096];
        let mut read = 0;
        while !head[..read].ends_with(b"\r\n\r\n") {
            read += stream.read(&mut head[read..]).unwrap();
        }
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        let body = String::new();
        seen.lock().unwrap().push(Answer { head, body });
        let agreed = format!(
            "HTTP/1.1 {status}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nX-Extra: 1\r\n\r\n"
        );
        stream.write_all(agreed.as_bytes()).unwrap();
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..read].to_ascii_uppercase()).unwrap();
        }
    })
}

#[test]
fn a_websocket_of_http_2_is_an_upgrade_of_http_1() {
    let server = echo("101 Switching Protocols");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let request = Request::connect("http://a/ws")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(none())
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-extra"], "1");
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        tunnel.write_all(b"hello").await.unwrap();
        let mut echoed = [0; 5];
        tunnel.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"HELLO");
        assert_eq!(balancer.metric("ws_conn"), 1);
        tunnel.shutdown().await.unwrap();
        assert_eq!(tunnel.read(&mut echoed).await.unwrap(), 0);
        // The connection goes on.
        let answer = client.send_request(get("http://a/x")).await;
        assert!(answer.is_ok());
    });
    until("the tunnel is over", || balancer.metric("ws_conn") == 0);
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("GET /ws HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("upgrade"), ["websocket"]);
    assert_eq!(seen.header("sec-websocket-key")[0].len(), 24);
}

#[test]
fn a_declined_websocket_is_never_a_success() {
    for (status, expected) in [("200 OK", 502), ("403 Forbidden", 403)] {
        let server = Server::start(move |_| Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")));
        let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
        run(async {
            let mut client = connect(&balancer).await;
            let request = Request::connect("http://a/ws")
                .extension(Protocol::from_static("websocket"))
                .body(none())
                .unwrap();
            let answer = client.send_request(request).await.unwrap();
            assert_eq!(answer.status(), expected);
        });
    }
}
