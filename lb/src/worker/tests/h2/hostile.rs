//! Clients of HTTP/2 that mean harm: what they send never becomes more than one request at a server of HTTP/1.1,
//! and others are served meanwhile.

use std::time::Instant;

use super::raw::*;
use crate::worker::tests::harness::*;

const PSEUDO: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&PSEUDO[..], more].concat()
}

/// What a server of HTTP/1.1 would read in another way, or no version allows; and why.
fn odd_requests<'a>(injected: &'a str, path: &'a str) -> Vec<(&'static str, Vec<(&'a str, &'a str)>)> {
    vec![
        ("CRLF in a value", with(&[("x", "a\r\nx-injected: 1")])),
        ("a request in a value", with(&[("x", injected)])),
        ("LF in a value", with(&[("x", "a\nb")])),
        ("NUL in a value", with(&[("x", "a\0b")])),
        ("CRLF in a name", with(&[("x\r\ny", "1")])),
        ("colon in a name", with(&[("x: y", "1")])),
        ("space in a name", with(&[("x y", "1")])),
        ("capitals in a name", with(&[("X-Y", "1")])),
        ("empty name", with(&[("", "1")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "x")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("other host", with(&[("host", "b")])),
        ("two hosts", with(&[("host", "a"), ("host", "a")])),
        (
            "two lengths",
            with(&[("content-length", "0"), ("content-length", "0")]),
        ),
        ("odd length", with(&[("content-length", "+0")])),
        ("length without a body", with(&[("content-length", "5")])),
        ("late pseudo header", with(&[("x", "1"), (":path", "/b")])),
        ("repeated pseudo header", with(&[(":path", "/b")])),
        ("unknown pseudo header", with(&[(":x", "/b")])),
        ("answer's pseudo header", with(&[(":status", "200")])),
        ("no path", PSEUDO[..3].to_vec()),
        ("no method", PSEUDO[1..].to_vec()),
        ("no scheme", [&PSEUDO[..1], &PSEUDO[2..]].concat()),
        ("no host", [&PSEUDO[..2], &PSEUDO[3..]].concat()),
        ("empty path", [&PSEUDO[..3], &[(":path", "")]].concat()),
        ("request in the path", [&PSEUDO[..3], &[(":path", path)]].concat()),
        ("space in the path", [&PSEUDO[..3], &[(":path", "/a b")]].concat()),
        ("path without slash", [&PSEUDO[..3], &[(":path", "a")]].concat()),
        (
            "space in the method",
            [&[(":method", "GET / HTTP/1.1\r\nX:")], &PSEUDO[1..]].concat(),
        ),
        (
            "space in the host",
            [&PSEUDO[..2], &[(":authority", "a b")], &PSEUDO[3..]].concat(),
        ),
        (
            "user in the host",
            [&PSEUDO[..2], &[(":authority", "a@b")], &PSEUDO[3..]].concat(),
        ),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "a:443")]),
        (
            "CONNECT for something else",
            [
                &[(":method", "CONNECT"), (":protocol", "connect-udp")],
                &PSEUDO[1..],
            ]
            .concat(),
        ),
    ]
}

/// `:status` of a header block of ours: an index of the static table, or a literal of three digits.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let block = if block[0] & 0xe0 == 0x20 {
        &block[1..]
    } else {
        block
    };
    match block[0] {
        0x88 => 200,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let digits = &block[2..];
            // Three digits take two or three bytes with Huffman's code; only the length is told here.
            u16::from(digits[0])
        }
    }
}

