//! Checks over HTTP/2 against a real server of it, and over UDP.

use std::convert::Infallible;

use bytes::Bytes;
use catalog::check::{GrpcProbe, H2PingProbe};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UdpSocket;

use super::*;
use crate::check::{grpc, h2ping, udp};

/// A health service: `up` serves, `down` does not, what else is asked for it does not know.
async fn health(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    let name = asked.get(7..).unwrap_or_default();
    let status: &[u8] = match name {
        b"" | b"up" => &[0, 0, 0, 0, 2, 8, 1],
        b"down" => &[0, 0, 0, 0, 2, 8, 2],
        b"cut" => &[0, 0, 0, 0, 9, 8, 1],
        b"late word" => &[0, 0, 0, 0, 2, 8, 1],
        _ => {
            // As servers of Go and C++ refuse: head and no body.
            let refused = Response::builder()
                .header("grpc-status", "5")
                .header("grpc-message", "unknown%20service");
            return Ok(refused.body(Full::default().boxed()).unwrap());
        }
    };
    let code = if name == b"late word" { "14" } else { "0" };
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
    let body = Full::new(Bytes::copy_from_slice(status)).with_trailers(async { Some(Ok(trailers)) });
    Ok(Response::new(body.boxed()))
}

/// Serves [`health`], in the clear or over TLS.
async fn health_server(tls: Option<TlsAcceptor>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = http2::Builder::new(TokioExecutor::new());
            match &tls {
                None => drop(tokio::spawn(
                    server.serve_connection(TokioIo::new(stream), service_fn(health)),
                )),
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else {
                        continue;
                    };
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    drop(tokio::spawn(
                        server.serve_connection(TokioIo::new(stream), service_fn(health)),
                    ));
                }
            }
        }
    });
    address
}

fn asks(address: &str, service: &str) -> GrpcProbe {
    GrpcProbe {
        address: address.to_owned(),
        service: service.to_owned(),
        tls: false,
        tls_skip_verify: false,
        interval: Duration::from_secs(1),
        timeout: SOON,
    }
}

fn pings(address: &str) -> H2PingProbe {
    H2PingProbe {
        address: address.to_owned(),
        tls: false,
        tls_skip_verify: false,
        interval: Duration::from_secs(1),
        timeout: SOON,
    }
}

/// A port that nobody listens on.
async fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_grpc_check_passes_where_the_server_says_serving_and_tells_what_else_it_says() {
    let address = health_server(None).await;
    let closed = closed().await;
    for (to, service, status, said) in [
        (&address, "", Status::Passing, "success"),
        (&address, "up", Status::Passing, "success"),
        (&address, "down", Status::Critical, "NOT_SERVING"),
        (
            &address,
            "stranger",
            Status::Critical,
            "status 5 (NOT_FOUND: the server does not know this service): unknown service",
        ),
        (&address, "late word", Status::Critical, "status 14"),
        (&address, "cut", Status::Critical, "the answer is cut short"),
        (&closed, "", Status::Critical, "connection refused"),
    ] {
        let outcome = grpc::run(&asks(to, service), &Trust::default()).await;
        let target = if service.is_empty() {
            to.clone()
        } else {
            format!("{to}/{service}")
        };
        assert_eq!(outcome.status, status, "{outcome:?}");
        assert!(
            outcome.output.starts_with(&format!("gRPC check {target}: ")),
            "{}",
            outcome.output
        );
        assert!(outcome.output.contains(said), "{said:?} in {}", outcome.output);
    }
}

#[tokio::test]
async fn what_does_not_speak_http2_is_critical_and_one_that_is_silent_does_not_hold_the_check() {
    let (http1, _questions) = server(vec![answer("200 OK", "fine"), answer("200 OK", "fine")]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (address.to_string(), silent))
        .unwrap();
    let mut slow = (asks(&silent.0, ""), pings(&silent.0));
    slow.0.timeout = Duration::from_millis(50);
    slow.1.timeout = Duration::from_millis(50);
    for (call, ping, said) in [
        (asks(&http1.to_string(), ""), pings(&http1.to_string()), ""),
        (slow.0, slow.1, "no answer within 50ms"),
    ] {
        for outcome in [
            grpc::run(&call, &Trust::default()).await,
            h2ping::run(&ping, &Trust::default()).await,
        ] {
            assert_eq!(outcome.status, Status::Critical, "{outcome:?}");
            assert!(outcome.output.contains(said), "{said:?} in {}", outcome.output);
        }
    }
}

#[tokio::test]
async fn an_http2_ping_passes_when_it_is_answered() {
    let address = health_server(None).await;
    let outcome = h2ping::run(&pings(&address), &Trust::default()).await;
    assert_eq!(outcome.status, Status::Passing, "{outcome:?}");
    let outcome = h2ping::run(&pings(&closed().await), &Trust::default()).await;
    assert!(outcome.output.contains("connection refused"), "{outcome:?}");
}

#[tokio::test]
async fn over_tls_a_certificate_counts_unless_the_check_says_otherwise() {
    let address = health_server(Some(acceptor(&[b"h2"]))).await;
    for skip in [false, true] {
        let call = GrpcProbe {
            tls: true,
            tls_skip_verify: skip,
            ..asks(&address, "up")
        };
        let ping = H2PingProbe {
            tls: true,
            tls_skip_verify: skip,
            ..pings(&address)
        };
        for outcome in [
            grpc::run(&call, &Trust::default()).await,
            h2ping::run(&ping, &Trust::default()).await,
        ] {
            let wanted = if skip { Status::Passing } else { Status::Critical };
            assert_eq!(outcome.status, wanted, "{outcome:?}");
            assert!(skip || outcome.output.contains("certificate"), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_udp_check_passes_unless_the_host_says_that_nobody_is_there() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let silent = udp::run(&address, Duration::from_millis(50)).await;
    assert_eq!(silent.status, Status::Passing, "{silent:?}");
    assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 0);

    let answers = tokio::spawn(async move {
        let (_, from) = socket.recv_from(&mut [0]).await.unwrap();
        socket.send_to(b"fine", from).await.unwrap();
        socket
    });
    let answered = timeout(SOON, udp::run(&address, 2 * SOON)).await.unwrap();
    assert_eq!(answered.status, Status::Passing, "{answered:?}");

    drop(answers.await.unwrap());
    let closed = udp::run(&address, SOON).await;
    assert_eq!(closed.status, Status::Critical, "{closed:?}");
    assert!(closed.output.contains("refused"), "{closed:?}");
}
