//! Answers in every shape that servers have for them: those to requests without a body are read by us, and their heads
//! may go on as they came; those to others are read by hyper. No client can tell.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;

use super::harness::*;

/// What a server says, and whether it hangs up then.
const ANSWERS: &[(&str, bool)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
    ("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", false),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, close\r\n\r\nok",
        false,
    ),
    ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
    ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        false,
    ),
    ("HTTP/1.0 200 OK\r\n\r\nuntil the end", true),
    ("HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
    ("HTTP/1.1 200 OK\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", false),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", false),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n0001;x=\"y\"\r\nk\r\n000\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na \r\n0123456789\r\n0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\nok\r\n0\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        false,
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nas it is", true),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 404 Gone\r\nDate: today\r\nServer:  x \r\nKeep-Alive: timeout=5\r\nETag:\r\nX: 1\r\nContent-Length: 2\r\n\
         x: 2\r\nConnection: keep-alive\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: X, keep-alive\r\nX: 1\r\nProxy: y\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: x\r\nX: 1\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", false),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", false),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Hm\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 100 Continue\r\n\r\n", true),
    (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than that",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok", false),
    (
        "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nX: \u{e9}\r\nContent-Length: 2\r\n\r\nok",
        false,
    ),
    ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false),
    ("HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 999 High\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 2000 Long\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/0.9 200 OK\r\n\r\n", true),
    ("ok\r\n", true),
    ("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nContent-Len", true),
    ("", true),
];

/// Says `answer` to each request, in pieces of so many bytes.
fn server(answer: &'static str, closes: bool, piece: usize) -> Server {
    Server::speaking(move |mut stream, _| {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut length, mut line) = (0, String::new());
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(said) = line.strip_prefix("content-length: ") {
                    length = said.trim().parse().unwrap();
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            for piece in answer.as_bytes().chunks(piece) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
            if closes {
                // Nothing is left unread, so this is no reset.
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
        }
    })
}

/// Some answers would be compressed, so their heads are read even where they need not be changed.
fn reading(config: &mut crate::Config) {
    config.gzip.types = Some(regex::Regex::new("^never$").unwrap());
}

/// What two clients get that ask one after the other, its chunks joined, and the number of connections that it took.
fn told(
    request: &str,
    (answer, closes): (&'static str, bool),
    piece: usize,
    adapt: fn(&mut crate::Config),
) -> (String, usize) {
    let server = server(answer, closes, piece);
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let mut told = String::new();
    for _ in 0..2 {
        let mut client = balancer.connect();
        client.write(request);
        told.push_str(&shown(&client.rest()));
    }
    (told, server.connections())
}

/// An answer without what differs from one time to the next: its date, where its chunks end, and the order of headers
/// with different names, which means nothing.
fn shown(answer: &str) -> String {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return answer.to_owned();
    };
    let (status, lines) = head.split_once('\n').unwrap_or((head, ""));
    let lines = lines.lines().filter(|line| !line.starts_with("date: "));
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_by_key(|line| line.split(':').next());
    let head = format!("{}\n{}", status.trim_end_matches('\r'), lines.join("\n"));
    let body = if head.contains("transfer-encoding: chunked") {
        joined(body)
    } else {
        body.to_owned()
    };
    format!("{head}\n\n{body}\n")
}

/// The data of chunks, and whatever does not look like a chunk as it is.
fn joined(mut body: &str) -> String {
    let mut data = String::new();
    while let Some((size, rest)) = body.split_once("\r\n")
        && let Ok(size) = usize::from_str_radix(size, 16)
        && let Some((chunk, rest)) = rest.split_at_checked(size)
        && let Some(rest) = rest.strip_prefix("\r\n").filter(|_| size > 0)
    {
        data.push_str(chunk);
        body = rest;
    }
    data + "|" + body
}

#[test]
fn an_answer_is_understood_alike_by_us_and_by_hyper() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    for (answer, closes) in ANSWERS.iter().copied() {
        let hyper = told(post, (answer, closes), usize::MAX, |_| {});
        for piece in [usize::MAX, 7, 1] {
            let plain = told(get, (answer, closes), piece, |_| {});
            assert_eq!(plain, hyper, "{answer:?}, closes: {closes}, in pieces of {piece}");
            let read = told(get, (answer, closes), piece, reading);
            assert_eq!(read, hyper, "{answer:?}, closes: {closes}, in pieces of {piece}");
        }
    }
}