#[test]
fn nothing_that_reads_differently_in_http_1_reaches_a_server() {
    let server = Server::saying("reached");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let injected = format!("x\r\n\r\n{smuggled}");
    let path = format!("/ HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}");
    for (why, headers) in odd_requests(&injected, &path) {
        let mut client = Raw::connect(&balancer);
        client.write(HEADERS, END_HEADERS | END_STREAM, 1, &block(&headers));
        match client.outcome(1) {
            None | Some(Err(_)) => {}
            Some(Ok(block)) => assert_ne!(status(&block), 200, "{why}"),
        }
    }
    let seen = server.seen();
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(balancer.get("a", "/").body, "reached", "others are served");
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_no_request() {
    let server = Server::saying("reached");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for (length, sent) in [("3", "abcdef"), ("6", "abc"), ("1", "")] {
        let mut client = Raw::connect(&balancer);
        client.write(
            HEADERS,
            END_HEADERS,
            1,
            &block(&with(&[("content-length", length)])),
        );
        client.write(DATA, END_STREAM, 1, sent.as_bytes());
        match client.outcome(1) {
            None | Some(Err(_)) => {}
            Some(Ok(block)) => assert_ne!(status(&block), 200, "{length} {sent}"),
        }
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    assert_eq!(balancer.get("a", "/").body, "reached");
}

#[test]
fn what_h2_refuses_is_counted() {
    let balancer = Balancer::start(&[]);
    let mut client = Raw::connect(&balancer);
    for (stream, odd) in [(1, ("connection", "close")), (3, ("te", "gzip"))] {
        client.write(HEADERS, END_HEADERS | END_STREAM, stream, &block(&with(&[odd])));
        assert_eq!(client.outcome(stream), Some(Err(1)), "{odd:?}");
    }
    drop(client);
    until("both are counted", || balancer.metric("bad_requests_total") == 2);
    let mut client = Raw::connect(&balancer);
    client.write(DATA, 0, 0, b"on no stream");
    while client.read().is_some() {}
    until("it is counted", || balancer.metric("bad_requests_total") == 3);
}

#[test]
fn blanks_around_a_value_are_no_part_of_it() {
    let server = Server::saying("reached");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=http")]);
    let mut client = Raw::connect(&balancer);
    let headers = with(&[
        ("x", " \t a b\t "),
        ("y", "  "),
        ("cookie", " a=1 "),
        ("cookie", "b=2\t"),
    ]);
    client.write(HEADERS, END_HEADERS | END_STREAM, 1, &block(&headers));
    assert!(matches!(client.outcome(1), Some(Ok(block)) if status(&block) == 200));
    let head = server.only().head;
    for line in ["x: a b\r\n", "y: \r\n", "cookie: a=1; b=2\r\n"] {
        assert!(head.contains(line), "{line:?} {head:?}");
    }
}

/// Writes `piece` again and again until the connection is closed, and sees that others are served meanwhile.
fn floods(what: &str, first: &[Vec<u8>], piece: impl Fn(u32) -> Vec<u8>) {
    let server = Server::saying("served");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = Raw::connect(&balancer);
    client.write_all(&first.concat());
    let start = Instant::now();
    let mut number = 0;
    let mut closed = false;
    while !closed {
        assert!(start.elapsed() < DEADLINE, "{what}: never closed");
        assert_eq!(balancer.get("a", "/").body, "served", "{what}");
        for _ in 0..1000 {
            closed = closed || !client.write_all(&piece(number));
            number += 1;
        }
    }
    assert_eq!(balancer.get("a", "/").body, "served", "{what}");
    until("nothing is left", || balancer.metric("connections") == 0);
}

#[test]
fn a_flood_of_frames_ends_its_connection_and_no_other() {
    let opened = [frame(HEADERS, END_HEADERS, 1, &block(&with(&[])))];
    floods("PING", &[], |_| frame(PING, 0, 0, &[0; 8]));
    floods("SETTINGS", &[], |_| frame(SETTINGS, 0, 0, &[]));
    floods("empty DATA", &opened, |_| frame(DATA, 0, 1, &[]));
    floods("PRIORITY", &[], |_| frame(2, 0, 1, &[0, 0, 0, 3, 0]));
    floods("WINDOW_UPDATE", &opened, |_| {
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])
    });
    let half = [frame(HEADERS, 0, 1, &block(&with(&[])))];
    floods("CONTINUATION", &half, |_| frame(CONTINUATION, 0, 1, &[]));
    floods("unknown", &[], |_| frame(0x42, 0, 0, &[]));
}

#[test]
fn a_rapid_reset_ends_its_connection_and_no_other() {
    let request = block(&with(&[]));
    floods("requests reset at once", &[], |number| {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request);
        both.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
        both
    });
    // The client makes us reset (an update by nothing is an error of the stream).
    floods("errors instead of resets", &[], |number| {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS, END_HEADERS, stream, &request);
        both.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
        both
    });
}

#[test]
fn a_bomb_of_headers_is_refused() {
    let server = Server::saying("served");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    // Large as it is.
    let mut client = Raw::connect(&balancer);
    let value = "x".repeat(9000);
    let headers: Vec<(&str, &str)> = (0..8).map(|_| ("x", &*value)).collect();
    let block_of = block(&with(&headers));
    let mut pieces = block_of.chunks(16_000).peekable();
    client.write(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        client.write(CONTINUATION, flags, 1, piece);
    }
    assert!(!matches!(client.outcome(1), Some(Ok(block)) if status(&block) == 200));
    // Large only once unpacked: one entry of the dynamic table, named again and again.
    let mut client = Raw::connect(&balancer);
    let mut bomb = block(&PSEUDO);
    bomb.extend([0x40, 1, b'x']);
    bomb.extend([127, 0xc1, 0x1e]);
    bomb.extend(vec![b'y'; 4032]);
    bomb.extend(vec![0xbe; 12_000]);
    client.write(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    assert!(!matches!(client.outcome(1), Some(Ok(block)) if status(&block) == 200));
    // Many small ones.
    let mut client = Raw::connect(&balancer);
    let many: Vec<(&str, &str)> = (0..200).map(|_| ("x", "1")).collect();
    client.write(HEADERS, END_HEADERS | END_STREAM, 1, &block(&with(&many)));
    assert!(!matches!(client.outcome(1), Some(Ok(block)) if status(&block) == 200));
    assert!(server.seen().is_empty());
    assert_eq!(balancer.get("a", "/").body, "served");
}

#[test]
fn slow_heads_are_cut_and_idle_connections_are_told_to_go() {
    let hasty = |config: &mut crate::Config| {
        config.listeners[0].read_timeout = Some(std::time::Duration::from_millis(100));
        config.listeners[0].idle_timeout = Some(std::time::Duration::from_millis(100));
    };
    let balancer = Balancer::with(hasty, &[]);
    let mut slow = Raw::connect(&balancer);
    slow.write(HEADERS, 0, 1, &block(&PSEUDO));
    while let Some(frame) = slow.read() {
        assert_ne!(frame.kind, HEADERS);
    }
    let mut idle = Raw::connect(&balancer);
    let mut told = false;
    while let Some(frame) = idle.read() {
        told |= frame.kind == GOAWAY;
    }
    assert!(told);
    let mut half = balancer.connect();
    half.write("PRI * HT");
    assert_eq!(half.rest(), "");
}
