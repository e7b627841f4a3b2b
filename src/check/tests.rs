//! Checks against real servers on loopback, and against time that is only pretended.

mod http2;
mod timing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catalog::Status;
use catalog::check::{Definition, HttpProbe, Probe};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::tls::Trust;
use super::{Outcome, http, tcp};

pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn definition(id: &str, probe: Probe) -> Definition {
    Definition {
        id: id.into(),
        name: String::new(),
        notes: String::new(),
        initial: None,
        output: String::new(),
        probe,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    }
}

fn probe(url: String) -> HttpProbe {
    HttpProbe {
        url,
        method: String::new(),
        headers: BTreeMap::new(),
        body: String::new(),
        tls_skip_verify: false,
        interval: Duration::from_secs(1),
        timeout: SOON,
    }
}

/// Answers each connection in turn with one of the given texts, and passes on what was asked.
async fn server(answers: Vec<String>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            asked.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (addr, questions)
}

fn answer(status: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}")
}

async fn ask(probe: &HttpProbe) -> Outcome {
    timeout(2 * SOON, http::run(probe, &Trust::default()))
        .await
        .unwrap()
}

#[tokio::test]
async fn success_passes_429_warns_and_the_rest_is_critical() {
    for (status, expected) in [
        ("200 OK", Status::Passing),
        ("204 No Content", Status::Passing),
        ("429 Too Many Requests", Status::Warning),
        ("404 Not Found", Status::Critical),
        ("503 Service Unavailable", Status::Critical),
    ] {
        let body = if status.starts_with("204") { "" } else { "fine\n" };
        let (addr, _questions) = server(vec![answer(status, body)]).await;
        let outcome = ask(&probe(format!("http://{addr}/health"))).await;
        let output = format!("HTTP GET http://{addr}/health: {status} Output: {body}");
        assert_eq!(
            outcome,
            Outcome {
                status: expected,
                output
            }
        );
    }
}

#[tokio::test]
async fn the_request_is_what_the_definition_says() {
    let (addr, mut questions) = server(vec![answer("200 OK", ""), answer("200 OK", "")]).await;
    ask(&probe(format!("http://{addr}/a?b=c#d"))).await;
    let plain = questions.recv().await.unwrap();
    assert!(plain.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{plain}");
    assert!(plain.contains(&format!("host: {addr}\r\n")), "{plain}");
    assert!(plain.contains("user-agent: Consul Health Check\r\n"), "{plain}");
    assert!(plain.contains("accept: text/plain, text/*, */*\r\n"), "{plain}");

    let mut rich = probe(format!("http://me:pass%20word@{addr}"));
    rich.method = "POST".to_owned();
    rich.body = "{}".to_owned();
    rich.headers = BTreeMap::from([
        ("Host".to_owned(), vec!["shop.test".to_owned()]),
        ("X-Two".to_owned(), vec!["1".to_owned(), "2".to_owned()]),
    ]);
    ask(&rich).await;
    let rich = questions.recv().await.unwrap();
    assert!(rich.starts_with("POST / HTTP/1.1\r\n"), "{rich}");
    for line in [
        "host: shop.test",
        "x-two: 1",
        "x-two: 2",
        "content-length: 2",
        "authorization: Basic bWU6cGFzcyB3b3Jk",
    ] {
        assert!(rich.contains(&format!("{line}\r\n")), "{line} in {rich}");
    }
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_server_only() {
    let to =
        |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let (addr, mut questions) = server(vec![to("/login"), to("there?x"), answer("200 OK", "in")]).await;
    let outcome = ask(&probe(format!("http://{addr}/"))).await;
    assert_eq!(outcome.status, Status::Passing, "{outcome:?}");
    let paths: Vec<_> = [
        questions.recv().await,
        questions.recv().await,
        questions.recv().await,
    ]
    .map(|asked| asked.unwrap().lines().next().unwrap().to_owned())
    .into();
    assert_eq!(
        paths,
        ["GET / HTTP/1.1", "GET /login HTTP/1.1", "GET /there?x HTTP/1.1"]
    );

    for elsewhere in ["http://127.0.0.1:1/", "//127.0.0.1:1/", "https://127.0.0.1/"] {
        let (addr, _questions) = server(vec![to(elsewhere)]).await;
        let outcome = ask(&probe(format!("http://{addr}/"))).await;
        assert_eq!(outcome.status, Status::Critical);
        assert_eq!(
            outcome.output,
            format!("HTTP GET http://{addr}/: 302 Found (redirect to {elsewhere:?} not followed) Output: ")
        );
    }

    let circle = (0..=10).map(|_| to("/")).collect();
    let (addr, _questions) = server(circle).await;
    assert_eq!(
        ask(&probe(format!("http://{addr}/"))).await.status,
        Status::Critical
    );
}

#[tokio::test]
async fn a_long_body_is_cut_and_an_endless_one_does_not_hold_the_check() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(9000)
    );
    let (addr, _questions) = server(vec![endless]).await;
    let outcome = ask(&probe(format!("http://{addr}/"))).await;
    assert_eq!(outcome.status, Status::Passing);
    assert!(outcome.output.ends_with("Output: xxxx") || outcome.output.len() < 4200);
    assert_eq!(outcome.output.matches('x').count(), 4096);
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_is_critical() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let mut slow = probe(format!("http://{silent}/"));
    slow.timeout = Duration::from_millis(50);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let (garbage, _questions) = server(vec!["SSH-2.0-OpenSSH\r\n\r\n".to_owned()]).await;
    let mut bad_method = probe(format!("http://{closed}/"));
    bad_method.method = "GET /".to_owned();
    for (probe, expected) in [
        (slow, "no answer within 50ms"),
        (probe(format!("http://{closed}/")), "connection refused"),
        (probe(format!("http://{garbage}/")), "invalid HTTP version"),
        (probe("ftp://127.0.0.1/".to_owned()), "http:// or https://"),
        (probe("http://".to_owned()), ""),
        (bad_method, "invalid HTTP method"),
    ] {
        let outcome = ask(&probe).await;
        assert_eq!(outcome.status, Status::Critical, "{}", probe.url);
        assert!(outcome.output.contains(expected), "{}", outcome.output);
    }
}

/// A server's side of TLS, with a certificate that nobody trusts, for these protocols.
fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tests/cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_unless_the_check_says_otherwise() {
    let acceptor = acceptor(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            stream.write_all(answer("200 OK", "secret").as_bytes()).await.ok();
            stream.flush().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
    });
    let mut probe = probe(format!("https://{addr}/"));
    let outcome = ask(&probe).await;
    assert_eq!(outcome.status, Status::Critical);
    assert!(outcome.output.contains("certificate"), "{}", outcome.output);
    probe.tls_skip_verify = true;
    let outcome = ask(&probe).await;
    assert_eq!(outcome.status, Status::Passing, "{}", outcome.output);
}

#[tokio::test]
async fn a_tcp_check_passes_when_the_connection_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let open = tcp::run(&addr, SOON).await;
    assert_eq!(open.status, Status::Passing);
    assert_eq!(open.output, format!("TCP connect {addr}: Success"));
    drop(listener);
    let closed = tcp::run(&addr, SOON).await;
    assert_eq!(closed.status, Status::Critical);
    assert_eq!(
        closed.output,
        format!("dial tcp {addr}: connect: connection refused")
    );
    assert_eq!(tcp::run("nonsense", SOON).await.status, Status::Critical);
}
