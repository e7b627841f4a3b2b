//! Compressed answers.

use std::io::{Read, Write};

use super::*;

fn gzip(types: &str) -> impl FnOnce(&mut crate::Config) {
    let types = regex::Regex::new(types).unwrap();
    move |config| config.gzip.types = Some(types)
}

fn html(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn curl_gets_a_compressed_answer_where_it_asks_for_one() {
    let page = "<p>hello</p>".repeat(1000);
    let server = Server::start({
        let page = page.clone();
        move |_| Some(html(&page))
    });
    let with_log = |config: &mut crate::Config| {
        gzip("^text/")(config);
        config.access_log = Some(crate::config::AccessLog::stdout("$response_body_size"));
    };
    let mut balancer = Balancer::with(with_log, &[routed("a", server.addr, "urlprefix-/")]);
    let out = curl(&balancer, "a", "/", &["--compressed"]);
    let (head, body) = out.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, page);
    for line in [
        "content-encoding: gzip",
        "vary: Accept-Encoding",
        "etag: W/\"x\"",
        "transfer-encoding: chunked",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    let out = curl(&balancer, "a", "/", &[]);
    let (head, body) = out.split_once("\r\n\r\n").unwrap();
    assert!(
        body == page && head.contains("vary: Accept-Encoding") && head.contains("etag: \"x\""),
        "{head}"
    );
    let out = curl(&balancer, "a", "/", &["--compressed", "--http1.0"]);
    assert!(out.ends_with(&page));
    balancer.end();
    until("the log is written", || balancer.log.text().lines().count() == 3);
    let sizes: Vec<u64> = balancer
        .log
        .text()
        .lines()
        .map(|size| size.parse().unwrap())
        .collect();
    assert!(
        sizes[0] < 1000 && sizes[1] == page.len() as u64,
        "bytes are those that were sent: {sizes:?}"
    );
    assert_eq!(
        server.connections(),
        1,
        "a compressed answer has an end like any other"
    );
    assert_eq!(balancer.metric("client_gone_total"), 0);
}

#[test]
fn a_target_that_pauses_is_heard_before_it_ends() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::speaking(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream
            .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
            .unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    });
    let balancer = Balancer::with(gzip("text"), &[routed("a", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.head().header("content-encoding"), ["gzip"]);
    let mut gzip = Vec::new();
    let mut plain = String::new();
    while !plain.contains("first") {
        gzip.extend(client.chunk());
        plain.clear();
        let _ = flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut plain);
    }
    go.send(()).unwrap();
    loop {
        let chunk = client.chunk();
        if chunk.is_empty() {
            break;
        }
        gzip.extend(chunk);
    }
    plain.clear();
    flate2::read::GzDecoder::new(&gzip[..])
        .read_to_string(&mut plain)
        .unwrap();
    assert_eq!(plain, "firstsecond");
}

#[test]
fn a_server_that_breaks_off_does_not_end_well_because_it_was_compressed() {
    let server = Server::speaking(|mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n";
        stream.write_all(format!("{head}half").as_bytes()).unwrap();
    });
    let balancer = Balancer::with(gzip("text"), &[routed("a", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    let mut rest = Vec::new();
    client.read_all(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look whole");
    until("it is counted", || {
        balancer.metric("upstream_failures_total") == 1
    });
}
