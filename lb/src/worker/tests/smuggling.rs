//! A corpus of requests that are two to one reader and one to another. Whatever becomes of each, the server behind gets
//! at most one request of it, whole and well-formed, and never the one that was hidden in it.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::harness::*;

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// What is wrong with a request, and its bytes as sent.
type Case = (&'static str, String);

fn post(headers: &str, rest: &str) -> String {
    format!("POST /open HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{rest}")
}

/// A body that ends at once for who reads chunks, and the hidden request after it.
fn chunked() -> String {
    format!("0\r\n\r\n{HIDDEN}")
}

/// `Content-Length` over all of it, beside what may be an encoding.
fn encodings() -> Vec<Case> {
    let both = |headers: &str| post(headers, &chunked());
    let te = |headers: &str| {
        let body = chunked();
        post(&format!("Content-Length: {}\r\n{headers}", body.len()), &body)
    };
    vec![
        ("CL.TE", te("Transfer-Encoding: chunked")),
        ("TE.CL", both("Transfer-Encoding: chunked\r\nContent-Length: 4")),
        ("TE.0", both("Transfer-Encoding: chunked\r\nContent-Length: 0")),
        (
            "two TE",
            te("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        ("TE: xchunked", te("Transfer-Encoding: xchunked")),
        ("TE : chunked", te("Transfer-Encoding : chunked")),
        ("TE:\\tchunked", te("Transfer-Encoding:\tchunked")),
        ("TE:\\x0bchunked", te("Transfer-Encoding:\x0bchunked")),
        ("TE: \"chunked\"", te("Transfer-Encoding: \"chunked\"")),
        ("TE: chunked,", te("Transfer-Encoding: chunked,")),
        ("TE: , chunked", te("Transfer-Encoding: , chunked")),
        ("TE: chunked, chunked", te("Transfer-Encoding: chunked, chunked")),
        ("TE: ChUnKeD", te("Transfer-Encoding: ChUnKeD")),
        ("TE: chunked\\0", te("Transfer-Encoding: chunked\0")),
        ("TE folded", te("Transfer-Encoding:\r\n chunked")),
        (
            "TE folded under another",
            te("X: y\r\n Transfer-Encoding: chunked"),
        ),
        ("TE after a bare CR", te("X: y\rTransfer-Encoding: chunked")),
        ("TE after a bare LF", te("X: y\nTransfer-Encoding: chunked")),
        ("TE with a space before", te(" Transfer-Encoding: chunked")),
        ("TE_", te("Transfer_Encoding: chunked")),
        (
            "TE in 1.0",
            te("Transfer-Encoding: chunked").replace("HTTP/1.1\r\nHost", "HTTP/1.0\r\nHost"),
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let both = |headers: &str| post(headers, &chunked());
    vec![
        ("CL twice", both("Content-Length: 5\r\nContent-Length: 5")),
        ("CL differs", both("Content-Length: 0\r\nContent-Length: 40")),
        ("CL list", both("Content-Length: 5, 5")),
        ("CL +", both("Content-Length: +5")),
        ("CL -", both("Content-Length: -5")),
        ("CL 0x", both("Content-Length: 0x5")),
        ("CL octal", both("Content-Length: 0_5")),
        ("CL space", both("Content-Length: 5 0")),
        ("CL empty", both("Content-Length:")),
        ("CL huge", both("Content-Length: 18446744073709551616")),
        ("CL point", both("Content-Length: 5.0")),
        ("CL : ", both("Content-Length : 5")),
        ("CL folded", both("Content-Length:\r\n 5")),
        ("CL NUL", both("Content-Length: 5\0")),
    ]
}

fn chunk_sizes() -> Vec<Case> {
    let chunks = |body: &str| post("Transfer-Encoding: chunked", &format!("{body}{HIDDEN}"));
    vec![
        ("chunk size 0x", chunks("0x0\r\n\r\n")),
        ("chunk size +", chunks("+0\r\n\r\n")),
        ("chunk size -", chunks("-1\r\n\r\n")),
        ("chunk size space", chunks("1 0\r\n\r\n")),
        ("chunk size empty", chunks("\r\n\r\n")),
        ("chunk size huge", chunks("10000000000000000\r\n\r\n")),
        (
            "chunk extension with LF",
            chunks("2;\nxx\r\n4\r\n0\r\n\r\n0\r\n\r\n"),
        ),
        (
            "chunk extension with CR",
            chunks("2;\rxx\r\n4\r\n0\r\n\r\n0\r\n\r\n"),
        ),
        ("chunk with bare LF", chunks("1\nx\n0\n\n")),
        ("chunk longer than said", chunks("1\r\nxyz\r\n0\r\n\r\n")),
        ("chunk without CRLF", chunks("3\r\nxyz0\r\n\r\n")),
        ("last chunk without its end", chunks("0\r\n")),
        (
            "trailer with a length",
            chunks("0\r\nContent-Length: 5\r\n\r\n").replace(HIDDEN, ""),
        ),
    ]
}

fn lines() -> Vec<Case> {
    vec![
        (
            "bare LF",
            format!("GET /open HTTP/1.1\nHost: a\nX: y\n\n{HIDDEN}"),
        ),
        (
            "LF ends the head",
            format!("GET /open HTTP/1.1\r\nHost: a\r\nX: y\n\n{HIDDEN}"),
        ),
        ("CR in a value", post("X: a\rGET /hidden HTTP/1.1", "")),
        ("NUL in a value", post("X: a\0b", "")),
        ("NUL in a name", post("X\0: a", "")),
        ("no colon", post("X", "")),
        ("empty name", post(": x", "")),
        ("folded", post("X: a\r\n b", "")),
        ("two Hosts", post("Host: b", "")),
        (
            "absolute target, other Host",
            "GET http://b/open HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        (
            "space in the target",
            "GET /open HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        (
            "tabs around the target",
            "GET\t/open\tHTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ),
        ("version 1.2", "GET /open HTTP/1.2\r\nHost: a\r\n\r\n".into()),
        ("version 1.10", "GET /open HTTP/1.10\r\nHost: a\r\n\r\n".into()),
        (
            "h2c upgrade",
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
                "",
            ),
        ),
        (
            "connection lists the length",
            post("Content-Length: 3\r\nConnection: content-length", "abc"),
        ),
        ("connection lists host", post("Connection: host", "")),
    ]
}

#[test]
fn no_request_of_the_corpus_becomes_two() {
    let server = Server::saying("");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    drop(balancer.connect());
    for (what, bytes) in [encodings(), lengths(), chunk_sizes(), lines()].concat() {
        let before = server.seen().len();
        let mut stream = TcpStream::connect(balancer.addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut answers = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answers);
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let served = answers.matches("HTTP/1.1 200 OK").count();
        let seen = server.seen().split_off(before);
        assert_eq!(seen.len(), served, "{what}: {seen:?} {answers}");
        let hidden = seen.iter().filter(|seen| seen.head.contains("/hidden")).count();
        assert_eq!(hidden, 0, "{what}: {seen:?}");
        assert!(seen.len() <= 1, "{what}: {seen:?}");
        for request in seen {
            let framed = request.header("content-length").len() + request.header("transfer-encoding").len();
            assert!(
                framed <= 1 && request.header("host") == ["a"],
                "{what}: {request:?}"
            );
            // Trailers follow the head after a line feed of the harness's own.
            let head = request.head.replace("\r\n", "");
            let odd = head.trim_end().contains(['\0', '\r', '\n']);
            assert!(!odd, "{what}: {request:?}");
        }
    }
    assert_eq!(balancer.get("a", "/").status(), 200, "others are served");
}

#[test]
fn ten_thousand_idle_connections_and_slow_heads_leave_others_served() {
    let server = Server::saying("served");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    drop(balancer.connect());
    let mut idle = Vec::new();
    // Both ends are in this process, and some machines allow few descriptors.
    let allowed = descriptors().saturating_sub(500) / 2;
    for number in 0..10_000.min(allowed) {
        let mut stream = TcpStream::connect(balancer.addr).unwrap();
        match number % 4 {
            0 => {}
            1 => stream.write_all(b"G").unwrap(),
            2 => stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nX: ").unwrap(),
            _ => stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").unwrap(),
        }
        idle.push(stream);
    }
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(balancer.get("a", "/").body, "served");
    }
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
}

/// How many this process may have open, raised as far as it goes.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    for maximum in [Some(65_536), limit.maximum] {
        let current = maximum;
        if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile)
        .current
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(1024)
}
