//! What is read here, hyper and the scanner before it read in the same way.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, Version};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use super::*;
use crate::arrival::Stream;
use crate::http::framing::Watched;

impl Stream for DuplexStream {
    fn poll_waiting(&self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Pending
    }

    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// What hyper makes of the first request of a connection.
struct ByHyper {
    parts: Parts,
    has_body: bool,
    is_ambiguous: bool,
    is_last: bool,
}

async fn by_hyper(bytes: &[u8]) -> Option<ByHyper> {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let watched = Watched::after(server, 0, 0);
    let (framing, seen) = (watched.framing(), Rc::new(RefCell::new(None)));
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let first = (parts, !body.is_end_stream(), framing.is_ambiguous(0));
        seen.borrow_mut().get_or_insert(first);
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let mut builder = http1::Builder::new();
    let _ = builder
        .half_close(true)
        .serve_connection(TokioIo::new(watched), service)
        .await;
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    let is_last = answers
        .split("\r\n\r\n")
        .next()
        .is_some_and(|first| first.contains("connection: close"));
    let (parts, has_body, is_ambiguous) = seen.take()?;
    Some(ByHyper {
        parts,
        has_body,
        is_ambiguous,
        is_last,
    })
}

/// Is it common? If so, hyper reads the same.
async fn is_common(bytes: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(bytes);
    let Read::Common(asked, length) = read(bytes) else {
        return false;
    };
    let hyper = by_hyper(bytes)
        .await
        .unwrap_or_else(|| panic!("hyper reads none: {shown:?}"));
    assert!(!hyper.is_ambiguous, "{shown:?}");
    assert!(!hyper.has_body, "{shown:?}");
    assert_eq!(hyper.is_last, asked.is_last, "{shown:?}");
    let said = |parts: &Parts| {
        let headers: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (parts.method.clone(), parts.uri.clone(), parts.version, headers)
    };
    assert_eq!(said(&hyper.parts), said(&asked.parts), "{shown:?}");
    assert_eq!(asked.parts.version, Version::HTTP_11);
    // Where one ends, the next begins.
    let after = [&bytes[..length], b"GET /next HTTP/1.1\r\n\r\n"].concat();
    assert!(
        matches!(read(&after), Read::Common(_, again) if again == length),
        "{shown:?}"
    );
    true
}

#[tokio::test]
async fn requests_as_clients_mostly_send_them_are_common() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?b=c%20d HTTP/1.1\r\nhost: a:80\r\nAccept: */*\r\nCookie: a=b; c=\"d\"\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nX-Space:  a b \t\r\n\r\n",
        "OPTIONS /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "DELETE /a HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\nX: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert!(is_common(request.as_bytes()).await, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_rare_or_could_be_read_differently_is_left_to_others() {
    let line = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    let many: String = (0..65).map(|n| format!("x{n}: y\r\n")).collect();
    for request in [
        line("Content-Length: 0"),
        line("content-length: 5"),
        line("Transfer-Encoding: chunked"),
        line("Expect: 100-continue"),
        line("Connection: Upgrade\r\nUpgrade: websocket"),
        line("TE: trailers"),
        line("X: y\n"),
        line("X: y\nZ: z"),
        line("X: y\r\n folded"),
        line(" X: y"),
        line("X : y"),
        line("X"),
        line(": y"),
        line("X: a\0b"),
        line("X: a\rb"),
        line("X\u{e9}: a"),
        line(many.trim_end()),
        "\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
        "\nGET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://a/ HTTP/1.1\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT a:80 HTTP/1.1\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\n\r\n".to_owned(),
        "get / HTTP/1.1\r\n\r\n".to_owned(),
        "GET /\u{1} HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        assert!(!is_common(request.as_bytes()).await, "{request:?}");
    }
}

#[test]
fn a_head_is_common_only_when_all_of_it_is_there() {
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for length in 1..request.len() {
        assert!(matches!(read(&request[..length]), Read::More), "{length}");
    }
    for nothing_yet in ["\r", "\r\n", "\n", " GET"] {
        assert!(
            matches!(read(nothing_yet.as_bytes()), Read::Uncommon),
            "{nothing_yet:?}"
        );
    }
    let long = format!("GET /{}", "x".repeat(MOST));
    assert!(matches!(read(long.as_bytes()), Read::Uncommon));
}

fn line() -> impl Strategy<Value = String> {
    let names =
        "(Host|Connection|content-length|Transfer-Encoding|TE|x|X-[a-z]{1,3}|Expect|Upgrade|[!-~]{1,3})";
    let values = "(a|close|keep-alive|close, x|chunked|0|5|[ -~]{0,9}|[\\x00-\\xff]{0,3})";
    let ends = "(\r\n|\r\n|\r\n|\r\n|\r\n|\n|\r|\r\n |\r\n\t)";
    (names, "(: |:|: |: | :|:\t)", values, ends)
        .prop_map(|(name, colon, value, end)| name + &colon + &value + &end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_here_is_read_alike_by_hyper_and_framed_beyond_doubt(
        method in "(GET|GET|HEAD|OPTIONS|DELETE|POST|get|[A-Z]{1,3})",
        target in "(/|/a|/a\\?b|/[!-~]{0,6}|\\*|http://a/|[ -~]{0,4})",
        version in "(HTTP/1.1|HTTP/1.1|HTTP/1.1|HTTP/1.1|HTTP/1.0|HTTP/2.0)",
        before in "(||||\r\n|\n| )",
        lines in prop::collection::vec(line(), 0..5),
        end in "(\r\n|\r\n|\r\n|\n)",
        rest in "(||GET / HTTP/1.1\r\n\r\n|[ -~]{0,5})",
    ) {
        let bytes = format!("{before}{method} {target} {version}\r\n{}{end}{rest}", lines.concat());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(is_common(bytes.as_bytes()));
    }
}
