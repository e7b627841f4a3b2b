//! Byte streams, whole and in pieces of every size: what is ambiguous, and where reading stands.

use super::*;

/// Feeds `bytes` in pieces of every size and returns what was ambiguous, the same each time.
fn first_ambiguous(bytes: &str) -> Option<u64> {
    let verdict = |piece: usize| {
        let mut scanner = Scanner::new();
        for piece in bytes.as_bytes().chunks(piece) {
            scanner.read(piece);
        }
        let ambiguous = scanner.shared.ambiguous.load(Relaxed);
        (ambiguous != NONE).then_some(ambiguous)
    };
    let whole = verdict(bytes.len());
    for piece in 1..bytes.len().min(40) {
        assert_eq!(verdict(piece), whole, "in pieces of {piece}");
    }
    whole
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb\nc";
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\na\nb\nc\r\n0\r\nT: 1\r\n\r\n";

#[test]
fn ordinary_requests_in_a_row_are_clear() {
    assert_eq!(
        first_ambiguous(&format!("{GET}{POST}{CHUNKED}\r\n{GET}{CHUNKED}{POST}{GET}")),
        None
    );
}

#[test]
fn a_length_too_long_to_keep_is_not_guessed() {
    let zeros = "0".repeat(1100);
    for head in [
        format!("Content-Length: {zeros}57\r\n"),
        format!("Content-Length: {}57\r\n", "0".repeat(30)),
        format!("Transfer-Encoding: chunked{}\r\n", " ".repeat(1100)),
        format!("Transfer-Encoding: chunked\r\n\r\n{zeros}5\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n5;{zeros}\r\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        assert!(first_ambiguous(&request).is_some(), "{}", &head[..40]);
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {zeros}\r\n\r\n{GET}");
    assert_eq!(first_ambiguous(&long), None);
}

#[test]
fn every_framing_that_could_be_read_differently_is_found_and_numbered() {
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "X: 1\n",
        "X: 1\r\n folded\r\n",
    ] {
        let bytes = format!("{GET}{CHUNKED}POST / HTTP/1.1\r\n{head}\r\nrest{GET}");
        assert_eq!(first_ambiguous(&bytes), Some(2), "{head:?}");
    }
}

#[test]
fn a_bad_chunk_size_taints_what_follows_on_the_connection() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in [
        "zz\r\n",
        "\r\n",
        "-1\r\n",
        "5\n",
        "fffffffffffffffff\r\n",
        "ffffffffffffffff\r\n",
    ] {
        assert_eq!(first_ambiguous(&format!("{head}{size}")), Some(1), "{size:?}");
    }
}

#[test]
fn what_is_being_read_is_visible() {
    let mut scanner = Scanner::new();
    let framing = Framing(scanner.shared.clone());
    for (bytes, reading, heads) in [
        ("", Reading::Nothing, 0),
        ("POST", Reading::Head, 0),
        (" / HTTP/1.1\r\nContent-Length:", Reading::Head, 0),
        ("2\r\n\r\n", Reading::Body, 1),
        ("a", Reading::Body, 1),
        ("b", Reading::Nothing, 1),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reading::Body,
            2,
        ),
        ("1\r\na\r\n", Reading::Body, 2),
        ("0\r\n\r\n", Reading::Nothing, 2),
    ] {
        scanner.read(bytes.as_bytes());
        assert_eq!(
            (framing.reading(), framing.heads()),
            (reading, heads),
            "after {bytes:?}"
        );
    }
}

#[test]
fn a_long_line_is_neither_kept_nor_misread() {
    let long = "x".repeat(10 * LINE_KEPT);
    assert_eq!(
        first_ambiguous(&format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n\r\n{GET}")),
        None
    );
    assert_eq!(
        first_ambiguous(&format!("GET / HTTP/1.1\r\nX: {long}\n\r\n{GET}")),
        Some(0)
    );
}

#[test]
fn a_tunnel_is_not_looked_at() {
    let mut scanner = Scanner::new();
    Framing(scanner.shared.clone()).becomes_tunnel();
    scanner.read(b"\n\n\n");
    assert!(!Framing(scanner.shared.clone()).is_ambiguous(0));
}

#[tokio::test]
async fn what_was_sent_before_a_half_was_closed_is_read_before_the_connection_ends() {
    use std::io::Write;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    client.write_all(&[b'x'; 100_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut server = Watched::after(listener.accept().await.unwrap().0, 0, 0);
    server.read_exact(&mut [0; 1000]).await.unwrap();
    while !server.framing().is_half_closed() {
        // It looks ahead with every flush.
        server.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    server.shutdown().await.unwrap();
    let unread = std::future::poll_fn(|cx| server.stream.poll_waiting(cx)).await;
    assert_eq!(unread.unwrap(), 0, "closing on them would reset the connection");
}
